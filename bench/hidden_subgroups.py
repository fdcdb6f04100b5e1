"""Subgroups that were hidden under one label are found again, and none are claimed where there are none.

Digits called odd or even, five digits under each name; blood cells of two types under one name; clouds, and cells drawn
from the mean profile of one type, under names given by chance. Beside the groups by datamodel weights: the same
clustering (and k-means) of the inputs and of the hidden layer of one network, into the same number of groups. The
method was settled on other draws of the digits (seeds 0 to 4) and on other clouds and cells (seeds 0 to 9).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import numpy as np
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits

from _harness import report
from peers.blood import find_cells, load_study
from whycell.lenses.many import fit_many, train_many
from whycell.lenses.masks import draw_masks
from whycell.patterns.partition import adjusted_rand, partitions
from whycell.patterns.subgroups import Subgroups, find_subgroups
from whycell.patterns.teaching import Teaching

MODELS, SHARE = 4000, 0.1
DIGIT_SEEDS = (100, 101, 102, 103, 104)
FIRST_EMPTY_SEED = 200
#: The merged types; the last two are kin that no clustering of these 1,287 genes into two groups tells apart.
PLANTED = (("CD4 T cells", "B cells"), ("CD14+ Monocytes", "CD4 T cells"))
KIN = (("CD8 T cells", "NK cells"), ("CD14+ Monocytes", "FCGR3A+ Monocytes"))
#: Cells of either type, and of all others.
SIZES = (300, 200, 500)


def taught(x: np.ndarray, y: np.ndarray, *, models: int, seed: int) -> Teaching:
    """What the command computes: linear heads on a tenth of the samples each."""
    x = x / x.std()
    masks = draw_masks(len(x), models, alpha=max(SHARE, 40 / len(x)), kind="fixed", strata=y, seed=seed)
    margins = fit_many("linear", x, y, masks=masks, X_target=x, y_target=y, seed=seed)
    return Teaching(masks, margins, own=np.arange(len(x)))


def hidden_layer(x: np.ndarray, y: np.ndarray, *, seed: int) -> np.ndarray:
    x = x / x.std()
    one = train_many("mlp", x, y, masks=np.ones((1, len(x)), dtype=bool), seed=seed)
    return np.maximum(x @ one.weights[0][0] + one.weights[1][0], 0)


def scores(found: Subgroups, x: np.ndarray, y: np.ndarray, truth: np.ndarray, *, classes: Sequence, k: int) -> dict:
    """Adjusted Rand index with the truth, mean over the classes."""
    hidden = hidden_layer(x, y, seed=0)
    out: dict[str, list[float]] = {}
    for each in found.classes:
        if each.label not in [str(c) for c in classes]:
            continue
        right = np.unique(truth[each.rows], return_inverse=True)[1]
        out.setdefault("weights", []).append(adjusted_rand(right, each.groups))
        for name, rows in (("inputs", x), ("hidden layer", hidden)):
            own = rows[each.rows]
            out.setdefault(f"{name}, Ward", []).append(adjusted_rand(right, partitions(own, [k])[:, 0]))
            guess = KMeans(k, n_init=10, random_state=0).fit_predict(own)
            out.setdefault(f"{name}, k-means", []).append(adjusted_rand(right, guess))
    return {name: float(np.mean(values)) for name, values in out.items()}


def digits(seed: int) -> dict:
    pixels, digit = load_digits(return_X_y=True)
    rows = np.random.default_rng(seed).permutation(len(pixels))[:1000]
    x, digit = (pixels[rows] / 16).astype(np.float32), digit[rows]
    y = digit % 2
    start = time.process_time()
    teaching = taught(x, y, models=MODELS, seed=seed)
    told = find_subgroups(teaching, y, n_groups=5, n_clouds=1, seed=seed)
    seconds = time.process_time() - start
    chosen = find_subgroups(teaching, y, n_clouds=39, rounds=4, seed=seed)
    row = scores(told, x, y, digit, classes=(0, 1), k=5)
    own = [adjusted_rand(digit[c.rows] // 2, c.groups) for c in chosen.classes]
    return row | {
        "weights, number chosen": float(np.mean(own)),
        "numbers chosen": [c.n_groups for c in chosen.classes],
        "cpu_s": seconds,
    }


def kang() -> tuple[np.ndarray, np.ndarray]:
    """Types and principal components of all cells; the components saw no label."""
    from whycell.jobs.subgroups_inputs import read_samples

    cells = read_samples(find_cells() / "kang_ctrl_8donors.h5ad", target="cell_type", threads=1)
    return cells.labels, cells.x


def planted(labels: np.ndarray, x: np.ndarray, pair: tuple[str, str], *, seed: int) -> dict:
    rng = np.random.default_rng(seed)
    pools = [np.flatnonzero(labels == name) for name in pair] + [np.flatnonzero(~np.isin(labels, pair))]
    rows = np.concatenate([rng.choice(pool, size, replace=False) for pool, size in zip(pools, SIZES, strict=True)])
    y = np.where(np.isin(labels[rows], pair), "merged", "other")
    teaching = taught(x[rows], y, models=MODELS, seed=seed)
    told = find_subgroups(teaching, y, n_groups=2, n_clouds=1, seed=seed)
    chosen = find_subgroups(teaching, y, n_clouds=39, rounds=4, seed=seed).classes[0]
    row = scores(told, x[rows], y, labels[rows], classes=("merged",), k=2)
    own = adjusted_rand(np.unique(labels[rows][chosen.rows], return_inverse=True)[1], chosen.groups)
    return row | {"weights, number chosen": own, "number chosen": chosen.n_groups}


def cloud(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two classes, each one normal cloud, in some seeds far apart, in some hardly."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((600, 20)) * np.exp(-np.arange(20) / 6)
    y = np.arange(600) % 2
    x[:, 0] += (0.5, 1.5, 3.0)[seed % 3] * y
    return x.astype(np.float32), y


def one_profile(counts: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Cells with the depths of ``counts`` and its mean profile, overdispersed gene by gene, and names by chance.

    Real cells of one label would not do: 8 % of these B cells lie far from the rest, and are rightly found.
    """
    rng = np.random.default_rng(seed)
    depth = rng.choice(counts.sum(axis=1), 500)
    mean = depth[:, None] * (counts.sum(axis=0) / counts.sum())
    drawn = rng.poisson(rng.gamma(5.0, mean / 5.0))
    logged = np.log1p(1e4 * drawn / drawn.sum(axis=1, keepdims=True))
    logged -= logged.mean(axis=0)
    left, sizes, _ = np.linalg.svd(logged, full_matrices=False)
    return (left[:, :50] * sizes[:50]).astype(np.float32), rng.integers(0, 2, len(drawn))


