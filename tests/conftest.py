"""What all tests share: real servers, as fixtures that start them once."""

pytest_plugins = ["tests.servers.fixtures"]
