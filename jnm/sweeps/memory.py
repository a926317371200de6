"""How many members fit: what XLA says a chunk needs, against what the device has."""

import os
from collections.abc import Sequence
from typing import Any

FRACTION = 0.5  # of a device's memory that a chunk of chunk="auto" may fill; the rest is for what else lives there
_PIECES = 16  # a sweep is cut into so many chunks at least, so that its bar moves and an interruption costs little


def rows_by_output(members: int, width: int, row_bytes: int, limit: float) -> int:
    """Rows a device, to begin with: as many as a sixteenth of the sweep has, if their results fit."""
    wanted = -(-members // (_PIECES * width))
    return max(1, min(wanted, int(FRACTION * limit / max(row_bytes, 1))))


def needed(compiled: Any) -> tuple[int, int]:
    """Bytes that a compiled chunk needs on each device: the part that does not grow with it, and all."""
    stats = compiled.memory_analysis()
    if stats is None:  # a backend that does not tell
        return 0, 0
    fixed = stats.temp_size_in_bytes + stats.argument_size_in_bytes
    return fixed, fixed + stats.output_size_in_bytes


def device_memory(devices: Sequence[Any]) -> float:
    """Bytes of the smallest device; devices that are this machine's processor share its memory."""
    limits = [(device.memory_stats() or {}).get("bytes_limit") for device in devices]
    known = [limit for limit in limits if limit]
    return float(min(known)) if known else host_memory() / len(devices)


def host_memory() -> float:
    """Bytes of this machine."""
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def text(size: float) -> str:
    """A number of bytes as people write it."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size:.0f} bytes"


def check_result(members: int, member_bytes: int) -> None:
    """Raise `ValueError` for a result that this machine's memory does not hold."""
    most = host_memory()
    if members * member_bytes > most:
        raise ValueError(
            f"sweep: {members} members of {text(member_bytes)} are {text(members * member_bytes)}, but this machine has "
            f"{text(most)}: at most {int(most / member_bytes)} members fit. Return less (a jnm.Reduction keeps no time), "
            "or give store=."
        )