def claimed(x: np.ndarray, y: np.ndarray, *, seed: int) -> int:
    """Classes said to have subgroups."""
    found = find_subgroups(taught(x, y, models=2000, seed=seed), y, n_clouds=99, rounds=4, most=8, seed=seed)
    return sum(each.n_groups > 1 for each in found.classes)


def mean_and_interval(values: Sequence[float]) -> dict:
    """Mean and its 95 % interval over the draws (Student)."""
    from scipy.stats import t

    half = float(t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return {"mean": round(float(np.mean(values)), 3), "half_interval": round(half, 3)}


def main(seeds: int) -> bool:
    start = time.perf_counter()
    of_digits = [digits(seed) for seed in DIGIT_SEEDS]
    names = [n for n in of_digits[0] if n != "numbers chosen"]
    results: dict = {"digits": {n: mean_and_interval([row[n] for row in of_digits]) for n in names}}
    results["digits, numbers chosen (odd and even, 5 each)"] = [row["numbers chosen"] for row in of_digits]
    limits = {"digits: adjusted Rand, five groups": (results["digits"]["weights"]["mean"], ">=", 0.78)}
    labels, x = kang()
    results["planted cell types"] = {" + ".join(p): planted(labels, x, p, seed=100) for p in (*PLANTED, *KIN)}
    for pair in map(" + ".join, PLANTED):
        limits[f"planted: {pair}"] = (results["planted cell types"][pair]["weights"], ">=", 0.78)
    empty = range(FIRST_EMPTY_SEED, FIRST_EMPTY_SEED + seeds)
    clouds = [claimed(*cloud(seed), seed=seed) for seed in empty]
    study = load_study("kang_ctrl_8donors")
    b_cells = study.counts[study.labels == "B cells"].toarray()
    drawn = [claimed(*one_profile(b_cells, seed), seed=seed) for seed in empty]
    results["groups claimed in clouds"] = clouds
    results["groups claimed in cells of one profile"] = drawn
    limits["clouds: seeds with a claim"] = (float(np.count_nonzero(clouds)), "<=", 0)
    limits["cells of one profile: seeds with a claim"] = (float(np.count_nonzero(drawn)), "<=", 0)
    results["seconds"] = round(time.perf_counter() - start, 1)
    return report("hidden_subgroups", results, limits=limits)


if __name__ == "__main__":
    sys.exit(0 if main(int(sys.argv[1]) if len(sys.argv) > 1 else 20) else 1)
