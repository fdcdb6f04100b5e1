"""Candidates in order, each with what is known of it and what argued for it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from whycell.data.pair_splits import SETTINGS
from whycell.data.pairs import PairTable, evidence_of, pair_keys
from whycell.models.pair_features import GeneFeatures
from whycell.models.pairs import PairScreener, setting_of

__all__ = ["ranked_candidates"]

#: Candidates from the top that are told why.
_EXPLAINED = 300
_ALIKE = 3


def ranked_candidates(
    model: PairScreener,
    of: GeneFeatures,
    table: PairTable,
    wanted: PairTable,
    *,
    evidence: pd.DataFrame | None,
    drugs: dict[str, str],
) -> pd.DataFrame:
    """``gene_a, gene_b, score, setting, label, evidence, drivers, alike, drugs_a, drugs_b``, the likeliest first.

    Parameters
    ----------
    model
        Fitted on ``table``.
    of
        Features of the genes.
    table, wanted
        Training pairs, and pairs to rank. A pair that is both keeps its ``label``: its score is no prediction.
    evidence
        What ``data.pairs.read_evidence`` gives.
    drugs
        Names by gene.
    """
    first, second = of.codes(wanted.first), of.codes(wanted.second)
    score = model.score(first, second)
    order = np.lexsort((pair_keys(wanted.first, wanted.second), -score))
    first, second = first[order], second[order]
    ids_a, ids_b = wanted.first[order], wanted.second[order]
    names = {**table.symbols, **wanted.symbols}
    labelled = dict(zip(pair_keys(table.first, table.second), np.asarray(table.label), strict=True))
    told = evidence_of(wanted, evidence)[1] if evidence is not None else [""] * len(wanted)
    top = slice(0, min(_EXPLAINED, len(first)))
    drivers, alike = [""] * len(first), [""] * len(first)
    drivers[top] = _drivers(model, first[top], second[top])
    alike[top] = _alike(of, table, first[top], second[top], names)
    labels = [labelled.get(key) for key in pair_keys(ids_a, ids_b)]
    return pd.DataFrame(
        {
            "gene_a": [names.get(g, g) for g in ids_a],
            "gene_b": [names.get(g, g) for g in ids_b],
            "score": score[order],
            "setting": np.array(SETTINGS)[setting_of(model.record_.tried, first, second)],
            "label": ["" if value is None else str(int(value)) for value in labels],
            "evidence": [told[i] for i in order],
            "drivers": drivers,
            "alike": alike,
            "drugs_a": [drugs.get(str(g), "") for g in ids_a],
            "drugs_b": [drugs.get(str(g), "") for g in ids_b],
        }
    )


def _drivers(model: PairScreener, first: np.ndarray, second: np.ndarray) -> list[str]:
    """What each kind of features adds to the log-odds, the largest first."""
    kinds, values = model.drivers(first, second)
    order = np.argsort(-np.abs(values), axis=1, kind="stable")
    return [", ".join(f"{kinds[k]} {row[k]:+.2f}" for k in at[:4]) for row, at in zip(values, order, strict=True)]


def _alike(
    of: GeneFeatures, table: PairTable, first: np.ndarray, second: np.ndarray, names: dict[str, str]
) -> list[str]:
    """The training positives most like each pair: cosine of one gene with one, times that of the other with the other,
    the better of both ways."""
    true = np.asarray(table.label) == 1
    a, b = of.codes(table.first[true]), of.codes(table.second[true])
    kinds = [kind for kind in ("text", "network", "profile") if kind in of.blocks]
    values = np.hstack([of.blocks[kind] for kind in kinds])
    units = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
    like_first, like_second = units[first] @ units.T, units[second] @ units.T
    straight, crossed = like_first[:, a] * like_second[:, b], like_first[:, b] * like_second[:, a]
    # Two likenesses below nought are no likeness.
    straight[(like_first[:, a] < 0) | (like_second[:, b] < 0)] = 0
    crossed[(like_first[:, b] < 0) | (like_second[:, a] < 0)] = 0
    like = np.maximum(straight, crossed)
    out = []
    for row, own in enumerate(like):
        same = (np.minimum(a, b) == min(first[row], second[row])) & (np.maximum(a, b) == max(first[row], second[row]))
        best = np.argsort(-np.where(same, -1, own), kind="stable")[:_ALIKE]
        shown = [f"{_name(of, names, a[i])}-{_name(of, names, b[i])} {own[i]:.2f}" for i in best]
        out.append(", ".join(shown))
    return out


def _name(of: GeneFeatures, names: dict[str, str], code: int) -> str:
    gene = str(of.genes[code])
    return names.get(gene, gene)
