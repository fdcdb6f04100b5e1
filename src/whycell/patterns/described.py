"""What sets a group apart from the rest of its class: features, donors, typical members, who taught it.

Features are compared by ranks (Mann-Whitney), group against rest, one by one, with the q-value of Benjamini and
Hochberg over all features of all groups of a class. The groups were found by the weights, not by the features; yet
both come from the same samples, so that the q-values rank features and do not prove the groups.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

__all__ = ["donor_shares", "enriched", "influential", "typical"]


def enriched(values: np.ndarray, groups: np.ndarray, names: Sequence[str], *, most: int = 20) -> pd.DataFrame:
    """The features by which each group differs from the rest.

    Parameters
    ----------
    values
        (n, f) features of the samples of one class.
    groups
        (n,) group of each, from 0.
    names
        (f,) features.
    most
        Features to tell of each group.

    Returns
    -------
    DataFrame
        ``group, feature, mean_in, mean_out, effect`` (difference of means in pooled standard deviations), ``auroc``,
        ``p_value, q_value``; the strongest first within a group.
    """
    from scipy.stats import mannwhitneyu

    values = np.asarray(values, dtype=np.float64)
    parts = []
    for group in range(int(groups.max()) + 1):
        inside, outside = values[groups == group], values[groups != group]
        if len(inside) < 2 or len(outside) < 2:
            continue
        spread = np.sqrt((inside.var(axis=0) * len(inside) + outside.var(axis=0) * len(outside)) / len(values))
        moves = spread > 0
        auroc, p_value = np.full(values.shape[1], 0.5), np.ones(values.shape[1])
        if moves.any():
            test = mannwhitneyu(inside[:, moves], outside[:, moves], axis=0, method="asymptotic")
            auroc[moves] = test.statistic / (len(inside) * len(outside))
            p_value[moves] = test.pvalue
        parts.append(
            pd.DataFrame(
                {
                    "group": group,
                    "feature": list(names),
                    "mean_in": inside.mean(axis=0),
                    "mean_out": outside.mean(axis=0),
                    "effect": (inside.mean(axis=0) - outside.mean(axis=0)) / np.where(moves, spread, 1),
                    "auroc": auroc,
                    "p_value": p_value,
                }
            )
        )
    columns = ["group", "feature", "mean_in", "mean_out", "effect", "auroc", "p_value", "q_value"]
    if not parts:
        return pd.DataFrame(columns=columns)
    from scipy.stats import false_discovery_control

    every = pd.concat(parts, ignore_index=True)
    every["q_value"] = false_discovery_control(every["p_value"])
    every["_strength"] = -(every["auroc"] - 0.5).abs()
    every = every.sort_values(["group", "_strength", "feature"], kind="stable")
    return every.groupby("group").head(most)[columns].reset_index(drop=True)


def typical(rows: np.ndarray, groups: np.ndarray, *, most: int = 10) -> list[np.ndarray]:
    """Of each group, the positions of the samples whose unit ``rows`` (n, d) lie nearest to the group's mean row."""
    out = []
    for group in range(int(groups.max()) + 1):
        inside = np.flatnonzero(groups == group)
        alike = rows[inside] @ rows[inside].mean(axis=0)
        out.append(inside[np.argsort(-alike, kind="stable")[:most]])
    return out


def influential(weights: np.ndarray, groups: np.ndarray, *, most: int = 10) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of each group, the training samples that helped it most and those that harmed it most.

    ``weights`` (n, u) of the samples of one class. A pair of positions of columns a group, by mean weight; a column
    counts as a helper only where its mean is positive, as an opponent only where it is negative.
    """
    out = []
    for group in range(int(groups.max()) + 1):
        mean = weights[groups == group].mean(axis=0)
        order = np.argsort(-mean, kind="stable")
        helpers = order[:most][mean[order[:most]] > 0]
        opponents = order[::-1][:most]
        out.append((helpers, opponents[mean[opponents] < 0]))
    return out


def donor_shares(donors: np.ndarray, groups: np.ndarray) -> pd.DataFrame:
    """Samples of each donor in each group of one class, with the share of the group and of the class that are its.

    ``group, donor, samples, share, share_of_class``: a group of one donor alone is more likely a batch than a type.
    """
    donors = np.asarray(donors).astype(str)
    names, codes = np.unique(donors, return_inverse=True)
    of_class = np.bincount(codes, minlength=len(names)) / max(len(donors), 1)
    rows = []
    for group in range(int(groups.max()) + 1):
        counts = np.bincount(codes[groups == group], minlength=len(names))
        rows += [
            {
                "group": group,
                "donor": str(name),
                "samples": int(n),
                "share": float(n / max(counts.sum(), 1)),
                "share_of_class": float(whole),
            }
            for name, n, whole in zip(names, counts, of_class, strict=True)
        ]
    return pd.DataFrame(rows, columns=["group", "donor", "samples", "share", "share_of_class"])
