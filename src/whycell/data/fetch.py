"""A file or folder by its address: a path, ``https://``, ``hf://owner/name`` or ``hf://owner/name/file``.

A path is given back as it is. What came over the network lies in the user's cache under its address; it arrives under a
temporary name, so that what is there is whole, and is checked where a hash is known: from the hub, or written behind
the address as ``#sha256=...``.
"""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from whycell.data.hub import check_hub, from_hub
from whycell.data.reach import unreachable
from whycell.errors import FormatError

__all__ = ["cache_folder", "check_reach", "is_remote", "local_copy", "local_folder"]

_SECONDS = 20
_PIECE = 1 << 20
_ABSENT = 404


def is_remote(source: str | Path) -> bool:
    """Whether a source is an address and no path."""
    return str(source).startswith(("https://", "http://", "hf://"))


def check_reach(*sources: str | Path | None) -> None:
    """Refuse addresses whose server cannot be reached, before anything is loaded or read.

    Parameters
    ----------
    sources
        As ``local_copy`` and ``local_folder`` take them; paths and ``None`` pass.

    Raises
    ------
    FormatError
        A server cannot be reached, and nothing of that address has come before.
    """
    for source in sources:
        text = str(source or "").partition("#")[0]
        if text.startswith("hf://"):
            check_hub(text, cache=_hub_cache(None))
        elif is_remote(text) and not _own_folder(text.rstrip("/"), None).exists() and (why := unreachable(text)):
            raise FormatError(_not_had(text, why))


def local_copy(source: str | Path, *, sha256: str | None = None, cache: Path | None = None) -> Path:
    """The path under which a source can be read.

    Parameters
    ----------
    source
        A path, an ``https://`` or ``http://`` address, or ``hf://owner/name/path/in/repository``. An address may end
        in ``#sha256=...``.
    sha256
        Hexadecimal hash that the bytes must have.
    cache
        Folder of what has come; ``None`` is the user's own.

    Raises
    ------
    FormatError
        It is not there, cannot be reached, was cut short, or is not what ``sha256`` says.
    MissingExtraError
        ``hf://`` without huggingface_hub.
    """
    text, _, asked = str(source).partition("#sha256=") if is_remote(source) else (str(source), "", "")
    sha256 = asked or sha256
    if text.startswith("hf://"):
        path = from_hub(text, cache=_hub_cache(cache))
    elif is_remote(text):
        name = Path(urlsplit(text).path).name or "file"
        path = _from_web(text, _own_folder(text, cache) / name)
    else:
        path = Path(source)  # its reader knows best what to say of one that is not there
    if sha256 is not None and path.is_file() and (found := _hash(path)) != sha256.lower():
        kept = f" Delete {path} to fetch it again." if is_remote(text) else ""
        msg = f"{text} has sha256 {found[:12]}..., wanted {sha256[:12]}...; it was replaced or damaged.{kept}"
        raise FormatError(msg)
    return path


def local_folder(
    source: str | Path, *, files: Sequence[str], optional: Sequence[str] = (), cache: Path | None = None
) -> Path:
    """The path under which a folder can be read.

    Parameters
    ----------
    source
        A path, the address of a folder whose files lie below it, or ``hf://owner/name``.
    files
        What it must hold; over ``https://`` a folder cannot be listed. The last comes last, and marks it as whole.
    optional
        What it may hold.
    cache
        As ``local_copy`` takes it.

    Raises
    ------
    FormatError, MissingExtraError
        As ``local_copy`` raises them.
    """
    text = str(source)
    if text.startswith("hf://"):
        return from_hub(text, only=(*files, *optional), cache=_hub_cache(cache))
    if not is_remote(text):
        return Path(source)
    folder = _own_folder(text.rstrip("/"), cache)
    if not (folder / files[-1]).exists():
        for name in (*optional, *files):
            _from_web(f"{text.rstrip('/')}/{name}", folder / name, may_lack=name in optional)
    return folder


def _hub_cache(cache: Path | None) -> Path | None:
    return (cache or cache_folder()) / "hub" if cache or os.environ.get("WHYCELL_CACHE") else None


def _own_folder(address: str, cache: Path | None) -> Path:
    return (cache or cache_folder() / "files") / hashlib.sha256(address.encode()).hexdigest()[:16]


def _from_web(address: str, path: Path, *, may_lack: bool = False) -> Path:
    if path.exists():
        return path
    if why := unreachable(address):
        raise FormatError(_not_had(address, why))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with urllib.request.urlopen(address, timeout=_SECONDS) as answer, part.open("wb") as out:
            wanted = answer.headers.get("Content-Length")
            while piece := answer.read(_PIECE):
                out.write(piece)
        if wanted is not None and part.stat().st_size != int(wanted):
            msg = f"{address} was cut short: {part.stat().st_size:,} of {int(wanted):,} bytes came. Try again."
            raise FormatError(msg)
        part.replace(path)
    except (urllib.error.URLError, TimeoutError, ConnectionError, OSError) as error:
        if not (may_lack and getattr(error, "code", 0) == _ABSENT):
            raise FormatError(_not_had(address, getattr(error, "reason", error))) from None
    finally:
        part.unlink(missing_ok=True)
    return path


def _not_had(address: str, why: object) -> str:
    return f"{address} cannot be reached ({why}). Fetch it where there is a network, and give its path instead."


def cache_folder() -> Path:
    """Where is kept what was fetched or encoded: WHYCELL_CACHE, else the user's cache folder."""
    given = os.environ.get("WHYCELL_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(given) if given else Path(base) / "whycell"


def _hash(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
