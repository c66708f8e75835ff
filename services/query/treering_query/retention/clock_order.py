"""How an operator tells a store that the clock of the machine is right: a file in the data directory.

`treering store accept-clock` writes it, the store reads it at each turn of its upkeep. Whoever may write there may decide that. By its id
an order is carried out once; by its time, which is the one that the operator saw, an order that lies there from before, or came with a copy
of the directory, accepts no other leap.
"""

import json
import secrets
from pathlib import Path
from typing import NamedTuple

from treering_runtime.data_dir import write_atomically
from treering_runtime.errors import StartError

CLOCK_ORDER_FILE = "accept-clock.json"


class ClockOrder(NamedTuple):
    """An operator's word that the clock is right."""

    order_id: str
    time_unix_nano: int
    """What the clock showed."""


def write_clock_order(directory: Path, time_unix_nano: int) -> ClockOrder:
    """Gives the order to the store of a data directory, durably; it replaces an earlier one."""
    order = ClockOrder(secrets.token_hex(8), time_unix_nano)
    # Whole or not at all: the service may read at any moment.
    write_atomically(directory / CLOCK_ORDER_FILE, json.dumps(order._asdict()).encode() + b"\n")
    return order


def read_clock_order(directory: Path) -> ClockOrder | None:
    """The last order; None when there was never one.

    Raises:
        StartError: The file is damaged, or cannot be read.
    """
    file = directory / CLOCK_ORDER_FILE
    try:
        found = json.loads(file.read_text())
        return ClockOrder(str(found["order_id"]), int(found["time_unix_nano"]))
    except FileNotFoundError:
        return None
    # Most likely written by root with a mode that the service cannot read.
    except OSError as error:
        raise StartError(f"{file} cannot be read ({error.strerror}); give the order as the user that the service runs as") from error
    except (ValueError, KeyError, TypeError):
        raise StartError(f"{file} is damaged; give the order again: treering store accept-clock") from None
