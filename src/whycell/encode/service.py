"""A text service that speaks OpenAI's protocol: requests, uploads, and how often to ask again.

The key comes from the environment, travels in one header, and is in no message, file or ``repr``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from whycell.errors import DataError, MissingExtraError, UsageError

__all__ = ["Service", "ServiceEncoder", "ServiceError"]

_TRIES = 8
_LONGEST_WAIT = 120.0
_TEXTS_A_REQUEST = 128
_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504})


class ServiceError(DataError):
    """The service refused, or could not be reached."""


@dataclass
class Service:
    """One server.

    Parameters
    ----------
    url
        Its address, ``https://host`` or ``https://host/v1``.
    key_from
        Name of the environment variable that holds the key; a server without keys needs none.
    wait
        Sleeps for that many seconds; replaced in tests.
    """

    url: str
    key_from: str = "OPENAI_API_KEY"
    wait: Callable[[float], None] = time.sleep
    _client: Any = field(default=None, repr=False)

    def post(self, path: str, body: Mapping[str, Any], *, once: str = "") -> dict[str, Any]:
        """Send JSON, get JSON.

        Parameters
        ----------
        path
            ``"/chat/completions"``.
        body
            The request.
        once
            Idempotency key: a server that knows the header answers a repeated request from memory.
        """
        headers = {"Idempotency-Key": once} if once else {}
        return dict(self._ask("POST", path, {"json": dict(body), "headers": headers}).json())

    def get(self, path: str, *, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Get JSON."""
        return dict(self._ask("GET", path, {"params": dict(query or {})}).json())

    def text(self, path: str) -> str:
        """Get text: the content of a file."""
        return str(self._ask("GET", path, {}).text)

    def upload(self, name: str, content: bytes) -> str:
        """Upload a batch's requests; the id of the file."""
        files = {"file": (name, content, "application/jsonl")}
        return str(self._ask("POST", "/files", {"files": files, "data": {"purpose": "batch"}}).json()["id"])

    def _ask(self, method: str, path: str, content: Mapping[str, Any]) -> Any:
        client, httpx = self._opened()
        reason = ""
        for attempt in range(_TRIES):
            try:
                answer = client.request(method, path.lstrip("/"), **content)
            except httpx.TransportError as error:
                reason, pause = f"{type(error).__name__}", 2.0**attempt
            else:
                if answer.status_code < 400:
                    return answer
                reason = f"{answer.status_code} {_message(answer)}"
                if answer.status_code not in _AGAIN:
                    break
                pause = _asked_pause(answer, 2.0**attempt)
            if attempt + 1 < _TRIES:
                self.wait(min(pause, _LONGEST_WAIT))
        msg = f"{self.url} did not answer {method} {path}: {reason}. What was answered so far is kept; run it again."
        raise ServiceError(msg)

    def _opened(self) -> tuple[Any, Any]:
        try:
            import httpx
        except ImportError:
            msg = "A text service needs httpx, which is not installed: `pip install 'whycell[text]'`."
            raise MissingExtraError(msg) from None
        if self._client is None:
            if not self.url.startswith(("https://", "http://")):
                msg = f"{self.url!r} is not the address of a service; https://host/v1 is."
                raise UsageError(msg)
            base = self.url.rstrip("/")
            key = os.environ.get(self.key_from, "")
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            base = base if base.endswith("/v1") else f"{base}/v1"
            # Certificates are read only where there is something to verify: it takes a third of a second.
            secure = base.startswith("https://")
            self._client = httpx.Client(base_url=f"{base}/", headers=headers, timeout=120.0, verify=secure)
        return self._client, httpx


@dataclass
class ServiceEncoder:
    """A service's embedding model as a ``TextEncoder``.

    Parameters
    ----------
    service
        The server.
    model
        Name of the model there.
    dims
        Numbers to ask for, where the model can be cut short; 0 is all.
    """

    service: Service
    model: str
    dims: int = 0

    @property
    def name(self) -> str:
        """What a person calls it."""
        return self.model

    @property
    def fingerprint(self) -> str:
        """The model's name is all that a service tells of it."""
        return f"{self.service.url.rstrip('/')}:{self.model}:{self.dims}"

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """(n_texts, n_dims) float32, rows of length one; answers are placed by their index, not by their order."""
        rows: list[np.ndarray] = []
        for start in range(0, len(texts), _TEXTS_A_REQUEST):
            some = list(texts[start : start + _TEXTS_A_REQUEST])
            body = {"model": self.model, "input": some} | ({"dimensions": self.dims} if self.dims else {})
            data = self.service.post("/embeddings", body)["data"]
            by_index = {int(each["index"]): each["embedding"] for each in data}
            if set(by_index) != set(range(len(some))):
                msg = f"{self.service.url} answered {len(by_index)} of {len(some)} texts; nothing of them is kept."
                raise ServiceError(msg)
            rows.append(np.array([by_index[i] for i in range(len(some))], dtype=np.float32))
        vectors = np.concatenate(rows)
        return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))


def _message(answer: Any) -> str:
    try:
        return str(answer.json()["error"]["message"])[:200]
    except (ValueError, KeyError, TypeError):
        return str(answer.text)[:100]


def _asked_pause(answer: Any, otherwise: float) -> float:
    try:
        return float(answer.headers.get("Retry-After", otherwise))
    except ValueError:
        return otherwise
