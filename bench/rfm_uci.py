"""Twenty-five UCI classification sets: whycell's feature machine beside xRFM, a random forest, LightGBM and an RBF SVM.

Five stratified outer folds, once; whatever is chosen is chosen inside the training rows. All read the same coordinates
(numbers standardised, gaps marked, categories as 0 and 1). Peers choose by small grids: the forest by its out-of-bag
score, LightGBM and the SVM by three inner folds, xRFM by a fifth of the training rows, which it needs in any case; it
is also run as it comes. whycell has no grid: it is run as it comes. CPU seconds are of one thread, ours and xRFM's
always of this run; answers of the other peers are kept in ``WHYCELL_PEERS_CACHE`` where that is set, by content.

Defaults were not chosen on the test folds here: see docs/rfm.md.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from lightgbm import LGBMClassifier
from scipy.stats import rankdata
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits
from xrfm import xRFM

from _harness import report
from peers.blood import find_cells
from whycell.data.tables import read_frame, read_samples
from whycell.models.rfm import RecursiveFeatureMachineClassifier
from whycell.models.rfm.encoding import Columns, Encoding

FOLDS = 5
#: In wine the class is the first column; in all others it is the last.
FIRST = {"wine"}
OURS, XRFM, TUNED = "whycell", "xRFM", "xRFM, tuned"
PEERS = ("random forest", "LightGBM", "RBF SVM")

Rows = np.ndarray


def forest(x: Rows, y: Rows, z: Rows) -> Rows:
    """The best of four by out-of-bag accuracy."""
    grid = [{"max_features": f, "min_samples_leaf": m} for f in ("sqrt", 0.33) for m in (1, 3)]
    made = [RandomForestClassifier(300, oob_score=True, random_state=0, **each).fit(x, y) for each in grid]
    return max(made, key=lambda model: model.oob_score_).predict(z)


def lightgbm(x: Rows, y: Rows, z: Rows) -> Rows:
    """The best of six by three inner folds."""
    grid = [
        {"num_leaves": [7, 31], "learning_rate": [0.1], "n_estimators": [50, 150]},
        {"num_leaves": [15], "learning_rate": [0.03], "n_estimators": [100, 300]},
    ]
    model = LGBMClassifier(min_child_samples=10, n_jobs=1, verbose=-1, random_state=0)
    return GridSearchCV(model, grid, cv=_inner(y), error_score="raise").fit(x, y).predict(z)


def svm(x: Rows, y: Rows, z: Rows) -> Rows:
    """The best of sixteen by three inner folds."""
    grid = {"C": [0.3, 3, 30, 300], "gamma": list(np.array([0.025, 0.1, 0.4, 1.6]) / (x.shape[1] * x.var()))}
    return GridSearchCV(SVC(), grid, cv=_inner(y)).fit(x, y).predict(z)


def _inner(y: Rows) -> StratifiedKFold:
    return StratifiedKFold(3, shuffle=True, random_state=0)


def _divided(x: Rows, y: Rows) -> tuple[Rows, Rows, Rows, Rows]:
    """Training rows and the fifth that xRFM validates by."""
    kept = np.bincount(y)[y] > 1
    strata = y if kept.all() else None
    return train_test_split(x, y, test_size=0.2, random_state=0, stratify=strata)


def _xrfm(parts: tuple[Rows, Rows, Rows, Rows], k: int, **model: object) -> xRFM:
    a, v, ya, yv = parts
    told = {"kernel": "l2_high_dim", "exponent": 1.0, "bandwidth": 10.0, "diag": False, "bandwidth_mode": "constant"}
    fit = {"reg": model.pop("reg", 1e-3), "iters": 5, "return_best_params": True, "early_stop_rfm": False}
    params = {"model": {**told, **model}, "fit": {**fit, "get_agop_best_model": True}}
    machine = xRFM(rfm_params=params, device="cpu", verbose=False, random_state=0)
    machine.fit(np.float32(a), _as_xrfm(ya, k), np.float32(v), _as_xrfm(yv, k))
    return machine


def _as_xrfm(y: Rows, k: int) -> Rows:
    return y[:, None] if k == 2 else np.eye(k, dtype=np.float32)[y]


def xrfm(x: Rows, y: Rows, z: Rows) -> Rows:
    """As it comes: bandwidth 10, ridge 1e-3, five iterations, the best by the validation rows."""
    classes, codes = np.unique(y, return_inverse=True)
    machine = _xrfm(_divided(x, codes), len(classes))
    return classes[np.asarray(machine.predict_proba(np.float32(z))).argmax(axis=1)]


def xrfm_tuned(x: Rows, y: Rows, z: Rows) -> Rows:
    """The best of twelve by the validation rows that it needs anyway: kernel, bandwidth, ridge."""
    classes, codes = np.unique(y, return_inverse=True)
    parts = _divided(x, codes)
    best, most = None, (-1.0, -np.inf)
    for kernel in ("l2_high_dim", "l1"):
        for bandwidth in (3.0, 10.0, 30.0):
            for reg in (1e-3, 1e-1):
                machine = _xrfm(parts, len(classes), kernel=kernel, bandwidth=bandwidth, reg=reg)
                p = np.asarray(machine.predict_proba(np.float32(parts[1])))
                sure = -np.square(p - np.eye(len(classes))[parts[3]]).sum(axis=1).mean()
                found = (float((p.argmax(axis=1) == parts[3]).mean()), float(sure))
                if found > most:
                    best, most = machine, found
    return classes[np.asarray(best.predict_proba(np.float32(z))).argmax(axis=1)]


def whycell_fixed(x: Rows, y: Rows, z: Rows) -> Rows:
    """Nothing chosen, on the rows that xRFM fits: Laplace kernel, full metric, ridge 1e-3, five iterations."""
    classes, codes = np.unique(y, return_inverse=True)
    a, _, ya, _ = _divided(x, codes)
    fixed = {"kernel": "laplace", "metric": "full", "bandwidth": 2.0, "ridge": 1e-3, "iterations": 5}
    machine = RecursiveFeatureMachineClassifier(**fixed).fit(a, ya)
    return classes[machine.predict(z)]


def cached(name: str, work: Callable[[Rows, Rows, Rows], Rows], rows: tuple[Rows, Rows, Rows]) -> tuple[Rows, float]:
    """The answer and its CPU seconds, from the cache where the same was asked before."""
    folder = os.environ.get("WHYCELL_PEERS_CACHE")
    key = hashlib.sha256(inspect.getsource(work).encode())
    for part in rows:
        key.update(np.ascontiguousarray(part).tobytes())
    place = Path(folder) / f"rfm-{key.hexdigest()[:24]}.json" if folder else None
    if place is not None and place.exists():
        kept = json.loads(place.read_text(encoding="utf-8"))
        return np.array(kept["answer"]), kept["cpu_s"]
    answer, seconds = timed(work, *rows)
    if place is not None:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps({"peer": name, "answer": answer.tolist(), "cpu_s": seconds}), encoding="utf-8")
    return answer, seconds


def timed(work: Callable[..., Rows], *rows: object) -> tuple[Rows, float]:
    """The answer and its CPU seconds."""
    start = time.process_time()
    answer = work(*rows)
    return np.asarray(answer), time.process_time() - start


def one_set(path: Path) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Accuracy by fold, and CPU seconds, of every model."""
    columns = list(read_frame(path).columns)
    table = read_samples(path, target=columns[0 if path.stem in FIRST else -1])
    y = np.unique(table.target.astype(str), return_inverse=True)[1]
    accuracy: dict[str, list[float]] = {}
    seconds: dict[str, float] = {}
    for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(y, y):
        here, there = table.features.iloc[train], table.features.iloc[test]
        parts = [Columns.of(each) or each.to_numpy(dtype=np.float64) for each in (here, there)]
        encoding = Encoding.learn(parts[0], list(here.columns), np.ones(len(here)))
        x, z = (encoding.transform(each) for each in parts)
        rows = (x, y[train], z)
        answers = {
            OURS: timed(lambda a, b, c: RecursiveFeatureMachineClassifier().fit(a, b).predict(c), here, y[train], there)
        }
        answers[XRFM], answers[TUNED] = timed(xrfm, *rows), timed(xrfm_tuned, *rows)
        answers["whycell, fixed"] = timed(whycell_fixed, *rows)
        for name, work in zip(PEERS, (forest, lightgbm, svm), strict=True):
            answers[name] = cached(name, work, rows)
        for name, (answer, spent) in answers.items():
            accuracy.setdefault(name, []).append(float((answer == y[test]).mean()))
            seconds[name] = seconds.get(name, 0.0) + spent
    return accuracy, seconds


