"""Anybody's training as a datamodel's models: a function of (X, y, mask), run in processes or by an executor.

The function returns either the outputs for the targets, (t,), or a callable that takes the targets' inputs and gives
(t,) outputs or (t, K) logits with the classes in sorted order. It must seed itself; what it returns for a mask should
depend on the mask alone, else a resumed run cannot give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed

from whycell.compute import Talk, n_threads
from whycell.errors import DataError
from whycell.lenses.blocks import block_ranges, fingerprint, open_folder, run_blocks
from whycell.lenses.many import CLIP, margins_of

__all__ = ["Fit", "fit_each"]

Fit = Callable[[np.ndarray, np.ndarray, np.ndarray], Any]

#: Models of a block: few, since one of these may take seconds, and a kill loses a block.
BLOCK = 20


def fit_each(
    fit: Fit,
    X: Any,
    y: Any,
    *,
    masks: np.ndarray,
    X_target: Any,
    y_target: Any,
    threads: int = 1,
    executor: Any = None,
    folder: Path | str | None = None,
    talk: Talk | None = None,
) -> np.ndarray:
    """One call of ``fit`` for each mask.

    Parameters
    ----------
    fit
        See the module's head.
    X, y
        Handed to ``fit`` whole, with the mask.
    masks
        (m, n) bool.
    X_target, y_target
        (t, ...) and (t,): what outputs are asked for; the labels are needed where ``fit`` answers logits.
    threads
        Processes (joblib); 1 runs in this one.
    executor
        Anything with ``submit(function, ...)`` whose answers have ``result()``: ``concurrent.futures``, Dask's
        ``Client``. Used instead of processes.
    folder, talk
        As in :func:`whycell.lenses.fit_many`.

    Returns
    -------
    (m, t) float32 outputs, within +-``CLIP`` where they are margins.
    """
    X, y, X_target, masks = np.asarray(X), np.asarray(y), np.asarray(X_target), np.asarray(masks, dtype=bool)
    classes = np.unique(y)
    codes = None if y_target is None else np.searchsorted(classes, np.asarray(y_target))
    ranges = block_ranges(len(masks), BLOCK)
    kept = None
    if folder is not None:
        name = f"{getattr(fit, '__module__', '')}.{getattr(fit, '__qualname__', type(fit).__name__)}"
        arrays = {"X": X, "y": y.astype(str), "masks": masks, "X_target": X_target}
        asked: dict[str, Any] = {k: fingerprint(a) for k, a in arrays.items()}
        kept = open_folder(folder, asked | {"format": "whycell fits 1", "kind": name, "block": BLOCK})

    def work(block: int) -> np.ndarray:
        some = masks[slice(*ranges[block])]
        if executor is not None:
            futures = [executor.submit(_one, fit, X, y, mask, X_target, codes) for mask in some]
            return np.stack([future.result() for future in futures])
        jobs = (delayed(_one)(fit, X, y, mask, X_target, codes) for mask in some)
        return np.stack(list(Parallel(n_jobs=n_threads(threads))(jobs)))

    return np.concatenate(run_blocks(work, len(ranges), folder=kept, talk=talk))


def _one(
    fit: Fit, X: np.ndarray, y: np.ndarray, mask: np.ndarray, X_target: np.ndarray, codes: np.ndarray | None
) -> np.ndarray:
    answer = fit(X, y, mask)
    answer = np.asarray(answer(X_target) if callable(answer) else answer, dtype=np.float32)
    if answer.ndim == 2 and codes is not None:
        answer = margins_of(answer, codes)
    if answer.shape != (len(X_target),) or not np.isfinite(answer).all():
        msg = f"fit answered an array of shape {answer.shape}: wanted ({len(X_target)},) finite outputs, or logits"
        raise DataError(msg)
    return np.clip(answer, -CLIP, CLIP) if codes is not None else answer
