"""The three blood studies as a corpus of ten files: Kang's eight donors, Zheng and PBMC 3k, encoded and shuffled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from peers.blood import STUDIES, load_study
from whycell.corpus.shuffle import shuffle
from whycell.corpus.store import ENCODER, fragment_name, write_fragment
from whycell.knowledge.genes import resolve_genes
from whycell.models.corpus_encoder import CorpusEncoder, corpus_encoder

__all__ = ["blood_cells", "blood_fragments", "shuffle"]


def blood_cells() -> tuple[sp.csr_matrix, pd.DataFrame, pd.DataFrame, dict[str, np.ndarray]]:
    """Counts over the union of genes, genes, cells, and by study the genes measured."""
    studies = [load_study(name) for name in STUDIES]
    ids = []
    for study in studies:
        found = np.asarray(resolve_genes(study.genes).ids, dtype=object)
        ids.append(np.where(pd.Series(found).duplicated(), "", found))
    union = sorted(set().union(*map(set, ids)) - {""})
    place = {gene: i for i, gene in enumerate(union)}
    counts, cells, measured = [], [], {}
    for study, own in zip(studies, ids, strict=True):
        at = np.array([place.get(gene, -1) for gene in own])
        coo = study.counts.tocoo()
        use = at[coo.col] >= 0
        counts.append(
            sp.csr_matrix((coo.data[use], (coo.row[use], at[coo.col[use]])), shape=(len(study.labels), len(union)))
        )
        n = len(study.labels)
        of = study.donors if study.name.startswith("kang") else np.full(n, "all")
        cells.append(
            pd.DataFrame(
                {
                    "label": study.labels,
                    "label_id": study.terms,
                    "donor": study.donors,
                    "study": study.name,
                    "address": [f"{study.name}-{one}.h5ad" for one in of],
                    "row": np.arange(n),
                }
            )
        )
        measured[study.name] = np.isin(np.arange(len(union)), at[at >= 0])
    genes = pd.DataFrame({"gene_id": union, "symbol": ""})
    return sp.vstack(counts, format="csr"), genes, pd.concat(cells, ignore_index=True), measured


def blood_fragments(folder: Path, *, n_sampled: int = 8_192, seed: int = 0) -> CorpusEncoder:
    """Fragments of 500 cells, file after file, and the encoder that made them."""
    counts, genes, cells, measured = blood_cells()
    some = np.sort(np.random.default_rng(seed).permutation(len(cells))[:n_sampled])
    encoder = corpus_encoder(
        counts[some], genes, cells=cells.iloc[some].reset_index(drop=True), measured=measured, seed=seed
    )
    folder.mkdir(parents=True)
    for address in cells["address"].unique():
        mine = np.flatnonzero(cells["address"] == address)
        own = measured[cells["study"].iloc[mine[0]]]
        kept = genes[own].reset_index(drop=True)
        for part in np.array_split(mine, max(1, len(mine) // 500)):
            vectors = encoder.encode(counts[part][:, own], kept)
            name = fragment_name(address, int(part[0]), encoder.digest)
            write_fragment(folder, name, vectors=vectors, cells=cells.iloc[part])
    encoder.save(folder / ENCODER)
    return encoder
