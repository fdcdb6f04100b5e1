"""What representations of cells are worth: scores by number of dimensions, and maps with the numbers beside them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["Sweep", "Views"]


@dataclass(frozen=True)
class Sweep:
    """Score against dimensions.

    Parameters
    ----------
    scores
        ``representation, way, dims, macro_f1, low, high, accuracy, n_groups``. Representations are ``text``,
        ``permuted`` and ``random`` (the controls, a mean over their draws) and ``expression``; ways are ``projected``,
        ``truncated`` and ``principal``.
    gaps
        ``against, dims, difference, low, high, n_groups``: text less control, the same groups on both sides.
    facets
        ``facets, dims, macro_f1, low, high`` and ``difference, difference_low, difference_high`` from all of them;
        empty where no facet names cell types.
    split
        A sentence on who was held out.
    leaking
        Whether training and test share donors, so that scores flatter.
    warnings
        Sentences that a reader must see.
    provenance
        Files, fingerprints, seed.
    """

    scores: pd.DataFrame
    gaps: pd.DataFrame
    facets: pd.DataFrame
    split: str
    leaking: bool
    warnings: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Views:
    """Representations as maps.

    Parameters
    ----------
    numbers
        One row a representation: ``representation, dims, ari_type, ami_type, ari_donor, ami_donor`` (k-means with as
        many groups as types against types and donors), ``silhouette_type, silhouette_donor`` (donors within types),
        ``mixing`` (1 where donors mix freely). Those on donors are NaN without donors.
    maps
        Representation -> (n_cells, 2).
    method
        What made the maps: ``UMAP`` or ``PCA``.
    types, donors
        (n_cells,) of the cells shown; ``donors`` may be ``None``.
    warnings
        Sentences that a reader must see.
    provenance
        Files, fingerprints, seed.
    """

    numbers: pd.DataFrame
    maps: dict[str, np.ndarray]
    method: str
    types: np.ndarray
    donors: np.ndarray | None
    warnings: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)
