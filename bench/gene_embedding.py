"""Gene summaries through the local encoder: float32, bfloat16, and again from the cache.

The whole set takes minutes; ``--share 0.1`` takes every tenth text, and the figures are of those, with the time for all
in proportion (said in the JSON).
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from _harness import report
from peers.blood import find_cells
from whycell.compute import n_threads
from whycell.encode.text import embed_texts, load_encoder
from whycell.knowledge.gene_sources import read_summaries


def main(share: float) -> bool:
    texts = read_summaries(find_cells().parent / "genes/refseq_gene_summaries.tsv.gz")["summary"].tolist()
    some = texts[:: max(1, round(1 / share))]
    seconds: dict[str, float] = {}
    vectors = {}
    with tempfile.TemporaryDirectory() as scratch:
        for precision in ("float32", "bfloat16"):
            encoder = load_encoder(precision=precision)
            encoder.encode(some[:2])  # loaded before it is timed
            for name in (precision, f"{precision} from the cache"):
                start = time.perf_counter()
                vectors[name] = embed_texts(some, encoder, cache=Path(scratch))
                seconds[name] = time.perf_counter() - start
    whole = len(texts) / len(some)
    cosine = float((vectors["float32"] * vectors["bfloat16"]).sum(axis=1).min())
    same = np.array_equal(vectors["bfloat16"], vectors["bfloat16 from the cache"])
    results = {
        "texts": len(some),
        "of": len(texts),
        "seconds": {name: round(s, 2) for name, s in seconds.items()},
        "seconds for all, in proportion": {name: round(s * whole, 1) for name, s in seconds.items()},
        "the cache gives the same bytes": bool(same),
        "threads": n_threads(),
    }
    limits = {
        "float32, minutes for all": (seconds["float32"] * whole / 60, "<=", 9.0),
        "bfloat16, minutes for all": (seconds["bfloat16"] * whole / 60, "<=", 5.0),
        "least cosine of bfloat16 to float32": (cosine, ">=", 0.9999),
        "from the cache, s for all": (seconds["bfloat16 from the cache"] * whole, "<=", 5.0),
    }
    return report("gene_embedding", results, limits=limits)


if __name__ == "__main__":
    sys.exit(0 if main(float(sys.argv[sys.argv.index("--share") + 1]) if "--share" in sys.argv else 1.0) else 1)
