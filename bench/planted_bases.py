"""Do explanations find the bases that were planted? The TAL1/GATA simulation of DeepLIFT's authors.

A convolutional network learns from sequences of 250 bp which of two motifs they hold: three tasks, GATA, TAL1, both.
Held-out sequences are then explained at the logit of each task that is true of them, and the bases of that task's
planted motifs are looked for among all others: AUROC and average precision (AUPRC) within each sequence, averaged over
its tasks and over three networks that began with other weights. Intervals are over sequences, paired where two methods
are compared; what each network says by itself stands beside them.

A base is scored in two ways, and like is compared with like: by what *the base that stands there* adds (gradient x
input, contributions, the mean effect of replacing it), and by the largest size over *all four letters* at its position
(saliency, hypothetical contributions, the largest effect), which sees also where another letter would matter.

References are 20 dinucleotide shuffles of each sequence wherever a method takes any. Nothing was chosen on the
sequences explained: each network is that of the pass with the lowest loss on the validation part, every method has
its defaults, and the two ways of scoring were set down on the validation part. ``make bench NAME=planted_bases`` takes
some minutes on one thread.
"""

from __future__ import annotations

import csv
import gzip
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import nn

from _harness import ROOT, report
from whycell.encode.sequences import dinucleotide_shuffle, one_hot
from whycell.lenses import gradient, hypothetical, in_silico_perturbation, mutation_effects
from whycell.metrics.intervals import Interval, bootstrap_sums, paired_sums

DATA = ROOT.parent / "shared" / "data" / "sequences" / "tal_gata_simulation"
TASKS = ("GATA_disc1", "TAL1_known1", "both")
#: Explained sequences of each kind that holds a motif; shuffles of each; networks.
EXPLAINED, SHUFFLES, NETWORKS = 70, 20, 3
OURS = ("RevealCancel", "genomics mix")
COMPARATORS = (
    "gradient (x input)",
    "gradient (x input), corrected",
    "integrated gradients",
    "expected gradients",
    "in-silico mutagenesis",
)
WAYS = ("the base that stands there", "all four letters")

Scores = tuple[np.ndarray, np.ndarray]
Method = Callable[[nn.Module, np.ndarray, np.ndarray, int], Scores]


@dataclass(frozen=True)
class Sequences:
    """One-hot sequences, (n, 3) tasks, and (n, 2, length) bases planted with either motif."""

    x: np.ndarray
    tasks: np.ndarray
    planted: np.ndarray
    kind: np.ndarray

    def __getitem__(self, rows: np.ndarray) -> Sequences:
        return Sequences(self.x[rows], self.tasks[rows], self.planted[rows], self.kind[rows])

    def bases_of(self, task: int) -> np.ndarray:
        """(n, length) whether a base is planted for the task."""
        return self.planted[:, task] if task < 2 else self.planted.any(axis=1)


def read(folder: Path) -> Sequences:
    letters, planted, kinds = [], [], []
    for kind, path in enumerate(sorted(folder.glob("*.simdata.gz"))):
        with gzip.open(path, "rt") as lines:
            for row in csv.DictReader(lines, delimiter="\t"):
                letters.append(row["sequence"])
                planted.append(_planted(row["sequence"], row["embeddings"] or ""))
                kinds.append(kind)
    planted = np.array(planted)
    holds = planted.any(axis=2)
    tasks = np.column_stack([holds, holds.all(axis=1)]).astype(np.float32)
    return Sequences(one_hot(letters), tasks, planted, np.array(kinds))


def _planted(sequence: str, embeddings: str) -> np.ndarray:
    """``pos-208_GATA_disc1-ACAGATAAGG,...`` as (2, length)."""
    mask = np.zeros((2, len(sequence)), dtype=bool)
    for each in filter(None, embeddings.split(",")):
        place, motif = each.removeprefix("pos-").split("_", 1)
        name, letters = motif.rsplit("-", 1)
        start = int(place)
        if sequence[start : start + len(letters)] != letters:
            raise ValueError(f"{each} is not at its place in {sequence}")
        mask[TASKS.index(name), start : start + len(letters)] = True
    return mask


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(4, 32, 11),
        nn.ReLU(),
        nn.MaxPool1d(4),
        nn.Conv1d(32, 32, 7),
        nn.ReLU(),
        nn.MaxPool1d(4),
        nn.Flatten(),
        nn.Linear(32 * 13, 32),
        nn.ReLU(),
        nn.Linear(32, 3),
    )


def train(fitted: Sequences, watched: Sequences, *, seed: int, epochs: int = 40) -> tuple[nn.Module, list[float]]:
    """Adam; the weights of the pass with the lowest loss on ``watched``, and that loss after each pass."""
    torch.manual_seed(seed)
    module = network()
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    loss_of = nn.BCEWithLogitsLoss()
    x, y = torch.tensor(fitted.x), torch.tensor(fitted.tasks)
    losses: list[float] = []
    best = module.state_dict()
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            loss_of(module(x[rows]), y[rows]).backward()
            optimizer.step()
        with torch.no_grad():
            losses.append(float(loss_of(module(torch.tensor(watched.x)), torch.tensor(watched.tasks))))
        if losses[-1] == min(losses):
            best = {name: each.clone() for name, each in module.state_dict().items()}
    module.load_state_dict(best)
    return module.eval(), losses


