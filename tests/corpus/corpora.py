"""A small corpus made in place: cells of a few types, donors and studies, encoded and shuffled."""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from whycell.corpus.shuffle import shuffle
from whycell.corpus.store import ENCODER, fragment_name, write_fragment
from whycell.knowledge.genes import GeneTable
from whycell.models.corpus_encoder import CorpusEncoder, corpus_encoder

TYPES = {
    "T cell": "CL:0000084",
    "CD4-positive, alpha-beta T cell": "CL:0000624",
    "B cell": "CL:0000236",
    "natural killer cell": "CL:0000623",
    "classical monocyte": "CL:0000860",
}


def counts_and_cells(
    *, n: int = 900, n_studies: int = 3, n_donors: int = 4, n_genes: int = 240, seed: int = 0
) -> tuple[sparse.csr_matrix, pd.DataFrame, pd.DataFrame]:
    """Counts (n, n_genes), genes and cells; a study and a donor each shift all genes a little."""
    rng = np.random.default_rng(seed)
    labels = list(TYPES)
    programmes = rng.gamma(0.3, 1.0, (len(labels), n_genes)) + 0.05
    programmes[1] = programmes[0] * np.where(rng.random(n_genes) < 0.2, 4.0, 1.0)  # a finer kind of the first
    kind, study, donor = (
        rng.integers(len(labels), size=n),
        rng.integers(n_studies, size=n),
        rng.integers(n_donors, size=n),
    )
    shift = np.exp(0.25 * rng.standard_normal((n_studies, n_genes)))
    own = np.exp(0.15 * rng.standard_normal((n_studies * n_donors, n_genes)))
    rates = programmes[kind] * shift[study] * own[study * n_donors + donor]
    rates *= rng.lognormal(6.0, 0.3, (n, 1)) / rates.sum(axis=1, keepdims=True)
    cells = pd.DataFrame(
        {
            "label": np.array(labels)[kind],
            "label_id": np.array(list(TYPES.values()))[kind],
            "donor": [f"donor {d}" for d in donor],
            "study": [f"study {s}" for s in study],
            "address": [f"file-{s}.h5ad" for s in study],
            "row": np.arange(n),
        }
    )
    ids = GeneTable.load("human").ids[:n_genes]
    genes = pd.DataFrame({"gene_id": ids, "symbol": ""})
    return sparse.csr_matrix(rng.poisson(rates), dtype=np.float32), genes, cells


def make_corpus(folder: Path, *, n: int = 900, n_sampled: int = 500, seed: int = 0) -> tuple[Path, CorpusEncoder]:
    """A store of ``n`` cells in blocks of 150, whose encoder was fitted on some of them."""
    counts, genes, cells = counts_and_cells(n=n, seed=seed)
    some = np.sort(np.random.default_rng(seed).permutation(n)[:n_sampled])
    encoder = corpus_encoder(counts[some], genes, cells=cells.iloc[some].reset_index(drop=True), n_dimensions=24)
    fragments = folder / "fragments"
    fragments.mkdir(parents=True)
    for start in range(0, n, 200):
        part = slice(start, min(start + 200, n))
        name = fragment_name(start, encoder.digest)
        write_fragment(fragments, name, vectors=encoder.encode(counts[part], genes), cells=cells.iloc[part])
    encoder.save(fragments / ENCODER)
    return shuffle(fragments, folder / "corpus", block=150), encoder
