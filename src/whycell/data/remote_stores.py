"""Which store an address belongs to: disk, https, s3, Google or Azure; public buckets need no credentials.

Signing is left out unless the environment holds credentials of that cloud in the names its own tools use. An S3 server
of one's own is named by ``AWS_ENDPOINT_URL``.
"""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from whycell.errors import FormatError

__all__ = ["SCHEMES", "is_remote", "store_of"]

SCHEMES = ("http", "https", "s3", "gs", "az", "abfs", "abfss")
_CREDENTIALS = {
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
    "gs": ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_KEY"),
    "az": ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_KEY", "AZURE_CLIENT_SECRET", "AZURE_STORAGE_TOKEN"),
}
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
_ACCOUNT = "AZURE_STORAGE_ACCOUNT_NAME"
_ASKED = (_ACCOUNT, *_ENDPOINTS, *_REGIONS, *_CREDENTIALS["s3"], *_CREDENTIALS["gs"], *_CREDENTIALS["az"])


def is_remote(address: str) -> bool:
    """Whether an address names a server, and not a place on this disk."""
    scheme, colon, _ = address.partition("://")
    return bool(colon) and scheme.lower() in SCHEMES


def store_of(address: str, *, timeout: float) -> tuple[Any, str]:
    """The obstore store of an address, and the path of the file in it.

    Parameters
    ----------
    address
        A path, or an address of one of `SCHEMES`.
    timeout
        Seconds that one request may take, its body included.

    Raises
    ------
    FormatError
        An address that is of none of these kinds, or that names no file.
    """
    if not is_remote(address):
        if "://" in address:
            msg = f"{address} has a scheme that is not read; give a path, or one of {', '.join(SCHEMES)}://."
            raise FormatError(msg)
        path = Path(address).absolute()
        return _disk(str(path.parent)), path.name
    parts = urlsplit(address)
    if not parts.netloc:
        msg = f"{address} names no server or bucket; https://host/file.h5ad or s3://bucket/file.h5ad does."
        raise FormatError(msg)
    if parts.scheme in ("http", "https"):
        if parts.query:  # signed addresses keep their signature: the whole address is the store
            return _web(address, timeout), ""
        return _web(f"{parts.scheme}://{parts.netloc}", timeout), unquote(parts.path).lstrip("/")
    surroundings = tuple((name, os.environ.get(name, "")) for name in _ASKED)
    bucket, _, key = address.split("://", 1)[1].partition("/")  # a key may hold what a web address may not
    try:
        return _cloud(parts.scheme.lower(), bucket, timeout, surroundings), key
    except Exception as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        cure = (
            ""
            if parts.scheme in ("s3", "gs")
            else f"; say abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/, or set {_ACCOUNT}"
        )
        msg = f"{address} cannot be opened ({first}){cure}."
        raise FormatError(msg) from error


@lru_cache(maxsize=64)
def _disk(folder: str) -> Any:
    from obstore.store import LocalStore

    try:
        return LocalStore(folder)
    except Exception as error:
        msg = f"{folder} does not exist; give the path of an .h5ad or of a folder of them."
        raise FormatError(msg) from error


_NO_RETRY: Any = {"max_retries": 0}  # retried here, where lengths and etags are checked too


@lru_cache(maxsize=256)
def _web(base: str, timeout: float) -> Any:
    from obstore.store import HTTPStore

    return HTTPStore.from_url(base, client_options=_client(timeout), retry_config=_NO_RETRY)


def _client(timeout: float) -> Any:
    return {"allow_http": True, "timeout": f"{timeout}s", "connect_timeout": f"{min(timeout, 10.0)}s"}


@lru_cache(maxsize=256)
def _cloud(scheme: str, bucket: str, timeout: float, surroundings: tuple[tuple[str, str], ...]) -> Any:
    """``surroundings`` are the variables that the answer depends on: they are part of what is remembered."""
    from obstore.store import AzureStore, GCSStore, S3Store

    known = {name: value for name, value in surroundings if value}
    common: dict[str, Any] = {"client_options": _client(timeout), "retry_config": _NO_RETRY}
    if scheme == "s3":
        endpoint = next((known[name] for name in _ENDPOINTS if name in known), None)
        region = next((known[name] for name in _REGIONS if name in known), None)
        if endpoint:
            common |= {"endpoint": endpoint, "virtual_hosted_style_request": False}
        region = region or ("us-east-1" if endpoint else _region_of(bucket))
        return S3Store(bucket, region=region, skip_signature=_unsigned("s3", known), **common)
    if scheme == "gs":
        return GCSStore(bucket, skip_signature=_unsigned("gs", known), **common)
    container, _, host = bucket.partition("@")
    account = host.split(".", 1)[0] or known.get(_ACCOUNT, "")
    if account:
        common["account_name"] = account
    return AzureStore(container, skip_signature=_unsigned("az", known), **common)


def _unsigned(cloud: str, known: dict[str, str]) -> bool:
    return not any(name in known for name in _CREDENTIALS[cloud])


def _region_of(bucket: str) -> str:
    """The region that a bucket says it is in; S3 answers so to anybody, whether or not the bucket may be read."""
    asked = urllib.request.Request(f"https://s3.amazonaws.com/{bucket}", method="HEAD")
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return answer.headers.get("x-amz-bucket-region") or "us-east-1"
    except urllib.error.HTTPError as error:
        return error.headers.get("x-amz-bucket-region") or "us-east-1"
    except OSError:
        return "us-east-1"
