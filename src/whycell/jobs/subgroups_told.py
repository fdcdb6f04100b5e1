"""What was found, put into tables: groups, their evidence, their members and who taught them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from whycell.compute import Talk
from whycell.jobs.overview import cell_map
from whycell.jobs.subgroups_inputs import Samples
from whycell.lenses.many import train_many
from whycell.patterns.described import donor_shares, enriched, influential, typical
from whycell.patterns.partition import centres, nearest
from whycell.patterns.subgroups import ClassGroups, Subgroups, agreement_with
from whycell.patterns.teaching import Teaching, unit_rows
from whycell.results.groups import Groups

__all__ = ["assemble", "group_name"]

_MOST_ON_MAP = 5000
_MOST_PICTURED = 12
_SHOWN = 6
_MAP_DIRECTIONS = 30


def assemble(
    found: Subgroups,
    samples: Samples,
    *,
    units: np.ndarray,
    others: np.ndarray,
    masks: np.ndarray,
    margins: np.ndarray,
    columns: np.ndarray,
    column_names: np.ndarray,
    scaled: np.ndarray,
    show: Sequence[str],
    plan: dict[str, Any],
    provenance: dict[str, Any],
    seed: int,
    talk: Talk,
) -> tuple[Groups, np.ndarray]:
    """Tables of what was found, and the weights of all samples in the order of ``samples`` of the answer.

    Parameters
    ----------
    found
        Groups among ``units``.
    samples
        All of them.
    units, others
        Positions of the samples that masks were drawn from, and of the rest.
    masks, margins
        (m, units) and (m, units + others).
    columns, column_names
        Columns of the masks that weights are about, and their names.
    scaled
        (n, d) what the models saw.
    show
        Names of samples whose supporters are told.
    plan, provenance
        Handed on.
    seed, talk
        See docs/parameters.md.
    """
    of_units, closeness = _positions(found, len(units))
    weights = found.weights
    of_others, outer = np.zeros(0, int), np.zeros((0, weights.shape[1]), np.float32)
    if len(others):
        outer = Teaching(masks[:, columns], margins[:, len(units) :]).weights()
        of_others = _nearest_groups(found, outer, samples.labels[others])
    order = np.concatenate([units, others])
    groups = np.concatenate([of_units, of_others])
    table = _sample_table(samples, order, groups, np.concatenate([closeness, np.full(len(others), np.nan)]), found)
    table["margin"] = _unseen_margins(masks, margins, len(units))
    pictured: list[str] = []
    rows = np.vstack([weights, outer])
    parts: dict[str, list[pd.DataFrame]] = {k: [] for k in ("features", "donors", "teachers", "typical")}
    embedding = _hidden(samples, units, scaled, seed=seed)
    class_rows, curve_rows = [], []
    for each in found.classes:
        class_rows.append(_class_row(each, scaled[units], embedding))
        curve_rows.append(_curve_rows(each))
        if each.n_groups == 1:
            continue
        of_class = _describe(each, samples, units, weights, column_names, by_sample=len(column_names) == len(units))
        for name, frame in of_class.items():
            parts[name].append(frame)
    supporters = _supporters(show, table, rows, column_names, samples, units)
    tables = {
        name: pd.concat(frames, ignore_index=True) if frames else pd.DataFrame() for name, frames in parts.items()
    }
    for name in ("typical", "teachers"):
        if len(tables[name]):
            pictured += tables[name].loc[tables[name]["rank"] <= _MOST_PICTURED, "sample"].tolist()
    if len(supporters):
        pictured += [*supporters["sample"], *supporters["other"]]
    map_rows, map_xy, method = _map(rows, seed=seed, talk=talk)
    # A class too small for a curve has an empty table, whose columns know no type and would pass that on.
    curves = pd.concat([each for each in curve_rows if len(each)] or curve_rows[:1], ignore_index=True)
    classes = pd.DataFrame(class_rows)
    result = Groups(
        samples=table,
        classes=classes,
        curves=curves,
        described=_described(table, tables),
        features=tables["features"],
        donors=tables["donors"],
        teachers=tables["teachers"],
        typical=tables["typical"],
        supporters=supporters,
        map_rows=map_rows,
        map_xy=map_xy,
        map_method=method,
        pictures=_pictures(samples, pictured),
        plan=plan,
        warnings=_warnings(classes, tables["donors"], plan),
        provenance=provenance,
    )
    return result, rows


def group_name(label: str, group: int, n_groups: int) -> str:
    """``"label / 1"``; the label alone where the class is of one piece."""
    return label if n_groups == 1 else f"{label} / {group + 1}"


def _positions(found: Subgroups, n: int) -> tuple[np.ndarray, np.ndarray]:
    groups, closeness = np.zeros(n, int), np.full(n, np.nan)
    for each in found.classes:
        groups[each.rows], closeness[each.rows] = each.groups, each.closeness
    return groups, closeness


def _nearest_groups(found: Subgroups, outer: np.ndarray, labels: np.ndarray) -> np.ndarray:
    groups = np.zeros(len(outer), int)
    for each in found.classes:
        inside = np.flatnonzero(labels == each.label)
        if each.n_groups > 1 and len(inside):
            middles = centres(unit_rows(found.weights[each.rows]), each.groups)
            groups[inside] = nearest(unit_rows(outer[inside]), middles)
    return groups


def _sample_table(
    samples: Samples, order: np.ndarray, groups: np.ndarray, closeness: np.ndarray, found: Subgroups
) -> pd.DataFrame:
    n_groups = {each.label: each.n_groups for each in found.classes}
    labels = samples.labels[order]
    table = pd.DataFrame(
        {
            "sample": samples.names[order],
            "label": labels,
            "group": [group_name(str(c), int(g), n_groups[str(c)]) for c, g in zip(labels, groups, strict=True)],
            "clustered": np.arange(len(order)) < sum(len(each.rows) for each in found.classes),
            "closeness": closeness,
        }
    )
    if samples.donors is not None:
        table.insert(3, "donor", samples.donors[order])
    return table


def _unseen_margins(masks: np.ndarray, margins: np.ndarray, n_units: int) -> np.ndarray:
    """Mean margin of each sample over the models that did not see it."""
    unseen = ~masks
    mean = margins.mean(axis=0, dtype=np.float64)
    mean[:n_units] = (margins[:, :n_units] * unseen).sum(axis=0) / np.maximum(unseen.sum(axis=0), 1)
    return mean


def _hidden(samples: Samples, units: np.ndarray, scaled: np.ndarray, *, seed: int) -> np.ndarray:
    """The hidden layer of one network trained on everything: what groups by looks through a network's eyes."""
    whole = np.ones((1, len(units)), dtype=bool)
    one = train_many("mlp", scaled[units], samples.labels[units], masks=whole, seed=seed)
    return np.maximum(scaled[units] @ one.weights[0][0] + one.weights[1][0], 0)


