from __future__ import annotations

import pickle

import pytest

from align import errors
from align.errors import InputError, ToolkitError

CLASSES = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, ToolkitError)]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, "the file is empty."),
        ({"got": 0}, "the file is empty (got 0)."),
        ({"wanted": "one line"}, "the file is empty (wanted one line)."),
        ({"got": 0, "wanted": 1, "where": "a.txt:3"}, "a.txt:3: the file is empty (got 0, wanted 1)."),
        ({"where": "a.txt", "hint": "Give another."}, "a.txt: the file is empty. Give another."),
    ],
)
def test_message_is_one_line(parts: dict, message: str) -> None:
    error = InputError("the file is empty", **parts)
    assert str(error) == error.message == message
    assert InputError("the file is empty.", **parts).message.count("..") == 0


@pytest.mark.parametrize("cls", CLASSES)
def test_errors_survive_a_worker_process(cls: type[ToolkitError]) -> None:
    error = cls("what", got=3, wanted=(1, 2), where="here:1", hint="do this")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(copy) is cls
    assert vars(copy) == vars(error)
    assert str(copy) == str(error)


def test_the_family() -> None:
    assert {c.__name__ for c in CLASSES} == {
        "ToolkitError",
        "UsageError",
        "InputError",
        "OutputError",
        "ConvergenceError",
        "UnavailableError",
    }
    # exit codes go by class, so no kind of error may be a kind of another
    kinds = [c for c in CLASSES if c is not ToolkitError]
    assert all(c.__bases__ == (ToolkitError,) for c in kinds)
