"""Files behind an address, read by ranges: checked, retried, counted.

A range is asked for until it has come whole from the same file: errors of the server, broken and stalled connections
and bodies that are too short are tried again, later each time; a file that is no longer the one that was opened is
refused. Ranges that lie close together are asked for in one request, many requests run at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Any

from whycell.data.asking import Patience, coalesce, reason_of, requests_pool, worth_another_try
from whycell.data.listing import list_addresses
from whycell.data.ranges import GAP, SPAN
from whycell.data.remote_stores import store_of
from whycell.errors import FormatError

__all__ = ["ChangedError", "Patience", "RemoteFile", "coalesce", "list_addresses", "open_remote", "requests_pool"]

HEAD = 16 * 1024  # the first request: enough for the superblock and the root of an HDF5 file
WHOLE = 64 * 1024 * 1024  # a server that knows no ranges may still send a file as small as this


class ChangedError(FormatError):
    """The file is not the one that was opened or scanned; no try can mend that."""


class RemoteFile:
    """A file on disk, https, s3, Google or Azure as a `ByteSource`, for any number of threads.

    Parameters
    ----------
    address
        A path, ``https://``, ``s3://``, ``gs://``, ``az://container/path`` or ``abfs://container@account.../path``.
    etag, size
        What the file was when it was scanned; another one is refused, at the first read where both are given. ``None``
        takes what is there.
    patience
        Tries and time limits.

    Raises
    ------
    FormatError
        It is not there, may not be read, cannot be reached, or is not the one that was scanned.
    """

    span = SPAN // 2  # what a reader asks for at a time: several at once fill the line while others are inflated

    def __init__(
        self, address: str, *, etag: str | None = None, size: int | None = None, patience: Patience | None = None
    ) -> None:
        self.name = address
        self.requests = 0
        self.bytes_read = 0
        self.retries = 0
        self._patience = patience or Patience()
        self._lock, self._fetching = threading.Lock(), threading.Lock()
        self._whole: bytes | None = None
        self._store, self._path = store_of(address, timeout=self._patience.timeout)
        self.etag = etag or ""
        self.size = -1 if size is None else size
        known = bool(etag) and size is not None  # then nothing need be asked before the first bytes that are wanted
        self._head = b"" if known else self._open()

    def _open(self) -> bytes:
        try:
            head = self._range(0, HEAD)
        except FormatError:
            if not self._is_empty():
                raise
            head = b""
        if not head:
            msg = f"{self.name} is empty (0 bytes); copy it again."
            raise FormatError(msg)
        return head

    def _is_empty(self) -> bool:
        """Of nothing no range can be asked, and every server says so in words of its own."""
        import obstore

        try:
            return int(obstore.head(self._store, self._path)["size"]) == 0
        except Exception:  # then the first error tells more
            return False

    def read(self, offset: int, size: int) -> bytes:
        """The ``size`` bytes from ``offset`` on; `FormatError` where there are fewer or where they do not come."""
        if size <= 0:
            return b""
        stop = offset + size
        if offset < 0 or stop > self.size:
            msg = f"{self.name} ends at byte {self.size}, {stop} are needed: it is cut off; scan or copy it again."
            raise FormatError(msg)
        if stop <= len(self._head):
            return self._head[offset:stop]
        return self._range(offset, stop)

    def _range(self, start: int, stop: int) -> bytes:
        """One range, of the file that was opened; from memory where the server only sends it whole."""
        if self._whole is None:
            try:
                body, about = self._tried(start, stop)
                self._check_same(about)
                return body
            except _NoRangesError:
                with self._fetching:
                    if self._whole is None:
                        whole, about = self._all_of_it()
                        self._check_same(about)
                        self._whole = whole
        return self._whole[start:stop]

    def read_many(self, ranges: Sequence[tuple[int, int]], *, gap: int = GAP) -> list[memoryview]:
        """Many ranges at once, neighbours in one request.

        Parameters
        ----------
        ranges
            Pairs of offset and size, in any order.
        gap
            Ranges with at most so many bytes between them are asked for together.

        Returns
        -------
        The bytes of each range, in the order asked.
        """
        answers: list[memoryview] = [memoryview(b"")] * len(ranges)
        spans = list(coalesce(ranges, gap=gap))
        pool = requests_pool()
        coming: list[Future[bytes]] = [pool.submit(self.read, begin, end - begin) for begin, end, _ in spans[1:]]
        bodies: Iterator[bytes] = (each.result() for each in coming)
        for place, (begin, end, members) in enumerate(spans):  # the first is fetched here: one request needs no pool
            body = memoryview(self.read(begin, end - begin) if place == 0 else next(bodies))
            for i in members:
                low = ranges[i][0] - begin
                answers[i] = body[low : low + ranges[i][1]]
        return answers

    def close(self) -> None:
        """Nothing is held open between requests."""

    def _tried(self, start: int, stop: int) -> tuple[bytes, Any]:
        """One range, tried until it comes whole."""
        failed = 0
        while True:
            try:
                body, about = self._asked(start, stop)
                wanted = min(stop, int(about["size"])) - start
                if len(body) == wanted:
                    return body, about
                reason = f"{len(body)} of {wanted} bytes came"
            except (_NoRangesError, FormatError):
                raise
            except Exception as error:
                reason = reason_of(error)
                if not worth_another_try(error):
                    raise self._given_up(reason, failed + 1) from None
            failed += 1
            if failed >= self._patience.tries:
                raise self._given_up(reason, failed)
            with self._lock:
                self.retries += 1
            time.sleep(self._patience.pause(failed))

    def _asked(self, start: int, stop: int) -> tuple[bytes, Any]:
        import obstore
        from obstore.exceptions import NotFoundError, NotSupportedError

        try:
            answer = obstore.get(self._store, self._path, options={"range": (start, stop)})
            body = answer.bytes().to_bytes()
        except NotSupportedError as error:
            raise _NoRangesError(str(error)) from None
        except (NotFoundError, FileNotFoundError):
            msg = f"{self.name} does not exist; look at the address."
            raise FormatError(msg) from None
        finally:
            with self._lock:
                self.requests += 1
        with self._lock:
            self.bytes_read += len(body)
        return body, answer.meta

    def _all_of_it(self) -> tuple[bytes, Any]:
        """The whole file, where it is small and the server sends nothing less."""
        import obstore

        failed = 0
        while True:
            try:
                answer = obstore.get(self._store, self._path)
                size = int(answer.meta["size"])
                if size > WHOLE:
                    msg = (
                        f"{self.name} lies on a server that sends no ranges, only all {size:,} bytes: download it, and "
                        f"give its path instead."
                    )
                    raise FormatError(msg)
                body = answer.bytes().to_bytes()
                reason = f"{len(body)} of {size} bytes came"
                with self._lock:
                    self.requests, self.bytes_read = self.requests + 1, self.bytes_read + len(body)
                if len(body) == size:
                    return body, answer.meta
            except FormatError:
                raise
            except Exception as error:
                reason = reason_of(error)
            failed += 1
            if failed >= self._patience.tries:
                raise self._given_up(reason, failed)
            time.sleep(self._patience.pause(failed))

    def _check_same(self, about: Any) -> None:
        """What comes must come from the file that was opened; the first answer says which that is."""
        etag, size = _identity(about), int(about["size"])
        if (self.etag and etag != self.etag) or (self.size >= 0 and size != self.size):
            msg = (
                f"{self.name} has changed: it is now {size:,} bytes with mark {etag}, it was {self.size:,} bytes with "
                f"mark {self.etag}; scan it again."
            )
            raise ChangedError(msg)
        self.etag, self.size = etag, size

    def _given_up(self, reason: str, tries: int) -> FormatError:
        return FormatError(f"{self.name} cannot be read: {reason}; given up after {tries} tries, try again later.")


class _NoRangesError(Exception):
    """The server answered a request for a range with the whole file."""


def open_remote(
    address: str, *, etag: str | None = None, size: int | None = None, patience: Patience | None = None
) -> RemoteFile:
    """Open a file by its address; the parameters are those of `RemoteFile`.

    Parameters
    ----------
    address
        A path or an address.
    etag, size
        What the file was when it was scanned.
    patience
        Tries and time limits.
    """
    return RemoteFile(address, etag=etag, size=size, patience=patience)


def _identity(about: Any) -> str:
    """What tells one state of a file from another: its etag, or when it was last modified."""
    return str(about["e_tag"] or about["last_modified"].isoformat())
