"""What the texts on genes are worth on somebody's own cells: score against dimensions, beside the controls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from whycell.compute import Talk
from whycell.data.fetch import local_copy
from whycell.data.splits import Split, make_split
from whycell.data.whole import check_free, folder_written_whole
from whycell.encode.gene_vectors import GeneVectors, read_gene_vectors
from whycell.errors import UsageError
from whycell.jobs.record import fingerprint_file, write_run
from whycell.jobs.references import References, load_references
from whycell.knowledge.facets import NAMES_CELL_TYPES
from whycell.metrics.flat import accuracy
from whycell.metrics.intervals import FEW_GROUPS, t_interval
from whycell.models.backoff import class_term
from whycell.models.text_scores import held_out, held_out_principal, scores_by_group, text_embedding
from whycell.results.representation import Sweep

__all__ = ["DIMS", "Labelled", "labelled_cells", "sweep"]

#: Dimensions tried where none are named, as far as the vectors reach.
DIMS = (16, 32, 64, 128, 256, 384, 768, 1536, 3072)
_MOST_CELLS = 20_000


@dataclass(frozen=True)
class Labelled:
    """Cells to compare representations on.

    Parameters
    ----------
    references
        The cells kept.
    classes
        (n_cells,) the term of each label, or the label where it has none.
    split
        Who is held out.
    sentence
        The same in words.
    warnings
        What a reader must know of it.
    """

    references: References
    classes: np.ndarray
    split: Split
    sentence: str
    warnings: tuple[str, ...]

    @property
    def groups(self) -> np.ndarray:
        """(n_cells,) what intervals are taken over: donors, or folds where cells were split at random."""
        if not self.split.leaking:
            return np.asarray(self.split.groups).astype(str)
        return np.asarray(self.split.names)[self.split.fold_of]


def sweep(
    reference: Any,
    output: Path | None = None,
    *,
    label: str,
    gene_vectors: str | Path,
    donor: str | None = None,
    study: str | None = None,
    facets: Sequence[str] = (),
    dims: Sequence[int] = (),
    draws: int = 2,
    label_map: Path | None = None,
    most_cells: int = _MOST_CELLS,
    seed: int = 0,
    threads: int = 0,
    force: bool = False,
    talk: Talk | None = None,
) -> Sweep:
    """Score GenePT-w by number of dimensions, cut short and projected, beside what has as many dimensions and no text.

    Parameters
    ----------
    reference
        A labelled file, several, or an AnnData.
    output
        Folder for the tables and the page; ``None`` writes nothing.
    label, donor, study
        Columns of obs. Donors are held out; else studies; without either, cells at random, and the page says so.
    gene_vectors
        What ``whycell genes embed`` wrote: a path or an address.
    facets
        Kinds of text; all where empty.
    dims
        Numbers of dimensions; a row of doublings where empty.
    draws
        Of each control, with other seeds; their mean is shown.
    label_map
        TSV of label and Cell Ontology id.
    most_cells
        More cells than this are sampled.
    seed
        Of the sample and of the controls.
    threads
        Cores.
    force
        Replace a folder that is there.
    talk
        Told of progress.

    Raises
    ------
    UsageError
        More dimensions than the vectors have, or a single class.
    """
    talk = talk or Talk()
    check_free(output, force=force)
    path = local_copy(gene_vectors)
    vectors = read_gene_vectors(path, facets=facets)
    cells = labelled_cells(
        reference,
        label=label,
        donor=donor,
        study=study,
        label_map=label_map,
        most_cells=most_cells,
        seed=seed,
        threads=threads,
        talk=talk,
    )
    wide = vectors.vectors.shape[1]
    chosen = sorted(set(dims)) or [n for n in DIMS if n <= wide]
    if chosen[-1] > wide or chosen[0] < 1:
        msg = f"{chosen[-1]} dimensions were asked for; the vectors have {wide}."
        raise UsageError(msg)
    found = _Scores(cells)
    with talk.progress("scoring", len(chosen) * (2 + 2 * draws) + 1) as bar:
        for name, way, n, own in _representations(vectors, chosen, draws, seed):
            embedding = text_embedding(cells.references.X, cells.references.genes, vectors=own, threads=threads)
            found.add(name, way, n, held_out(embedding, cells.classes, folds=cells.split.folds, threads=threads))
            bar.advance()
        most = min(cells.references.X.shape) - 1
        within = [n for n in chosen if n <= most]
        if within:
            said = held_out_principal(
                cells.references.X, cells.classes, folds=cells.split.folds, dims=within, threads=threads
            )
            for n, answer in said.items():
                found.add("expression", "principal", n, answer)
        bar.advance()
    about = {**cells.references.fingerprints, str(gene_vectors): fingerprint_file(path)}
    result = Sweep(
        found.table(),
        found.gaps(),
        _facets(path, vectors, cells, chosen[-1], threads),
        cells.sentence,
        cells.split.leaking,
        cells.warnings,
        {
            "inputs": about,
            "facets": list(vectors.facets),
            "encoder": vectors.encoder,
            "cells": len(cells.classes),
            "split_hash": cells.split.hash,
            "draws": draws,
            "seed": seed,
        },
    )
    if output is not None:
        _write(result, Path(output), about, seed=seed, force=force)
    return result


def labelled_cells(
    reference: Any,
    *,
    label: str,
    donor: str | None = None,
    study: str | None = None,
    label_map: Path | None = None,
    obsm: Sequence[str] = (),
    most_cells: int = _MOST_CELLS,
    seed: int = 0,
    threads: int = 0,
    talk: Talk | None = None,
) -> Labelled:
    """Read labelled cells, sample them, and decide who is held out.

    Parameters
    ----------
    reference, label, donor, study, label_map, most_cells, seed, threads, talk
        As ``sweep`` takes them.
    obsm
        Keys of embeddings to read too.
    """
    files = list(reference) if isinstance(reference, list | tuple) else [reference]
    held = load_references(
        files, label=label, donor=donor, study=study, label_map=label_map, obsm=obsm, threads=threads, talk=talk
    )
    warnings = []
    rows = np.flatnonzero(held.known)
    if len(rows) > most_cells:
        rows = np.sort(np.random.default_rng(seed).choice(rows, most_cells, replace=False))
        warnings.append(f"{most_cells:,} of {int(held.known.sum()):,} cells were taken, at random.")
    several = len(files) > 1 or study is not None
    kept = _rows_of(held, rows)
    by = "donor" if donor is not None else "study" if several else "random"
    split = make_split(kept.obs, by=by, donor="donor", study="study" if several else None, seed=seed, unknown="drop")
    kept = _rows_of(kept, split.rows)
    split = replace(split, rows=np.arange(len(split.rows)))
    n_groups = len(np.unique(split.groups))
    sentence = {
        "donor": f"{n_groups} donors, each held out in turn",
        "study": f"{n_groups} studies, each held out in turn",
        "random": f"cells split at random in {len(split.names)} parts: donors, if there are several, are on both sides",
    }[by]
    if split.leaking:
        warnings.append("Without donors the scores say nothing of a new donor; intervals are over the parts.")
    elif n_groups < FEW_GROUPS:
        warnings.append(f"Intervals rest on {n_groups} {by}s; fewer than {FEW_GROUPS} say little.")
    classes = np.array([class_term(str(x), kept.label_ids.get(str(x), "")) for x in kept.obs["label"]], dtype=object)
    if len(np.unique(classes)) < 2:
        msg = f"Column {label!r} holds fewer than two types; wanted two or more, to tell them apart."
        raise UsageError(msg)
    return Labelled(kept, classes, split, sentence, tuple(warnings))


def _rows_of(held: References, rows: np.ndarray) -> References:
    return replace(
        held,
        X=held.X[rows],
        obs=held.obs.iloc[rows].reset_index(drop=True),
        obsm={key: values[rows] for key, values in held.obsm.items()},
    )


def _representations(
    vectors: GeneVectors, dims: Sequence[int], draws: int, seed: int
) -> Iterator[tuple[str, str, int, GeneVectors]]:
    for n in dims:
        cut = vectors.projected(n)
        yield "text", "projected", n, cut
        yield "text", "truncated", n, vectors.truncated(n)
        for draw in range(draws):
            yield "permuted", "projected", n, cut.permuted(seed=seed + draw)
            yield "random", "projected", n, cut.random(seed=seed + draw)


class _Scores:
    """Macro-F1 of every group, by representation; draws of a control are averaged group by group."""

    def __init__(self, cells: Labelled) -> None:
        self.cells = cells
        self.found: dict[tuple[str, str, int], list[tuple[np.ndarray, float]]] = {}

    def add(self, name: str, way: str, dims: int, said: np.ndarray) -> None:
        scores = scores_by_group(self.cells.classes, said, self.cells.groups)
        self.found.setdefault((name, way, dims), []).append((scores, accuracy(self.cells.classes, said)))

    def of(self, name: str, way: str, dims: int) -> np.ndarray:
        return np.mean([scores for scores, _ in self.found[name, way, dims]], axis=0)

    def table(self) -> pd.DataFrame:
        rows = []
        for (name, way, dims), draws in self.found.items():
            own = t_interval(self.of(name, way, dims))
            share = float(np.mean([accuracy for _, accuracy in draws]))
            rows.append((name, way, dims, own.value, own.low, own.high, share, own.n_groups))
        columns = ["representation", "way", "dims", "macro_f1", "low", "high", "accuracy", "n_groups"]
        return pd.DataFrame(rows, columns=columns)

    def gaps(self) -> pd.DataFrame:
        rows = []
        for name, way, dims in self.found:
            if name == "text":
                continue
            gap = t_interval(self.of("text", "projected", dims) - self.of(name, way, dims))
            rows.append((name, dims, gap.value, gap.low, gap.high, gap.n_groups))
        return pd.DataFrame(rows, columns=["against", "dims", "difference", "low", "high", "n_groups"])


def _facets(path: Path, vectors: GeneVectors, cells: Labelled, dims: int, threads: int) -> pd.DataFrame:
    """With and without the facets that name cell types, and each of the two kinds alone."""
    columns = ["facets", "dims", "macro_f1", "low", "high", "difference", "difference_low", "difference_high"]
    naming = [facet for facet in vectors.facets if facet in NAMES_CELL_TYPES]
    others = [facet for facet in vectors.facets if facet not in NAMES_CELL_TYPES]
    if not naming or not others:
        return pd.DataFrame(columns=columns)
    rows, whole = [], None
    for chosen in (list(vectors.facets), others, naming):
        own = read_gene_vectors(path, facets=chosen).projected(dims)
        embedding = text_embedding(cells.references.X, cells.references.genes, vectors=own, threads=threads)
        said = held_out(embedding, cells.classes, folds=cells.split.folds, threads=threads)
        scores = scores_by_group(cells.classes, said, cells.groups)
        whole = scores if whole is None else whole
        score, gap = t_interval(scores), t_interval(scores - whole)
        rows.append((", ".join(chosen), dims, score.value, score.low, score.high, gap.value, gap.low, gap.high))
    return pd.DataFrame(rows, columns=columns)


def _write(result: Sweep, output: Path, inputs: dict[str, str], *, seed: int, force: bool) -> None:
    from whycell.reports.representation import sweep_page

    output.parent.mkdir(parents=True, exist_ok=True)
    with folder_written_whole(output, force=force) as folder:
        folder.mkdir()
        for name in ("scores", "gaps", "facets"):
            getattr(result, name).to_csv(folder / f"{name}.tsv", sep="\t", index=False, float_format="%.6g")
        (folder / "report.html").write_text(sweep_page(result), encoding="utf-8")
        write_run(folder, "genes sweep", inputs=inputs, seed=seed, parameters=result.provenance)
