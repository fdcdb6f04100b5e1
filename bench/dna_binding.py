"""Five factors' binding in H1-hESC, learned from bound sequences against shuffles, scored on the given test sets.

Ours, a plain convolutional network (one layer of motif detectors, their best match, a dense layer: DeepBind's shape)
and logistic regression on gapped k-mers (6 letters within 8, and within 10: gkm-SVM's own) see the same bound
sequences; the networks hold out a tenth, by groups of near copies, to stop and to calibrate, which the k-mers learn
from too. Nothing was chosen on the test sets: the shape and numbers of ours, the width and decay of the plain network
and the penalty of the k-mers were set on bound sequences of SRF and TCF12, a fifth of them held out.

``make bench NAME=dna_binding`` takes some fifteen minutes; ``WHYCELL_BENCH_TFS=SRF`` runs one factor,
``WHYCELL_BENCH_THREADS=1`` uses one core of two, and ``WHYCELL_BENCH_MODELS=folder`` keeps the models of ours, which
``known_motifs`` then explains.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from _harness import ROOT, report
from whycell.data.sequences import read_sequences
from whycell.encode.sequences import dinucleotide_shuffle, one_hot
from whycell.metrics.intervals import bootstrap_cells, paired_cells
from whycell.metrics.novelty import auroc
from whycell.models.kmers import GappedKmers
from whycell.models.nets import dna
from whycell.models.sequence import SequenceModel

DATA = ROOT.parent / "shared" / "data" / "sequences" / "chipseq_h1hesc"
ALL = ("SRF", "TCF12", "YY1", "TAF1", "USF1")
FACTORS = tuple(filter(None, os.environ.get("WHYCELL_BENCH_TFS", "").split(","))) or ALL
THREADS = int(os.environ.get("WHYCELL_BENCH_THREADS", "2"))
MODELS = os.environ.get("WHYCELL_BENCH_MODELS")
RIVALS = ("plain", "k-mers 6 in 8", "k-mers 6 in 10")
MOST_WIDE = 10_000  # bound sequences that k-mers within 10 letters learn from at most, for memory


class Plain(nn.Module):
    """DeepBind's shape; takes what ours takes, and does not look at the other strand."""

    def __init__(self, *, n_tasks: int, channels: int, width: int, layers: int, dropout: float):
        super().__init__()
        self.first = nn.Conv1d(4, channels, width)
        self.dense = nn.Sequential(nn.Linear(channels, 64), nn.ReLU(), nn.Dropout(dropout), nn.Linear(64, n_tasks))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dense(torch.relu(self.first(x)).amax(dim=-1))


def main() -> bool:
    torch.set_num_threads(THREADS)
    dna.NETWORKS["plain"] = Plain
    results, better = {}, 0
    slowest = 0.0
    for factor in FACTORS:
        bound = read_sequences(DATA / f"{factor}.bound.seq.gz")
        test = read_sequences(DATA / f"{factor}.test.seq.gz")
        truth = test.labels[:, 0] > 0
        scores, spent = {}, {}
        for name, make in MODELS_COMPARED.items():
            wall, processor = time.perf_counter(), time.process_time()
            scores[name] = make(factor, bound, test)
            spent[name] = [round(time.perf_counter() - wall, 1), round(time.process_time() - processor, 1)]
        slowest = max(slowest, spent["ours"][0])
        row = {"bound": len(bound), "auroc": {}, "seconds, of processors": spent}
        for name, score in scores.items():
            rank = bootstrap_cells(np.arange(len(truth)), lambda at, s=score, t=truth: auroc(s[at], t[at]))
            row["auroc"][name] = [round(v, 4) for v in (rank.value, rank.low, rank.high)]
        for rival in RIVALS:
            gap = paired_cells(
                np.arange(len(truth)),
                lambda at, s=scores["ours"], t=truth: auroc(s[at], t[at]),
                lambda at, s=scores[rival], t=truth: auroc(s[at], t[at]),
            )
            row[f"beyond {rival}"] = [round(v, 4) for v in (gap.value, gap.low, gap.high)]
        better += row["auroc"]["ours"][0] >= max(row["auroc"][rival][0] for rival in RIVALS)
        results[factor] = row
        print(factor, row, flush=True)
    results["threads"] = THREADS
    results["peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    limits = {
        "factors on which ours is best": (better, ">=", 4 if len(FACTORS) == 5 else len(FACTORS)),
        "slowest training, s": (round(slowest, 1), "<=", 300),
    }
    return report("dna_binding", results, limits=limits)


def _ours(factor: str, bound, test) -> np.ndarray:
    model = SequenceModel(threads=THREADS).fit(bound, negatives="shuffle", tested=False)
    if MODELS:
        Path(MODELS).mkdir(parents=True, exist_ok=True)
        model.save(Path(MODELS) / factor, force=True)
    return model.predict_proba(test)[:, 0]


def _plain(factor: str, bound, test) -> np.ndarray:
    model = SequenceModel(network="plain", width=19, threads=THREADS)
    return model.fit(bound, negatives="shuffle", tested=False).predict_proba(test)[:, 0]


def _kmers(bound, test, *, span: int, most: int | None = None) -> np.ndarray:
    rows = np.random.default_rng(0).permutation(len(bound))[:most]
    x = one_hot(list(bound.letters[rows])).astype(np.uint8)
    other = dinucleotide_shuffle(x, 1, seed=0)[:, 0].astype(np.uint8)
    y = np.repeat([1, 0], len(x))
    return GappedKmers(k=6, span=span).fit(np.concatenate([x, other]), y).predict_proba(one_hot(list(test.letters)))


MODELS_COMPARED = {
    "ours": _ours,
    "plain": _plain,
    "k-mers 6 in 8": lambda factor, bound, test: _kmers(bound, test, span=8),
    "k-mers 6 in 10": lambda factor, bound, test: _kmers(bound, test, span=10, most=MOST_WIDE),
}


if __name__ == "__main__":
    sys.exit(not main())
