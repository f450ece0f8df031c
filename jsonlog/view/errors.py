"""What ends `jsonlog view` with one line and exit code 2."""

from jsonlog.errors import CommandError


class ViewError(CommandError):
    """A path, file or filter that the user gave cannot be used; the text says which and why."""
