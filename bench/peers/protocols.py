"""Who is held out: the same folds for whycell and for every peer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from peers.blood import STUDIES, Study, load_study, on_genes, shared_symbols

__all__ = ["Fold", "donor_folds", "half_folds", "novelty_folds", "study_folds"]


@dataclass(frozen=True)
class Fold:
    """Counts and Cell Ontology ids of the training and the test cells; genes are symbols."""

    name: str
    X: sp.csr_matrix
    y: np.ndarray
    donors: np.ndarray
    studies: np.ndarray
    T: sp.csr_matrix
    truth: np.ndarray
    test_donors: np.ndarray
    genes: np.ndarray


def _fold(name: str, study: Study, train: np.ndarray, test: np.ndarray) -> Fold:
    return Fold(
        name=name,
        X=study.counts[train],
        y=study.terms[train],
        donors=study.donors[train],
        studies=np.full(int(train.sum()), study.name),
        T=study.counts[test],
        truth=study.terms[test],
        test_donors=study.donors[test],
        genes=study.symbols,
    )


def donor_folds() -> Iterator[Fold]:
    """Each of Kang's eight donors held out in turn."""
    kang = load_study("kang_ctrl_8donors")
    for donor in np.unique(kang.donors):
        test = kang.donors == donor
        yield _fold(str(donor), kang, ~test, test)


def novelty_folds(left_out: tuple[str, ...]) -> Iterator[Fold]:
    """Each of Kang's donors held out in turn, the types ``left_out`` (term ids) never trained on but tested."""
    kang = load_study("kang_ctrl_8donors")
    new = np.isin(kang.terms, left_out)
    for donor in np.unique(kang.donors):
        test = kang.donors == donor
        yield _fold(str(donor), kang, ~test & ~new, test)


def half_folds(left_out: tuple[str, ...]) -> Iterator[Fold]:
    """Kang's donors in two halves of like size, each tested by the other's; ``left_out`` as in ``novelty_folds``."""
    kang = load_study("kang_ctrl_8donors")
    new = np.isin(kang.terms, left_out)
    first = np.isin(kang.donors, ["1015", "1016", "1039", "1244"])
    for name, test in (("first", first), ("second", ~first)):
        yield _fold(name, kang, ~test & ~new, test)


def study_folds() -> Iterator[Fold]:
    """Each study held out in turn, trained on the other two, on the genes that all three measured."""
    studies = [load_study(name) for name in STUDIES]
    genes = shared_symbols(studies)
    counts = {study.name: on_genes(study, genes) for study in studies}
    for held in studies:
        rest = [study for study in studies if study is not held]
        yield Fold(
            name=held.name,
            X=sp.csr_matrix(sp.vstack([counts[s.name] for s in rest])),
            y=np.concatenate([s.terms for s in rest]),
            donors=np.concatenate([s.donors for s in rest]),
            studies=np.concatenate([np.full(len(s.terms), s.name) for s in rest]),
            T=counts[held.name],
            truth=held.terms,
            test_donors=held.donors,
            genes=genes,
        )