def _class_row(each: ClassGroups, inputs: np.ndarray, embedding: np.ndarray) -> dict[str, Any]:
    row: dict[str, Any] = {"label": each.label, "samples": len(each.rows), "groups": each.n_groups}
    curve, at = each.curve, None
    if curve is not None and each.n_groups > 1:
        at = int(np.flatnonzero(curve.counts == each.n_groups)[0]) if each.n_groups in curve.counts else None
    elif curve is not None and len(curve.counts):
        at = int(curve.excess.argmax())
    row["p_value"] = curve.p_value if curve is not None else np.nan
    row["stability"] = float(curve.stability[at]) if curve is not None and at is not None else np.nan
    row["expected"] = float(curve.expected[at]) if curve is not None and at is not None else np.nan
    row["fresh_masks"] = each.fresh
    sizes = np.array([n for n, _ in each.held_out.values()], dtype=float)
    agreed = np.array([score for _, score in each.held_out.values()])
    row["held_out_donors"] = float((sizes * agreed).sum() / sizes.sum()) if len(sizes) else np.nan
    several = each.n_groups > 1
    row["inputs"] = agreement_with(inputs[each.rows], each)["with_groups"] if several else np.nan
    row["embedding"] = agreement_with(embedding[each.rows], each)["with_groups"] if several else np.nan
    return row


def _curve_rows(each: ClassGroups) -> pd.DataFrame:
    curve = each.curve
    columns = ["label", "n_groups", "stability", "error", "expected", "spread", "chosen"]
    if curve is None:
        return pd.DataFrame(columns=columns)
    return pd.DataFrame(
        {
            "label": each.label,
            "n_groups": curve.counts,
            "stability": curve.stability,
            "error": curve.error,
            "expected": curve.expected,
            "spread": curve.spread,
            "chosen": curve.counts == each.n_groups,
        }
    )[columns]


def _describe(
    each: ClassGroups,
    samples: Samples,
    units: np.ndarray,
    weights: np.ndarray,
    column_names: np.ndarray,
    *,
    by_sample: bool,
) -> dict[str, pd.DataFrame]:
    rows = units[each.rows]
    out: dict[str, pd.DataFrame] = {}
    if samples.features.shape[1]:
        table = enriched(samples.features[rows], each.groups, samples.feature_names)
        out["features"] = _named(table, each)
    if samples.donors is not None:
        out["donors"] = _named(donor_shares(samples.donors[rows], each.groups), each)
    members = typical(unit_rows(weights[each.rows]), each.groups, most=_MOST_PICTURED)
    out["typical"] = _named(
        pd.DataFrame(
            [
                {"group": g, "rank": k + 1, "sample": samples.names[rows[at]]}
                for g, some in enumerate(members)
                for k, at in enumerate(some)
            ]
        ),
        each,
    )
    told = []
    own = weights[each.rows]
    for g, pair in enumerate(influential(own, each.groups, most=_MOST_PICTURED)):
        mean = own[each.groups == g].mean(axis=0)
        for role, some in zip(("helps", "harms"), pair, strict=True):
            told += [
                {
                    "group": g,
                    "role": role,
                    "rank": k + 1,
                    "sample": column_names[at],
                    "sample_label": samples.labels[units[at]] if by_sample else "",
                    "weight": float(mean[at]),
                }
                for k, at in enumerate(some)
            ]
    out["teachers"] = _named(pd.DataFrame(told), each)
    return out


