"""Labelled files, read into one matrix over the union of their genes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from whycell.compute import Talk
from whycell.data.cells import Cells, open_cells
from whycell.data.doctor import Diagnosis, examine
from whycell.data.schema import primary_cells
from whycell.data.values import to_linear
from whycell.errors import DataError, GroupError, LabelError, UsageError
from whycell.knowledge.labels import LabelMap, map_labels, read_label_map
from whycell.knowledge.terms import Ontology

__all__ = ["References", "file_names", "load_references"]


@dataclass(frozen=True)
class References:
    """Labelled cells of one or several files.

    Parameters
    ----------
    X
        (n_cells, n_genes) float32, linear: counts, or values proportional to a cell's counts.
    genes
        (n_genes,) stable gene ids, sorted.
    measured
        For each study the (n_genes,) genes that it measured.
    obs
        One row a cell: ``cell, label, study, donor, is_primary_data``; ``donor`` is missing where no column was named.
    labels
        How each label was mapped to the Cell Ontology.
    fingerprints
        ``{path: "sha256:..."}``.
    n_cells
        ``{path: cells read from it}``.
    species
        ``"human"`` or ``"mouse"``.
    obsm
        (n_cells, width) float32 of each embedding asked for, by key.
    """

    X: sp.csr_matrix
    genes: np.ndarray
    measured: dict[str, np.ndarray]
    obs: pd.DataFrame
    labels: LabelMap
    fingerprints: dict[str, str]
    n_cells: dict[str, int]
    species: str
    obsm: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def label_ids(self) -> Mapping[str, str]:
        """Cell Ontology id of each label, "" for none."""
        return self.labels.label_to_id

    @property
    def known(self) -> np.ndarray:
        """(n_cells,) cells that can be learned from: a label that says something, and not a copy of another cell."""
        named = ~self.obs["label"].isin(set(self.labels.unknown)).to_numpy()
        return np.asarray(named & self.obs["is_primary_data"].to_numpy())


def file_names(paths: Sequence[str | Path]) -> list[str]:
    """How an audit names each file: by its own name where no other of ``paths`` has it, else by its whole path."""
    own = [Path(path).name for path in paths]
    return [name if own.count(name) == 1 else str(path) for name, path in zip(own, paths, strict=True)]


def load_references(
    paths: Sequence[Any],
    *,
    label: str,
    donor: str | None = None,
    study: str | None = None,
    label_map: Path | None = None,
    obsm: Sequence[str] = (),
    ontology: Ontology | None = None,
    threads: int = 0,
    talk: Talk | None = None,
) -> References:
    """Read labelled files.

    Parameters
    ----------
    paths
        Files, each a study of its own, named like the file, unless ``study`` names a column. An AnnData counts as one.
    label, donor, study
        Columns of obs. A file without the donor or study column, beside others that have it, counts as one.
    label_map
        TSV of label and Cell Ontology id.
    obsm
        Keys of embeddings that every file must hold, of one width.
    ontology
        Release to map to.
    threads
        Cores for reading; 0 for all.
    talk
        Told of progress.

    Raises
    ------
    DataError
        A file cannot be used; the sentence says which and why.
    UsageError
        A file is given twice.
    """
    talk, ontology = talk or Talk(), ontology or Ontology.load()
    names = _names(paths)
    parts = [
        _read(path, name, label, donor, study, obsm=obsm, several=len(names) > 1, threads=threads, talk=talk)
        for name, path in names.items()
    ]
    _check_groups(parts, donor=donor, study=study)
    _check_twice(parts)
    species = {part.species for part in parts}
    if len(species) > 1:
        msg = f"The references hold genes of {' and '.join(sorted(species))}; train a model on one species."
        raise LabelError(msg)
    genes = np.array(sorted(set().union(*(part.genes[part.genes != ""] for part in parts))), dtype=object)
    obs = pd.concat([part.obs for part in parts], ignore_index=True)
    own_map = read_label_map(label_map) if label_map else None
    labels = map_labels(sorted(set(obs["label"])), ontology, label_map=own_map)
    if labels.unmapped:
        talk.warn(
            f"{len(labels.unmapped)} labels match no Cell Ontology term and are kept as classes of their own: "
            f"{', '.join(labels.unmapped[:6])}. Name their terms with --label-map."
        )
    measured: dict[str, np.ndarray] = {}
    for part in parts:
        own = np.isin(genes, part.genes)
        for name in part.obs["study"].unique():
            measured[name] = measured.get(name, own) & own
    return References(
        X=sp.vstack([_onto(part.values, part.genes, genes) for part in parts], format="csr"),
        genes=genes,
        measured=measured,
        obs=obs,
        labels=labels,
        fingerprints={part.shown: part.fingerprint for part in parts},
        n_cells={part.shown: len(part.obs) for part in parts},
        species=species.pop(),
        obsm={key: _stacked(parts, key) for key in obsm},
    )


@dataclass(frozen=True)
class _Part:
    path: Any
    values: sp.csr_matrix
    genes: np.ndarray
    obs: pd.DataFrame
    fingerprint: str
    species: str
    has_donor: bool
    has_study: bool
    obsm: dict[str, np.ndarray]

    @property
    def shown(self) -> str:
        return str(self.path) if isinstance(self.path, (str, Path)) else "AnnData"


def _names(given: Sequence[Any]) -> dict[str, Any]:
    """A name for each file: its own, with its folder's where two are alike, with a number where those are too."""
    if len(given) == 1 and not isinstance(given[0], (str, Path)):
        return {"AnnData": given[0]}
    paths = [Path(path) for path in given]
    stems = [path.stem for path in paths]
    longer = [
        stem if stems.count(stem) == 1 else f"{path.parent.name}/{stem}"
        for path, stem in zip(paths, stems, strict=True)
    ]
    out: dict[str, Path] = {}
    for name, path in zip(longer, paths, strict=True):
        out[name if name not in out else f"{name} ({len(out) + 1})"] = path
    return out


