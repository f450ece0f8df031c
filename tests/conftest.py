"""What all tests share: real servers, as fixtures that start them once, and signals as a terminal has them."""

import signal

pytest_plugins = ["tests.servers.fixtures"]

# A shell starts background jobs with SIGINT ignored, and processes that a test starts would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
