"""Say why cells were typed as they were: the genes for and against, cell by cell and type by type."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from whycell._keys import DEFAULT_KEY, ObsKeys
from whycell.compute import Talk
from whycell.data.cells import Cells, check_output, open_cells, write_annotation
from whycell.data.doctor import Diagnosis, examine
from whycell.data.whole import check_free, write_whole
from whycell.errors import UsageError
from whycell.jobs.explain_arrays import contribution_arrays
from whycell.jobs.explain_checks import Checked
from whycell.jobs.explain_model import model_of
from whycell.jobs.explain_pass import Found, Reading, explain_rows, fill_background
from whycell.jobs.explain_references import REFERENCES, Background
from whycell.jobs.explain_sample import for_map, put_to_the_test
from whycell.jobs.explain_stream import Asked
from whycell.jobs.explain_targets import AGAINST, RUNNER_UP, find_node
from whycell.jobs.explain_text import evidence_of, rationales
from whycell.jobs.likeness import columns_for
from whycell.jobs.named import Donors, donors_of, symbols_of
from whycell.jobs.overview import cell_map
from whycell.jobs.record import write_run
from whycell.jobs.teachers import Opened, teachers
from whycell.knowledge.markers import markers_of, read_markers
from whycell.knowledge.terms import Ontology
from whycell.models.examples import load_examples
from whycell.models.explaining import METHODS, Pipeline
from whycell.models.leaves import LeafSpace
from whycell.models.store import fingerprint
from whycell.results import Explanation

__all__ = ["DEFAULT_METHOD", "DEFAULT_REFERENCE", "explain"]

#: Chosen on the training donors of ``bench/deletion.py``.
DEFAULT_METHOD, DEFAULT_REFERENCE = "rescale", "against"
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
    _check_asked(cell, of_type, reference, method, top=top, layer_without_file=layer and output is None and not inplace)
    with open_cells(query) as cells:
        answerer, about, folder = model_of(cells, model, key=key, talk=talk)
        release = about["ontology"]["release"]
        keys = ObsKeys(key)
        if output is not None or inplace:
            check_output(
                cells,
                output,
                keys.explained(),
                uns_key=keys.explanation,
                layers=(keys.contributions,) if layer else (),
                force=force,
                inplace=inplace,
            )
        check_free(report, tsv, force=force)
        diagnosis = examine(cells, model_genes=list(answerer.genes), species=about.get("species", "human"))
        diagnosis.raise_if_unusable()
        columns = columns_for(cells, diagnosis, answerer)
        donors = donors_of(cells, donor)
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
        known = _known_markers(found, answerer.space, markers, release=release)
        tested = put_to_the_test(asked, reading, found, donors.codes, n=n_checked, seed=seed) if n_checked else None
        result = _result(
            found,
            asked,
            donors,
            symbols=symbols_of(asked.pipeline.genes, asked.columns, cells=cells, where=str(diagnosis.where)),
            markers=known,
            checked=tested,
            provenance=_provenance(cells, diagnosis, asked, about, folder, key=key, seed=seed),
            card=about,
        )
        if output is not None or inplace:
            columns_out = _obs_columns(result, cells, keys)
            uns = (keys.explanation, {**result.provenance, "types": result.by_type.types["type"].tolist()})
            layers, varm = None, None
            if layer:
                of_cells, of_types = contribution_arrays(result, cells, asked, where=str(diagnosis.where))
                layers, varm = {keys.contributions: of_cells}, {keys.contributions: of_types}
            write_annotation(
                cells,
                output,
                columns_out,
                uns=uns,
                layers=layers,
                varm=varm,
                force=force,
                inplace=inplace,
            )
        if report is not None:
            result = _with_map(result, asked, reading, found, donors.codes, seed=seed)
            if "examples" in about:
                opened = Opened(cells, diagnosis, answerer, about, folder)
                kept = load_examples(folder, about)
                taught = teachers(opened, kept, cell=cell, of_type=of_type, top=top, seed=seed, threads=threads)
                result = replace(result, taught=taught)
        _write_sides(result, report=report, tsv=tsv)
        _warn_of_failures(result, talk)
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
                    "layer": layer,
                    "markers": None if markers is None else str(markers),
                    "donor": donors.column,
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


def _check_asked(
    cell: str | None, of_type: str | None, reference: str, method: str, *, top: int, layer_without_file: bool
) -> None:
    if cell is not None and of_type is not None:
        msg = "One cell or one type can be explained, not both; leave one of them out."
        raise UsageError(msg)
    for what, got, known in (("reference", reference, REFERENCES), ("method", method, METHODS[:2])):
        if got not in known:
            msg = f"The {what} {got!r} is none of {', '.join(known)}."
            raise UsageError(msg)
    if layer_without_file:
        msg = "A layer of contributions needs a file to go into; give an output, or write in place."
        raise UsageError(msg)
    if top < 1:
        msg = f"{top} genes a cell are nothing to explain it by; ask for at least 1."
        raise UsageError(msg)


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
        "reference_by_donor": asked.background.matches_donors and asked.reference in ("against", "others"),
        "method": asked.method,
        "genes_kept": asked.top,
        "model_genes": len(measured),
        "model_genes_measured": int(measured.sum()),
        "seed": seed,
    }


def _known_markers(found: Found, space: LeafSpace, own: Path | None, *, release: str) -> pd.DataFrame:
    """Markers of the types called: the ontology's, and those of the user's file for the type or one above it."""
    ontology = Ontology.load(release)
    given = read_markers(own, ontology) if own is not None else ()
    rows = []
    for node in sorted({node for node, _ in found.tally.cells if node >= 0}):
        term, name = str(space.nodes[node]), str(space.node_names[node])
        above = ontology.ancestors(term) if ontology.is_live(term) else frozenset()
        mine = [m for m in given if m.term_id in {term, name, *above}]
        kept = {m.gene: m for m in (*markers_of(term, ontology), *mine)}
        rows += [(name, gene, marker.name, marker.sign, marker.source) for gene, marker in kept.items()]
    return pd.DataFrame(rows, columns=["type", "gene", "name", "sign", "source"])


def _result(
    found: Found,
    asked: Asked,
    donors: Donors,
    *,
    symbols: np.ndarray,
    markers: pd.DataFrame,
    checked: tuple[np.ndarray, Checked] | None,
    provenance: dict[str, Any],
    card: dict[str, Any],
) -> Explanation:
    ids, part = asked.pipeline.genes.astype(str), found.part
    cells = part.cells.set_index(found.calls.index)
    cells.insert(0, "row", found.rows)
    for at, name in enumerate(("call", "call_term_id", "confidence", "leaf", "runner_up", "novelty", "flag"), start=1):
        cells.insert(at, name, found.calls[name])
    cells["rationale"] = rationales(cells, part.speaking_for, part.speaking_against, symbols)
    cells["evidence"] = evidence_of(part.speaking_for, symbols)
    measured = asked.pipeline.measured
    empty = pd.DataFrame()
    return Explanation(
        cells=cells,
        genes=pd.DataFrame({"id": ids, "symbol": symbols, "measured": measured}),
        speaking_for=part.speaking_for,
        speaking_against=part.speaking_against,
        by_type=found.tally.found(markers, ids, measured=measured, has_donors=donors.column is not None),
        checks=empty if checked is None else checked[1].of_types,
        curves=empty if checked is None else checked[1].curves,
        cell_checks=empty if checked is None else checked[1].of_cells.set_index(cells.index[checked[0]]),
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


def _with_map(
    result: Explanation, asked: Asked, reading: Reading, found: Found, donor: np.ndarray, *, seed: int
) -> Explanation:
    drawn = for_map(asked, reading, found, donor, mean=result.by_type.mean, seed=seed)
    method, xy = cell_map([drawn.coordinates], seed=seed, talk=reading.talk)
    return replace(
        result, map_rows=drawn.rows, map_xy=xy, map_method=method, map_genes=drawn.genes, map_values=drawn.values
    )


def _warn_of_failures(result: Explanation, talk: Talk) -> None:
    failed = result.checks[~result.checks["passed"]]["type"].tolist() if len(result.checks) else []
    if failed:
        talk.warn(
            f"the explanation fails its sanity check for {', '.join(failed)}: networks with shuffled weights are "
            "explained much the same, so that it says little of what this model learned"
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
        write_whole(Path(tsv), result.frame().to_csv(sep="\t", index=False, float_format="%.6g", lineterminator="\n"))
    if report is not None:
        from whycell.reports.explanation import explanation_page

        write_whole(Path(report), explanation_page(result))
