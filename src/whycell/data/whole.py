"""A file that is there whole or not at all."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from whycell.errors import OutputError

__all__ = ["card_digest", "check_free", "exchange", "folder_written_whole", "write_whole", "written_whole"]

_HERE, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux


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
    """As ``written_whole``, of a folder: the block makes it under the name it is given.

    Parameters
    ----------
    path
        The folder to be.
    force
        Replace one that is there.

    Raises
    ------
    OutputError
        The folder is there already, or its parent cannot be written to.
    """
    check_free(path, force=force)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        yield scratch / "store"
        if path.exists():
            exchange(path, scratch / "store")
        else:
            os.replace(scratch / "store", path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def exchange(one: Path, other: Path) -> None:
    """Swap the names of two folders of one file system: in one step on Linux, so that a kill leaves either."""
    libc = ctypes.CDLL(None, use_errno=True)
    swap = getattr(libc, "renameat2", None)
    if swap is not None and swap(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0:
        return
    aside = other.with_name(f".{other.name}.aside")
    os.replace(one, aside)
    try:
        os.replace(other, one)
    except BaseException:
        os.replace(aside, one)
        raise
    os.replace(aside, other)


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
        raise _unwritable(path, error) from None
    os.close(handle)
    scratch = Path(name)
    try:
        yield scratch
        os.chmod(scratch, 0o666 & ~_umask())
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes | str) -> None:
    """Write one file whole, over what is there; text as UTF-8 with the line ends it has.

    Parameters
    ----------
    path
        The file to be.
    content
        All of it.

    Raises
    ------
    OutputError
        It cannot be written there.
    """
    with written_whole(path, force=True) as scratch:
        try:
            scratch.write_bytes(content.encode() if isinstance(content, str) else content)
        except OSError as error:
            raise _unwritable(path, error) from None


def card_digest(card: Mapping[str, Any]) -> str:
    """SHA-256 of a ``card`` without its own key ``sha256``, by which it is known as whole and unedited."""
    plain = {key: value for key, value in card.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(f"{path} cannot be written: {error.strerror or error}; choose a folder that you may write to.")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
