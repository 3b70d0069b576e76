"""Peak memory of a part of a run, as the operating system counts it: threads, BLAS and Rust included."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from pathlib import Path
from types import TracebackType

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


class PeakMemory:
    """What the process held at most inside the ``with`` block, beyond what it held before, in ``mib``.

    None where the system does not let a process reset its high-water mark (it does on Linux). Memory that
    earlier work has freed is handed back first, as far as the C library does so; what it does not hand back
    can be used again unseen.
    """

    mib: float | None = None

    def __enter__(self) -> PeakMemory:
        gc.collect()
        with contextlib.suppress(OSError, AttributeError, TypeError):
            ctypes.CDLL(None).malloc_trim(0)
        self._before: int | None = None
        with contextlib.suppress(OSError):
            _RESET.write_text("5", encoding="ascii")  # sets the high-water mark to what is held now
            self._before = _kib("VmRSS")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        peak = None if self._before is None else _kib("VmHWM")
        if peak is not None and self._before is not None:
            self.mib = max(peak - self._before, 0) / 1024


def _kib(name: str) -> int | None:
    try:
        lines = _STATUS.read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
    except (OSError, StopIteration, ValueError):
        return None
