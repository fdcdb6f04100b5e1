"""A file that is there whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from whycell.errors import OutputError

__all__ = ["check_free", "folder_written_whole", "written_whole"]


def check_free(*places: Path | str | None, force: bool) -> None:
    """Refuse to write over what is there; asked before work that takes long. ``None`` is no place.

    Raises
    ------
    OutputError
        One of ``places`` exists and ``force`` is not set.
    """
    for place in places:
        if place is not None and Path(place).exists() and not force:
            msg = f"{place} exists already; choose another name, or replace it with --force."
            raise OutputError(msg)


@contextmanager
def folder_written_whole(path: Path, *, force: bool = False) -> Iterator[Path]:
    """As ``written_whole``, of a folder whose own parent is there; the block makes it.

    Parameters
    ----------
    path
        The folder to be.
    force
        Replace one that is there.
    """
    check_free(path, force=force)
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield scratch / "store"
        if path.exists():
            shutil.rmtree(path)
        os.replace(scratch / "store", path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def written_whole(path: Path, *, force: bool = False) -> Iterator[Path]:
    """A temporary name beside ``path``, which takes its place when the block ends well and is removed when not.

    Parameters
    ----------
    path
        The file to be.
    force
        Replace one that is there.

    Raises
    ------
    OutputError
        The file is there already, or its folder cannot be written to.
    """
    check_free(path, force=force)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        msg = f"{path} cannot be written ({error.strerror}); choose another folder."
        raise OutputError(msg) from None
    os.close(handle)
    scratch = Path(name)
    try:
        yield scratch
        os.chmod(scratch, 0o666 & ~_umask())
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
