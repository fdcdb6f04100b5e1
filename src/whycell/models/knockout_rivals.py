"""What the importances of a whole-knockout screen are compared with: plain correlation and an elastic net."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whycell.compute import in_order

__all__ = ["correlations", "elastic_nets", "shared_tops"]

#: Features that an elastic net is given, the most correlated: sure screening (Fan and Lv 2008).
_SCREENED = 500


def correlations(X: np.ndarray, Y: np.ndarray, *, own: Sequence[np.ndarray]) -> np.ndarray:
    """(c, d) Pearson correlation of every knockout with every feature, 0 at the own locus.

    Parameters
    ----------
    X, Y
        (n, d) features and (n, c) effects.
    own
        Positions of the features at each knockout's own locus.
    """
    centred, effects = X - X.mean(axis=0), Y - Y.mean(axis=0)
    length, size = np.linalg.norm(centred, axis=0), np.linalg.norm(effects, axis=0)
    out = (effects / np.where(size > 0, size, 1)).T @ (centred / np.where(length > 0, length, 1))
    for at, features in enumerate(own):
        out[at, features] = 0
    return np.asarray(out, dtype=np.float32)


def elastic_nets(
    X: np.ndarray, Y: np.ndarray, *, correlation: np.ndarray, seed: int = 0, threads: int = 1
) -> np.ndarray:
    """(c, d) coefficients, features to unit spread; the penalty by three-fold cross-validation, l1 share 0.5.

    Parameters
    ----------
    X, Y
        (n, d) features and (n, c) effects.
    correlation
        (c, d) by which features are screened; those with 0 are never taken.
    seed
        Of the folds.
    threads
        Processor cores.
    """
    from sklearn.linear_model import ElasticNetCV
    from sklearn.model_selection import KFold

    folds = KFold(3, shuffle=True, random_state=seed)

    def one(c: int) -> tuple[np.ndarray, np.ndarray]:
        strength = np.abs(correlation[c])
        kept = np.argsort(-strength, kind="stable")[: min(_SCREENED, int((strength > 0).sum()))]
        part = X[:, kept].astype(np.float64)
        part = (part - part.mean(axis=0)) / np.maximum(part.std(axis=0), 1e-12)
        net = ElasticNetCV(l1_ratio=0.5, alphas=12, eps=3e-2, cv=folds, tol=1e-3, max_iter=300)
        return kept, net.fit(part, Y[:, c].astype(np.float64)).coef_

    out = np.zeros((Y.shape[1], X.shape[1]), dtype=np.float32)
    for c, (kept, values) in enumerate(in_order(one, range(Y.shape[1]), threads=threads)):
        out[c, kept] = values
    return out


def shared_tops(orders: dict[str, np.ndarray], *, against: str, top: int = 1000) -> dict[str, float]:
    """Share of the ``top`` entries of ``orders[against]`` that each other order has among its own ``top``.

    ``orders`` holds (c, d) strengths by method; entries of 0 do not count as chosen.
    """
    best = {name: _top(values, top) for name, values in orders.items()}
    own = best.pop(against)
    return {name: len(np.intersect1d(own, other)) / max(len(own), 1) for name, other in best.items()}


def _top(values: np.ndarray, top: int) -> np.ndarray:
    flat = np.abs(values).ravel()
    top = min(top, int((flat > 0).sum()))
    return np.argpartition(-flat, top - 1)[:top] if top else np.empty(0, dtype=np.int64)
