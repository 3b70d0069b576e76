"""How much memory is free, asked before a large table is made."""

from __future__ import annotations

import os

from align.errors import InputError


def available_bytes() -> int | None:
    """Bytes that new arrays may take without swapping; None where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        pass
    try:
        # no count of free pages outside Linux; a table beyond all the memory cannot fit in any case
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return None


def require_bytes(needed: int, *, where: object, hint: str) -> None:
    """Refuse what would not fit.

    Raises
    ------
    InputError
        Naming what is needed and what is available.
    """
    available = available_bytes()
    if available is not None and needed > available:
        raise InputError(
            "not enough memory",
            where=where,
            got=f"{available / 2**30:.2f} GiB available",
            wanted=f"{needed / 2**30:.2f} GiB",
            hint=hint,
        )
