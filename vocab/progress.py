"""What a run tells while it works: stages with their time, and what it decided by itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Decision:
    """Something the user left open: what was decided, and why; `minor` where hardly anybody would ask."""

    what: str
    value: str
    why: str = ""
    minor: bool = False

    def __str__(self) -> str:
        return f"{self.what}: {self.value}" + (f" ({self.why})" if self.why else "")


def _silent(_: object) -> None:
    return None


@dataclass
class Decisions:
    """The decisions of one run, each told as it is made."""

    tell: Callable[[Decision], None] = _silent
    made: list[Decision] = field(default_factory=list)

    def add(self, what: str, value: str, why: str = "", *, minor: bool = False) -> None:
        """Record a decision and tell it."""
        self.made.append(Decision(what, value, why, minor))
        self.tell(self.made[-1])


@dataclass
class Progress:
    """The stages of one run: ``tell`` hears the name of each as it begins."""

    tell: Callable[[str], None] = _silent
    tell_bytes: Callable[[str, int, int], None] | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage."""
        self.tell(name)
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
