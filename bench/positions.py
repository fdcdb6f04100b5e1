"""How near the event is located: the mean distance, in bp, from where a motif was planted to where each method says.

Two sets, each with exactly one planted instance a sequence. The TAL1/GATA simulation of DeepLIFT's authors (250 bp, the
instance anywhere; sequences whose file tells of one instance of the motif, network trained on the other four fifths),
and one of our own (120 bp, the instance normally distributed about the middle with a standard deviation of 20 bp, as
summits of peaks miss by, of a matrix of some 12 bits; network trained on bound against shuffled sequences). Real data
have no such truth: nothing is said about them here.

Ours is ``whycell sequences locate``: the peak of the smoothed DeepLIFT contributions of bases, or of the units of the
last layer with positions. Beside it, the middle of the window; saturation mutagenesis, by the base whose replacement
costs most, and smoothed as ours is; the plain weighted mean of the last layer's units, as the authors of DeepLIFT
described it; the single base with the largest contribution; and, on the set of our own, the best match of the very
matrix planted. How wide is smoothed (11 letters) was set on sequences that the first network was trained on.

``make bench NAME=positions`` takes some five minutes on one thread; ``WHYCELL_BENCH_SOME=40`` locates 40 a set.
"""

from __future__ import annotations

import csv
import gzip
import os
import sys
import time

import numpy as np
import torch

from _harness import ROOT, report
from whycell.data.sequences import Sequences
from whycell.encode.sequences import one_hot
from whycell.jobs.sequences_locate import profiles
from whycell.jobs.sequences_scores import base_scores
from whycell.metrics.intervals import bootstrap_sums, paired_sums
from whycell.models.sequence import SequenceModel
from whycell.patterns.positions import mean_position, strongest_events

DATA = ROOT.parent / "shared" / "data" / "sequences" / "tal_gata_simulation"
SOME = int(os.environ.get("WHYCELL_BENCH_SOME", "200"))
MOTIFS = {"GATA": "GATA_disc1", "TAL1": "TAL1_known1"}
CONSENSUS, SHARES = "TGACGTCATC", (0.8, 0.9, 0.9, 0.9, 0.7, 0.9, 0.9, 0.9, 0.8, 0.5)
WIDTH, SPREAD, LENGTH = len(CONSENSUS), 20, 120
OURS = ("bases", "neurons of the last layer")
COMPARATORS = ("middle of the window", "mutagenesis, costliest base")


