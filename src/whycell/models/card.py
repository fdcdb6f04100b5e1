"""A model's card: what it learned from, how it was tested, what it does not know. Plain values only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from whycell.metrics.calibration import ece
from whycell.models.calibrate import Folds, pick_nodes
from whycell.models.leaves import LeafSpace
from whycell.models.lessons import Cells
from whycell.models.tested import CAUTION, ONE_STUDY, TWO_STUDIES_THRESHOLD, Calibration

__all__ = ["make_card"]

_UNITS = {"study": "studies", "donor": "donors", "cell": "random cells"}


def make_card(
    *,
    parameters: Mapping[str, Any],
    cells: Cells,
    folds: Folds,
    calibration: Calibration,
    space: LeafSpace,
    labels: np.ndarray,
    held_p: np.ndarray,
    ids: Mapping[str, str],
    studies: Sequence[str],
    donors: Sequence[str],
    release: str,
) -> dict[str, Any]:
    """Everything but fingerprints and names of files, which the job that read them adds.

    Parameters
    ----------
    parameters
        Of the estimator.
    cells, folds, calibration, space
        Of the training.
    labels, ids
        (n_cells,) training labels, and the id of each.
    held_p
        (n_cells, n_leaves) calibrated probabilities of held-out cells, in the order of the cells.
    studies, donors
        Names.
    release
        Of the Cell Ontology.
    """
    best = held_p.argmax(axis=1)
    right = cells.meanings[cells.kind, best]
    of_nodes = calibration.of_nodes(held_p, space.below)
    node = pick_nodes(of_nodes, space.information, calibration.threshold)
    confidence = held_p.max(axis=1)
    names, counts = np.unique(labels.astype(str), return_counts=True)
    return {
        "kind": "whycell.CellTyper",
        "format": 1,
        "parameters": dict(parameters),
        "ontology": {"name": "Cell Ontology", "release": release},
        "normalisation": "log1p of counts per 10,000 of the model's genes" if _reads_counts(cells) else "as given",
        "classes": [
            {"label": str(label), "term_id": str(term), "name": str(name)}
            for label, term, name in zip(space.labels, space.term_ids, space.leaf_names, strict=True)
        ],
        "labels": [
            {"label": str(name), "term_id": str(ids.get(name, "")), "cells": int(n)}
            for name, n in zip(names, counts, strict=True)
        ],
        "trained_on": {
            "cells": int(cells.values.shape[0]),
            "genes": int(cells.values.shape[1]),
            "studies": [str(s) for s in studies],
            "donors": len(donors) if folds.unit != "cell" else None,
        },
        "calibration": {
            "held_out": _UNITS[folds.unit],
            "groups": len(np.unique(folds.group)),
            "temperatures": {
                f"{level:.3f}": float(t) for level, t in zip(calibration.levels, calibration.temperatures, strict=True)
            },
            "threshold": float(calibration.threshold),
            "error_asked": float(calibration.error),
            "error_seen": None if np.isnan(calibration.error_seen) else float(calibration.error_seen),
            "terms_of_one_study": [
                str(name) for name, trust in zip(space.node_names, calibration.trust, strict=True) if trust < 1
            ],
        },
        "held_out": {
            "unit": _UNITS[folds.unit],
            "cells": len(best),
            "accuracy": float(right.mean()),
            "ece": float(ece(confidence, right)),
            "unknown": float((node < 0).mean()),
        },
        "warnings": _warnings(folds, studies),
        "versions": {name: version(name) for name in ("whycell", "numpy", "torch", "scikit-learn")},
    }


def _reads_counts(cells: Cells) -> bool:
    """Whether the values were counts or proportional to counts."""
    return bool(len(cells.values.data) == 0 or cells.values.data.min() >= 0)


def _warnings(folds: Folds, studies: Sequence[str]) -> list[str]:
    out = []
    if folds.unit == "cell":
        out.append("not tested on a new donor: calibrated on random cells of the training donors")
    if folds.unit != "study":
        out.append("not tested on a new study")
    if folds.cautious and folds.unit == "cell":
        out.append(
            f"no donors to hold out: log-probabilities are divided by a further {CAUTION}, which lowers confidences"
        )
    if folds.cautious and folds.unit == "study":
        out.append(
            "two studies are too few to measure the error on a new one: calls need a probability of "
            f"{TWO_STUDIES_THRESHOLD}, and terms that one study alone taught lose {1 - ONE_STUDY:.0%} of theirs"
        )
    return out
