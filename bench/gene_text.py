"""What the texts on genes contribute: GenePT-w beside its controls, expression, and the ensemble of both.

Kang's donors each held out, then each of the three studies held out. The controls have the same number of dimensions:
vectors of the same mean and spectrum without any text, and the texts dealt out to other genes. The gap to them is what
the text contributes. "On the branch": the most probable class is the true term, above it, or below it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from _harness import report
from peers.blood import find_cells
from peers.protocols import Fold, donor_folds, study_folds
from peers.scores import accuracy, macro_f1, paired_interval
from whycell.encode.gene_vectors import GeneVectors, read_gene_vectors
from whycell.jobs.genes import build, embed
from whycell.knowledge.genes import resolve_genes
from whycell.knowledge.terms import Ontology
from whycell.models.baselines import Logistic
from whycell.models.ensemble import Ensemble
from whycell.models.gene_text import GenePTW
from whycell.models.typing_model import WhycellModel

DIMS = 64
ONTOLOGY = Ontology.load()


def real_table(folder: Path) -> Path:
    """Summaries of all genes through the bundled encoder, as a file; from the user's cache the second time."""
    genes = find_cells().parent / "genes"
    build(
        genes / "Homo_sapiens.gene_info.gz",
        folder / "genes.parquet",
        summaries=genes / "refseq_gene_summaries.tsv.gz",
        hgnc=genes / "hgnc_complete_set.txt.gz",
    )
    embed(folder / "genes.parquet", folder / "v.parquet", facets=["summary"], precision="bfloat16")
    return folder / "v.parquet"


def real_vectors() -> GeneVectors:
    """The same, read."""
    with tempfile.TemporaryDirectory() as scratch:
        return read_gene_vectors(real_table(Path(scratch)))


def models(vectors: GeneVectors) -> dict[str, Callable[[], Any]]:
    """Every model, as a function that gives a new one."""
    text = {
        f"genept-w, {n} dims{', ' + c if c != 'none' else ''}": lambda n=n, c=c: GenePTW(
            vectors=vectors, dims=n, control=c
        )
        for n in (DIMS, 384)
        for c in ("none", "permuted", "random")
    }
    views = {"expression": WhycellModel, "genept-w": lambda: GenePTW(vectors=vectors)}
    return {"expression": WhycellModel, "logistic": Logistic, **text, "ensemble": lambda: Ensemble(views=views)}


def answers(folds: Iterator[Fold], make: Callable[[], Any]) -> list[tuple[Fold, np.ndarray, np.ndarray]]:
    """Fold, most probable term, and log-loss of each cell (floored at 1e-4)."""
    out = []
    for fold in folds:
        ids = resolve_genes(list(fold.genes)).ids
        known = np.array([bool(i) for i in ids])
        terms = {str(t): str(t) for t in np.unique(fold.y)}
        model = make().fit(
            fold.X[:, known],
            fold.y,
            genes=ids[known],
            donors=fold.donors,
            studies=fold.studies,
            ontology=ONTOLOGY,
            label_ids=terms,
        )
        p, labels = model.predict_proba(fold.T[:, known], genes=ids[known])
        names = np.asarray(labels, dtype=str)
        right = (p * (names[None, :] == fold.truth[:, None])).sum(axis=1)
        out.append((fold, names[p.argmax(axis=1)], -np.log(np.maximum(right, 1e-4))))
    return out


def on_branch(truth: np.ndarray, said: np.ndarray) -> float:
    """Share of cells whose class is on the line of the truth."""
    line = [ONTOLOGY.is_ancestor(a, b) or ONTOLOGY.is_ancestor(b, a) for a, b in zip(truth, said, strict=True)]
    return float(np.mean(line))


def main() -> bool:
    vectors = real_vectors()
    table: dict[str, Any] = {}
    per_donor: dict[str, np.ndarray] = {}
    losses: dict[str, np.ndarray] = {}
    for name, make in models(vectors).items():
        start = time.process_time()
        kang = answers(donor_folds(), make)
        truth, said = np.concatenate([f.truth for f, _, _ in kang]), np.concatenate([s for _, s, _ in kang])
        per_donor[name] = np.array([macro_f1(f.truth, s) for f, s, _ in kang])
        losses[name] = np.array([loss.mean() for _, _, loss in kang])
        studies = {f.name: round(on_branch(f.truth, s), 4) for f, s, _ in answers(study_folds(), make)}
        table[name] = {
            "Kang accuracy": round(accuracy(truth, said), 4),
            "Kang macro-F1": round(macro_f1(truth, said), 4),
            "Kang log-loss": round(float(losses[name].mean()), 4),
            "studies out, on the branch": studies,
            "CPU s": round(time.process_time() - start, 1),
        }
        print(name, table[name], flush=True)
    gaps = {
        f"text beyond {control}, {n} dims, macro-F1 by donor": paired_interval(
            per_donor[f"genept-w, {n} dims"], per_donor[f"genept-w, {n} dims, {control}"]
        )
        for n in (DIMS, 384)
        for control in ("permuted", "random")
    }
    views = [per_donor["expression"], per_donor["genept-w, 384 dims"]]
    best = np.maximum(*views)
    limits = {
        "ensemble's macro-F1 below its better view, worst donor": (
            float((best - per_donor["ensemble"]).max()),
            "<=",
            0.01,
        ),
        "ensemble's log-loss beyond its worse view, worst donor": (
            float((losses["ensemble"] - np.maximum(losses["expression"], losses["genept-w, 384 dims"])).max()),
            "<=",
            0.0,
        ),
        "ensemble's macro-F1 beyond the better view, mean": (float((per_donor["ensemble"] - best).mean()), ">=", 0.0),
    }
    return report("gene_text", {"models": table, "gaps": gaps}, limits=limits)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
