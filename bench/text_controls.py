"""What the texts on genes contribute: the gap of GenePT-w to both controls, on three data sets.

Kang: each of eight donors held out, intervals over donors. Zheng has one lane a type and PBMC 3k one donor, so only
cells can be held out there (five parts): training and test share donors, the scores flatter, and the intervals over
parts are narrow. The controls have the same number of dimensions: every gene with the text of another, and vectors of
the same mean and spectrum without any text; two draws each, averaged part by part.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np

from _harness import report
from gene_text import real_vectors
from peers.blood import STUDIES, load_study
from peers.scores import macro_f1, paired_interval, rounded
from whycell.data.splits import Fold
from whycell.encode.gene_vectors import GeneVectors
from whycell.knowledge.genes import resolve_genes
from whycell.models.text_scores import held_out, held_out_principal, text_embedding

DIMS, DRAWS, PARTS = (64, 384), 2, 5


def folds_of(name: str, donors: np.ndarray) -> tuple[tuple[Fold, ...], str]:
    """Donors, or parts at random where there is one donor."""
    groups = donors
    split = "donors held out"
    if len(np.unique(donors)) < 2:
        groups = np.random.default_rng(0).permutation(np.arange(len(donors)) % PARTS).astype(str)
        split = f"cells split at random in {PARTS} parts, one donor on both sides"
    folds = (Fold(str(g), np.flatnonzero(groups != g), np.flatnonzero(groups == g)) for g in np.unique(groups))
    return tuple(folds), split


def scores(truth: np.ndarray, said: np.ndarray, folds: tuple[Fold, ...]) -> np.ndarray:
    return np.array([macro_f1(truth[fold.test], said[fold.test].astype(str)) for fold in folds])


def of_study(name: str, vectors: GeneVectors) -> dict[str, Any]:
    """Scores and gaps of one data set."""
    study = load_study(name)
    folds, split = folds_of(name, study.donors)
    names = study.genes if study.genes[0].startswith("ENSG") else study.symbols
    genes = resolve_genes(list(names)).ids
    table: dict[str, Any] = {"split": split}
    start = time.process_time()
    own = held_out_principal(study.counts, study.terms, folds=folds, dims=[DIMS[0]])
    table[f"expression, {DIMS[0]} directions"] = float(scores(study.terms, own[DIMS[0]], folds).mean())
    for n in DIMS:
        cut = vectors.projected(n)
        told = {
            "text": [cut],
            "permuted": [cut.permuted(seed=s) for s in range(DRAWS)],
            "random": [cut.random(seed=s) for s in range(DRAWS)],
        }
        found = {}
        for what, each in told.items():
            said = [held_out(text_embedding(study.counts, genes, vectors=v), study.terms, folds=folds) for v in each]
            found[what] = np.mean([scores(study.terms, answer, folds) for answer in said], axis=0)
            table[f"{what}, {n} dims"] = float(found[what].mean())
        for control in ("permuted", "random"):
            table[f"text beyond {control}, {n} dims"] = paired_interval(found["text"], found[control])
    table["CPU s"] = time.process_time() - start
    print(name, rounded(table), flush=True)
    return table


def main() -> bool:
    vectors = real_vectors()
    results = {name: of_study(name, vectors) for name in STUDIES}
    limits = {
        f"{name}: text beyond {control}, {n} dims, low end": (
            table[f"text beyond {control}, {n} dims"]["low"],
            ">=",
            0.0,
        )
        for name, table in results.items()
        for n in DIMS
        for control in ("permuted", "random")
    }
    return report("text_controls", rounded(results), limits=limits)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
