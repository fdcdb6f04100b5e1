"""Answer of ``subgroups``: groups of samples that share causes, with their evidence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["Groups"]


@dataclass(frozen=True)
class Groups:
    """What was found.

    Parameters
    ----------
    samples
        One row a sample: ``sample, label, group`` (``"label / 1"``, or the label alone where it has no subgroups),
        ``donor`` where given, ``closeness`` (silhouette by the weights), ``margin`` (mean log-odds of its class by
        models that did not see it).
    classes
        One row a class: ``label, samples, groups, p_value, stability, expected`` (of clouds without groups),
        ``fresh_masks, held_out_donors, inputs, embedding`` (adjusted Rand index of the groups with those of clustering
        the inputs, and the hidden layer, into as many).
    curves
        One row a class and number of groups: ``label, n_groups, stability, error, expected, spread, chosen``.
    described
        One row a group: ``group, label, samples, closeness, top_donor, top_donor_share, features``.
    features
        ``label, group, feature, mean_in, mean_out, effect, auroc, p_value, q_value``.
    donors
        ``label, group, donor, samples, share, share_of_class``.
    teachers
        ``label, group, role`` (helps or harms)``, rank, sample, sample_label, weight``.
    typical
        ``label, group, rank, sample``.
    supporters
        For single samples asked about: ``sample, role, rank, other, other_label, weight``; may be empty.
    map_rows, map_xy, map_method
        (m,) rows of ``samples`` on the map, (m, 2), ``"UMAP"`` or ``"PCA"``.
    pictures
        Name of a sample -> its picture as PNG bytes, of those that the tables name; empty where samples are no
        pictures.
    plan
        ``models, share, kind, seconds_expected, smallest_effect, seconds``.
    warnings
        Sentences that a reader must see.
    provenance
        Input, fingerprints, seed, versions.
    """

    samples: pd.DataFrame
    classes: pd.DataFrame
    curves: pd.DataFrame
    described: pd.DataFrame
    features: pd.DataFrame
    donors: pd.DataFrame
    teachers: pd.DataFrame
    typical: pd.DataFrame
    supporters: pd.DataFrame
    map_rows: np.ndarray
    map_xy: np.ndarray
    map_method: str
    pictures: dict[str, bytes] = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)
