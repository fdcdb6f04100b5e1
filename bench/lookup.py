"""Do words find cells? The ontology's definition of a type as the text, and where the cells of that type then stand.

AUROC of a type's cells over the other cells of the file, the mean over types; 0.5 is chance. Beside it the cosine of
the text with the cells' own vectors (GenePT-w without what is common to all genes), and both with every gene's text
dealt out to another. No cell was trained on; the labels serve to score alone.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np

from _harness import report
from gene_text import real_vectors
from peers.blood import STUDIES, find_cells, load_study
from peers.scores import auroc, rounded
from whycell.data.cells import open_cells
from whycell.encode.words import text_encoder
from whycell.jobs.lookup_cells import gene_weights, measure, score_cells
from whycell.jobs.words import Words
from whycell.knowledge.terms import Ontology
from whycell.models.text_scores import text_embedding

ONTOLOGY = Ontology.load()


def of_study(name: str, words: Words) -> dict[str, Any]:
    """Mean AUROC over types, by nearest genes and by the cells' own vectors, true and dealt out."""
    study = load_study(name)
    types = np.unique(study.terms)
    definitions = words.definitions(types.tolist())
    out: dict[str, Any] = {"types": len(types)}
    with open_cells(find_cells() / f"{name}.h5ad") as cells:
        start = time.process_time()
        expression = measure(cells, threads=1)
        out["CPU s to read"] = time.process_time() - start
        for what, vectors in (("", words.vectors), (", texts permuted", words.vectors.permuted(seed=0))):
            matrix = vectors.matrix(expression.ids)
            own = text_embedding(study.counts, expression.ids, vectors=vectors)
            found, whole = [], []
            for term, definition in zip(types, definitions, strict=True):
                near = np.where(np.abs(matrix).sum(axis=1) > 0, matrix @ definition, np.nan)
                columns, weights = gene_weights(expression, near)
                found.append(auroc(score_cells(expression, columns, weights, threads=1), study.terms == term))
                whole.append(auroc(own @ definition, study.terms == term))
            out[f"nearest genes{what}"] = float(np.mean(found))
            out[f"own vectors{what}"] = float(np.mean(whole))
            if not what:
                out["by type"] = {ONTOLOGY.name(t): a for t, a in zip(types, found, strict=True)}
    print(name, rounded(out), flush=True)
    return out


def main() -> bool:
    vectors = real_vectors()
    words = Words(vectors, text_encoder(vectors, threads=1), ONTOLOGY)
    results = {name: of_study(name, words) for name in STUDIES}
    limits = {
        f"{name}: words rank a type's cells above others, beyond texts dealt out to other genes": (
            found["nearest genes"] - found["nearest genes, texts permuted"],
            ">=",
            0.0,
        )
        for name, found in results.items()
    }
    return report("lookup", rounded(results), limits=limits)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