def main(names: list[str]) -> bool:
    folder = find_cells().parent / "tables" / "uci"
    paths = [path for path in sorted(folder.glob("*.arff")) if not names or path.stem in names]
    warm = np.random.default_rng(0).normal(size=(60, 4))
    for work in (xrfm, whycell_fixed):  # first calls load code
        work(warm, (warm[:, 0] > 0).astype(int), warm)
    sets, times = {}, {}
    for path in paths:
        sets[path.stem], times[path.stem] = one_set(path)
        line = "  ".join(
            f"{m} {np.mean(a):.3f} ({times[path.stem][m] / FOLDS:.2f} s)" for m, a in sets[path.stem].items()
        )
        print(f"{path.stem}: {line}", flush=True)
    models = [m for m in next(iter(sets.values())) if m != "whycell, fixed"]
    means = np.array([[np.mean(one[m]) for m in models] for one in sets.values()])
    ranks = np.stack([rankdata(-row.round(9)) for row in means])
    spent = {m: sum(each[m] for each in times.values()) for m in [*models, "whycell, fixed"]}
    ratio = {m: spent[m] / spent[OURS] for m in (XRFM, TUNED)}
    results = {
        "sets": len(paths),
        "folds": FOLDS,
        "mean_accuracy": dict(zip(models, means.mean(axis=0).round(4).tolist(), strict=True)),
        "average_rank": dict(zip(models, ranks.mean(axis=0).round(3).tolist(), strict=True)),
        "best_or_tied": dict(
            zip(models, (ranks == ranks.min(axis=1, keepdims=True)).sum(axis=0).tolist(), strict=True)
        ),
        "cpu_s": {m: round(s, 2) for m, s in spent.items()},
        "mean_accuracy_fixed": round(float(np.mean([np.mean(one["whycell, fixed"]) for one in sets.values()])), 4),
        "xrfm_over_ours_cpu": {m: round(r, 2) for m, r in ratio.items()},
        "xrfm_over_fixed_cpu": round(spent[XRFM] / spent["whycell, fixed"], 2),
        "by_set": {name: {m: round(float(np.mean(a)), 4) for m, a in one.items()} for name, one in sets.items()},
        "cpu_s_by_set": {name: {m: round(s / FOLDS, 4) for m, s in each.items()} for name, each in times.items()},
    }
    ours = means[:, models.index(OURS)]
    limits = {
        f"mean accuracy minus that of {m}": (float((ours - means[:, models.index(m)]).mean()), ">=", 0.0)
        for m in (XRFM, TUNED, *PEERS)
    }
    limits["CPU seconds of xRFM, tuned, in units of ours"] = (ratio[TUNED], ">=", 2.0)
    limits["CPU seconds of xRFM as it comes, in units of ours"] = (ratio[XRFM], ">=", 2.0)
    limits["CPU seconds of xRFM as it comes, in units of ours with as little chosen"] = (
        spent[XRFM] / spent["whycell, fixed"],
        ">=",
        2.0,
    )
    return report("rfm_uci", results, limits=limits)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    with threadpool_limits(1):
        sys.exit(0 if main(sys.argv[1:]) else 1)
