"""Expression, texts on genes, and the pool of both that ``whycell train --representation ensemble`` makes of them.

Kang's donors each held out, then each of three studies held out; the views are those of the same training, each at the
temperature that it would have by itself. Scores of donors are over the eight types of Kang. Studies name types of other
detail, so their scores are over lineages: a class counts as the lineage it lies within, and a cell's probability of a
lineage is the sum over the classes within it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from _harness import report
from gene_text import ONTOLOGY, real_vectors
from peers.protocols import Fold, donor_folds, study_folds
from peers.scores import macro_f1, paired_interval
from whycell.encode.gene_vectors import GeneVectors, read_gene_vectors
from whycell.knowledge.genes import resolve_genes
from whycell.models.forward import ensemble_logits, softmax
from whycell.models.tested import TWO_STUDIES_TEMPERATURE
from whycell.models.typer import CellTyper

VIEWS = ("expression", "genept-w")
#: B, T, NK, monocyte, dendritic, megakaryocyte, platelet, progenitor.
LINEAGES = (
    "CL:0000236",
    "CL:0000084",
    "CL:0000623",
    "CL:0000576",
    "CL:0000451",
    "CL:0000556",
    "CL:0000233",
    "CL:0008001",
)


def lineage(term: str) -> str:
    """The lineage a term lies within; itself where none."""
    return next((one for one in LINEAGES if term == one or ONTOLOGY.is_ancestor(one, term)), term)


def answers(fold: Fold, vectors: GeneVectors) -> tuple[dict[str, np.ndarray], np.ndarray, list[dict[str, Any]]]:
    """Probabilities by view and of the pool, the term of each leaf, and what the card says of the views."""
    ids = resolve_genes(list(fold.genes)).ids
    known = np.array([bool(i) for i in ids])
    typer = CellTyper(normalise="cp10k", device="cpu", representation="ensemble", gene_vectors=vectors)
    typer.fit(
        fold.X[:, known],
        fold.y,
        genes=list(ids[known]),
        groups=fold.donors,
        studies=fold.studies,
        label_ids={str(t): str(t) for t in np.unique(fold.y)},
        ontology=ONTOLOGY,
    )
    answerer, told = typer.answerer_, typer.about_["representation"]["views"]
    columns = answerer.align(np.asarray(ids[known], dtype=object))
    seen = np.zeros(len(answerer.genes), dtype=bool)
    seen[columns[columns >= 0]] = True
    values = fold.T[:, known].tocsr()
    out = {"ensemble": answerer.answer(values, columns).probabilities}
    for view in VIEWS:
        learned = typer.views_[view]
        x, _ = learned.encode(values, columns, seen)
        temperature = next(row["temperature"] for row in told if row["name"] == view)
        if len(np.unique(fold.studies)) == 2:  # then a model's temperature is a fixed number, that of a pool and of one
            temperature = TWO_STUDIES_TEMPERATURE
        out[view] = softmax(ensemble_logits(x, learned.heads) / temperature)
    return (
        out,
        np.array([t or str(c) for c, t in zip(answerer.space.labels, answerer.space.term_ids, strict=True)]),
        told,
    )


def scores(folds: Iterator[Fold], vectors: GeneVectors, of: Callable[[str], str]) -> dict[str, dict[str, Any]]:
    """Macro-F1 and log-loss (floored at 1e-4) of the pool and of its views, fold by fold."""
    out = {}
    for fold in folds:
        found, terms, told = answers(fold, vectors)
        names, truth = np.array([of(str(t)) for t in terms]), np.array([of(str(t)) for t in fold.truth])
        out[fold.name] = {"weights": {row["name"]: round(row["weight"], 3) for row in told}}
        for name, p in found.items():
            right = (p * (names[None, :] == truth[:, None])).sum(axis=1)
            out[fold.name][name] = {
                "macro-F1": round(macro_f1(truth, names[p.argmax(axis=1)]), 4),
                "log-loss": round(float(-np.log(np.maximum(right, 1e-4)).mean()), 4),
            }
        print(fold.name, out[fold.name], flush=True)
    return out


def main() -> bool:
    given = os.environ.get("WHYCELL_GENE_VECTORS")
    vectors = read_gene_vectors(given, facets=["summary"]) if given else real_vectors()
    start = time.process_time()
    results: dict[str, Any] = {}
    limits = {}
    for what, folds, of in (("donors", donor_folds(), str), ("studies", study_folds(), lineage)):
        table = scores(folds, vectors, of)
        f1, loss = (
            {name: np.array([fold[name][score] for fold in table.values()]) for name in (*VIEWS, "ensemble")}
            for score in ("macro-F1", "log-loss")
        )
        better = np.maximum(*(f1[view] for view in VIEWS))
        worse = np.maximum(*(loss[view] for view in VIEWS))
        best = max(VIEWS, key=lambda view, f1=f1: f1[view].mean())
        results[what] = {
            "folds": table,
            "mean macro-F1": {name: round(float(values.mean()), 4) for name, values in f1.items()},
            "mean log-loss": {name: round(float(values.mean()), 4) for name, values in loss.items()},
            f"macro-F1 beyond {best}": paired_interval(f1["ensemble"], f1[best]),
            f"log-loss beyond {best}": paired_interval(loss["ensemble"], loss[best]),
        }
        limits |= {
            f"{what}: macro-F1 below the better view, worst fold": (float((better - f1["ensemble"]).max()), "<=", 0.01),
            f"{what}: log-loss beyond the worse view, worst fold": (
                float((loss["ensemble"] - worse).max()),
                "<=",
                0.0,
            ),
            f"{what}: macro-F1 beyond the view that is best on average, mean": (
                float((f1["ensemble"] - f1[best]).mean()),
                ">=",
                0.0,
            ),
        }
    results["CPU s"] = round(time.process_time() - start, 1)
    return report("ensemble", results, limits=limits)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
