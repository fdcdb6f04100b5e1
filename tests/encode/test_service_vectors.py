"""Vectors from a service: each text paid once, in batches as in plain calls, whatever is killed, refused or expired."""

import contextlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from whycell.encode.service import Service, ServiceEncoder, ServiceError
from whycell.encode.service_vectors import service_vectors
from whycell.errors import UsageError

_spec = importlib.util.spec_from_file_location("text_server", Path(__file__).with_name("text_server.py"))
text_server = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(text_server)

TEXTS = [f"gene {'a' * (i % 5)} {i}" for i in range(60)] + ["gene  0"]  # the last is there already


def wanted(texts: Sequence[str]) -> np.ndarray:
    rows = np.array([[len(text), text.count("a")] for text in texts], dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class Killed(BaseException):
    """Nothing after it runs."""


class Mortal(Service):
    """Dies after its n-th answer."""

    dies_at, calls = 10**9, 0

    def _ask(self, method: str, path: str, content: Any) -> Any:
        answer = super()._ask(method, path, content)
        self.calls += 1
        if self.calls == self.dies_at:
            raise Killed
        return answer


def encoder(url: str, *, dies_at: int = 10**9) -> ServiceEncoder:
    service = Mortal(url, wait=lambda _: None)
    service.dies_at = dies_at
    return ServiceEncoder(service, "letters")


@pytest.mark.parametrize("batch", [True, False])
def test_killed_anywhere_each_text_is_paid_once(batch: bool, tmp_path: Path) -> None:
    for dies_at in (1, 2, 3, 4):
        folder = tmp_path / f"{dies_at}"
        folder.mkdir()
        asked = {"journal": folder / "j.sqlite", "batch": batch, "cache": folder / "cache"}
        server = text_server.TextServer()
        with server.running() as url:
            with contextlib.suppress(Killed):
                service_vectors(TEXTS, encoder(url, dies_at=dies_at), **asked)
            found = service_vectors(TEXTS, encoder(url), **asked)
            calls = server.calls
            again = service_vectors(TEXTS, encoder(url), **asked)
        assert server.calls == calls
        assert np.array_equal(again.vectors, found.vectors)
        np.testing.assert_allclose(found.vectors, wanted(TEXTS), rtol=1e-6)
        assert found.answered.all()
        if batch:  # a plain call that a kill cut off is paid once only by a server that knows the idempotency key
            assert set(server.paid.values()) == {1}
            assert len(server.paid) == 60
        assert not asked["journal"].exists()


def test_refusals_and_expiry_are_asked_again(tmp_path: Path) -> None:
    server = text_server.TextServer(refuse=0.3, expire=True, busy=7)
    with server.running() as url:
        found = service_vectors(TEXTS, encoder(url), journal=tmp_path / "j", batch=True, cache=tmp_path / "c")
    answered = [text for text, has in zip(TEXTS, found.answered, strict=True) if has]
    np.testing.assert_allclose(found.vectors, wanted(answered), rtol=1e-6)
    assert set(found.errors) == set(TEXTS) - set(answered)
    assert max(server.paid.values()) == 1


def test_nothing_is_sent_before_the_cost_is_agreed_to(tmp_path: Path) -> None:
    asked = []
    server = text_server.TextServer()
    with server.running() as url:
        with pytest.raises(UsageError, match="Nothing was sent"):
            service_vectors(
                TEXTS,
                encoder(url),
                journal=tmp_path / "j",
                batch=True,
                prices=(0.13, 0.0),
                agreed=lambda found: bool(asked.append(found)),
                cache=tmp_path / "c",
            )
        assert not server.calls
    assert (asked[0].requests, asked[0].tokens_out) == (60, 0)
    assert asked[0].cost == pytest.approx(asked[0].tokens_in * 0.13 / 1e6)
    nowhere = encoder("http://127.0.0.1:9")
    with pytest.raises(ServiceError, match=r"gave no vector"):
        service_vectors(["one"], nowhere, journal=tmp_path / "k", cache=tmp_path / "c")
