"""An open file of the operating system."""

import os

_CLOSED = -1
"""No descriptor: whatever is done with it is an error."""


class Descriptor:
    """A number that the system gave to an open file, and gives to another one once this is closed.

    Attributes:
        number: It.
    """

    def __init__(self, number: int) -> None:
        self.number = number

    def close(self) -> None:
        """Gives it back, once: then nothing of another file that has this number can be closed, read or written by it."""
        number, self.number = self.number, _CLOSED
        if number != _CLOSED:
            os.close(number)
