"""Five factors' binding in H1-hESC, learned from bound sequences against shuffles, scored on the given test sets.

Ours, a plain convolutional network (one layer of motif detectors, their best match, a dense layer: DeepBind's shape)
and logistic regression on gapped k-mers see the same bound sequences; the networks hold out a tenth, by groups of near
copies, to stop and to calibrate, which the k-mers learn from too. Nothing was chosen on the test sets: the network's
shape and learning rate were set on SRF's bound sequences, a fifth of them held out.

``make bench NAME=dna_binding`` takes some ten minutes; ``WHYCELL_BENCH_TFS=SRF`` runs one.
"""

from __future__ import annotations

import os
import resource
import sys
import time

import numpy as np
import torch
from torch import nn

from _harness import ROOT, report
from whycell.data.sequences import read_sequences
from whycell.encode.sequences import dinucleotide_shuffle, one_hot
from whycell.metrics.intervals import paired_cells
from whycell.metrics.novelty import auroc
from whycell.models.kmers import GappedKmers
from whycell.models.nets import dna
from whycell.models.sequence import SequenceModel

DATA = ROOT.parent / "shared" / "data" / "sequences" / "chipseq_h1hesc"
FACTORS = tuple(filter(None, os.environ.get("WHYCELL_BENCH_TFS", "").split(","))) or (
    "SRF",
    "USF1",
    "YY1",
    "TCF12",
    "TAF1",
)
MOST_KMERS = 10_000  # bound sequences that the k-mers learn from at most: their matrix grows with them


class Plain(nn.Module):
    """DeepBind's shape; takes what ours takes, and does not look at the other strand."""

    def __init__(self, *, n_tasks: int, channels: int = 64, width: int = 19, layers: int = 1, dropout: float = 0.3):
        super().__init__()
        self.first = nn.Conv1d(4, channels, width)
        self.dense = nn.Sequential(nn.Linear(channels, 64), nn.ReLU(), nn.Dropout(dropout), nn.Linear(64, n_tasks))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dense(torch.relu(self.first(x)).amax(dim=-1))


def main() -> bool:
    torch.set_num_threads(2)
    dna.NETWORKS["plain"] = Plain
    results, better = {}, 0
    slowest = 0.0
    for factor in FACTORS:
        bound = read_sequences(DATA / f"{factor}.bound.seq.gz")
        test = read_sequences(DATA / f"{factor}.test.seq.gz")
        truth = test.labels[:, 0] > 0
        scores, seconds = {}, {}
        for name in ("dilated", "plain"):
            start = time.perf_counter()
            model = SequenceModel(network=name, seed=0).fit(bound, negatives="shuffle", tested=False)
            seconds[name] = time.perf_counter() - start
            scores[name] = model.predict_proba(test)[:, 0]
        scores["gapped k-mers"] = _kmers(bound, test)
        slowest = max(slowest, seconds["dilated"])
        values = {name: round(auroc(score, truth), 4) for name, score in scores.items()}
        row = {"bound": len(bound), "auroc": values, "seconds": {k: round(v, 1) for k, v in seconds.items()}}
        for rival in ("plain", "gapped k-mers"):
            gap = paired_cells(
                np.arange(len(truth)),
                lambda at, s=scores["dilated"], t=truth: auroc(s[at], t[at]),
                lambda at, s=scores[rival], t=truth: auroc(s[at], t[at]),
            )
            row[f"beyond {rival}"] = [round(v, 4) for v in (gap.value, gap.low, gap.high)]
        better += values["dilated"] >= max(values.values())
        results[factor] = row
        print(factor, row, flush=True)
    results["peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    limits = {
        "factors on which ours is best": (better, ">=", 4 if len(FACTORS) == 5 else len(FACTORS)),
        "slowest training, s": (round(slowest, 1), "<=", 300),
    }
    return report("dna_binding", results, limits=limits)


def _kmers(bound, test) -> np.ndarray:
    rows = np.random.default_rng(0).permutation(len(bound))[:MOST_KMERS]
    x = one_hot(list(bound.letters[rows])).astype(np.uint8)
    other = dinucleotide_shuffle(x, 1, seed=0)[:, 0].astype(np.uint8)
    y = np.repeat([1, 0], len(x))
    return GappedKmers().fit(np.concatenate([x, other]), y).predict_proba(one_hot(list(test.letters)))


if __name__ == "__main__":
    sys.exit(not main())
