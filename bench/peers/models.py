"""The peers: log1p CP10k and labels in, class probabilities out.

Each is used as its own documentation shows, at its defaults where they run in reasonable time on two cores;
what differs from a default is named in ``SETTINGS`` and written into every result.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

__all__ = ["PEERS", "SETTINGS", "PeerAnswer", "celltypist_python", "peer_answer"]

N_COMPONENTS = 50
N_NEIGHBOURS = 15

SETTINGS = {
    "celltypist": "celltypist.train(check_expression=False, n_jobs=1), otherwise defaults; probability_matrix",
    "logistic": "LogisticRegression(max_iter=300), plain multinomial, C=1",
    "knn": f"KNeighborsClassifier({N_NEIGHBOURS}) on PCA({N_COMPONENTS})",
    "forest": "RandomForestClassifier(300 trees, random_state=0)",
    "lightgbm": "100 rounds, num_leaves=15, learning_rate=0.1, feature_fraction=0.2, max_bin=63, seed=0",
}


class PeerAnswer(NamedTuple):
    """Probabilities (cells x classes), class names, seconds of fit and predict, and whether the cache gave it."""

    probabilities: np.ndarray
    classes: np.ndarray
    fit_s: float
    predict_s: float
    cached: bool


Runner = Callable[[sp.csr_matrix, np.ndarray, sp.csr_matrix, np.ndarray], tuple[np.ndarray, np.ndarray, float, float]]


def celltypist_python() -> str:
    """The interpreter that has CellTypist and scikit-learn < 1.8 (``make bench-peers`` builds one)."""
    local = Path(__file__).resolve().parents[2] / ".tools" / "celltypist" / "bin" / "python"
    found = os.environ.get("WHYCELL_CELLTYPIST_PYTHON") or (str(local) if local.exists() else "")
    if not found:
        msg = "CellTypist needs its own environment: run `make bench-peers`, or set WHYCELL_CELLTYPIST_PYTHON."
        raise SystemExit(msg)
    return found


def _timed(model: object, X: object, y: np.ndarray, T: object) -> tuple[np.ndarray, np.ndarray, float, float]:
    start = time.perf_counter()
    model.fit(X, y)
    fitted = time.perf_counter()
    probabilities = model.predict_proba(T)
    done = time.perf_counter()
    return np.asarray(probabilities, np.float32), np.asarray(model.classes_, str), fitted - start, done - fitted


def _logistic(X: sp.csr_matrix, y: np.ndarray, T: sp.csr_matrix, genes: np.ndarray) -> tuple:
    from sklearn.linear_model import LogisticRegression

    return _timed(LogisticRegression(max_iter=300), X, y, T)


def _knn(X: sp.csr_matrix, y: np.ndarray, T: sp.csr_matrix, genes: np.ndarray) -> tuple:
    from sklearn.decomposition import PCA
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline

    n = min(N_COMPONENTS, *X.shape)
    model = make_pipeline(PCA(n, svd_solver="randomized", random_state=0), KNeighborsClassifier(N_NEIGHBOURS))
    return _timed(model, X.toarray(), y, T.toarray())


def _forest(X: sp.csr_matrix, y: np.ndarray, T: sp.csr_matrix, genes: np.ndarray) -> tuple:
    from sklearn.ensemble import RandomForestClassifier

    # dense is several times faster than sparse here
    return _timed(RandomForestClassifier(300, random_state=0, n_jobs=1), X.toarray(), y, T.toarray())


def _lightgbm(X: sp.csr_matrix, y: np.ndarray, T: sp.csr_matrix, genes: np.ndarray) -> tuple:
    from lightgbm import LGBMClassifier

    model = LGBMClassifier(
        n_estimators=100,
        num_leaves=15,
        learning_rate=0.1,
        colsample_bytree=0.2,
        max_bin=63,
        random_state=0,
        n_jobs=1,
        verbose=-1,
        deterministic=True,
        force_col_wise=True,
    )
    return _timed(model, X, y, T)


def _celltypist(X: sp.csr_matrix, y: np.ndarray, T: sp.csr_matrix, genes: np.ndarray) -> tuple:
    with tempfile.TemporaryDirectory() as folder:
        given, back = Path(folder) / "in.npz", Path(folder) / "out.npz"
        parts = {f"{k}_{p}": getattr(m, p) for k, m in (("X", X), ("T", T)) for p in ("data", "indices", "indptr")}
        np.savez(given, y=np.asarray(y, str), genes=np.asarray(genes, str), shape=X.shape, n_test=T.shape[0], **parts)
        worker = Path(__file__).with_name("celltypist_worker.py")
        subprocess.run([celltypist_python(), worker, given, back], check=True, stdout=sys.stderr)
        with np.load(back) as out:
            return out["probabilities"], out["classes"], float(out["fit_s"]), float(out["predict_s"])


PEERS: dict[str, Runner] = {
    "logistic": _logistic,
    "knn": _knn,
    "celltypist": _celltypist,
    "forest": _forest,
    "lightgbm": _lightgbm,
}


def _key(name: str, X: sp.csr_matrix, y: np.ndarray, T: sp.csr_matrix) -> str:
    digest = hashlib.sha256(json.dumps([name, SETTINGS[name], X.shape, T.shape]).encode())
    for part in (X.data, X.indices, X.indptr, T.data, T.indices, T.indptr):
        digest.update(np.ascontiguousarray(part).tobytes())
    digest.update("\n".join(y).encode())
    return digest.hexdigest()[:24]


def peer_answer(
    name: str, X: sp.csr_matrix, y: np.ndarray, T: sp.csr_matrix, *, genes: np.ndarray, cache: Path | None = None
) -> PeerAnswer:
    """Fit the peer on log1p CP10k ``X`` with labels ``y`` and answer for ``T``.

    ``cache`` is a folder of answers keyed by what went in; ``None`` reads ``WHYCELL_PEERS_CACHE``, and where that is
    unset nothing is kept.
    """
    folder = cache or (Path(os.environ["WHYCELL_PEERS_CACHE"]) if os.environ.get("WHYCELL_PEERS_CACHE") else None)
    path = folder / f"{name}-{_key(name, X, y, T)}.npz" if folder else None
    if path and path.exists():
        with np.load(path) as kept:
            values = kept["probabilities"], kept["classes"], float(kept["fit_s"]), float(kept["predict_s"])
        return PeerAnswer(*values, cached=True)
    probabilities, classes, fit_s, predict_s = PEERS[name](X, y, T, genes)
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".part.npz")
        np.savez_compressed(partial, probabilities=probabilities, classes=classes, fit_s=fit_s, predict_s=predict_s)
        partial.replace(path)
    return PeerAnswer(probabilities, classes, fit_s, predict_s, cached=False)