def methods() -> dict[str, Method]:
    """By name: (module, x, shuffles, task) to the two scores of every base, each (n, length)."""

    def letters(rule: str) -> Method:
        def by_rule(m: nn.Module, x: np.ndarray, shuffles: np.ndarray, task: int) -> Scores:
            values = hypothetical(m, x, reference=shuffles, target=task, rule=rule).values
            return (values * x).sum(axis=1), np.abs(values).max(axis=1)

        return by_rule

    def slope(simplex: int | None) -> Method:
        def by_slope(m: nn.Module, x: np.ndarray, shuffles: np.ndarray, task: int) -> Scores:
            values = gradient(m, x, target=task, simplex=simplex).values
            return (values * x).sum(axis=1), np.abs(values).max(axis=1)

        return by_slope

    def mutagenesis(m: nn.Module, x: np.ndarray, shuffles: np.ndarray, task: int) -> Scores:
        here = in_silico_perturbation(m, x, target=task, simplex=1).values.sum(axis=1)
        return here, np.abs(mutation_effects(m, x, target=task)).max(axis=1)

    return {
        "Rescale": letters("rescale"),
        "RevealCancel": letters("reveal-cancel"),
        "genomics mix": letters("genomics"),
        "gradient (x input)": slope(None),
        "gradient (x input), corrected": slope(1),
        "integrated gradients": letters("integrated gradients"),
        "expected gradients": letters("expected gradients"),
        "in-silico mutagenesis": mutagenesis,
    }


def scored(method: Method, module: nn.Module, held: Sequences, shuffles: np.ndarray) -> np.ndarray:
    """(n, 2, 2) for both ways, AUROC and average precision of each sequence, the mean over its tasks."""
    sums, counts = np.zeros((len(held.x), 2, 2)), held.tasks.sum(axis=1)
    for task in range(3):
        rows = np.flatnonzero(held.tasks[:, task])
        truths = held.bases_of(task)[rows]
        for way, values in enumerate(method(module, held.x[rows], shuffles[rows], task)):
            for row, truth, score in zip(rows, truths, values, strict=True):
                sums[row, way] += roc_auc_score(truth, score), average_precision_score(truth, score)
    return sums / counts[:, None, None]


def _mean(sums: np.ndarray) -> np.ndarray:
    return sums[:, 0] / sums[:, 1]


def _shown(interval: Interval) -> list[float]:
    return [round(each, 4) for each in (interval.value, interval.low, interval.high)]


def _sums(values: np.ndarray) -> np.ndarray:
    return np.column_stack([values, np.ones(len(values))])


def main() -> bool:
    torch.set_num_threads(1)
    everything = read(DATA)
    order = np.random.default_rng(0).permutation(len(everything.x))
    fitted, watched, held = (everything[rows] for rows in np.split(order, [5600, 6400]))
    modules, trained = [], []
    for seed in range(NETWORKS):
        module, losses = train(fitted, watched, seed=seed)
        with torch.no_grad():
            logits = module(torch.tensor(held.x)).numpy()
        right = {name: round(float(roc_auc_score(held.tasks[:, t], logits[:, t])), 4) for t, name in enumerate(TASKS)}
        trained.append({"lowest loss on validation": round(min(losses), 4), "AUROC on all held out": right})
        modules.append(module)

    kinds = np.unique(held.kind[held.tasks.any(axis=1)])
    held = held[np.sort(np.concatenate([np.flatnonzero(held.kind == kind)[:EXPLAINED] for kind in kinds]))]
    shuffles = dinucleotide_shuffle(held.x, SHUFFLES, seed=0)
    by_network, seconds = {}, {}
    for name, method in methods().items():
        start = time.process_time()
        by_network[name] = np.stack([scored(method, module, held, shuffles) for module in modules])
        seconds[name] = round((time.process_time() - start) / NETWORKS, 1)

    results = {
        "networks": trained,
        "sequences explained": len(held.x),
        "explaining, CPU-s a network (both ways, all tasks)": seconds,
    }
    limits = {}
    for at, (way, score) in enumerate((way, score) for way in WAYS for score in ("AUROC", "AUPRC")):
        apart = {name: values.reshape(NETWORKS, -1, 4)[:, :, at] for name, values in by_network.items()}
        each = {name: _sums(values.mean(axis=0)) for name, values in apart.items()}
        best = max(OURS, key=lambda name: each[name].mean(axis=0)[0])
        gains = {name: paired_sums(each[best], each[name], _mean) for name in COMPARATORS}
        results[f"{way}: {score} (95 % over sequences), and what {best} gains"] = {
            name: _shown(bootstrap_sums(rows, _mean)) + (_shown(gains[name]) if name in gains else [])
            for name, rows in each.items()
        }
        means = {name: values.mean(axis=1) for name, values in apart.items()}
        ahead = np.max([means[name] for name in OURS], axis=0) - np.max([means[name] for name in COMPARATORS], axis=0)
        results[f"{way}: {score}, what ours gains over the best comparator in each network"] = ahead.round(4).tolist()
        least = min(gain.value for gain in gains.values())
        limits[f"{way}: {score} of {best} less that of the best comparator"] = (least, ">=", 0.0)
        print(f"   {way}: {score}")
        for name, rows in each.items():
            print(f"      {name:30} {_shown(bootstrap_sums(rows, _mean))}")
    return report("planted_bases", results, limits=limits)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
