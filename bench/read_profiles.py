"""Reads at every base, learned from planted footprints: ours, a plain network of the same size, and the mean profile.

Two motifs leave footprints of different shapes, one of them lopsided, so that its strand matters; a motif of the other
kind within 60 bases doubles the reads of both. Reads are drawn (Poisson) about rates that are known, so that the answer
can be held against the truth and not against noise alone. Ours and the plain network have the same layers, heads, loss,
steps and sequences; the plain one's convolutions are not dilated and pass nothing by. Nothing was chosen on the
sequences that are scored.

``make bench NAME=read_profiles`` takes some two minutes of processor time; ``WHYCELL_BENCH_SIZE=300`` tries it out.
"""

from __future__ import annotations

import os
import resource
import sys
import time

import numpy as np
import torch
from torch import nn

from _harness import report
from whycell.data.sequences import Sequences
from whycell.encode.sequences import one_hot
from whycell.metrics.intervals import paired_cells
from whycell.metrics.profiles import js_divergence
from whycell.models.nets import profile
from whycell.models.sequence import SequenceModel

N = int(os.environ.get("WHYCELL_BENCH_SIZE", "2000"))
LENGTH, OUT, TESTED = 300, 240, 500
MOTIFS = {"CREB": "TGACGTCA", "GATA": "AGATAAGG"}
BACKGROUND, NEAR = 0.02, 60
#: Rates about the middle of a motif, 25 bases either way, on its own strand.
SHAPES = {
    "CREB": np.exp(-(((np.abs(np.arange(-25, 26)) - 11) / 4) ** 2)),
    "GATA": 1.2 * np.exp(-(((np.arange(-25, 26) - 15) / 5) ** 2)),
}
NETWORK = {"channels": 32, "layers": 6, "least_steps": 600, "epochs": 12, "batch": 64, "seed": 0}


class Plain(profile.Profile):
    """The same layers without dilation, each on top of the last alone."""

    def __init__(self, *, n_tasks: int, out_length: int, channels: int, width: int, layers: int, dropout: float):
        sizes = {"channels": channels, "width": width, "layers": layers, "dropout": dropout}
        super().__init__(n_tasks=n_tasks, out_length=out_length, **sizes)
        self.further = nn.ModuleList(nn.Conv1d(channels, channels, 3, padding=1) for _ in range(layers))

    def _read(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.relu(self.first(x))
        for layer in self.further:
            h = torch.relu(layer(h))
        return h


def planted(n: int, *, seed: int) -> tuple[Sequences, np.ndarray, np.ndarray]:
    """Sequences, (n, 1, OUT) reads drawn, and (n, OUT) the rates that they were drawn from."""
    rng = np.random.default_rng(seed)
    letters = rng.choice(list("ACGT"), (n, LENGTH))
    rate = np.full((n, LENGTH + 100), BACKGROUND)
    turned = str.maketrans("ACGT", "TGCA")
    for row in range(n):
        free, placed = np.ones(LENGTH, dtype=bool), []
        for _ in range(rng.poisson(1.6)):
            at = int(rng.integers(20, LENGTH - 28))
            if not free[at - 10 : at + 18].all():
                continue
            free[at - 10 : at + 18] = False
            name, forward = str(rng.choice(list(MOTIFS))), bool(rng.random() < 0.5)
            text = MOTIFS[name] if forward else MOTIFS[name].translate(turned)[::-1]
            letters[row, at : at + 8] = list(text)
            placed.append((at + 4, name, forward))
        for middle, name, forward in placed:
            partner = any(abs(m - middle) <= NEAR and other != name for m, other, _ in placed)
            shape = SHAPES[name] if forward else SHAPES[name][::-1]
            rate[row, 50 + middle - 25 : 50 + middle + 26] += shape * (2 if partner else 1)
    rate = rate[:, 50 + (LENGTH - OUT) // 2 :][:, :OUT]
    text = np.array(["".join(row) for row in letters], dtype=object)
    names = np.array([f"s{i}" for i in range(n)], dtype=object)
    reads = rng.poisson(rate)[:, None].astype(np.float32)
    return Sequences(names, text, tasks=("reads",)), reads, rate


def main() -> bool:
    torch.set_num_threads(1)
    profile.PROFILE_NETWORKS["plain"] = Plain
    sequences, reads, _ = planted(N, seed=0)
    tested, counted, rate = planted(TESTED, seed=1)
    x, group = one_hot(list(tested.letters)), np.arange(TESTED)
    with_motif = rate.max(axis=1) > 2 * BACKGROUND
    rows, away, results = {}, {}, {}
    for name in ("dilated", "plain"):
        start = time.process_time()
        model = SequenceModel(kind="profile", network=name, threads=1, device="cpu", **NETWORK)
        model.fit(sequences, reads, tested=False)
        seconds = time.process_time() - start
        predicted = model.predict_profile(x)[:, 0]
        away[name] = js_divergence(predicted, rate)
        rows[name] = {
            "weights": sum(p.numel() for p in model.net_.parameters()),
            "cpu_seconds": round(seconds, 1),
            "passes": len(model.curve_),
            **_scores(predicted, predicted.sum(axis=1), counted[:, 0], rate),
        }
        print(name, rows[name], flush=True)
    mean = np.repeat(reads.sum(axis=0), TESTED, axis=0)
    away["mean profile"] = js_divergence(mean, rate)
    rows["mean profile"] = _scores(mean, None, counted[:, 0], rate)
    rows["the true rates"] = _scores(rate, rate.sum(axis=1), counted[:, 0], rate)
    for rival in ("plain", "mean profile"):
        gap = paired_cells(
            group, lambda at, r=rival: float(away[r][at].mean()), lambda at: float(away["dilated"][at].mean())
        )
        results[f"nearer to the truth than {rival}, bits"] = [round(v, 4) for v in (gap.value, gap.low, gap.high)]
    results |= rows
    results["sequences with a motif"] = int(with_motif.sum())
    results["peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    ours, right = rows["dilated"], rows["the true rates"]
    gained = (rows["mean profile"]["jsd"] - ours["jsd"]) / (rows["mean profile"]["jsd"] - right["jsd"])
    limits = {
        "part of the way from the mean profile to the true rates": (round(gained, 3), ">=", 0.9),
        "Spearman of counts, of that of the true rates": (round(ours["spearman"] / right["spearman"], 3), ">=", 0.9),
        "divergence from the truth, of the plain network's": (
            round(ours["jsd_from_truth"] / rows["plain"]["jsd_from_truth"], 3),
            "<=",
            1.0,
        ),
    }
    return report("read_profiles", results, limits=limits)


def _scores(profile: np.ndarray, count: np.ndarray | None, counted: np.ndarray, rate: np.ndarray) -> dict[str, float]:
    """Divergence from the reads drawn and from the rates they were drawn from, and the rank correlation of counts."""
    from scipy.stats import spearmanr

    some = counted.sum(axis=1) > 0
    found = {
        "jsd": float(js_divergence(profile[some], counted[some]).mean()),
        "jsd_from_truth": float(js_divergence(profile, rate).mean()),
    }
    if count is not None:
        found["spearman"] = float(spearmanr(count, counted.sum(axis=1)).statistic)
    return {name: round(value, 4) for name, value in found.items()}


if __name__ == "__main__":
    sys.exit(not main())
