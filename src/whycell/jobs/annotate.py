"""Type the cells of a file: the main job."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from whycell._keys import DEFAULT_KEY, UNKNOWN, ObsKeys
from whycell.compute import Talk
from whycell.data.cells import Cells, check_output, open_cells, write_annotation
from whycell.data.doctor import Diagnosis, examine
from whycell.data.whole import check_free
from whycell.errors import GroupError
from whycell.jobs.likeness import columns_for
from whycell.jobs.models import find
from whycell.jobs.overview import cell_map, term_tree
from whycell.jobs.record import write_run
from whycell.jobs.stream import Calls, answers
from whycell.models.answer import Answerer
from whycell.models.calibrate import pick_nodes
from whycell.models.store import fingerprint, load
from whycell.results import Annotation

__all__ = ["annotate"]

_MOST_ON_MAP = 100_000
_DONOR_COLUMNS = ("donor_id", "donor")


def annotate(
    query: Any,
    output: Path | None = None,
    *,
    model: str | None = None,
    inplace: bool = False,
    report: Path | None = None,
    tsv: Path | None = None,
    key: str = DEFAULT_KEY,
    probabilities: Path | None = None,
    cluster: str | None = None,
    donor: str | None = None,
    seed: int = 0,
    threads: int = 0,
    device: str = "auto",
    force: bool = False,
    chunk: int = 4096,
    talk: Talk | None = None,
) -> Annotation:
    """Type the cells of a file and write the calls where they were asked for.

    Parameters
    ----------
    query
        A path, or an AnnData.
    output, inplace
        Where the typed copy goes, or whether the input itself is replaced.
    model
        Folder or name; the built-in model of human blood where ``None``.
    report, tsv, probabilities
        Also write a page, a table of calls, a zarr store of the probability of every term.
    key
        First part of the names of the columns.
    cluster
        Column of obs with clusters: adds one agreed call a cluster.
    donor
        Column of obs with donors, for the page.
    seed
        Of the map.
    threads
        Cores; the answers do not depend on it.
    device
        Kept for symmetry with training; answers are reckoned on the processor.
    force
        Replace what is there.
    chunk
        Cells read at a time; the answers do not depend on it.
    talk
        Told of progress.

    Returns
    -------
    Annotation

    Raises
    ------
    WhycellError
        Whatever is wrong with the file, the model or the places to write to.
    """
    talk = talk or Talk()
    folder = find(model)
    answerer, about = load(folder)
    with open_cells(query) as cells:
        keys = ObsKeys(key)
        unwritten = set() if cluster else {keys.cluster_call, keys.cluster_confidence}
        unwritten |= set() if answerer.pool is not None else {keys.disagreement}
        wanted = [name for name in keys.all() if name not in unwritten]
        check_output(cells, output, wanted, inplace=inplace, force=force, uns_key=key)
        check_free(report, tsv, probabilities, force=force)
        diagnosis = examine(cells, model_genes=list(answerer.genes), species=about.get("species", "human"))
        diagnosis.raise_if_unusable()
        columns = columns_for(cells, diagnosis, answerer)
        if answerer.pool is not None:
            answerer.pool.check(cells.obsm_widths)
        clusters = _group_column(cells, cluster)
        donors = _group_column(cells, donor or next((c for c in _DONOR_COLUMNS if c in cells.obs_columns), None))
        rng = np.random.default_rng(seed)
        n = cells.n_cells
        map_rows = np.sort(rng.permutation(n)[:_MOST_ON_MAP]) if report else np.empty(0, dtype=np.int64)
        kept = Calls(answerer, n, map_rows, None if clusters is None else clusters.codes.astype(np.int64))
        with _probability_writer(probabilities, answerer, cells, force=force) as keep_probabilities:
            for start, answer in answers(
                cells,
                answerer,
                columns,
                where=str(diagnosis.where),
                kind=diagnosis.kind,  # type: ignore[arg-type]
                chunk=chunk,
                threads=threads,
                talk=talk,
            ):
                kept.add(start, answer)
                keep_probabilities(start, answer.probabilities)
        calls = kept.frame(cells.obs_names)
        if clusters is not None:
            calls = _with_clusters(calls, kept, clusters)
        provenance = _provenance(cells, diagnosis, answerer, about, folder, key=key, seed=seed, columns=columns)
        columns_out = _obs_columns(calls, keys, clustered=clusters is not None)
        write_annotation(cells, output, columns_out, uns=(key, provenance), force=force, inplace=inplace)
        method, xy = (
            cell_map(kept.coordinates, seed=seed, talk=talk) if report else ("PCA", np.zeros((0, 2), np.float32))
        )
        result = Annotation(
            calls=calls,
            donors=None if donors is None else np.asarray(donors.astype(str)),
            map_rows=map_rows,
            map_xy=xy,
            map_method=method,
            tree=term_tree(calls, about["ontology"]["release"]),
            findings=diagnosis.findings,
            card={
                k: v
                for k, v in about.items()
                if k not in ("model_genes", "space", "numbers", "label_map", "other_genes", "pool")
            },
            provenance=provenance,
        )
        _write_sides(result, report=report, tsv=tsv)
        place = output or cells.path
        if place is not None:
            write_run(
                place,
                "annotate",
                inputs={str(cells.path or cells.name): provenance["input_fingerprint"]},
                seed=seed,
                parameters={"model": str(folder), "key": key, "cluster": cluster, "chunk": chunk},
            )
    return result


def _group_column(cells: Cells, column: str | None) -> pd.Categorical | None:
    if column is None:
        return None
    if column not in cells.obs_columns:
        msg = f"{cells.name} has no column {column!r} in obs; it has: {', '.join(cells.obs_columns) or 'none'}."
        raise GroupError(msg)
    values = cells.obs([column])[column].astype(object)
    return pd.Categorical(values.where(values.notna(), UNKNOWN).astype(str))


def _with_clusters(calls: pd.DataFrame, kept: Calls, clusters: pd.Categorical) -> pd.DataFrame:
    """The agreed call of a cluster: the mean of its cells' probabilities, called as one cell would be."""
    answerer, sums = kept.answerer, kept.cluster_sums
    n = len(clusters.categories)
    counts = np.bincount(clusters.codes, minlength=n)[:n]
    means = (sums[:n] if sums is not None else np.zeros((n, 1))) / np.maximum(counts, 1)[:, None]
    of_nodes = answerer.calibration.of_nodes(means, answerer.space.below)
    node = pick_nodes(of_nodes, answerer.space.information, answerer.calibration.threshold)
    names = np.append(answerer.space.node_names, UNKNOWN)[node].astype(str)
    sure = np.where(node >= 0, of_nodes[np.arange(n), np.maximum(node, 0)], means.max(axis=1))
    return calls.assign(
        cluster=clusters,
        cluster_call=pd.Categorical(names[clusters.codes]),
        cluster_confidence=np.minimum(sure, 1.0)[clusters.codes].astype(np.float32),
    )


