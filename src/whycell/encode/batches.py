"""Many requests to a service, each paid once: in batches, or one by one.

Before a batch is sent its requests are marked in the journal under a token, and the token travels with the batch. A run
that was killed finds its batches again by the token, so that none is sent twice; answers are joined by ``custom_id``
and never by their order.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from whycell.compute import Talk
from whycell.encode.journal import Journal, Request
from whycell.encode.service import Service, ServiceError

__all__ = ["Estimate", "estimate", "run_batches", "run_one_by_one"]

_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
_MOST_ATTEMPTS = 4
_A_BATCH = 10_000
_BYTES_A_BATCH = 100_000_000
_POLL_SECONDS = 20.0
_LETTERS_A_TOKEN = 4


@dataclass(frozen=True)
class Estimate:
    """What requests will cost, said before any is sent.

    Parameters
    ----------
    requests, answered
        How many there are, and how many of them the journal holds answers to.
    tokens_in, tokens_out
        About how many tokens go out, and at most how many come back, for the rest.
    cost
        In the currency of the prices; ``None`` without prices.
    """

    requests: int
    answered: int
    tokens_in: int
    tokens_out: int
    cost: float | None

    def sentence(self) -> str:
        """As a person reads it."""
        price = "unknown: give --price-in and --price-out" if self.cost is None else f"at most about {self.cost:,.2f}"
        return (
            f"{self.requests - self.answered:,} requests to send ({self.answered:,} of {self.requests:,} are answered "
            f"already): about {self.tokens_in:,} tokens in, at most {self.tokens_out:,} out. Cost: {price}."
        )


def estimate(
    requests: Mapping[str, Request], journal: Journal, *, prices: tuple[float, float] | None = None
) -> Estimate:
    """Count what is still to be sent.

    Parameters
    ----------
    requests
        By ``custom_id``.
    journal
        Of earlier runs.
    prices
        Of a million tokens in, and out.
    """
    answered = journal.answers(list(requests))
    rest = [request.body for key, request in requests.items() if key not in answered]
    letters = sum(len(json.dumps(body.get("messages") or body.get("input"), ensure_ascii=False)) for body in rest)
    tokens_in = letters // _LETTERS_A_TOKEN
    tokens_out = sum(int(body.get("max_tokens", 0)) for body in rest)
    cost = None if prices is None else (tokens_in * prices[0] + tokens_out * prices[1]) / 1e6
    return Estimate(len(requests), len(answered), tokens_in, tokens_out, cost)


def run_batches(
    requests: Mapping[str, Request], service: Service, *, journal: Journal, talk: Talk | None = None
) -> dict[str, Any]:
    """Answers to all requests through ``/v1/files`` and ``/v1/batches``.

    Parameters
    ----------
    requests
        By ``custom_id``; all of one path.
    service
        The server.
    journal
        Where answers are kept.
    talk
        Told of progress.

    Returns
    -------
    Answers by ``custom_id``; those that failed ``4`` times are absent, see ``Journal.failures``

    Raises
    ------
    ServiceError
        The service cannot be reached or refuses; what was answered is kept.
    """
    talk = talk or Talk()
    journal.add(requests)
    keys = list(requests)
    _find_again(service, journal)
    while True:
        for part in _parts(journal.waiting(keys, most_attempts=_MOST_ATTEMPTS), requests):
            _send(part, requests, service, journal)
        under_way = journal.open_batches()
        if not under_way:
            break
        _collect(under_way, service, journal, talk)
    return journal.answers(keys)


def run_one_by_one(
    requests: Mapping[str, Request],
    service: Service,
    *,
    journal: Journal,
    at_once: int = 4,
    talk: Talk | None = None,
) -> dict[str, Any]:
    """Answers to all requests by plain calls, some at once; each carries its id as idempotency key.

    Parameters
    ----------
    requests, service, journal, talk
        As ``run_batches`` takes them.
    at_once
        Calls under way together.
    """
    journal.add(requests)
    keys = list(requests)

    def ask(key: str) -> tuple[str, Any, str]:
        request = requests[key]
        try:
            return key, service.post(request.path.removeprefix("/v1"), request.body, once=key), ""
        except ServiceError as error:
            return key, None, str(error)

    waiting = journal.waiting(keys, most_attempts=_MOST_ATTEMPTS)
    with ThreadPoolExecutor(at_once) as pool, (talk or Talk()).progress("asking", len(waiting)) as bar:
        for start in range(0, len(waiting), at_once * 4):
            for key, answer, error in pool.map(ask, waiting[start : start + at_once * 4]):
                journal.keep({key: answer} if answer is not None else {}, {key: error} if error else {})
                bar.advance(1)
    return journal.answers(keys)


def _find_again(service: Service, journal: Journal) -> None:
    """Batches that were about to be sent when an earlier run was killed: taken by the service, or not."""
    lost = {token for token, batch_id, _ in journal.open_batches() if batch_id is None}
    after = ""
    while lost:
        page = service.get("/batches", query={"limit": "100"} | ({"after": after} if after else {}))
        for batch in page["data"]:
            token = (batch.get("metadata") or {}).get("whycell", "")
            if token in lost:
                journal.name_batch(token, str(batch["id"]))
                lost.discard(token)
        if not page.get("has_more") or not page["data"]:
            break
        after = str(page["data"][-1]["id"])
    for token in lost:  # never arrived: its requests wait again
        journal.close_batch(token, {}, {})


def _parts(waiting: Sequence[str], requests: Mapping[str, Request]) -> list[list[str]]:
    parts: list[list[str]] = []
    size = _BYTES_A_BATCH
    for key in waiting:
        line = len(json.dumps(requests[key].body)) + 200
        if not parts or len(parts[-1]) >= _A_BATCH or size + line > _BYTES_A_BATCH:
            parts.append([])
            size = 0
        parts[-1].append(key)
        size += line
    return parts


def _send(keys: Sequence[str], requests: Mapping[str, Request], service: Service, journal: Journal) -> None:
    path = requests[keys[0]].path
    lines = [
        json.dumps({"custom_id": key, "method": "POST", "url": requests[key].path, "body": requests[key].body})
        for key in keys
    ]
    token = uuid.uuid4().hex
    file_id = service.upload(f"whycell-{token}.jsonl", "\n".join(lines).encode())
    journal.begin_batch(token, keys)
    body = {
        "input_file_id": file_id,
        "endpoint": path,
        "completion_window": "24h",
        "metadata": {"whycell": token},
    }
    journal.name_batch(token, str(service.post("/batches", body, once=token)["id"]))


def _collect(
    under_way: Sequence[tuple[str, str | None, list[str]]], service: Service, journal: Journal, talk: Talk
) -> None:
    """Wait for one round of batches to end, keeping each as it does."""
    total = sum(len(keys) for _, _, keys in under_way)
    with talk.progress("waiting for the service", total) as bar:
        left = list(under_way)
        while left:
            still = []
            for token, batch_id, keys in left:
                batch = service.get(f"/batches/{batch_id}")
                if batch["status"] not in _ENDED:
                    still.append((token, batch_id, keys))
                    continue
                answers, errors = _read(batch, service, set(keys))
                journal.close_batch(token, answers, errors)
                bar.advance(len(keys))
            left = still
            if left:
                service.wait(_POLL_SECONDS)


def _read(batch: Mapping[str, Any], service: Service, keys: set[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Answers and errors of an ended batch, by id; lines that are not ours, or said twice, are passed over."""
    answers: dict[str, Any] = {}
    errors = dict.fromkeys(sorted(keys), f"the batch ended as {batch['status']}")
    for name in ("output_file_id", "error_file_id"):
        if not batch.get(name):
            continue
        for line in service.text(f"/files/{batch[name]}/content").splitlines():
            try:
                row = json.loads(line)
                key = str(row["custom_id"])
            except (ValueError, KeyError, TypeError):
                continue  # the last line of a file that was cut; its request is asked again
            response = row.get("response") or {}
            if key in keys and key not in answers and response.get("status_code") == 200:
                answers[key] = response["body"]
            elif key in keys:
                errors[key] = str(row.get("error") or response.get("body") or "refused")[:300]
    return answers, {key: error for key, error in errors.items() if key not in answers}
