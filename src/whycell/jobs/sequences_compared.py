"""Two ways to score bases on the same sequences: how alike, and at what cost."""

from __future__ import annotations

import time
from typing import Any

import h5py
import numpy as np
from torch import nn

from whycell.compute import Talk
from whycell.data.sequences import Sequences
from whycell.encode.sequences import one_hot
from whycell.jobs.sequences_scores import base_scores

__all__ = ["COMPARED", "compared"]

#: Sequences on which another method is tried, at most.
COMPARED = 200


def compared(
    group: h5py.Group,
    module: nn.Module,
    sequences: Sequences,
    talk: Talk,
    *,
    methods: tuple[str, str],
    what: dict[str, Any],
) -> dict[str, Any]:
    """How alike the contributions by two methods are, sequence by sequence, and what either costs.

    Writes ``compared`` into ``group``: ``rows`` (m,), ``contributions`` (m, length) by the second method, and
    ``correlation`` (m,), Pearson's over the bases of each sequence.

    Parameters
    ----------
    group
        Of a task, in the file of scores.
    module
        What is explained.
    sequences
        All of them; up to ``COMPARED``, evenly spread, are scored.
    talk
        Told of progress.
    methods
        Two of ``jobs.sequences_scores.METHODS``.
    what
        Further arguments of ``base_scores``.

    Returns
    -------
    ``with``, ``median``, ``quartiles``, ``n``, and ``cpu_s_each`` by method.
    """
    rows = np.unique(np.linspace(0, len(sequences) - 1, min(COMPARED, len(sequences))).astype(np.int64))
    found: dict[str, list[np.ndarray]] = {method: [] for method in methods}
    seconds = dict.fromkeys(methods, 0.0)
    with talk.progress(f"comparing with {methods[1]}", len(rows)) as bar:
        for part in np.array_split(rows, -(-len(rows) // 16)):
            x = one_hot(list(sequences.letters[part]))
            for method in methods:
                begun = time.process_time()
                scores = base_scores(module, x, method=method, **what)
                seconds[method] += time.process_time() - begun
                found[method].append((scores.values * x).sum(axis=1))
            bar.advance(len(part))
    first, second = (np.concatenate(found[method]) for method in methods)
    alike = np.array([_correlation(a, b) for a, b in zip(first, second, strict=True)])
    kept = group.create_group("compared")
    kept.attrs["method"] = methods[1]
    for name, values in (("rows", rows), ("contributions", second), ("correlation", alike)):
        kept.create_dataset(name, data=values)
    low, middle, high = np.nanquantile(alike, [0.25, 0.5, 0.75]).round(4).tolist()
    each = {method: round(total / len(rows), 5) for method, total in seconds.items()}
    return {"with": methods[1], "median": middle, "quartiles": [low, high], "n": len(rows), "cpu_s_each": each}


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else float("nan")