def _obs_columns(calls: pd.DataFrame, keys: ObsKeys, *, clustered: bool) -> pd.DataFrame:
    named = {
        keys.call: calls["call"],
        keys.call_term_id: calls["call_term_id"],
        keys.call_term: _term_names(calls),
        keys.confidence: calls["confidence"],
        keys.leaf: calls["leaf"],
        keys.leaf_term_id: calls["leaf_term_id"],
        keys.leaf_confidence: calls["leaf_confidence"],
        keys.runner_up: calls["runner_up"],
        keys.novelty: calls["novelty"],
        keys.flag: calls["flag"],
    }
    if "disagreement" in calls:
        named[keys.disagreement] = calls["disagreement"]
    if clustered:
        named[keys.cluster_call] = calls["cluster_call"]
        named[keys.cluster_confidence] = calls["cluster_confidence"]
    return pd.DataFrame(named, index=calls.index)


def _term_names(calls: pd.DataFrame) -> pd.Categorical:
    """The call, where it is a term of the ontology; empty for a class of its own and for unknown."""
    text = calls["call"].astype(str).where(calls["call_term_id"].astype(str) != "", "")
    return pd.Categorical(text)


def _provenance(
    cells: Cells,
    diagnosis: Diagnosis,
    answerer: Answerer,
    about: dict[str, Any],
    folder: Path,
    *,
    key: str,
    seed: int,
    columns: np.ndarray,
) -> dict[str, Any]:
    held = np.zeros(len(answerer.genes), dtype=bool)
    held[columns[columns >= 0]] = True
    return {
        "whycell_version": version("whycell"),
        "key": key,
        "model": about.get("name", folder.name),
        "model_fingerprint": fingerprint(about),
        "ontology_release": about["ontology"]["release"],
        "threshold": answerer.calibration.threshold_at(answerer.learned.coverage(held)),
        "error_asked": float(answerer.calibration.error),
        "input": cells.name,
        "input_fingerprint": cells.fingerprint(),
        "matrix": str(diagnosis.where),
        "values": diagnosis.kind.name if diagnosis.kind else "",
        "model_genes_found": int(held.sum()),
        "model_genes": len(held),
        "model_reading_covered": answerer.learned.coverage(held),
        "seed": seed,
    }


def _write_sides(result: Annotation, *, report: Path | None, tsv: Path | None) -> None:
    from whycell.data.whole import write_whole

    if tsv is not None:
        write_whole(Path(tsv), result.calls.to_csv(sep="\t", float_format="%.6g", lineterminator="\n"))
    if report is not None:
        from whycell.reports.annotation import annotation_page

        write_whole(Path(report), annotation_page(result))


def _probability_writer(path: Path | None, answerer: Answerer, cells: Cells, *, force: bool) -> Any:
    from whycell.jobs.sides import probability_store

    return probability_store(path, answerer.space, cells.obs_names, force=force)
