"""Requests to a service are paid once, joined by their ids, and survive a kill at any point."""

import importlib.util
import json
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from whycell.encode.batches import estimate, run_batches, run_one_by_one
from whycell.encode.journal import Journal, Request
from whycell.encode.service import Service, ServiceEncoder, ServiceError
from whycell.encode.text import embed_texts
from whycell.errors import UsageError

pytest.importorskip("httpx")
_spec = importlib.util.spec_from_file_location("text_server", Path(__file__).with_name("text_server.py"))
text_server = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(text_server)
TextServer = text_server.TextServer

REQUESTS = {
    r.custom_id: r
    for i in range(23)
    for r in [
        Request("/v1/chat/completions", {"messages": [{"role": "user", "content": f"gene {i}"}], "max_tokens": 9})
    ]
}
WANTED = {key: r.body["messages"][0]["content"].upper() for key, r in REQUESTS.items()}


class Killed(BaseException):
    """What a kill looks like to code: nothing after it runs."""


class Mortal(Service):
    """Dies before or after its n-th call."""

    def __init__(self, url: str, *, dies_at: float = np.inf) -> None:
        super().__init__(url, wait=lambda _: None)
        self.dies_at, self.calls = dies_at, 0.0

    def _ask(self, method: str, path: str, content: Any) -> Any:
        self._step()
        answer = super()._ask(method, path, content)
        self._step()
        return answer

    def _step(self) -> None:
        self.calls += 0.5
        if self.calls > self.dies_at:
            raise Killed


def _said(answers: dict[str, Any]) -> dict[str, str]:
    return {key: answer["choices"][0]["message"]["content"] for key, answer in answers.items()}


def _run(
    url: str, folder: Path, *, dies_at: float = np.inf, run: Any = run_batches, asked: dict[str, Request] = REQUESTS
) -> dict[str, str]:
    with closing(Journal(folder / "journal.sqlite")) as journal:
        return _said(run(asked, Mortal(url, dies_at=dies_at), journal=journal))


@pytest.mark.parametrize(
    "faults",
    [{}, {"refuse": 0.3}, {"expire": True}, {"busy": 3}, {"cut": 4}, {"refuse": 0.2, "expire": True, "cut": 5}],
)
def test_every_answer_comes_once_and_to_its_own_request(tmp_path: Path, faults: dict[str, Any]) -> None:
    server = TextServer(**faults)
    with server.running() as url:
        assert _run(url, tmp_path) == WANTED
        assert set(server.paid.values()) == {1}
        before = server.calls
        assert _run(url, tmp_path) == WANTED
        assert server.calls == before


def test_killed_at_any_point_nothing_is_paid_twice(tmp_path: Path) -> None:
    few = dict(list(REQUESTS.items())[:6])
    for step in range(1, 60):
        server, folder = TextServer(expire=True), tmp_path / str(step)
        with server.running() as url:
            try:
                _run(url, folder, dies_at=step / 2, asked=few)
                finished = True
            except Killed:
                finished = False
            assert _run(url, folder, asked=few) == {key: WANTED[key] for key in few}
            assert set(server.paid.values()) == {1}
        if finished:
            break
    assert finished, "the kills never reached the end of the run"


def test_plain_calls_carry_their_id_so_that_a_server_can_know_them_again(tmp_path: Path) -> None:
    server = TextServer(busy=5, cut=7)
    with server.running() as url:
        with pytest.raises(Killed):
            _run(url, tmp_path, dies_at=9.5, run=run_one_by_one)
        assert _run(url, tmp_path, run=run_one_by_one) == WANTED
    assert set(server.paid.values()) == {1}


def test_what_is_refused_every_time_is_listed(tmp_path: Path) -> None:
    server = TextServer(refuse=1.0)
    with server.running() as url, closing(Journal(tmp_path / "journal.sqlite")) as journal:
        assert run_batches(REQUESTS, Mortal(url), journal=journal) == {}
        assert len(server.batches) == 4
        assert set(journal.failures(list(REQUESTS))) == set(REQUESTS)


def test_cost_is_of_what_is_not_answered(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "journal.sqlite")) as journal:
        journal.add(REQUESTS)
        first = next(iter(REQUESTS))
        journal.keep({first: {"choices": []}}, {})
        found = estimate(REQUESTS, journal, prices=(1.0, 2.0))
    assert (found.requests, found.answered, found.tokens_out) == (23, 1, 22 * 9)
    assert found.cost == pytest.approx((found.tokens_in + 2 * found.tokens_out) / 1e6)
    assert "22 requests to send (1 of 23 are answered already)" in found.sentence()


def test_another_prompt_or_model_is_another_request() -> None:
    bodies = [{"model": "a", "x": 1}, {"model": "b", "x": 1}, {"model": "a", "x": 2}]
    assert len({Request("/v1/chat/completions", body).custom_id for body in bodies}) == 3
    assert Request("/p", {"a": 1, "b": 2}).custom_id == Request("/p", {"b": 2, "a": 1}).custom_id


def test_embeddings_are_placed_by_index(tmp_path: Path) -> None:
    server = TextServer(busy=2)
    texts = [f"{'a' * i}b" for i in range(300)]
    with server.running() as url:
        vectors = embed_texts(texts, ServiceEncoder(Mortal(url), "letters"), cache=tmp_path)
    wanted = np.array([[len(t), t.count("a")] for t in texts], dtype=np.float32)
    np.testing.assert_allclose(vectors, wanted / np.linalg.norm(wanted, axis=1, keepdims=True), rtol=1e-6)


def test_the_key_travels_in_the_header_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-very-secret")
    server = TextServer()
    with server.running() as url:
        service = Service(url, key_from="MY_KEY", wait=lambda _: None)
        with closing(Journal(tmp_path / "journal.sqlite")) as journal:
            run_batches(REQUESTS, service, journal=journal)
        with pytest.raises(ServiceError, match="404 no /v1/nothing") as refused:
            service.get("/nothing")
    assert server.seen_keys == {"Bearer sk-very-secret"}
    said = repr(service) + str(refused.value) + "".join(capsys.readouterr())
    assert "secret" not in said
    assert all(b"secret" not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_a_server_that_is_not_there_is_one_sentence() -> None:
    waits: list[float] = []
    with pytest.raises(ServiceError, match="did not answer GET /batches: ConnectError"):
        Service("http://127.0.0.1:9", wait=waits.append).get("/batches")
    assert waits == [1, 2, 4, 8, 16, 32, 64]
    with pytest.raises(UsageError, match="not the address of a service"):
        Service("localhost").get("/batches")


def test_requests_of_a_batch_are_json_lines() -> None:
    assert all(json.loads(json.dumps(r.body)) == r.body for r in REQUESTS.values())
