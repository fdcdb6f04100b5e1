"""Along which genes a typer decides every type of a file: its AGOP in gene space, with errors over donors."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from whycell._keys import DEFAULT_KEY, ObsKeys
from whycell.compute import Talk, in_order
from whycell.data.cells import Cells, check_output, open_cells, write_annotation
from whycell.data.doctor import Diagnosis, examine
from whycell.data.values import to_linear
from whycell.data.whole import check_free, write_whole
from whycell.encode.gene_vectors import GeneVectors, read_gene_vectors
from whycell.errors import OutputError, UsageError
from whycell.jobs.explain_model import model_of
from whycell.jobs.explain_pass import Reading
from whycell.jobs.explain_targets import find_node
from whycell.jobs.features_arrays import feature_arrays
from whycell.jobs.likeness import columns_for
from whycell.jobs.named import Donors, donors_of, symbols_of
from whycell.jobs.record import write_run
from whycell.models.answer import Answerer
from whycell.models.explaining import Pipeline
from whycell.models.leaves import LeafSpace
from whycell.models.store import fingerprint
from whycell.models.typer_agop import Tally, eigen_in_genes, errors_by_donor, spaces_by_donor, total
from whycell.patterns.programs import gene_programs
from whycell.results import TypeFeatures

__all__ = ["features"]

_STEP = 512  # cells whose genes are held densely at once
_PROGRAMS = 3
_FEWEST = 10
_BULKY = ("model_genes", "space", "numbers", "label_map", "other_genes")


def features(
    query: Any,
    output: Path | None = None,
    *,
    model: str | None = None,
    of_type: str | None = None,
    inplace: bool = False,
    report: Path | None = None,
    tsv: Path | None = None,
    key: str = DEFAULT_KEY,
    top: int = 50,
    donor: str | None = None,
    gene_vectors: str | Path | None = None,
    seed: int = 0,
    threads: int = 0,
    force: bool = False,
    chunk: int = 2048,
    talk: Talk | None = None,
) -> TypeFeatures:
    """Say along which genes, and which combinations of them, a model decides every type.

    Parameters
    ----------
    query
        A path, or an AnnData.
    output, inplace
        Where a copy with the matrices goes, or whether the input itself is replaced; neither writes no cells.
    model
        Folder or name; ``None`` is the one recorded in the file, checked by its fingerprint.
    of_type
        Only this type, by name or id, and those below it; all types called where ``None``.
    report, tsv
        Also write a page, a table of the genes of every type.
    key
        First part of the names written: that of ``annotate``.
    top
        Genes kept of every type: those of the highest score. All other entries of a matrix in ``varp`` are left out.
    donor
        Column of obs with donors, over which errors are reckoned.
    gene_vectors
        What ``whycell genes embed`` wrote: programs are then also named by the nearest gene texts.
    seed
        Of the halves of donors that stability is reckoned by.
    threads
        Cores; the answers do not depend on it.
    force
        Replace what is there.
    chunk
        Cells read at a time.
    talk
        Told of progress.

    Returns
    -------
    TypeFeatures

    Raises
    ------
    WhycellError
        Whatever is wrong with what was asked, the file, the model or the places to write to.
    """
    talk = talk or Talk()
    if top < 1:
        msg = f"{top} genes a type are nothing to see; ask for at least 1."
        raise UsageError(msg)
    with open_cells(query) as cells:
        answerer, about, folder = model_of(cells, model, key=key, talk=talk)
        keys = ObsKeys(key)
        if output is not None or inplace:
            check_output(cells, output, (), uns_key=keys.features, force=force, inplace=inplace)
        check_free(report, tsv, force=force)
        vectors = None if gene_vectors is None else read_gene_vectors(gene_vectors)
        diagnosis = examine(cells, model_genes=list(answerer.genes), species=about.get("species", "human"))
        diagnosis.raise_if_unusable()
        columns = columns_for(cells, diagnosis, answerer)
        donors = donors_of(cells, donor)
        pipeline = Pipeline.of(answerer, columns)
        reading = Reading(cells, str(diagnosis.where), chunk, threads, talk)
        tally = _gather(reading, answerer, pipeline, columns, donors, kind=diagnosis.kind)
        wanted = None
        if of_type is not None:
            wanted = answerer.space.below[find_node(of_type, answerer.space, release=about["ontology"]["release"])]
        result = _result(
            tally,
            answerer.space,
            donors,
            wanted=wanted,
            symbols=symbols_of(pipeline.genes, columns, cells=cells, where=str(diagnosis.where)),
            vectors=vectors,
            top=top,
            seed=seed,
            card={k: v for k, v in about.items() if k not in _BULKY},
            provenance=_provenance(cells, diagnosis, pipeline, about, folder, key=key, top=top, seed=seed),
        )
        if not len(result.types):
            what = "any type" if of_type is None else repr(of_type)
            msg = f"No {_FEWEST} cells of {cells.name} are called {what}; there is nothing to average over."
            raise UsageError(msg)
        if output is not None or inplace:
            arrays = feature_arrays(result, cells, columns, answerer, where=str(diagnosis.where), keys=keys)
            _check_arrays_free(cells, arrays.varp, force=force)
            write_annotation(
                cells,
                output,
                pd.DataFrame(index=pd.Index(cells.obs_names)),
                uns=(keys.features, arrays.uns),
                varm=arrays.varm,
                varp=arrays.varp,
                force=force,
                inplace=inplace,
            )
        _write_sides(result, report=report, tsv=tsv)
        place = output or (cells.path if inplace else None) or report or tsv
        if place is not None:
            write_run(
                place,
                "features",
                inputs={str(cells.path or cells.name): result.provenance["input_fingerprint"]},
                seed=seed,
                parameters={
                    "model": str(folder),
                    "key": key,
                    "type": of_type,
                    "top": top,
                    "donor": donors.column,
                    "gene_vectors": None if gene_vectors is None else str(gene_vectors),
                    "chunk": chunk,
                },
            )
    return result


def _gather(
    reading: Reading, answerer: Answerer, pipeline: Pipeline, columns: np.ndarray, donors: Donors, *, kind: Any
) -> Tally:
    whole = Tally(pipeline, answerer.space.below)

    def work(item: tuple[np.ndarray, Any]) -> list[Tally]:
        rows, values = item
        linear = to_linear(values, kind, first_row=int(rows[0]))
        node = answerer.answer(linear, columns, depth=kind.kind == "counts").node
        parts = [slice(start, start + _STEP) for start in range(0, len(rows), _STEP)]
        return [
            Tally(pipeline, answerer.space.below).of(
                pipeline.expression(linear[part]), node[part], donors.codes[rows[part]]
            )
            for part in parts
        ]

    with reading.talk.progress("features", reading.cells.n_cells) as bar:
        for parts in in_order(work, reading.rows(None), threads=reading.threads):
            for part in parts:
                whole.add(part)
                bar.advance(part.n)
    return whole


def _result(
    tally: Tally,
    space: LeafSpace,
    donors: Donors,
    *,
    wanted: np.ndarray | None,
    symbols: np.ndarray,
    vectors: GeneVectors | None,
    top: int,
    seed: int,
    card: dict[str, Any],
    provenance: dict[str, Any],
) -> TypeFeatures:
    pipeline, spread = tally.pipeline, tally.deviation()
    wide = spread[:, None] * pipeline.directions.astype(np.float64)
    texts = None if vectors is None else vectors.matrix(pipeline.genes.astype(str))
    rows, inner, slopes, errors, steady, programs = [], [], [], [], [], []
    for node, by_donor in tally.by_type().items():
        together = total(by_donor)
        inside = wanted is None or not (space.below[node] & ~wanted).any()
        if together.n < _FEWEST or not inside:
            continue
        name, matrix = str(space.node_names[node]), together.matrix()
        directions, values = eigen_in_genes(matrix, wide, k=_PROGRAMS)
        score = np.maximum(((wide @ matrix) * wide).sum(axis=1), 0)
        term = str(space.nodes[node])
        rows.append(
            {
                "type": name,
                "term_id": "" if term.startswith("label:") else term,
                "cells": together.n,
                "donors": len(by_donor) if donors.column is not None else 0,
                "total": float(values.sum()),
                "participation": float(values.sum() ** 2 / max(float((values**2).sum()), 1e-300)),
                "kept": float(np.sort(score)[::-1][:top].sum() / max(float(score.sum()), 1e-300)),
            }
        )
        inner.append(matrix)
        slopes.append(together.mean[0])
        errors.append(errors_by_donor(by_donor, wide))
        steady += [(name, *row) for row in spaces_by_donor(by_donor, wide, k=_PROGRAMS, seed=seed)]
        found = gene_programs(directions, symbols, spectrum=values, vectors=texts)
        found.insert(0, "type", name)
        programs.append(found)
    d = wide.shape[1]
    types = pd.DataFrame(rows, columns=["type", "term_id", "cells", "donors", "total", "participation", "kept"])
    return TypeFeatures(
        types=types,
        genes=pd.DataFrame(
            {
                "id": pipeline.genes.astype(str),
                "symbol": symbols,
                "measured": pipeline.measured,
                "deviation": spread,
            }
        ),
        directions=pipeline.directions,
        inner=np.stack(inner) if inner else np.zeros((0, d, d)),
        slopes=np.stack(slopes) if slopes else np.zeros((0, d)),
        standard_error=np.stack(errors) if errors else np.zeros((0, len(wide))),
        stability=pd.DataFrame(steady, columns=["type", "directions", "angle", "angle_90", "chance"]),
        programs=pd.concat(programs, ignore_index=True) if programs else pd.DataFrame(),
        top=top,
        card=card,
        provenance=provenance,
    )


def _provenance(
    cells: Cells,
    diagnosis: Diagnosis,
    pipeline: Pipeline,
    about: dict[str, Any],
    folder: Path,
    *,
    key: str,
    top: int,
    seed: int,
) -> dict[str, Any]:
    return {
        "whycell_version": version("whycell"),
        "key": key,
        "model": about.get("name", folder.name),
        "model_fingerprint": fingerprint(about),
        "ontology_release": about["ontology"]["release"],
        "input": cells.name,
        "input_fingerprint": cells.fingerprint(),
        "matrix": str(diagnosis.where),
        "values": diagnosis.kind.name if diagnosis.kind else "",
        "model_genes": len(pipeline.measured),
        "model_genes_measured": int(pipeline.measured.sum()),
        "genes_kept": top,
        "seed": seed,
    }


def _check_arrays_free(cells: Cells, varp: dict[str, Any], *, force: bool) -> None:
    """In memory nothing else looks: a file's copy has the old entries replaced, an AnnData would lose them silently."""
    held = getattr(getattr(cells, "adata", None), "varp", {})
    taken = [name for name in varp if name in held]
    if taken and not force:
        msg = f"{cells.name} already has {taken[0]!r} in varp; choose another key, or force."
        raise OutputError(msg)


def _write_sides(result: TypeFeatures, *, report: Path | None, tsv: Path | None) -> None:
    if tsv is not None:
        write_whole(Path(tsv), result.frame().to_csv(sep="\t", index=False, float_format="%.6g", lineterminator="\n"))
    if report is not None:
        from whycell.reports.features import features_page

        write_whole(Path(report), features_page(result))