def _check_twice(parts: Sequence[_Part]) -> None:
    seen: dict[str, Path] = {}
    for part in parts:
        if part.fingerprint in seen:
            msg = f"{part.path} and {seen[part.fingerprint]} hold the same bytes; give each file once."
            raise UsageError(msg)
        seen[part.fingerprint] = part.path


def _examine(cells: Cells) -> Diagnosis:
    """A reference may be of either species: which one, the genes say."""
    diagnosis = examine(cells)
    if diagnosis.genes is not None and diagnosis.genes.species == "mouse":
        diagnosis = examine(cells, species="mouse")
    diagnosis.raise_if_unusable()
    return diagnosis


def _read(
    path: Any,
    name: str,
    label: str,
    donor: str | None,
    study: str | None,
    *,
    obsm: Sequence[str],
    several: bool,
    threads: int,
    talk: Talk,
) -> _Part:
    with open_cells(path) as cells:
        diagnosis = _examine(cells)
        if label not in cells.obs_columns:
            held = ", ".join(cells.obs_columns) or "none"
            msg = f"{cells.path or cells.name} has no column {label!r} of labels in obs; it has: {held}."
            raise LabelError(msg)
        wanted = [name for name in (label, donor, study, "is_primary_data") if name in cells.obs_columns]
        raw = cells.obs(list(dict.fromkeys(str(name) for name in wanted)))
        where = _group(raw, study, name) if study else np.full(cells.n_cells, name if several else "all", dtype=object)
        frame = pd.DataFrame(
            {
                "cell": np.asarray(cells.obs_names, dtype=object),
                "label": raw[label].astype(object).where(raw[label].notna(), "unknown").astype(str).to_numpy(),
                "study": where,
                "is_primary_data": primary_cells(raw) if "is_primary_data" in raw else True,
            }
        )
        if donor:
            found = _group(raw, donor, name)
            frame["donor"] = [f"{s}:{d}" for s, d in zip(where, found, strict=True)] if several else found
        values, genes = _values(cells, diagnosis, threads=threads, talk=talk)
        species = diagnosis.genes.species if diagnosis.genes is not None else "human"
        return _Part(
            path,
            values,
            genes,
            frame,
            cells.fingerprint(),
            species,
            donor in raw.columns,
            study in raw.columns,
            {key: cells.obsm(key) for key in obsm},
        )


def _stacked(parts: Sequence[_Part], key: str) -> np.ndarray:
    widths = {part.shown: part.obsm[key].shape[1] for part in parts}
    if len(set(widths.values())) > 1:
        told = ", ".join(f"{width} in {shown}" for shown, width in widths.items())
        msg = f"obsm[{key!r}] has not one width in all references ({told}): embed them all with one model."
        raise DataError(msg)
    return np.concatenate([part.obsm[key] for part in parts])


def _group(raw: pd.DataFrame, column: str | None, name: str) -> np.ndarray:
    if column is None or column not in raw:
        return np.full(len(raw), name, dtype=object)
    return np.asarray(raw[column].astype(object).where(raw[column].notna(), "unknown").astype(str).to_numpy())


def _check_groups(parts: Sequence[_Part], *, donor: str | None, study: str | None) -> None:
    for what, column, present in (
        ("donors", donor, [part.has_donor for part in parts]),
        ("studies", study, [part.has_study for part in parts]),
    ):
        if column is not None and not any(present):
            got = sorted(set().union(*(part.obs.columns for part in parts)))
            msg = (
                f"No reference has a column {column!r} of {what} in obs; check its name with `whycell doctor` "
                f"({len(got)} read)."
            )
            raise GroupError(msg)


def _values(cells: Cells, diagnosis: Diagnosis, *, threads: int, talk: Talk) -> tuple[sp.csr_matrix, np.ndarray]:
    where, kind, mapping = diagnosis.where, diagnosis.kind, diagnosis.genes
    if where is None or kind is None or mapping is None:  # raise_if_unusable has spoken; for the type checker
        msg = f"{cells.name} holds no expression matrix."
        raise LabelError(msg)
    blocks = []
    with talk.progress(f"reading {cells.name}", cells.n_cells) as bar:
        for block in cells.blocks(where, threads=threads):
            blocks.append(to_linear(block.values, kind, first_row=block.start))
            bar.advance(block.stop - block.start)
    return sp.vstack(blocks, format="csr"), np.asarray(mapping.ids, dtype=object)


def _onto(values: sp.csr_matrix, names: np.ndarray, genes: np.ndarray) -> sp.csr_matrix:
    """Columns by gene id, in the order of ``genes``; two columns of one gene are summed, unresolved ones dropped."""
    at = pd.Index(genes).get_indexer(names)
    own = np.flatnonzero(at >= 0)
    place: Any = sp.csr_matrix(
        (np.ones(len(own), dtype=np.float32), (own, at[own])), shape=(values.shape[1], len(genes))
    )
    out = sp.csr_matrix(values @ place)
    out.sort_indices()
    return out
