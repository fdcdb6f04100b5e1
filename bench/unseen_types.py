"""Types never trained on, scored among every term of the Cell Ontology, beside what backing off says.

Every type is left out in turn; Kang's donors are held out as well, in two parts; Zheng (one lane a type) and PBMC 3k
(one donor) can hold out only cells, in two parts. Four answers: the map's nearest term of all; its nearest below what
the typer, trained without the type, backs off to; that call itself; and the deepest ancestor that training knows, which
is the best that any backing off could say. "On the branch": the answer is the type, above it, or below it. "Likeness":
Lin's, 0 to 1. Intervals are over types left out.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from _harness import report
from gene_text import real_vectors
from peers.blood import STUDIES, find_cells
from peers.scores import rounded
from whycell.encode.words import text_encoder
from whycell.jobs.unseen import learn_unseen
from whycell.jobs.words import Words
from whycell.knowledge.terms import Ontology


def main() -> bool:
    vectors = real_vectors()
    words = Words(vectors, text_encoder(vectors, threads=1), Ontology.load(), about={"encoder": vectors.encoder})
    results, kept, gaps = {}, {}, {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in STUDIES:
            start = time.process_time()
            found = learn_unseen(
                find_cells() / f"{name}.h5ad",
                Path(scratch) / name,
                label="cell_type",
                donor="donor" if name == STUDIES[0] else None,
                words=words,
                label_map=find_cells() / "label_to_cl.tsv",
                threads=1,
            )
            rows = found.summary.set_index("way")
            results[name] = {
                "split": found.about["split"],
                "penalty": found.penalty,
                "start": found.start,
                "answers": rows.to_dict(orient="index"),
                "by type": found.left_out.drop(columns="left_out").to_dict(orient="records"),
                "kept": found.helps or "off",
                "CPU s": time.process_time() - start,
            }
            kept[name] = found.helps
            gaps[name] = max(float(rows.loc[way, "beyond_call"]) for way in rows.index if way.startswith("map"))
            print(name, found.helps or "off", rows.round(3).T.to_string(), sep="\n", flush=True)
    # What is kept must help: where the map is switched on, it is beyond the call; elsewhere it is off.
    limits = {
        f"{name}: the better map's likeness beyond the call's, or off": (gaps[name] if kept[name] else 0.0, ">=", 0.0)
        for name in STUDIES
    }
    return report("unseen_types", rounded(results), limits=limits)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
