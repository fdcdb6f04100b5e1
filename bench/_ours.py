"""whycell on the folds of ``peers.protocols``, as the command line would run it: ids of genes, union of studies."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp

from peers.blood import Study, label_map
from peers.protocols import Fold
from whycell import CellTyper
from whycell.knowledge.genes import resolve_genes

__all__ = ["Ours", "answer_donor_fold", "answer_study", "fit_donor_fold", "gene_ids", "union"]


@dataclass(frozen=True)
class Ours:
    """Probabilities (cells x classes), the classes as term ids, the calls, and seconds."""

    probabilities: np.ndarray
    classes: np.ndarray
    calls: pd.DataFrame
    fit_s: float
    predict_s: float

    @property
    def leaf(self) -> np.ndarray:
        """(n,) most probable class."""
        return self.classes[self.probabilities.argmax(axis=1)]

    @property
    def called(self) -> np.ndarray:
        """(n,) term id of the call, '' for unknown."""
        return self.calls["call_term_id"].to_numpy().astype(str)


def _answer(typer: CellTyper, T: sp.csr_matrix, genes: np.ndarray, fit_s: float) -> Ours:
    start = time.perf_counter()
    probabilities = typer.predict_proba(T, genes=genes)
    calls = typer.call(T, genes=genes)
    return Ours(probabilities, np.asarray(typer.classes_, str), calls, fit_s, (time.perf_counter() - start) / 2)


def fit_donor_fold(fold: Fold, *, seed: int = 0) -> tuple[CellTyper, float]:
    """A typer of the training cells, and the seconds that it took, calibration included."""
    start = time.perf_counter()
    typer = CellTyper(random_state=seed).fit(fold.X, fold.y, genes=fold.genes, groups=fold.donors)
    return typer, time.perf_counter() - start


def answer_donor_fold(fold: Fold, *, seed: int = 0) -> Ours:
    """Fit on the training cells of one study, type the test cells."""
    typer, seconds = fit_donor_fold(fold, seed=seed)
    return _answer(typer, fold.T, fold.genes, seconds)


def gene_ids(study: Study) -> tuple[sp.csr_matrix, np.ndarray]:
    """Counts with one column a gene, and the ids; names that do not resolve stay as they are."""
    mapping = resolve_genes(list(study.genes), species="human")
    names = np.where(np.asarray(mapping.ids) != "", mapping.ids, study.genes).astype(str)
    unique, column = np.unique(names, return_inverse=True)
    fold = sp.csr_matrix((np.ones(len(names), np.float32), (np.arange(len(names)), column)))
    return sp.csr_matrix(study.counts @ fold, dtype=np.float32), unique


def union(studies: list[Study]) -> tuple[sp.csr_matrix, np.ndarray, dict[str, np.ndarray]]:
    """Cells of all studies over the union of their genes, and of each study which of these it measured."""
    parts = [gene_ids(study) for study in studies]
    genes = np.unique(np.concatenate([ids for _, ids in parts]))
    blocks, measured = [], {}
    for study, (counts, ids) in zip(studies, parts, strict=True):
        place = sp.csr_matrix(
            (np.ones(len(ids), np.float32), (np.arange(len(ids)), np.searchsorted(genes, ids))),
            shape=(len(ids), len(genes)),
        )
        blocks.append(counts @ place)
        measured[study.name] = np.isin(genes, ids)
    return sp.csr_matrix(sp.vstack(blocks), dtype=np.float32), genes, measured


def answer_study(held: Study, rest: list[Study], *, seed: int = 0) -> Ours:
    """Train on the union of the other studies, labels as in the files and our label map; type the one left out."""
    X, genes, measured = union(rest)
    y = np.concatenate([study.terms for study in rest])
    donors = np.concatenate([[f"{study.name}/{d}" for d in study.donors] for study in rest])
    names = np.concatenate([np.full(len(study.terms), study.name) for study in rest])
    start = time.perf_counter()
    typer = CellTyper(random_state=seed).fit(
        X,
        y,
        genes=genes,
        groups=donors,
        studies=names,
        measured=measured,
        label_ids={t: t for t in label_map().values()},
    )
    fit_s = time.perf_counter() - start
    T, ids = gene_ids(held)
    return _answer(typer, T, ids, fit_s)
