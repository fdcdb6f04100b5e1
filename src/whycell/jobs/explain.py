"""Say why cells were typed as they were: the genes for and against, cell by cell and type by type."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from whycell._keys import DEFAULT_KEY, UNKNOWN, ObsKeys
from whycell.compute import Talk
from whycell.data.cells import Cells, check_output, open_cells, write_annotation
from whycell.data.doctor import Diagnosis, examine
from whycell.errors import GroupError, OutputError, UsageError
from whycell.jobs.explain_model import model_of
from whycell.jobs.explain_pass import Found, Reading, explain_rows, fill_background
from whycell.jobs.explain_references import REFERENCES, Background
from whycell.jobs.explain_stream import Asked
from whycell.jobs.explain_targets import AGAINST, RUNNER_UP, find_node
from whycell.jobs.explain_text import evidence_of, rationales
from whycell.jobs.likeness import columns_for
from whycell.jobs.record import write_run
from whycell.jobs.sides import write_text
from whycell.knowledge.genes import symbol_of
from whycell.models.explaining import METHODS, Pipeline
from whycell.models.store import fingerprint
from whycell.results import Explanation

__all__ = ["DEFAULT_METHOD", "DEFAULT_REFERENCE", "explain"]

#: Chosen on the training donors of ``bench/deletion.py``.
DEFAULT_METHOD, DEFAULT_REFERENCE = "rescale", "against"
_DONOR_COLUMNS = ("donor_id", "donor")
_BULKY = ("model_genes", "space", "numbers", "label_map", "other_genes")


def explain(
    query: Any,
    output: Path | None = None,
    *,
    model: str | None = None,
    cell: str | None = None,
    of_type: str | None = None,
    against: str = RUNNER_UP,
    reference: str = DEFAULT_REFERENCE,
    method: str = DEFAULT_METHOD,
    top: int = 10,
    inplace: bool = False,
    report: Path | None = None,
    tsv: Path | None = None,
    key: str = DEFAULT_KEY,
    layer: bool = False,
    markers: Path | None = None,
    donor: str | None = None,
    n_checked: int = 120,
    seed: int = 0,
    threads: int = 0,
    force: bool = False,
    chunk: int = 2048,
    talk: Talk | None = None,
) -> Explanation:
    """Say which genes made the model type cells as it did.

    Parameters
    ----------
    query
        A path, or an AnnData.
    output, inplace
        Where a copy with the explanations goes, or whether the input itself is replaced; neither writes no cells.
    model
        Folder or name; ``None`` is the one recorded in the file, checked by its fingerprint.
    cell, of_type
        Explain one cell, by its name, or the cells of one type; all cells where neither is given.
    against
        ``"runner-up"``, ``"sibling"``, ``"rest"``, or a type: what the call is weighed against.
    reference
        What each cell is compared with: ``"against"``, confident cells of the alternative; ``"others"``, all other
        cells; both of the same donor where there is a donor column, and from at most 20,000 cells of the file;
        ``"training"``, the mean of the training cells; ``"zeros"``.
    method
        ``"rescale"`` or ``"reveal-cancel"``.
    top
        Genes kept a cell, each way.
    report, tsv
        Also write a page, a table of the genes of every cell.
    key
        First part of the names of the columns: that of ``annotate``.
    layer
        Also write the contributions kept to ``layers[K_contributions]``, and the mean ones by type to
        ``varm[K_contributions]``.
    markers
        Known markers of your own: term, tab, gene; one a line.
    donor
        Column of obs with donors.
    n_checked
        Cells on which the explanation is put to the test; 0 for none.
    seed
        Of what is drawn at random: cells of the references in large files, cells checked, the map.
    threads
        Cores; the answers do not depend on it.
    force
        Replace what is there.
    chunk
        Cells read at a time; the answers do not depend on it.
    talk
        Told of progress.

    Returns
    -------
    Explanation

    Raises
    ------
    WhycellError
        Whatever is wrong with what was asked, the file, the model or the places to write to.
    """
    talk = talk or Talk()
    _check_asked(cell, of_type, reference, method, top=top)
    with open_cells(query) as cells:
        answerer, about, folder = model_of(cells, model, key=key, talk=talk)
        release = about["ontology"]["release"]
        keys = ObsKeys(key)
        if output is not None or inplace:
            check_output(cells, output, keys.explained(), uns_key=f"{key}_explanation", force=force, inplace=inplace)
        _check_places(report, tsv, force=force)
        diagnosis = examine(cells, model_genes=list(answerer.genes), species=about.get("species", "human"))
        diagnosis.raise_if_unusable()
        columns = columns_for(cells, diagnosis, answerer)
        donors = _donors(cells, donor)
        pipeline = Pipeline.of(answerer, columns)
        asked = Asked(
            answerer=answerer,
            pipeline=pipeline,
            columns=columns,
            background=Background(pipeline, answerer.space.leaf_names, donors.names),
            against=against,
            node=None if against in AGAINST else find_node(against, answerer.space, release=release),
            reference=reference,
            method=method,
            top=top,
            kind=diagnosis.kind,  # type: ignore[arg-type]
        )
        reading = Reading(cells, str(diagnosis.where), chunk, threads, talk)
        only = None if of_type is None else find_node(of_type, answerer.space, release=release)
        fill_background(asked, reading, donors.codes, seed=seed)
        found = explain_rows(asked, reading, donors.codes, rows=_row_of(cells, cell), only=only)
        if not len(found.rows):
            msg = f"No cell of {cells.name} is called {of_type!r} or below it; there is nothing to explain."
            raise UsageError(msg)
        result = _result(
            found,
            asked,
            donors,
            provenance=_provenance(cells, diagnosis, asked, about, folder, key=key, seed=seed),
            card=about,
        )
        if output is not None or inplace:
            columns_out = _obs_columns(result, cells, keys)
            uns = (f"{key}_explanation", result.provenance)
            write_annotation(cells, output, columns_out, uns=uns, force=force, inplace=inplace)
        _write_sides(result, report=report, tsv=tsv)
        place = output or (cells.path if inplace else None) or report or tsv
        if place is not None:
            write_run(
                place,
                "explain",
                inputs={str(cells.path or cells.name): result.provenance["input_fingerprint"]},
                seed=seed,
                parameters={
                    "model": str(folder),
                    "key": key,
                    "cell": cell,
                    "type": of_type,
                    "against": against,
                    "reference": reference,
                    "method": method,
                    "top": top,
                    "chunk": chunk,
                },
            )
    return result


@dataclass(frozen=True)
class _Donors:
    """The donor of every cell: codes (n_cells,), their names, and the column."""

    codes: np.ndarray
    names: np.ndarray
    column: str | None


def _donors(cells: Cells, column: str | None) -> _Donors:
    column = column or next((c for c in _DONOR_COLUMNS if c in cells.obs_columns), None)
    if column is None:
        return _Donors(np.zeros(cells.n_cells, dtype=np.int64), np.empty(0, dtype=object), None)
    if column not in cells.obs_columns:
        msg = f"{cells.name} has no column {column!r} in obs; it has: {', '.join(cells.obs_columns) or 'none'}."
        raise GroupError(msg)
    values = cells.obs([column])[column].astype(object)
    names, codes = np.unique(values.where(values.notna(), UNKNOWN).astype(str), return_inverse=True)
    return _Donors(codes.astype(np.int64), names, column)


def _check_asked(cell: str | None, of_type: str | None, reference: str, method: str, *, top: int) -> None:
    if cell is not None and of_type is not None:
        msg = "One cell or one type can be explained, not both; leave one of them out."
        raise UsageError(msg)
    for what, got, known in (("reference", reference, REFERENCES), ("method", method, METHODS[:2])):
        if got not in known:
            msg = f"The {what} {got!r} is none of {', '.join(known)}."
            raise UsageError(msg)
    if top < 1:
        msg = f"{top} genes a cell are nothing to explain it by; ask for at least 1."
        raise UsageError(msg)


def _check_places(*places: Path | None, force: bool) -> None:
    for place in places:
        if place is not None and Path(place).exists() and not force:
            msg = f"{place} exists already; choose another name, or replace it with --force."
            raise OutputError(msg)


def _row_of(cells: Cells, cell: str | None) -> np.ndarray | None:
    if cell is None:
        return None
    rows = np.flatnonzero(cells.obs_names.astype(str) == cell)
    if not len(rows):
        msg = (
            f"{cells.name} has no cell {cell!r}; its cells have names like {', '.join(map(str, cells.obs_names[:3]))}."
        )
        raise UsageError(msg)
    return rows[:1]


def _provenance(
    cells: Cells,
    diagnosis: Diagnosis,
    asked: Asked,
    about: dict[str, Any],
    folder: Path,
    *,
    key: str,
    seed: int,
) -> dict[str, Any]:
    measured = asked.pipeline.measured
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
        "against": asked.against,
        "reference": asked.reference,
        "method": asked.method,
        "genes_kept": asked.top,
        "model_genes": len(measured),
        "model_genes_measured": int(measured.sum()),
        "seed": seed,
    }


def _result(
    found: Found, asked: Asked, donors: _Donors, *, provenance: dict[str, Any], card: dict[str, Any]
) -> Explanation:
    ids = asked.pipeline.genes.astype(str)
    symbols = np.array(symbol_of(ids.tolist()), dtype=object)
    part = found.part
    cells = part.cells.set_index(found.calls.index)
    cells.insert(0, "row", found.rows)
    for at, name in enumerate(("call", "call_term_id", "confidence", "leaf", "runner_up", "novelty", "flag"), start=1):
        cells.insert(at, name, found.calls[name])
    cells["rationale"] = rationales(cells, part.speaking_for, part.speaking_against, symbols)
    cells["evidence"] = evidence_of(part.speaking_for, symbols)
    measured = asked.pipeline.measured
    markers = pd.DataFrame({"type": [], "gene": [], "sign": [], "source": []})
    return Explanation(
        cells=cells,
        genes=pd.DataFrame({"id": ids, "symbol": symbols, "measured": measured}),
        speaking_for=part.speaking_for,
        speaking_against=part.speaking_against,
        by_type=found.tally.found(markers, ids, measured=measured, has_donors=donors.column is not None),
        checks=pd.DataFrame(),
        curves=pd.DataFrame(),
        cell_checks=pd.DataFrame(),
        donors=None if donors.column is None else donors.names[donors.codes[found.rows]],
        map_rows=np.empty(0, dtype=np.int64),
        map_xy=np.zeros((0, 2), dtype=np.float32),
        map_method="PCA",
        map_genes=np.empty(0, dtype=np.int64),
        map_values=np.zeros((0, 0), dtype=np.float32),
        markers=markers,
        card={k: v for k, v in card.items() if k not in _BULKY},
        provenance=provenance,
    )


def _obs_columns(result: Explanation, cells: Cells, keys: ObsKeys) -> pd.DataFrame:
    """Text for the cells explained, none for the others."""
    columns = {}
    for name, column in zip(keys.explained(), ("rationale", "evidence"), strict=True):
        values = np.full(cells.n_cells, "", dtype=object)
        values[result.cells["row"].to_numpy()] = result.cells[column].to_numpy(dtype=object)
        columns[name] = values
    return pd.DataFrame(columns, index=pd.Index(cells.obs_names))


def _write_sides(result: Explanation, *, report: Path | None, tsv: Path | None) -> None:
    if tsv is not None:
        write_text(Path(tsv), result.frame().to_csv(sep="\t", index=False, float_format="%.6g", lineterminator="\n"))
    if report is not None:
        from whycell.reports.explanation import explanation_page

        write_text(Path(report), explanation_page(result))
