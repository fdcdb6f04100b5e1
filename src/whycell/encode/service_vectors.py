"""Vectors of texts from a service, through batches or plain calls, each text paid once.

What the cache of vectors holds is not asked for. Batches are journalled as those of ``genes describe`` are, so a run
that was killed finds its own again; once every vector is in the cache the journal has done its work and goes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from whycell.compute import Talk
from whycell.data.fetch import cache_folder
from whycell.encode.batches import Estimate, estimate, run_batches, run_one_by_one
from whycell.encode.gene_vectors import unit_rows
from whycell.encode.journal import Journal, Request
from whycell.encode.service import ServiceEncoder, ServiceError
from whycell.encode.text import VectorCache
from whycell.errors import UsageError

__all__ = ["ServiceVectors", "service_vectors"]

_PATH = "/v1/embeddings"
_TEXTS_A_CALL = 128


@dataclass(frozen=True)
class ServiceVectors:
    """What a service answered.

    Parameters
    ----------
    vectors
        (n_answered, n_dims) float32 of length one, in the order of the texts.
    answered
        (n,) bool, which texts have one.
    errors
        Text -> what the service said of it.
    """

    vectors: np.ndarray
    answered: np.ndarray
    errors: dict[str, str]


def service_vectors(
    texts: Sequence[str],
    encoder: ServiceEncoder,
    *,
    journal: Path,
    batch: bool = False,
    prices: tuple[float, float] | None = None,
    agreed: Callable[[Estimate], bool] = lambda _: True,
    cache: str | Path | None = None,
    talk: Talk | None = None,
) -> ServiceVectors:
    """Vectors of texts.

    Parameters
    ----------
    texts
        (n,) texts; equal ones are asked for once.
    encoder
        The service and its model.
    journal
        File that requests are noted in while they are on their way.
    batch
        One request a text through ``/v1/batches``, at half the price and within a day; else 128 texts a plain call.
    prices
        Of a million tokens in, and out.
    agreed
        Asked once, before anything is sent.
    cache
        Folder of the cache; ``None`` is the user's own.
    talk
        Told of progress.

    Raises
    ------
    UsageError
        No texts, or no agreement.
    ServiceError
        The service refuses, cannot be reached, or answered no text at all.
    """
    if not len(texts):
        msg = "There are no texts to encode."
        raise UsageError(msg)
    with closing(VectorCache(cache_folder() if cache is None else cache)) as store:
        keys = {text: store.key(encoder.fingerprint, text) for text in dict.fromkeys(texts)}
        held = store.get(list(keys.values()))
        missing = sorted(text for text, key in keys.items() if key not in held)
        size = 1 if batch else _TEXTS_A_CALL
        parts = [missing[start : start + size] for start in range(0, len(missing), size)]
        asked = {request.custom_id: (request, part) for part in parts for request in [_request(part, encoder)]}
        requests = {key: request for key, (request, _) in asked.items()}
        with closing(Journal(journal)) as noted:
            if requests and not agreed(estimate(requests, noted, prices=prices)):
                msg = "Nothing was sent, since it was not agreed to; --yes agrees beforehand."
                raise UsageError(msg)
            run = run_batches if batch else run_one_by_one
            answers = run(requests, encoder.service, journal=noted, talk=talk)
            refused = noted.failures(list(requests))
        errors = {text: refused[key] for key, (_, part) in asked.items() if key in refused for text in part}
        for key, (_, part) in asked.items():
            if key not in answers:
                continue
            rows = _rows(answers[key], len(part))
            if rows is None:
                errors |= dict.fromkeys(part, "the answer holds no vector for each text")
                continue
            store.put([keys[text] for text in part], rows)
            held.update(zip((keys[text] for text in part), rows, strict=True))
    if not errors:
        journal.unlink(missing_ok=True)
    answered = np.array([keys[text] in held for text in texts], dtype=bool)
    if not answered.any():
        msg = f"{encoder.service.url} gave no vector ({next(iter(errors.values()))})."
        raise ServiceError(msg)
    return ServiceVectors(np.stack([held[keys[text]] for text in texts if keys[text] in held]), answered, errors)


def _request(part: Sequence[str], encoder: ServiceEncoder) -> Request:
    body = {"model": encoder.model, "input": list(part)} | ({"dimensions": encoder.dims} if encoder.dims else {})
    return Request(_PATH, body)


def _rows(answer: Mapping[str, Any], n: int) -> np.ndarray | None:
    """(n, n_dims) vectors placed by their index; ``None`` where one is absent."""
    by_index = {int(each["index"]): each["embedding"] for each in answer.get("data", ())}
    if set(by_index) != set(range(n)):
        return None
    return unit_rows(np.array([by_index[i] for i in range(n)], dtype=np.float32))
