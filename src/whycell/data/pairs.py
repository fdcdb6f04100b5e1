"""Tables of gene pairs: labelled pairs, candidates, interactions and the evidence for each.

Genes are told apart by Ensembl id wherever their name resolves, so that two names of a gene are one gene. What is wrong
with a table is counted in ``PairTable.dropped`` and nothing is dropped in silence: pairs of a gene with itself, second
copies of a pair (in either order), and pairs that the table labels both ways, of which no copy is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from whycell.errors import FormatError, GeneError, LabelError
from whycell.knowledge.genes import resolve_genes

__all__ = [
    "SOURCE_WEIGHTS",
    "PairTable",
    "check_known",
    "evidence_of",
    "gene_ids",
    "pair_keys",
    "read_evidence",
    "read_pairs",
    "read_table",
]

#: How far one piece of evidence is believed, by the words its source contains; the first that fits holds. Our
#: judgement: screens of single experiments above pooled ones, those above predictions.
SOURCE_WEIGHTS: Mapping[str, float] = {
    "low throughput": 0.9,
    "crispr": 0.8,
    "high throughput": 0.7,
    "drug": 0.6,
    "rnai": 0.5,
    "synlethality": 0.5,
    "decipher": 0.5,
    "text mining": 0.4,
    "computational": 0.3,
    "daisy": 0.3,
}
_UNKNOWN_SOURCE = 0.5
_GENE_COLUMNS = (("gene_a", "gene_b"), ("gene_a.name", "gene_b.name"), ("gene1", "gene2"), ("gene_1", "gene_2"))


@dataclass(frozen=True)
class PairTable:
    """Unordered pairs of genes.

    Parameters
    ----------
    first, second
        (n,) ids of the genes, ``first < second`` as text.
    symbols
        Name of each gene as the table had it, by id.
    label
        (n,) 1 for a pair that has the property, 0 for one that has not; None where the table holds no labels.
    dropped
        Rows left out, by reason.
    """

    first: np.ndarray
    second: np.ndarray
    symbols: dict[str, str]
    label: np.ndarray | None
    dropped: dict[str, int]

    def __len__(self) -> int:
        return len(self.first)

    @property
    def genes(self) -> np.ndarray:
        """Sorted ids of all genes named."""
        return np.unique(np.concatenate([self.first, self.second]))

    def kept(self, which: np.ndarray, *, reason: str) -> PairTable:
        """The pairs where ``which`` (n,) is True; the others are counted under ``reason``."""
        label = None if self.label is None else self.label[which]
        dropped = self.dropped | {reason: self.dropped.get(reason, 0) + int((~which).sum())}
        return replace(self, first=self.first[which], second=self.second[which], label=label, dropped=dropped)


def pair_keys(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n,) one text for each pair, the same for both orders."""
    swap = first > second
    low, high = np.where(swap, second, first), np.where(swap, first, second)
    return np.char.add(np.char.add(low.astype(str), "|"), high.astype(str))


def gene_ids(names: Any) -> np.ndarray:
    """(n,) Ensembl id of each name, human; a name that does not resolve stands for itself.

    An id column (``ENSG...``) stays what it is; DepMap's ``SYMBOL (ENTREZ)`` is read by its symbol.
    """
    texts = pd.Series(np.asarray(names, dtype=object)).astype(str).str.replace(r" \(\d+\)$", "", regex=True)
    unique, codes = np.unique(texts.to_numpy(dtype=str), return_inverse=True)
    found = resolve_genes(unique, species="human")
    return np.where(found.ids == "", found.names, found.ids)[codes]


def read_table(path: Path | str) -> pd.DataFrame:
    """A table of text columns: ``.parquet``, ``.csv`` or tabs, compressed or not."""
    try:
        if str(path).endswith(".parquet"):
            return pd.read_parquet(path)
        separator = "," if str(path).removesuffix(".gz").endswith(".csv") else "\t"
        return pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False)
    except (OSError, ValueError, UnicodeDecodeError) as error:
        msg = f"{path} cannot be read as a table ({error}); wanted tabs, .csv or .parquet with a header."
        raise FormatError(msg) from None


def read_pairs(path: Path | str, *, labelled: bool = False) -> PairTable:
    """Read pairs of genes.

    Parameters
    ----------
    path
        A table with columns ``gene_a, gene_b`` and, where ``labelled``, ``label`` (1 or 0).
    labelled
        Whether labels are needed; without, a column ``label`` is not looked at.

    Raises
    ------
    FormatError
        A column is missing, or no pair is left.
    LabelError
        A label is neither 0 nor 1, or all are the same.
    """
    frame = read_table(path)
    a, b = _gene_columns(frame, path)
    names = np.concatenate([frame[a].to_numpy(dtype=str), frame[b].to_numpy(dtype=str)])
    empty = (np.char.strip(names) == "").reshape(2, -1).any(axis=0)
    ids = gene_ids(names)
    symbols = dict(zip(ids.tolist()[::-1], names.tolist()[::-1], strict=True))
    label = _labels(frame, path) if labelled else None
    one, two = ids[: len(frame)], ids[len(frame) :]
    table = PairTable(np.minimum(one.astype(object), two), np.maximum(one.astype(object), two), symbols, label, {})
    table = table.kept(~empty, reason="without a gene")
    table = table.kept(table.first != table.second, reason="a gene with itself")
    table = _contradictions_out(table)
    seen = pd.Series(pair_keys(table.first, table.second)).duplicated().to_numpy()
    table = table.kept(~seen, reason="second copies")
    if not len(table):
        msg = f"{path} holds no pair of two different genes ({len(frame)} rows); wanted columns gene_a and gene_b."
        raise FormatError(msg)
    if table.label is not None and len(np.unique(table.label)) < 2:
        msg = f"{path}: all {len(table)} pairs have label {table.label[0]:g}; wanted pairs with 1 and pairs with 0."
        raise LabelError(msg)
    return table


