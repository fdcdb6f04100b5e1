"""A file by its address: a path, ``https://`` or ``hf://owner/name/file``, checked, and kept once it has come.

A path is given back as it is. What came over the network lies in the user's cache under its address; it arrives under a
temporary name, so that what is there is whole.
"""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from whycell.errors import FormatError, MissingExtraError

__all__ = ["cache_folder", "local_copy"]

_SECONDS = 20
_PIECE = 1 << 20


def local_copy(source: str | Path, *, sha256: str | None = None, cache: Path | None = None) -> Path:
    """The path under which a source can be read.

    Parameters
    ----------
    source
        A path, an ``https://`` or ``http://`` address, or ``hf://owner/name/path/in/repository``.
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
    text = str(source)
    if text.startswith("hf://"):
        path = _from_hub(text)
    elif text.startswith(("https://", "http://")):
        path = _from_web(text, cache or cache_folder() / "files")
    else:
        path = Path(source)  # its reader knows best what to say of one that is not there
    if sha256 is not None and path.is_file() and (found := _hash(path)) != sha256.lower():
        msg = f"{text} has sha256 {found[:12]}..., wanted {sha256[:12]}...; it was replaced or damaged."
        raise FormatError(msg)
    return path


def _from_web(address: str, cache: Path) -> Path:
    name = Path(urlsplit(address).path).name or "file"
    path = cache / hashlib.sha256(address.encode()).hexdigest()[:16] / name
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{name}.{os.getpid()}.part")
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
        reason = getattr(error, "reason", error)
        msg = f"{address} cannot be reached ({reason}). Fetch it where there is a network, and give its path instead."
        raise FormatError(msg) from None
    finally:
        part.unlink(missing_ok=True)
    return path


def _from_hub(address: str) -> Path:
    owner, _, rest = address.removeprefix("hf://").partition("/")
    name, _, inside = rest.partition("/")
    if not (owner and name and inside):
        msg = f"{address} is not an address of the hub; hf://owner/name/path/in/repository is."
        raise FormatError(msg)
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError:
        msg = f"{address} needs huggingface_hub, which is not installed: `pip install 'whycell[hub]'`."
        raise MissingExtraError(msg) from None
    try:
        return Path(hf_hub_download(f"{owner}/{name}", inside, etag_timeout=_SECONDS))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        short = str(error).splitlines()[0][:200]
        msg = (
            f"{address} cannot be had ({short}). Fetch {inside} of {owner}/{name} elsewhere, and give its path instead."
        )
        raise FormatError(msg) from None


def cache_folder() -> Path:
    """Where is kept what was fetched or encoded: WHYCELL_CACHE, else the user's cache folder."""
    given = os.environ.get("WHYCELL_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(given) if given else Path(base) / "whycell"


def _hash(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
