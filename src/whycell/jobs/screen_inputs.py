"""What a screen of pairs reads: features of genes from any of their sources, interactions, evidence, drugs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from whycell.compute import Talk
from whycell.data.depmap import read_line_table
from whycell.data.pairs import PairTable, gene_ids, read_pairs, read_table
from whycell.encode.gene_vectors import read_gene_vectors
from whycell.errors import FormatError
from whycell.models.pair_features import GeneFeatures, gene_features, network_of

__all__ = ["read_drugs", "read_gene_features", "weights_of"]


def read_gene_features(
    features: Sequence[Path], *, interactions: Path | None, genes: np.ndarray, talk: Talk
) -> tuple[GeneFeatures, np.ndarray]:
    """Features of all genes that the sources or the pairs name, and (k,) sorted ids of those that have any.

    Parameters
    ----------
    features
        Gene vectors (``whycell genes embed``), or tables of genes and cell lines.
    interactions
        A table of interacting pairs.
    genes
        (m,) ids that the pairs name.
    """
    edges = None if interactions is None else read_pairs(interactions)
    texts = [read_gene_vectors(path) for path in features if _is_vectors(path)]
    tables = [_profiles(path) for path in features if not _is_vectors(path)]
    everyone = np.unique(np.concatenate([genes, [] if edges is None else edges.genes]).astype(str))
    described = np.zeros(len(everyone), dtype=bool)
    vectors = np.hstack([t.matrix(everyone) for t in texts]) if texts else None
    profiles = np.hstack([_aligned(table, everyone) for table in tables]) if tables else None
    network = None if edges is None else network_of(everyone, edges.first, edges.second)
    if vectors is not None:
        described |= np.abs(vectors).sum(axis=1) > 0
    if profiles is not None:
        described |= np.isfinite(profiles).any(axis=1)
    if network is not None:
        described |= np.asarray(network.sum(axis=1)).ravel() > 0
    of = gene_features(everyone, texts=vectors, network=network, profiles=profiles)
    talk.note(f"{described.sum():,} of {len(everyone):,} genes have features: {', '.join(of.blocks)}")
    return of, everyone[described]


def _is_vectors(path: Path) -> bool:
    if not str(path).endswith(".parquet"):
        return False
    try:
        names = pq.read_schema(path).names
    except (OSError, ValueError) as error:
        msg = f"{path} cannot be read ({error}); wanted gene vectors of `whycell genes embed`, or genes x lines."
        raise FormatError(msg) from None
    if "vector" in names:
        return True
    if "text" in names or "facet" in names:
        msg = f"{path} holds texts of genes, not numbers; `whycell genes embed {path} -o vectors.parquet` makes them."
        raise FormatError(msg)
    return False


def _profiles(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Ids of genes and (genes, lines) numbers: genes are whichever side resolves to more of them."""
    table = read_line_table(path)
    across, down = gene_ids(table.symbols), gene_ids(table.lines)
    if (down != table.lines).sum() > (across != table.symbols).sum():
        return down, table.values
    return across, table.values.T


def _aligned(table: tuple[np.ndarray, np.ndarray], genes: np.ndarray) -> np.ndarray:
    ids, values = table
    out = np.full((len(genes), values.shape[1]), np.nan, dtype=np.float32)
    place = np.minimum(np.searchsorted(genes, ids), len(genes) - 1)
    held = genes[place] == ids
    out[place[held]] = values[held]
    return out


def read_drugs(path: Path | None) -> dict[str, str]:
    """Names of the drugs against each gene, by id: a table with columns ``gene`` and ``drug``."""
    if path is None:
        return {}
    frame = read_table(path)
    if "gene" not in frame or "drug" not in frame:
        msg = f"{path} has columns {', '.join(map(str, frame.columns[:8]))}; wanted gene and drug."
        raise FormatError(msg)
    ids = gene_ids(frame["gene"].to_numpy())
    named = pd.Series(frame["drug"].astype(str).to_numpy()).groupby(ids).unique()
    return {str(gene): ", ".join(sorted(drugs)) for gene, drugs in named.items()}


def weights_of(table: PairTable, believed: np.ndarray) -> np.ndarray:
    """(n,) weight of each training pair: a positive's half and half of its evidence, negatives' the positives' mean.

    Parameters
    ----------
    table
        Labelled pairs.
    believed
        (n,) evidence in 0..1, NaN where there is none; that of negatives is not looked at.
    """
    if table.label is None:
        return np.ones(len(table))
    true = table.label == 1
    usual = np.nanmedian(believed[true]) if np.isfinite(believed[true]).any() else 1.0
    weight = 0.5 + 0.5 * np.where(np.isfinite(believed), believed, usual)
    weight[~true] = weight[true].mean()
    return np.asarray(weight / weight.mean())
