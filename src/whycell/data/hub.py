"""The Hugging Face Hub, through its own client: ``hf://owner/name``, ``hf://owner/name/file``, ``hf://owner/name@v2``.

What comes lies in the client's cache (``HF_HOME``), or under ``WHYCELL_CACHE`` where that is set, and its bytes are
hashed against what the Hub says of them. ``HF_ENDPOINT`` names another server; the token is the client's own matter
(``HF_TOKEN``) and is read, kept and printed by nothing here.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whycell.data.reach import unreachable
from whycell.errors import FormatError, MissingExtraError, OutputError, UsageError

__all__ = ["HubPlace", "check_hub", "from_hub", "to_hub"]

_SECONDS = 20
_SIZES = {40: "sha1", 64: "sha256"}
_ADDRESS = re.compile(r"hf://([\w.-]+/[\w.-]+?)(?:@([\w./-]+?))?(?:/([^@]+))?/?")


@dataclass(frozen=True)
class HubPlace:
    """A place on the Hub.

    Parameters
    ----------
    repository
        ``owner/name``.
    inside
        Path in the repository; empty for all of it.
    revision
        Branch, tag or commit; empty for the main branch.
    """

    repository: str
    inside: str = ""
    revision: str = ""

    @classmethod
    def parse(cls, address: str) -> HubPlace:
        """Read ``hf://owner/name[@revision][/path]``."""
        found = _ADDRESS.fullmatch(address)
        if found is None:
            msg = f"{address} is not an address of the hub; hf://owner/name or hf://owner/name/path/in/repository is."
            raise FormatError(msg)
        return cls(found[1], found[3] or "", found[2] or "")


def from_hub(address: str, *, only: Sequence[str] = (), cache: Path | None = None) -> Path:
    """The file or, for a whole repository, the folder on disk; what has come already is had offline too.

    Parameters
    ----------
    address
        ``hf://owner/name``, or a file in it.
    only
        Of a whole repository the files that are wanted; all where empty.
    cache
        Where it is kept; ``None`` is the client's own cache.

    Raises
    ------
    FormatError
        It is not there, cannot be reached, or its bytes are not those that the Hub speaks of.
    MissingExtraError
        Without huggingface_hub.
    """
    place = HubPlace.parse(address)
    server, cache = _server(), cache or _own_cache()
    why = check_hub(address, cache=cache)
    hub = _client(address)
    given: dict[str, Any] = {
        "revision": place.revision or None,
        "cache_dir": cache,
        "endpoint": server,
        "etag_timeout": _SECONDS,
        "local_files_only": bool(why),
    }
    try:
        if place.inside:
            path = Path(hub.hf_hub_download(place.repository, place.inside, **given))
        else:
            path = Path(hub.snapshot_download(place.repository, allow_patterns=list(only) or None, **given))
    except Exception as error:  # the client lets errors of its network library through, another one in each version
        raise FormatError(_not_had(address, place, server, why or _first_line(error))) from None
    for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
        _check(file, address)
    return path


def check_hub(address: str, *, cache: Path | None = None) -> str:
    """Why the Hub cannot be asked, "" where it can; nothing is loaded for it, so that the answer comes at once.

    Parameters
    ----------
    address, cache
        As ``from_hub`` takes them.

    Raises
    ------
    FormatError
        It cannot, and nothing of the repository has come before.
    """
    place, server = HubPlace.parse(address), _server()
    why = "HF_HUB_OFFLINE is set" if _offline() else unreachable(server)
    if why and not ((cache or _own_cache()) / f"models--{place.repository.replace('/', '--')}").is_dir():
        raise FormatError(_not_had(address, place, server, why))
    return why


def to_hub(files: Sequence[Path], address: str, *, private: bool = False) -> str:
    """Put files into a repository of the Hub, which is made where there is none, as one commit.

    Parameters
    ----------
    files
        Each keeps its name.
    address
        ``hf://owner/name``.
    private
        Seen by its owner alone, where the repository is made.

    Returns
    -------
    The address of the commit

    Raises
    ------
    OutputError
        The Hub cannot be reached, or refuses.
    """
    place = HubPlace.parse(address)
    if place.inside:
        msg = f"{address} names a path inside a repository; give hf://owner/name."
        raise UsageError(msg)
    server = _server()
    if why := "HF_HUB_OFFLINE is set" if _offline() else unreachable(server):
        msg = f"{server} cannot be reached ({why}); nothing was sent. Run it again where there is a network."
        raise OutputError(msg)
    hub = _client(address)
    api = hub.HfApi(endpoint=server)
    try:
        api.create_repo(place.repository, private=private, exist_ok=True)
        commit = api.create_commit(
            place.repository,
            [hub.CommitOperationAdd(path_in_repo=file.name, path_or_fileobj=str(file)) for file in files],
            commit_message=f"whycell: {', '.join(file.name for file in files)}",
            revision=place.revision or None,
        )
    except Exception as error:  # as above
        msg = (
            f"{address} does not take it ({_first_line(error)}). It needs a token that may write there, in the "
            "environment variable HF_TOKEN."
        )
        raise OutputError(msg) from None
    return str(commit.commit_url)


def _client(address: str) -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.utils as tools
    except ImportError:
        msg = f"{address} needs huggingface_hub, which is not installed: `pip install 'whycell[hub]'`."
        raise MissingExtraError(msg) from None
    client: Any = huggingface_hub
    bars: Any = tools
    bars.disable_progress_bars()  # a bar on stderr would be drawn by --quiet too
    return client


def _server() -> str:
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def _own_cache() -> Path:
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()


def _check(file: Path, address: str) -> None:
    """A file of the cache is a link to one that is named by the hash the Hub gave: sha256, or git's for small ones."""
    blob = file.resolve()
    if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", blob.name):
        return  # a system without links
    digest = hashlib.new(_SIZES[len(blob.name)])
    if len(blob.name) == 40:
        digest.update(f"blob {blob.stat().st_size}\0".encode())
    with blob.open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    if digest.hexdigest() != blob.name:
        msg = f"{file.name} of {address} is damaged: its bytes are not those that the hub speaks of. Delete {blob}."
        raise FormatError(msg)


def _not_had(address: str, place: HubPlace, server: str, why: str) -> str:
    what = f"{place.inside} of {place.repository}" if place.inside else f"the files of {place.repository}"
    return f"{address} cannot be had ({why}). Fetch {what} from {server} elsewhere, and give their path instead."


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]
