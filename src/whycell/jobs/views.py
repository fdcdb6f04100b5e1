"""Maps of the same cells by several representations, with numbers beside them: an eye is easily pleased by a map."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from whycell.compute import Talk, n_threads
from whycell.data.fetch import local_copy
from whycell.data.whole import check_free, folder_written_whole
from whycell.encode.cells import log_normalise
from whycell.encode.gene_vectors import GeneVectors, read_gene_vectors
from whycell.encode.genept import cell_sentences
from whycell.encode.text import embed_texts
from whycell.encode.words import text_encoder
from whycell.jobs.overview import cell_map
from whycell.jobs.record import fingerprint_file, write_run
from whycell.jobs.sweep import Labelled, labelled_cells
from whycell.knowledge.genes import symbol_of
from whycell.metrics.embedding import ami, ari, batch_mixing, silhouette
from whycell.models.text_scores import text_embedding
from whycell.results.representation import Views

__all__ = ["views"]

_DIRECTIONS = 50
_SENTENCE_GENES = 100
_MOST_CELLS = 10_000
_MOST_OF_A_TYPE = 1500


def views(
    reference: Any,
    output: Path | None = None,
    *,
    label: str,
    gene_vectors: str | Path,
    donor: str | None = None,
    facets: Sequence[str] = (),
    obsm: Sequence[str] = (),
    sentences: bool = False,
    draw: bool = True,
    label_map: Path | None = None,
    most_cells: int = _MOST_CELLS,
    cache: Path | None = None,
    seed: int = 0,
    threads: int = 0,
    force: bool = False,
    talk: Talk | None = None,
) -> Views:
    """Draw cells by expression, by GenePT-w, by its controls, and by what else is at hand, and measure each.

    Every representation is brought to its 50 principal directions; numbers are taken there, never on the map.

    Parameters
    ----------
    reference
        A labelled file, several, or an AnnData.
    output
        Folder for the table, the coordinates and the page; ``None`` writes nothing.
    label, donor
        Columns of obs.
    gene_vectors
        What ``whycell genes embed`` wrote: a path or an address.
    facets
        Kinds of text; all where empty.
    obsm
        Keys of embeddings that the file holds, as further representations.
    sentences
        Also GenePT-s: every cell as a sentence of its hundred strongest genes, through the vectors' own encoder; a
        minute for a few thousand cells.
    draw
        Whether maps are drawn; the numbers alone take seconds.
    label_map
        TSV of label and Cell Ontology id.
    most_cells
        More cells than this are sampled.
    cache
        Of encoded texts; ``None`` is the user's own.
    seed
        Of the sample, the controls, the clusters and the map.
    threads
        Cores.
    force
        Replace a folder that is there.
    talk
        Told of progress.
    """
    talk = talk or Talk()
    check_free(output, force=force)
    path = local_copy(gene_vectors)
    vectors = read_gene_vectors(path, facets=facets)
    cells = labelled_cells(
        reference,
        label=label,
        donor=donor,
        label_map=label_map,
        obsm=obsm,
        most_cells=most_cells,
        seed=seed,
        threads=threads,
        talk=talk,
    )
    donors = None if donor is None else cells.references.obs["donor"].astype(str).to_numpy()
    rows, maps, method = [], {}, "UMAP"
    found = _representations(
        cells, vectors, sentences=sentences, cache=cache, seed=seed, threads=n_threads(threads), talk=talk
    )
    for name, embedding in found:
        x = _principal(embedding, seed)
        rows.append({"representation": name, "dims": x.shape[1], **_numbers(x, cells.classes, donors, seed)})
        if draw:
            method, maps[name] = cell_map([x.astype(np.float32)], seed=seed, talk=talk)
    types = cells.references.obs["label"].astype(str).to_numpy()
    inputs = {**cells.references.fingerprints, str(gene_vectors): fingerprint_file(path)}
    about = {"inputs": inputs, "encoder": vectors.encoder, "cells": len(types), "seed": seed}
    warnings = tuple(w for w in cells.warnings if "cells were taken" in w)
    result = Views(pd.DataFrame(rows), maps, method, types, donors, warnings, about)
    if output is not None:
        _write(result, Path(output), np.asarray(cells.references.obs["cell"]), inputs, seed=seed, force=force)
    return result


def _representations(
    cells: Labelled,
    vectors: GeneVectors,
    *,
    sentences: bool,
    cache: Path | None,
    seed: int,
    threads: int,
    talk: Talk,
) -> Iterator[tuple[str, Any]]:
    held = cells.references
    yield "expression", log_normalise(held.X, target=1e4)
    for name, own in (
        ("genept-w", vectors),
        ("genept-w, texts permuted", vectors.permuted(seed=seed)),
        ("genept-w, random vectors", vectors.random(seed=seed)),
    ):
        yield name, text_embedding(held.X, held.genes, vectors=own, threads=threads)
    if sentences:
        ids = [str(gene) for gene in held.genes]
        told = cell_sentences(held.X, symbol_of(ids), ids=ids, most=_SENTENCE_GENES)
        yield "genept-s", embed_texts(told, text_encoder(vectors, threads=threads), cache=cache, talk=talk)
    yield from held.obsm.items()


def _principal(values: Any, seed: int) -> np.ndarray:
    from sklearn.decomposition import PCA

    most = min(_DIRECTIONS, min(values.shape) - 1)
    solver = "arpack" if hasattr(values, "tocsr") else "covariance_eigh"
    return np.asarray(PCA(most, svd_solver=solver, random_state=seed).fit_transform(values))


def _numbers(x: np.ndarray, types: np.ndarray, donors: np.ndarray | None, seed: int) -> dict[str, float]:
    from sklearn.cluster import KMeans

    groups = KMeans(len(np.unique(types)), n_init=4, random_state=seed).fit_predict(x)
    nan = float("nan")
    return {
        "ari_type": ari(types, groups),
        "ami_type": ami(types, groups),
        "ari_donor": nan if donors is None else ari(donors, groups),
        "ami_donor": nan if donors is None else ami(donors, groups),
        "silhouette_type": silhouette(x, types, seed=seed),
        "silhouette_donor": nan if donors is None else _within_types(x, types, donors, seed),
        "mixing": nan if donors is None else batch_mixing(x, donors, labels=types),
    }


def _within_types(x: np.ndarray, types: np.ndarray, donors: np.ndarray, seed: int) -> float:
    """Silhouette of donors inside each type, the mean over types: a type that one donor holds alone is no batch."""
    found = [
        silhouette(x[own], donors[own], most_cells=_MOST_OF_A_TYPE, seed=seed)
        for own in (types == each for each in np.unique(types))
    ]
    return float(np.nanmean(found)) if np.isfinite(found).any() else float("nan")


def _write(result: Views, output: Path, cells: np.ndarray, inputs: dict[str, str], *, seed: int, force: bool) -> None:
    from whycell.reports.representation import views_page

    with folder_written_whole(output, force=force) as folder:
        folder.mkdir()
        result.numbers.to_csv(folder / "numbers.tsv", sep="\t", index=False, float_format="%.6g")
        for name, xy in result.maps.items():
            frame = pd.DataFrame({"cell": cells, "type": result.types, "x": xy[:, 0], "y": xy[:, 1]})
            if result.donors is not None:
                frame.insert(2, "donor", result.donors)
            plain = "".join(c if c.isalnum() else "-" for c in name)
            frame.to_csv(folder / f"map-{plain}.tsv", sep="\t", index=False, float_format="%.5g")
        (folder / "report.html").write_text(views_page(result), encoding="utf-8")
        write_run(folder, "genes views", inputs=inputs, seed=seed, parameters=result.provenance)