def simulation() -> tuple[Sequences, dict[str, tuple[list[str], np.ndarray]]]:
    """What is learned from, and for each task the sequences located and where their one instance has its middle."""
    letters, found = [], []
    for path in sorted(DATA.glob("*.simdata.gz")):
        with gzip.open(path, "rt") as lines:
            for row in csv.DictReader(lines, delimiter="\t"):
                letters.append(row["sequence"])
                found.append([each for each in (row["embeddings"] or "").split(",") if each])
    holds = np.array([[any(name in each for each in planted) for name in MOTIFS.values()] for planted in found])
    order = np.random.default_rng(0).permutation(len(letters))
    fitted, held = np.split(order, [len(order) * 4 // 5])
    text = np.array(letters, dtype=object)
    learned = Sequences(
        fitted.astype(str).astype(object), text[fitted], labels=holds[fitted].astype(np.float32), tasks=tuple(MOTIFS)
    )
    asked = {}
    for task, name in MOTIFS.items():
        rows = [row for row in held if sum(name in each for each in found[row]) == 1][:SOME]
        planted = [next(each for each in found[row] if name in each) for row in rows]
        asked[task] = ([letters[row] for row in rows], np.array([_middle(each) for each in planted]))
    return learned, asked


def _middle(embedding: str) -> float:
    """Of ``pos-208_GATA_disc1-ACAGATAAGG``."""
    place, motif = embedding.removeprefix("pos-").split("_", 1)
    return int(place) + (len(motif.rsplit("-", 1)[1]) - 1) / 2


def own(n: int, *, seed: int) -> tuple[list[str], np.ndarray]:
    """Sequences with one instance about the middle, on either strand, and where its own middle is."""
    rng = np.random.default_rng(seed)
    codes = rng.choice(4, size=(n, LENGTH), p=(0.29, 0.21, 0.21, 0.29))
    starts = np.rint(rng.normal((LENGTH - WIDTH) / 2, SPREAD, n)).clip(0, LENGTH - WIDTH).astype(int)
    consensus = np.array(["ACGT".index(letter) for letter in CONSENSUS])
    for row, start in zip(codes, starts, strict=True):
        kept = rng.random(WIDTH) < SHARES
        instance = np.where(kept, consensus, rng.integers(0, 4, WIDTH))
        row[start : start + WIDTH] = instance if rng.random() < 0.5 else 3 - instance[::-1]
    return ["".join("ACGT"[code] for code in row) for row in codes], starts + (WIDTH - 1) / 2


def best_match(x: np.ndarray) -> np.ndarray:
    """The middle of the best match of the planted matrix, on either strand."""
    shares = np.array(SHARES)
    matrix = np.tile((1 - shares) / 4, (4, 1))
    matrix[["ACGT".index(letter) for letter in CONSENSUS], np.arange(WIDTH)] += shares
    odds = np.log(matrix * 4)
    windows = np.lib.stride_tricks.sliding_window_view(x, WIDTH, axis=2)
    score = np.maximum(*(np.einsum("nalw,aw->nl", windows, each) for each in (odds, odds[::-1, ::-1])))
    return score.argmax(axis=1) + (WIDTH - 1) / 2


def located(model: SequenceModel, x: np.ndarray, task: str) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Where each method says, and CPU-milliseconds a sequence of those that compute something."""
    found, cost = {"middle of the window": np.full(len(x), (x.shape[2] - 1) / 2)}, {}
    kept = {}
    for by in ("bases", "neurons", "mutagenesis"):
        start = time.process_time()
        kept[by] = np.concatenate([profiles(model, x[i : i + 50], task=task, by=by)[0] for i in range(0, len(x), 50)])
        cost[by] = round(1000 * (time.process_time() - start) / len(x), 1)
    found["bases"] = strongest_events(kept["bases"]).position[:, 0]
    found["neurons of the last layer"] = strongest_events(kept["neurons"]).position[:, 0]
    found["neurons of the last layer, weighted mean of all"] = mean_position(kept["neurons"])
    found["mutagenesis, costliest base"] = kept["mutagenesis"].argmax(axis=1).astype(float)
    found["mutagenesis, smoothed as ours"] = strongest_events(kept["mutagenesis"]).position[:, 0]
    found["largest contribution of a base"] = kept["bases"].argmax(axis=1).astype(float)
    start = time.process_time()
    slopes = base_scores(model.module, x, target=model.tasks_.index(task), method="gradient-times-input")
    cost["gradient x input"] = round(1000 * (time.process_time() - start) / len(x), 1)
    found["gradient x input, smoothed as ours"] = strongest_events(
        np.maximum((slopes.values * x).sum(axis=1), 0)
    ).position[:, 0]
    return found, cost


def _mean(sums: np.ndarray) -> np.ndarray:
    return sums[:, 0] / sums[:, 1]


def _sums(errors: np.ndarray) -> np.ndarray:
    return np.column_stack([errors, np.ones(len(errors))])


def _shown(interval) -> list[float]:
    return [round(each, 2) for each in (interval.value, interval.low, interval.high)]


def main() -> bool:
    torch.set_num_threads(1)
    learned, asked = simulation()
    models = {"simulation": SequenceModel(seed=0, threads=1, device="cpu").fit(learned)}
    text, _ = own(3000, seed=1)
    bound = Sequences(np.arange(3000).astype(str).astype(object), np.array(text, dtype=object))
    models["own"] = SequenceModel(seed=0, threads=1, device="cpu").fit(bound, negatives="shuffle")
    results = {f"AUROC of the network, {name}": _aurocs(model) for name, model in models.items()}
    sets = {f"simulation, {task}": ("simulation", task, *given) for task, given in asked.items()}
    sets["own"] = ("own", "bound", *own(SOME, seed=2))
    limits = {}
    for name, (which, task, text, truth) in sets.items():
        x = one_hot(text)
        found, cost = located(models[which], x, task)
        if which == "own":
            found["best match of the planted matrix"] = best_match(x)
        errors = {method: np.abs(place - truth) for method, place in found.items()}
        results[f"{name}: mean distance in bp (95 % over {len(x)} sequences), share within 3 bp"] = {
            method: [*_shown(bootstrap_sums(_sums(each), _mean)), round(float((each <= 3).mean()), 3)]
            for method, each in errors.items()
        }
        results[f"{name}: CPU-ms a sequence"] = cost
        gains = {}
        for ours in OURS:
            for other in (*COMPARATORS, "mutagenesis, smoothed as ours"):
                gains[f"{other} less {ours}"] = _shown(paired_sums(_sums(errors[other]), _sums(errors[ours]), _mean))
            for other in COMPARATORS:
                gain = float((errors[other] - errors[ours]).mean())
                limits[f"{name}: bp by which {ours} are nearer than {other}"] = (gain, ">=", 0)
        results[f"{name}: bp gained (95 %, paired)"] = gains
        print(name, results, flush=True)
    return report("positions", results, limits=limits)


def _aurocs(model: SequenceModel) -> dict[str, float]:
    return {task: round(float(score["auroc"]), 4) for task, score in model.scores_.items()}


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