def _contradictions_out(table: PairTable) -> PairTable:
    if table.label is None:
        return table
    codes = pd.factorize(pair_keys(table.first, table.second))[0]
    n = np.bincount(codes)
    positive = np.bincount(codes, weights=table.label)
    both = (positive > 0) & (positive < n)
    return table.kept(~both[codes], reason="labelled both ways")


def _gene_columns(frame: pd.DataFrame, path: Path | str) -> tuple[str, str]:
    for a, b in _GENE_COLUMNS:
        if a in frame and b in frame:
            return a, b
    msg = f"{path} has columns {', '.join(map(str, frame.columns[:8]))}; wanted gene_a and gene_b."
    raise FormatError(msg)


def _labels(frame: pd.DataFrame, path: Path | str) -> np.ndarray:
    if "label" not in frame:
        msg = f"{path} has columns {', '.join(map(str, frame.columns[:8]))}; wanted a column label of 0 and 1."
        raise FormatError(msg)
    label = pd.to_numeric(frame["label"], errors="coerce").to_numpy(dtype=float)
    bad = ~np.isin(label, [0, 1])
    if bad.any():
        msg = f"{path}: label {frame['label'][bad].iloc[0]!r} in row {int(np.flatnonzero(bad)[0]) + 2}; wanted 0 or 1."
        raise LabelError(msg)
    return label


def read_evidence(path: Path | str) -> pd.DataFrame:
    """Evidence for pairs: ``first, second`` (ids), ``source, score, reference, weight``; one row a piece.

    Parameters
    ----------
    path
        Columns ``gene_a, gene_b, source`` and, where there are, ``score`` and ``reference``; SynLethDB's own names
        (``gene_a.name``, ``SL.source``, ``SL.statistic_score``, ``SL.pubmed_id``) are read as well.
    """
    frame = read_table(path)
    a, b = _gene_columns(frame, path)
    named = {"SL.source": "source", "SL.statistic_score": "score", "SL.pubmed_id": "reference"}
    frame = frame.rename(columns=named)
    if "source" not in frame:
        msg = f"{path} has columns {', '.join(map(str, frame.columns[:8]))}; wanted a column source."
        raise FormatError(msg)
    ids = gene_ids(np.concatenate([frame[a].to_numpy(dtype=str), frame[b].to_numpy(dtype=str)])).astype(object)
    one, two = ids[: len(frame)], ids[len(frame) :]
    source = frame["source"].astype(str)
    empty = pd.Series([""] * len(frame))
    return pd.DataFrame(
        {
            "first": np.minimum(one, two),
            "second": np.maximum(one, two),
            "source": source.to_numpy(),
            "score": pd.to_numeric(frame.get("score", empty), errors="coerce").to_numpy(dtype=float),
            "reference": frame.get("reference", empty).astype(str).to_numpy(),
            "weight": [_weight(text) for text in source],
        }
    )


def _weight(source: str) -> float:
    """That no part of ``source`` is wrong by itself: 1 - product of (1 - weight)."""
    doubt = 1.0
    for part in source.lower().replace("|", ";").split(";"):
        doubt *= 1 - next((w for word, w in SOURCE_WEIGHTS.items() if word in part), _UNKNOWN_SOURCE)
    return 1 - doubt


def evidence_of(table: PairTable, evidence: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
    """What is known of each pair: (n,) weight in 0..1, NaN where nothing is; and its sources as a sentence.

    Several pieces doubt each other away: weight = 1 - product of (1 - weight of a piece), one piece a source.
    """
    known = evidence.assign(key=pair_keys(evidence["first"].to_numpy(), evidence["second"].to_numpy()))
    known = known.sort_values("weight", ascending=False, kind="stable")
    weights: dict[str, float] = {}
    told: dict[str, dict[str, None]] = {}
    for key, source, weight, reference in zip(
        known["key"], known["source"], known["weight"], known["reference"], strict=True
    ):
        sources = told.setdefault(key, {})
        if source not in {text.split(" (")[0] for text in sources}:
            weights[key] = 1 - (1 - weights.get(key, 0.0)) * (1 - weight)
        sources[f"{source} ({reference})" if reference else source] = None
    keys = pair_keys(table.first, table.second)
    found = np.array([weights.get(key, np.nan) for key in keys])
    return found, ["; ".join(list(told.get(key, {}))[:6]) for key in keys]


def check_known(table: PairTable, known: np.ndarray, *, what: str) -> PairTable:
    """The pairs of genes among ``known`` (sorted ids); the others are counted as ``"genes without features"``.

    Raises
    ------
    GeneError
        Fewer than half of the pairs are left: names of another kind or another species.
    """
    keep = np.isin(table.first.astype(str), known) & np.isin(table.second.astype(str), known)
    if keep.sum() * 2 < len(keep):
        outside = [table.symbols[g] for g in table.genes if g not in set(known.tolist())][:3]
        msg = (
            f"{int((~keep).sum())} of {len(keep)} {what} name a gene without features ({', '.join(outside)}, ...); "
            "wanted human symbols or Ensembl ids that the features hold."
        )
        raise GeneError(msg)
    return table.kept(keep, reason="genes without features")
