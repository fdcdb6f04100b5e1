"""What an audit reads: labelled files of cells, or a table, as coordinates, labels and the classes they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from whycell.compute import Talk
from whycell.encode.cells import Encoder, Gaps, log_normalise
from whycell.errors import FormatError, LabelError
from whycell.jobs.record import fingerprint_file
from whycell.jobs.references import References, file_names, load_references
from whycell.knowledge.terms import Ontology
from whycell.lenses.audit import Sharpen
from whycell.models.leaves import LeafSpace, build_leaves
from whycell.models.projection import balance, choose_genes, learn_encoder

__all__ = ["Doublets", "Samples", "is_table", "read_cells", "read_table"]

_TABLES = {".tsv": "\t", ".csv": ",", ".txt": "\t"}
_N_GENES, _N_COMPONENTS, _TARGET = 3000, 50, 1e4
#: The squared length of a class mean outside the components, in units of what sampling alone would give it.
_STANDS_OUT = 1.3
_FEWEST = 5
_MOST_DOUBLETS = 20_000


@dataclass(frozen=True)
class Doublets:
    """Sums of two cells of different classes, through the same encoder: ``x`` (m, d), ``kind`` (m,) a * K + b."""

    x: np.ndarray
    kind: np.ndarray


@dataclass(frozen=True)
class Samples:
    """Labelled samples ready for an audit.

    Parameters
    ----------
    obs
        One row a sample: ``cell, file, row, donor, label``.
    values
        (n, n_columns) linear values, for copies and counts.
    x
        (n, d) coordinates.
    codes, allows
        (n,) what each label means, and (M, K) the classes that a meaning allows.
    space
        Names of the classes; ``None`` where there is no ontology, then ``classes`` are the labels.
    classes, term_ids
        (K,) names and Cell Ontology ids, "" for none.
    cells
        Whether the samples are cells, whose counts mean something.
    fingerprints
        Path of each input and its fingerprint.
    left_out
        Samples not audited: copies of another study's cells, labels that say nothing, classes too small.
    encode
        What turns values into coordinates, where samples are cells.
    """

    obs: pd.DataFrame
    values: sp.csr_matrix
    x: np.ndarray
    codes: np.ndarray
    allows: np.ndarray
    space: LeafSpace | None
    classes: np.ndarray
    term_ids: np.ndarray
    cells: bool
    fingerprints: dict[str, str]
    left_out: int
    encode: _Encode | None = None

    def doublets(self, target: np.ndarray, usable: np.ndarray, *, seed: int) -> Doublets | None:
        """Doublets made of usable samples of different classes; ``None`` where samples are no cells."""
        if self.encode is None:
            return None
        rng = np.random.default_rng(seed)
        pool = np.flatnonzero(usable)
        m = min(len(target), _MOST_DOUBLETS)
        a, b = rng.choice(pool, 3 * m), rng.choice(pool, 3 * m)
        mixed = np.flatnonzero((target[a] != target[b]) & (self.encode.study[a] == self.encode.study[b]))[:m]
        a, b = a[mixed], b[mixed]
        low, high = np.minimum(target[a], target[b]), np.maximum(target[a], target[b])
        x = self.encode.coordinates(self.encode.values[a] + self.encode.values[b], self.encode.study[a])
        return Doublets(x, low * self.allows.shape[1] + high)


@dataclass(frozen=True)
class _Encode:
    encoder: Encoder
    values: sp.csr_matrix
    study: np.ndarray
    measured: np.ndarray

    def class_means(self) -> Sharpen:
        """What class means hold beyond the components: one coordinate for each that stands out of sampling noise."""
        directions, mean = self.encoder.directions, self.encoder.mean
        covered = (self.measured @ self.encoder.share)[self.study]
        logged = log_normalise(self.values, target=self.encoder.target, share=covered)
        at_mean = self.measured * mean
        inside = logged @ directions - (at_mean @ directions)[self.study]
        squares = np.asarray(logged.multiply(logged).sum(axis=1)).ravel() - 2 * (logged @ mean)
        rest = np.maximum(squares + (at_mean @ mean)[self.study] - (inside**2).sum(axis=1), 0.0)

        def sharpen(target: np.ndarray, teach: np.ndarray) -> np.ndarray:
            rows = np.flatnonzero(teach)
            _, codes, sizes = np.unique(target[rows], return_inverse=True, return_counts=True)
            averaging = sp.csr_matrix((1.0 / sizes[codes], (codes, rows)), shape=(len(sizes), len(teach)))
            means = (averaging @ logged).toarray() - averaging @ at_mean[self.study]
            means -= (means @ directions) @ directions.T
            noise = (averaging @ rest) / sizes
            means = means[(means**2).sum(axis=1) > _STANDS_OUT * noise]
            if not len(means):
                return np.zeros((len(teach), 0), dtype=np.float32)
            _, strength, ways = np.linalg.svd(means, full_matrices=False)
            ways = ways[strength > 1e-3 * strength[0]].T.astype(np.float32)
            return np.asarray(logged @ ways - (at_mean @ ways)[self.study], dtype=np.float32)

        return sharpen

    def coordinates(self, values: sp.csr_matrix, study: np.ndarray) -> np.ndarray:
        columns = np.arange(values.shape[1], dtype=np.int32)
        x, _ = self.encoder.encode(sp.csr_matrix(values), columns, gaps=Gaps(self.measured), pattern=study)
        return x


def is_table(source: Any) -> bool:
    """Whether a path is a table by its name."""
    return isinstance(source, (str, Path)) and Path(source).suffix.lower() in _TABLES


def read_cells(
    references: Sequence[Any],
    *,
    label: str,
    donor: str | None,
    study: str | None,
    label_map: Path | None,
    seed: int,
    threads: int,
    talk: Talk,
) -> Samples:
    """Labelled cells, seen as the typer sees them: see :func:`whycell.jobs.references.load_references`."""
    ontology = Ontology.load()
    loaded = load_references(
        references,
        label=label,
        donor=donor,
        study=study,
        label_map=label_map,
        ontology=ontology,
        threads=threads,
        talk=talk,
    )
    rows = _usable(loaded.obs["label"], loaded.known, talk)
    obs = _obs(loaded).iloc[rows].reset_index(drop=True)
    values = loaded.X[rows]
    encode, studies = _encoder(loaded, rows, obs, seed=seed)
    ids = {name: ("" if term in ontology.stop_terms else term) for name, term in loaded.label_ids.items()}
    authority = pd.factorize(studies.astype(str) + np.array(["\t"]) + obs["donor"].to_numpy().astype(str))[0]
    space, meaning = build_leaves(obs["label"].to_numpy(dtype=object), ids, authority, ontology)
    allows, codes = np.unique(meaning, axis=0, return_inverse=True)
    return Samples(
        obs=obs,
        values=values,
        x=encode.coordinates(encode.values, encode.study),
        codes=codes.ravel(),
        allows=allows,
        space=space,
        classes=space.labels.astype(str),
        term_ids=space.term_ids.astype(str),
        cells=True,
        fingerprints=loaded.fingerprints,
        left_out=len(loaded.obs) - len(rows),
        encode=encode,
    )


def _obs(loaded: References) -> pd.DataFrame:
    names, sizes = file_names(list(loaded.n_cells)), list(loaded.n_cells.values())
    return pd.DataFrame(
        {
            "cell": loaded.obs["cell"].astype(str),
            "file": np.repeat(np.array(names, dtype=object), sizes),
            "row": np.concatenate([np.arange(n) for n in sizes]),
            "donor": loaded.obs["donor"].astype(str) if "donor" in loaded.obs else "",
            "label": loaded.obs["label"].astype(str),
        }
    )


def _usable(labels: pd.Series, known: np.ndarray, talk: Talk) -> np.ndarray:
    counts = labels[known].value_counts()
    rare = sorted(counts.index[counts < _FEWEST])
    if rare:
        talk.warn(f"not audited, with fewer than {_FEWEST} samples each: {', '.join(map(str, rare))}")
    rows = np.flatnonzero(known & ~labels.isin(rare).to_numpy())
    if labels.iloc[rows].nunique() < 2:
        found = ", ".join(sorted(set(labels.astype(str)))[:6])
        msg = f"An audit needs two labels with {_FEWEST} samples each; got {found or 'none'}; check --label."
        raise LabelError(msg)
    return rows


def _encoder(loaded: References, rows: np.ndarray, obs: pd.DataFrame, *, seed: int) -> tuple[_Encode, np.ndarray]:
    studies = loaded.obs["study"].iloc[rows].astype(str).to_numpy()
    names, study = np.unique(studies, return_inverse=True)
    measured = np.stack([loaded.measured[name] for name in names])
    kept = choose_genes(loaded.X[rows], study, measured, n_genes=_N_GENES, target=_TARGET)
    values, measured = sp.csr_matrix(loaded.X[rows][:, kept]), measured[:, kept]
    # No label may shape the coordinates: a class mean holds a part of every cell it was made of.
    alike = np.zeros(len(rows), dtype=np.int64)
    encoder = learn_encoder(
        values,
        study,
        measured,
        kind=alike,
        weights=balance(study, obs["donor"].to_numpy().astype(str), alike),
        n_components=_N_COMPONENTS,
        target=_TARGET,
        rng=np.random.default_rng(seed),
    )
    encoder = replace(encoder, directions=np.ascontiguousarray(encoder.directions[:, :_N_COMPONENTS]))
    return _Encode(encoder, values, study, measured), studies


def read_table(path: Path, *, label: str, donor: str | None, talk: Talk) -> Samples:
    """A table with a column of labels; every numeric column is a feature, the first column of words names the rows.

    Parameters
    ----------
    path
        A ``.tsv``, ``.csv`` or ``.txt`` with a header.
    label, donor
        Its columns.
    talk
        Told of columns that are left out.

    Raises
    ------
    FormatError
        No table, or no numeric column.
    LabelError
        No column of labels, or fewer than two labels.
    """
    path = Path(path)
    try:
        frame = pd.read_csv(path, sep=_TABLES[path.suffix.lower()])
    except (OSError, ValueError) as error:
        msg = f"{path} cannot be read as a table ({error}); wanted a header and one row a sample."
        raise FormatError(msg) from error
    for column in (label, donor):
        if column is not None and column not in frame:
            msg = f"{path} has no column {column!r}; it has: {', '.join(map(str, frame.columns[:12]))}."
            raise LabelError(msg)
    features = frame.drop(columns=[c for c in (label, donor) if c]).select_dtypes("number")
    features = features.loc[:, features.nunique() > 1]
    if not features.shape[1]:
        msg = f"{path} has no numeric column that varies, beside {label!r}; wanted one feature at least."
        raise FormatError(msg)
    words = [c for c in frame.columns if c not in (label, donor) and frame[c].dtype == object and frame[c].is_unique]
    labels = frame[label].astype(object).where(frame[label].notna(), "").astype(str)
    rows = _usable(labels, labels.to_numpy() != "", talk)
    kept = features.iloc[rows].astype(float)
    kept = kept.fillna(kept.median())
    x = ((kept - kept.mean()) / kept.std(ddof=0).replace(0, 1)).to_numpy(dtype=np.float32)
    classes, codes = np.unique(labels.iloc[rows], return_inverse=True)
    obs = pd.DataFrame(
        {
            "cell": (frame[words[0]].astype(str) if words else pd.Series(np.arange(len(frame)).astype(str))).iloc[rows],
            "file": path.name,
            "row": rows,
            "donor": frame[donor].astype(str).iloc[rows] if donor else "",
            "label": labels.iloc[rows],
        }
    ).reset_index(drop=True)
    return Samples(
        obs=obs,
        values=sp.csr_matrix(features.iloc[rows].fillna(0).to_numpy(dtype=np.float64)),
        x=x,
        codes=codes,
        allows=np.eye(len(classes), dtype=bool),
        space=None,
        classes=classes.astype(str),
        term_ids=np.full(len(classes), "", dtype=object),
        cells=False,
        fingerprints={str(path): fingerprint_file(path)},
        left_out=len(frame) - len(rows),
    )
