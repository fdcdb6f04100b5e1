"""The files that a folder, a prefix or a list names, as addresses."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urljoin

from whycell.data.remote_stores import is_remote, store_of
from whycell.errors import FormatError

__all__ = ["list_addresses"]

_SUFFIX = ".h5ad"
_TIMEOUT = 60.0
_LONGEST = 8 << 20  # bytes of a list


def list_addresses(where: str | Path) -> list[str]:
    """The addresses of the h5ad files in a place, sorted; of a list, in its order.

    Parameters
    ----------
    where
        A folder or a prefix that ends in "/" (``s3://``, ``gs://``, ``az://``), searched with all that lies below; a
        text file, on disk or behind an address, with one path or address a line, relative ones beside the list itself,
        empty lines and those that start with "#" left out; or one h5ad file.

    Returns
    -------
    Each address once. Files on disk by absolute path.

    Raises
    ------
    FormatError
        Nothing is there, or a line of a list names something that may not be read through it: a path that climbs out
        of the list's own folder, or a place on this disk where the list came from a server.
    """
    text = str(where)
    if not is_remote(text):
        found = _on_disk(Path(where))
    elif text.endswith(_SUFFIX):
        found = [text]
    elif text.startswith(("http://", "https://")):
        if text.endswith("/"):
            msg = f"{text} cannot be listed: https has no folders; give the address of a list.txt with one file a line."
            raise FormatError(msg)
        found = _of_lines(_fetched(text), text)
    elif text.endswith(".txt"):
        found = _of_lines(_fetched(text), text)
    else:
        found = _of_prefix(text)
    if not found:
        msg = f"{text} holds no {_SUFFIX} file; give a folder, a prefix or a list that does."
        raise FormatError(msg)
    return found


def _on_disk(path: Path) -> list[str]:
    if path.is_dir():
        return sorted(str(each.absolute()) for each in path.rglob(f"*{_SUFFIX}") if each.is_file())
    if not path.exists():
        msg = f"{path} does not exist; give a folder, a list or an address."
        raise FormatError(msg)
    if path.suffix == _SUFFIX:
        return [str(path.absolute())]
    return _of_lines(path.read_bytes()[:_LONGEST], str(path.absolute()))


def _of_prefix(where: str) -> list[str]:
    import obstore

    store, prefix = store_of(where, timeout=_TIMEOUT)
    base = where[: len(where) - len(prefix)]
    try:
        names = [str(each["path"]) for page in obstore.list(store, prefix.rstrip("/") or None) for each in page]
    except Exception as error:
        first = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        msg = f"{where} cannot be listed ({first}); look at the address and at who may read it."
        raise FormatError(msg) from None
    return [base + name for name in sorted(names) if name.endswith(_SUFFIX)]


def _fetched(address: str) -> bytes:
    from whycell.data.remote import RemoteFile  # reading a list needs the reader, which names this module

    source = RemoteFile(address)
    if source.size > _LONGEST:
        msg = f"{address} has {source.size:,} bytes, a list of addresses has at most {_LONGEST:,}; is it a list?"
        raise FormatError(msg)
    return source.read(0, source.size)


def _of_lines(raw: bytes, where: str) -> list[str]:
    try:
        lines = raw.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        msg = f"{where} is not a text file; give a list with one path or address a line, or an .h5ad."
        raise FormatError(msg) from error
    wanted = (line.strip() for line in lines)
    return list(dict.fromkeys(_checked(line, where) for line in wanted if line and not line.startswith("#")))


def _checked(line: str, where: str) -> str:
    """One line of a list as an address, or why not."""
    if not line.isprintable() or "\\" in line:
        raise _refused(line, where, "it holds a character that no path has")
    if is_remote(line):
        return line
    if "://" in line:
        raise _refused(line, where, "its scheme is not read")
    if _climbs(line.split("/")):
        raise _refused(line, where, "it climbs out of its folder")
    if is_remote(where):
        if line.startswith("/"):
            raise _refused(line, where, "a list from a server may not name a place on this disk")
        return urljoin(where, line) if where.startswith("http") else where.rsplit("/", 1)[0] + "/" + line
    return str(Path(where).parent / line)


def _climbs(parts: Iterable[str]) -> bool:
    return ".." in parts


def _refused(line: str, where: str, reason: str) -> FormatError:
    return FormatError(f"{where} names {line[:200]!r}, which is not followed: {reason}; correct the list.")
