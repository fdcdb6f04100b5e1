"""Representations of the same cells in numbers: do they group types, and do they mix donors?

ARI and AMI of k-means (as many groups as types), silhouettes, and the mixing of donors within types, in 50 principal
directions: of expression, of GenePT-w, and of both controls of the texts. Kang has eight donors, the others one each.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _harness import report
from gene_text import real_table
from peers.blood import STUDIES, find_cells
from peers.scores import rounded
from whycell.jobs.views import views


def main() -> bool:
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        vectors = real_table(Path(scratch))
        for name in STUDIES:
            start = time.process_time()
            found = views(
                find_cells() / f"{name}.h5ad",
                label="cell_type",
                donor="donor" if name == STUDIES[0] else None,
                gene_vectors=vectors,
                facets=["summary"],
                draw=False,
                label_map=find_cells() / "label_to_cl.tsv",
                most_cells=6000,
                threads=1,
            )
            numbers = found.numbers.set_index("representation").drop(columns="dims").dropna(axis=1)
            results[name] = {**numbers.to_dict(orient="index"), "CPU s": time.process_time() - start}
            print(name, numbers.round(3).to_string(), sep="\n", flush=True)
    limits = {
        f"{name}: ARI of types, texts beyond {control}": (
            results[name]["genept-w"]["ari_type"] - results[name][f"genept-w, {control}"]["ari_type"],
            ">=",
            0.0,
        )
        for name in STUDIES
        for control in ("texts permuted", "random vectors")
    }
    return report("views", rounded(results), limits=limits)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
