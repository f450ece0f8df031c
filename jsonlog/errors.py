"""What ends a command of `jsonlog` with one line and exit code 2."""


class CommandError(Exception):
    """A path, option or value that the user gave cannot be used; the text says which and why."""
