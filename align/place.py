"""Put a directory or a file in place whole or not at all: temporary sibling, then rename."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from align.errors import OutputError

_SLACK = 1 << 24  # bytes kept free beyond what is written


def check_output(
    out_dir: str | os.PathLike[str],
    *,
    kind: str,
    marks: Sequence[str],
    overwrite: bool,
    keep: Path | None = None,
) -> Path:
    """The absolute path of a directory that may be written; call it before any long work.

    Parameters
    ----------
    kind : str
        What the directory is to hold, for messages: ``"model"``.
    marks : sequence of str
        File names by which such a directory is known; nothing else is ever overwritten.
    keep : Path, optional
        A directory that must not be replaced.

    Raises
    ------
    OutputError
        When it exists and `overwrite` is off, holds something else, is or holds `keep`, or its parent cannot
        be written.
    """
    out_dir = Path(out_dir).expanduser().resolve()
    if keep is not None and (out_dir == keep.resolve() or out_dir in keep.resolve().parents):
        raise OutputError("the output would replace its own source", where=out_dir, hint="give another --out")
    if out_dir.exists():
        if not overwrite:
            raise OutputError(
                "the output already exists", where=out_dir, hint="add --overwrite to replace it"
            )
        ours = any((out_dir / mark).is_file() for mark in marks)
        if not out_dir.is_dir() or (not ours and any(out_dir.iterdir())):
            raise OutputError(
                f"only a {kind} directory is overwritten, and this is something else", where=out_dir
            )
    parent = out_dir.parent
    left = sorted(
        path.name for kind in ("partial", "replaced") for path in parent.glob(f".{out_dir.name}.{kind}-*")
    )
    if left:
        warnings.warn(
            f"{parent} holds {', '.join(left)}: of a run still going on, or killed; then a partial "
            f"one can be removed, and a replaced one is the whole old {kind}",
            stacklevel=2,
        )
    _make_parent(out_dir)
    return out_dir


def require_space(out_dir: Path, *, n_bytes: int) -> None:
    """Refuse a place whose file system has no room for `n_bytes`.

    Raises
    ------
    OutputError
    """
    free = shutil.disk_usage(out_dir.parent).free
    if free < n_bytes + _SLACK:
        raise OutputError(
            "not enough disk space",
            got=f"{free / 1e6:,.0f} MB free",
            wanted=f"{(n_bytes + _SLACK) / 1e6:,.0f} MB",
            where=out_dir.parent,
            hint="free some space or give another --out",
        )


@contextlib.contextmanager
def temporary_sibling(out_dir: Path, *, n_bytes: int) -> Iterator[Path]:
    """A new directory beside `out_dir`, on the same file system; removed if it is still there at the end.

    Raises
    ------
    OutputError
        When fewer than `n_bytes` are free, or for any failure of the file system inside the block.
    """
    folder = out_dir.parent / f".{out_dir.name}.partial-{secrets.token_hex(4)}"
    try:
        require_space(out_dir, n_bytes=n_bytes)
        folder.mkdir()
        yield folder
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise OutputError(
            "the disk is full" if full else f"cannot write: {error.strerror or error}",
            where=out_dir,
            hint="free some space or give another --out" if full else None,
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def put_in_place(folder: Path, out_dir: Path, *, overwrite: bool) -> None:
    """Rename `folder` to `out_dir`; a directory that is replaced is set aside first and then removed.

    Between the two renames of an overwrite nothing lies under the final name; a process killed just there
    leaves the old model whole as ``.NAME.replaced-...`` and the new one as ``.NAME.partial-...``.
    """
    aside = out_dir.parent / f".{out_dir.name}.replaced-{secrets.token_hex(4)}"
    replaced = overwrite and out_dir.exists()
    if replaced:
        out_dir.rename(aside)
    elif out_dir.exists():  # somebody else made it meanwhile
        raise OutputError("the output already exists", where=out_dir, hint="add --overwrite to replace it")
    try:
        folder.rename(out_dir)
    except BaseException:
        if replaced:
            aside.rename(out_dir)
        raise
    if replaced:
        shutil.rmtree(aside, ignore_errors=True)


def check_file(path: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """The absolute path of a file that may be written; call it before any long work.

    Raises
    ------
    OutputError
        When it exists and `overwrite` is off, is a directory, or its parent cannot be written.
    """
    path = Path(path).expanduser().resolve()
    if path.is_dir():
        raise OutputError("the output is a directory", where=path, wanted="a file")
    if path.exists() and not overwrite:
        raise OutputError("the output already exists", where=path, hint="add --overwrite to replace it")
    _make_parent(path)
    return path


def _make_parent(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        in_the_way = next((one for one in path.parents if one.exists() and not one.is_dir()), None)
        raise OutputError(
            f"cannot make the parent directory: {error.strerror}",
            where=path.parent,
            hint="give another --out"
            if in_the_way is None
            else f"{in_the_way} is a file; give another --out",
        ) from error
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputError(
            "the parent directory is not writable", where=path.parent, hint="give another --out"
        )


@contextlib.contextmanager
def new_file(path: str | os.PathLike[str], *, overwrite: bool) -> Iterator[Path]:
    """A temporary path beside `path`; what was written there is renamed to it if the block ends well.

    Raises
    ------
    OutputError
        When `path` exists and `overwrite` is off, or for any failure of the file system inside the block.
    """
    path = check_file(path, overwrite=overwrite)
    partial = path.parent / f".{path.name}.partial-{secrets.token_hex(4)}"
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        raise OutputError(f"cannot write: {error.strerror or error}", where=path) from error
    finally:
        partial.unlink(missing_ok=True)
