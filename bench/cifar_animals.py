"""Pictures: animals against machines, on the CIFAR-10 subset, 25 % masks.

The model is a head of Laplace kernel ridge on frozen answers of a dictionary of patches (Coates, Lee & Ng 2011), which
sees no label. Ten test pictures with their supporters and opponents, and the subgroups with their members, are put on
``bench/results/cifar_animals.html``; the subgroups are held against the ten true classes, which no model was told.
The number of training pictures (6,000 at most) and another kind of head may be given.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from _harness import RESULTS, report
from peers.blood import find_cells
from whycell.jobs.subgroups import subgroups_of
from whycell.jobs.subgroups_inputs import Samples, read_samples
from whycell.lenses.many import fit_many
from whycell.lenses.masks import draw_masks
from whycell.metrics.attribution import lds
from whycell.patterns.partition import adjusted_rand, partitions
from whycell.patterns.teaching import unit_rows

MACHINES = ("airplane", "automobile", "ship", "truck")
MODELS, SHARE, HELD_OUT = 4000, 0.25, 200
#: Groups shown of each class, whether or not stability supports them.
SHOWN = 4


def pictures(folder: Path) -> tuple[Samples, np.ndarray, np.ndarray]:
    """The pictures under two names, whether each may be trained on, and its true class."""
    with np.load(find_cells().parent / "images" / "cifar10_subset.npz", allow_pickle=False) as file:
        images, names, train = file["images"], file["classes"][file["labels"]], file["is_train"]
    two = np.where(np.isin(names, MACHINES), "machine", "animal")
    label = np.array([f"{'train' if t else 'test'} {c} {i}" for i, (t, c) in enumerate(zip(train, names, strict=True))])
    np.savez(folder / "cifar10.npz", images=images, kind=two, names=label)
    return read_samples(folder / "cifar10.npz", target="kind"), train, names


def main(n_train: int, kind: str) -> bool:
    start, cpu = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        samples, train, true = pictures(folder)
        test = np.flatnonzero(~train)
        shown = np.concatenate([test[true[test] == c][:1] for c in np.unique(true)])
        RESULTS.mkdir(exist_ok=True)
        result = subgroups_of(
            samples,
            folder / "groups",
            trained=train,
            n_models=MODELS,
            kind=kind,
            share=SHARE,
            most_samples=n_train,
            n_groups=SHOWN,
            show=tuple(samples.names[shown]),
            report=RESULTS / "cifar_animals.html",
        )
        weights = np.load(folder / "groups" / "weights.npy", allow_pickle=False)
    seconds, cpu_s = time.perf_counter() - start, time.process_time() - cpu
    at = {name: i for i, name in enumerate(samples.names)}
    order = np.array([at[name] for name in result.samples["sample"]])
    units = order[result.samples["clustered"].to_numpy()]
    tested = np.isin(order, test)
    margin = result.samples["margin"].to_numpy()
    results: dict = {
        "training pictures": len(units),
        "models": f"{MODELS} {kind}",
        "share of right calls of the 25 % models on test pictures": float((margin[tested] > 0).mean()),
        "stability of the groups shown, and of clouds": {
            str(row.label): [round(row.stability, 3), round(row.expected, 3), row.p_value]
            for row in result.classes.itertuples()
        },
    }
    results["adjusted Rand index with the true classes"] = agreements(result, samples, weights, order, units, true)
    results["linear datamodeling score, test pictures"] = held_out_score(samples, weights, order, units, tested, kind)
    results["of ten test pictures' six supporters, of the same true class"] = same_class(result, samples, true, at)
    results["seconds"], results["cpu_s"] = round(seconds, 1), round(cpu_s, 1)
    limits = {
        "minutes": (seconds / 60, "<=", 15),
        "test pictures with supporters and opponents": (float(result.supporters["sample"].nunique()), ">=", 10),
        "score on masks not used": (results["linear datamodeling score, test pictures"], ">=", 0.3),
    }
    return report("cifar_animals", results, limits=limits)


def agreements(result, samples: Samples, weights: np.ndarray, order: np.ndarray, units: np.ndarray, true) -> dict:
    """Of the groups shown, and of as many groups as there are true classes: by weights and by the inputs."""
    out: dict = {}
    groups = np.unique(result.samples["group"], return_inverse=True)[1]
    chosen = groups[: len(units)]
    codes = np.unique(true, return_inverse=True)[1]
    out["all pictures, four groups a class"] = adjusted_rand(codes[units], chosen)
    for label, k in (("animal", 6), ("machine", 4)):
        rows = np.flatnonzero(samples.labels[units] == label)
        own = np.unique(codes[units[rows]], return_inverse=True)[1]
        by_weights = partitions(unit_rows(weights[rows]), [k])[:, 0]
        by_inputs = partitions(samples.x[units[rows]], [k])[:, 0]
        out[f"{label}s, {k} groups"] = {
            "weights": adjusted_rand(own, by_weights),
            "inputs": adjusted_rand(own, by_inputs),
        }
    return out


def held_out_score(samples: Samples, weights: np.ndarray, order: np.ndarray, units: np.ndarray, tested, kind) -> float:
    """Mean rank correlation of predicted and trained margins over masks that fitted nothing."""
    x = samples.x / samples.x[units].std()
    masks = draw_masks(len(units), HELD_OUT, alpha=SHARE, kind="fixed", strata=samples.labels[units], seed=999)
    targets = order[tested]
    margins = fit_many(
        kind, x[units], samples.labels[units], masks=masks, X_target=x[targets], y_target=samples.labels[targets]
    )
    return float(np.mean(lds(weights[tested], masks, margins)))


def same_class(result, samples: Samples, true: np.ndarray, at: dict) -> float:
    helps = result.supporters[result.supporters["role"] == "helps"]
    return float(np.mean([true[at[a]] == true[at[b]] for a, b in zip(helps["sample"], helps["other"], strict=True)]))


if __name__ == "__main__":
    sys.exit(0 if main(int((sys.argv[1:] or ["3000"])[0]), (sys.argv[2:] or ["kernel"])[0]) else 1)