def _named(table: pd.DataFrame, each: ClassGroups) -> pd.DataFrame:
    table = table.copy()
    table.insert(0, "label", each.label)
    table["group"] = [group_name(each.label, int(g), each.n_groups) for g in table["group"]]
    return table


def _supporters(
    show: Sequence[str],
    table: pd.DataFrame,
    rows: np.ndarray,
    column_names: np.ndarray,
    samples: Samples,
    units: np.ndarray,
) -> pd.DataFrame:
    at = {name: i for i, name in enumerate(table["sample"])}
    by_sample = len(column_names) == len(units)
    out = []
    for name in show:
        own = rows[at[name]]
        order = np.argsort(-own, kind="stable")
        for role, some in (("helps", order[:_SHOWN]), ("harms", order[::-1][:_SHOWN])):
            out += [
                {
                    "sample": name,
                    "sample_label": table["label"].iloc[at[name]],
                    "role": role,
                    "rank": k + 1,
                    "other": column_names[j],
                    "other_label": samples.labels[units[j]] if by_sample else "",
                    "weight": float(own[j]),
                }
                for k, j in enumerate(some)
            ]
    return pd.DataFrame(out, columns=["sample", "sample_label", "role", "rank", "other", "other_label", "weight"])


def _map(rows: np.ndarray, *, seed: int, talk: Talk) -> tuple[np.ndarray, np.ndarray, str]:
    shown = np.arange(len(rows))
    if len(rows) > _MOST_ON_MAP:
        shown = np.sort(np.random.default_rng((seed, 2)).choice(len(rows), _MOST_ON_MAP, replace=False))
    unit = unit_rows(rows[shown])
    unit = unit - unit.mean(axis=0)
    gram = unit @ unit.T if len(unit) <= unit.shape[1] else None
    if gram is not None:
        values, vectors = np.linalg.eigh(gram.astype(np.float64))
        places = vectors[:, ::-1][:, :_MAP_DIRECTIONS] * np.sqrt(np.clip(values[::-1][:_MAP_DIRECTIONS], 0, None))
    else:
        _, vectors = np.linalg.eigh((unit.T @ unit).astype(np.float64))
        places = unit @ vectors[:, ::-1][:, :_MAP_DIRECTIONS]
    method, xy = cell_map([places.astype(np.float32)], seed=seed, talk=Talk())
    talk.note(f"drawn the map of {len(shown):,} samples ({method})")
    return shown, xy, method


def _described(table: pd.DataFrame, tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    out = []
    for (label, group), part in table.groupby(["label", "group"], sort=True):
        row: dict[str, Any] = {
            "group": group,
            "label": label,
            "samples": len(part),
            "closeness": float(part["closeness"].mean()) if part["closeness"].notna().any() else np.nan,
            "margin": float(part["margin"].mean()),
        }
        if "donor" in part:
            counts = part["donor"].value_counts()
            row |= {"donors": int((counts > 0).sum()), "top_donor": str(counts.index[0])}
            row["top_donor_share"] = float(counts.iloc[0] / len(part))
        features = tables["features"]
        if len(features):
            own = features[(features["group"] == group) & (features["q_value"] < 0.05) & (features["auroc"] > 0.5)]
            row["features"] = ", ".join(own["feature"].head(6))
        out.append(row)
    return pd.DataFrame(out)


def _warnings(classes: pd.DataFrame, donors: pd.DataFrame, plan: dict[str, Any]) -> tuple[str, ...]:
    told = []
    small = classes.loc[classes["p_value"].isna(), "label"].tolist()
    if small:
        told.append(f"Too few samples to look for subgroups in: {', '.join(map(str, small))}.")
    gain = (classes["stability"] - classes["expected"]) / (1 - classes["expected"])
    weak = classes.loc[(classes["groups"] > 1) & ~((gain >= 0.5) & (classes["p_value"] <= 0.05)), "label"].tolist()
    if weak:
        told.append(
            f"The number of groups was given, and stability does not support it, in: {', '.join(map(str, weak))}."
        )
    if len(donors):
        alone = donors[(donors["share"] > 0.9) & (donors["share_of_class"] < 0.5)]
        told += [
            f"{row.group}: {100 * row.share:.0f} % of its samples are of {row.donor}; such a group may be a batch."
            for row in alone.itertuples()
        ]
    if plan["trained_on"] < plan["targets"]:
        rest = plan["targets"] - plan["trained_on"]
        told.append(
            f"Groups were found among {plan['trained_on']:,} samples; {rest:,} more were put into the nearest one."
        )
    return tuple(told)


def _pictures(samples: Samples, wanted: Sequence[str]) -> dict[str, bytes]:
    if samples.pictures is None:
        return {}
    from PIL import Image

    at = {name: i for i, name in enumerate(samples.names)}
    out = {}
    for name in dict.fromkeys(map(str, wanted)):
        if name not in at:
            continue
        pixels = samples.pictures[at[name]]
        pixels = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(pixels, dtype=np.uint8)).save(buffer, format="PNG", optimize=False)
        out[name] = buffer.getvalue()
    return out
