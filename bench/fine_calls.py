"""Trained on Kang (CD4 T cells) and PBMC 3k (naive and memory CD4): what Kang's CD4 cells of new donors are called.

Nobody labelled Kang's cells as finely, so two things stand in for the truth. Markers of naive and memory cells among
the fine calls. And the same situation made from labels that Kang does have: four of its types are given coarse labels
("T cell", "monocyte"), PBMC 3k alone teaches them apart, and the fine calls on Kang's other donors are compared with
the labels withheld. Zheng, a study never seen, must not be called as finely.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from _harness import report
from _ours import gene_ids, union
from peers.backoff import call_scores
from peers.blood import Study, label_map, load_study
from peers.scores import rounded
from whycell import CellTyper
from whycell.knowledge.terms import Ontology

TRAINED_DONORS = ("1015", "1016", "1039", "1244")
NAIVE, MEMORY, CD34 = "CL:0000895", "CL:0000897", "CL:0008001"
T_CELL, MONOCYTE = "CL:0000084", "CL:0000576"
COARSE = {"CL:0000624": T_CELL, "CL:0000625": T_CELL, "CL:0001054": MONOCYTE, "CL:0002396": MONOCYTE}
MARKERS = {"CCR7": "naive", "LEF1": "naive", "S100A4": "memory", "IL32": "memory", "ANXA1": "memory"}


def fit(kang: Study, pbmc: Study, terms: np.ndarray, *, seed: int) -> CellTyper:
    """Half of Kang's donors and all of PBMC 3k."""
    X, genes, measured = union([kang, pbmc])
    donors = np.concatenate([kang.donors, pbmc.donors])
    studies = np.concatenate([np.full(len(s.terms), s.name) for s in (kang, pbmc)])
    rows = np.flatnonzero(np.isin(donors, TRAINED_DONORS) | (studies == pbmc.name))
    return CellTyper(random_state=seed).fit(
        X[rows],
        terms[rows],
        genes=genes,
        groups=donors[rows],
        studies=studies[rows],
        measured=measured,
        label_ids={t: t for t in (*label_map().values(), T_CELL, MONOCYTE)},
    )


def calls(typer: CellTyper, study: Study) -> np.ndarray:
    T, ids = gene_ids(study)
    return typer.call(T, genes=ids)["call_term_id"].to_numpy().astype(str)


def fine_calls(kang: Study, pbmc: Study, zheng: Study, *, seed: int) -> dict:
    typer = fit(kang, pbmc, np.concatenate([kang.terms, pbmc.terms]), seed=seed)
    called, new = calls(typer, kang), ~np.isin(kang.donors, TRAINED_DONORS)
    cd4 = new & (kang.labels == "CD4 T cells")
    at = {symbol: i for i, symbol in enumerate(kang.symbols)}
    found = {m: (kang.counts[:, at[m]] > 0).toarray().ravel() for m in MARKERS if m in at}
    other = calls(typer, zheng)
    trained = zheng.terms != CD34
    return {
        "Kang, new donors, CD4 called naive": float((called[cd4] == NAIVE).mean()),
        "Kang, new donors, CD4 called memory": float((called[cd4] == MEMORY).mean()),
        "Kang, new donors, all": call_scores(kang.terms[new], called[new])._asdict(),
        "found in cells called naive, memory": {
            f"{m} ({kind})": [float(found[m][cd4 & (called == term)].mean()) for term in (NAIVE, MEMORY)]
            for m, kind in MARKERS.items()
            if m in found
        },
        "Zheng called naive or memory CD4": float(np.isin(other, [NAIVE, MEMORY]).mean()),
        "Zheng": call_scores(zheng.terms[trained], other[trained])._asdict(),
    }


def withheld_labels(kang: Study, pbmc: Study, *, seed: int) -> dict:
    fine = np.where(np.isin(pbmc.terms, [NAIVE, MEMORY]), "CL:0000624", pbmc.terms)
    typer = fit(kang, pbmc, np.concatenate([[COARSE.get(t, t) for t in kang.terms], fine]), seed=seed)
    test = ~np.isin(kang.donors, TRAINED_DONORS) & np.isin(kang.terms, list(COARSE))
    called, truth = calls(typer, kang)[test], kang.terms[test]
    below = set(COARSE) | Ontology.load().descendants("CL:0000624") | Ontology.load().descendants("CL:0000625")
    made = np.isin(called, list(below))
    return {
        "called at least as finely as the label withheld": float(made.mean()),
        "of these, off the branch": call_scores(truth[made], called[made]).off_branch if made.any() else 0.0,
        "all": call_scores(truth, called)._asdict(),
        "right by type": {t: float((called[truth == t] == t).mean()) for t in COARSE},
    }


def main() -> bool:
    start = time.perf_counter()
    kang, zheng, pbmc = (load_study(n) for n in ("kang_ctrl_8donors", "zheng_facs_3774", "pbmc3k_counts"))
    results: dict = {"fine calls": fine_calls(kang, pbmc, zheng, seed=0)}
    results["labels withheld"] = {f"seed {s}": withheld_labels(kang, pbmc, seed=s) for s in (0, 1)}
    results["seconds"] = time.perf_counter() - start
    fine = results["fine calls"]
    share = fine["Kang, new donors, CD4 called naive"] + fine["Kang, new donors, CD4 called memory"]
    limits = {
        "CD4 cells of new donors of Kang with a fine call": (share, ">=", 0.10),
        "Zheng: calls off the branch": (fine["Zheng"]["off_branch"], "<=", 0.15),
    }
    return report("fine_calls", rounded(results), limits=limits)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
