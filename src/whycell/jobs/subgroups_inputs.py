"""What ``subgroups`` reads: cells, a table or pictures, as coordinates for the models and features to describe by.

Coordinates never see the labels: cells are normalised, logged and projected on principal components; a table's numeric
columns are standardised; pictures go through a dictionary of patches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from whycell.compute import Talk
from whycell.errors import DataError, FormatError, GroupError, LabelError, UsageError
from whycell.jobs.record import fingerprint_file

__all__ = ["Samples", "read_samples"]

_TABLES = {".tsv": "\t", ".txt": "\t", ".csv": ","}
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff")
_MOST_CLASSES = 50
_MOST_FEATURES = 5000
_PICTURE_DIRECTIONS = 128
_PICTURE_SIDE = 32


@dataclass(frozen=True)
class Samples:
    """Samples with a class each.

    Parameters
    ----------
    kind
        ``"cells"``, ``"table"`` or ``"images"``.
    names, labels
        (n,) names and classes.
    donors
        (n,) or ``None``.
    x
        (n, d) float32 coordinates, what the models see.
    features, feature_names
        (n, f) float32 and (f,): what groups are described by; none for pictures.
    pictures
        (n, height, width, 3) uint8, or ``None``.
    fingerprints
        Path -> fingerprint.
    notes
        What was done to the input, for the page.
    """

    kind: str
    names: np.ndarray
    labels: np.ndarray
    donors: np.ndarray | None
    x: np.ndarray
    features: np.ndarray
    feature_names: np.ndarray
    pictures: np.ndarray | None
    fingerprints: dict[str, str]
    notes: tuple[str, ...]

    def take(self, rows: np.ndarray) -> Samples:
        """The samples at these positions."""
        return Samples(
            kind=self.kind,
            names=self.names[rows],
            labels=self.labels[rows],
            donors=None if self.donors is None else self.donors[rows],
            x=self.x[rows],
            features=self.features[rows],
            feature_names=self.feature_names,
            pictures=None if self.pictures is None else self.pictures[rows],
            fingerprints=self.fingerprints,
            notes=self.notes,
        )


def read_samples(
    path: Path | str,
    *,
    target: str,
    group: str | None = None,
    representation: str | None = None,
    n_components: int = 50,
    seed: int = 0,
    threads: int = 0,
    talk: Talk | None = None,
) -> Samples:
    """Read whatever kind of input this is.

    Parameters
    ----------
    path
        A table (``.tsv``, ``.csv``, ``.txt``), pictures (``.npz`` with an array ``images``, or a folder with one
        folder a class), or anything that :func:`whycell.data.cells.open_cells` opens.
    target
        Column (or array of the npz) of classes; for a folder of pictures any name, the folders are the classes.
    group
        Column (or array) of donors.
    representation
        Key of ``obsm`` of an h5ad to take for coordinates, instead of principal components.
    n_components
        Principal components of cells.
    seed, threads, talk
        See docs/parameters.md.

    Raises
    ------
    FormatError
        Not such a file.
    LabelError, GroupError
        No such column, or nothing to tell apart.
    """
    path, talk = Path(path), talk or Talk()
    if not path.exists():
        msg = f"{path} does not exist; wanted a file of cells, a table, or pictures."
        raise FormatError(msg)
    is_pictures = path.suffix == ".npz" or (path.is_dir() and path.suffix != ".zarr" and bool(_picture_files(path)))
    if representation is not None and path.suffix != ".h5ad":
        msg = f"got --representation {representation} with {path.name}; only an h5ad has obsm to take it from"
        raise UsageError(msg)
    if path.suffix.lower() in _TABLES:
        found = _read_table(path, target, group)
    elif is_pictures:
        found = _read_pictures(path, target, group, seed=seed, talk=talk)
    else:
        found = _read_cells(path, target, group, representation, n_components, seed=seed, threads=threads, talk=talk)
    return _usable(found, target)


def _usable(found: Samples, target: str) -> Samples:
    labelled = found.labels != ""
    counts = pd.Series(found.labels[labelled]).value_counts()
    if len(counts) > _MOST_CLASSES:
        msg = (
            f"{target} holds {len(counts):,} different values: wanted classes, {_MOST_CLASSES} at most; cut a number "
            "into ranges first."
        )
        raise LabelError(msg)
    kept = labelled & ~np.isin(found.labels, sorted(counts.index[counts < 2]))
    n_classes = len(set(found.labels[kept]))
    if n_classes < 2:
        msg = f"{target} holds {n_classes} class with two samples or more: wanted two at least; check its name."
        raise LabelError(msg)
    lost = int((~kept).sum())
    out = found.take(np.flatnonzero(kept))
    if not lost:
        return out
    note = f"{lost:,} samples without a class, or alone in theirs, were left out."
    return Samples(**(out.__dict__ | {"notes": (*out.notes, note)}))


def _texts(column: pd.Series) -> np.ndarray:
    return np.asarray(column.astype(object).where(column.notna(), "").astype(str).to_numpy(), dtype=str)


def _column(frame: pd.DataFrame, name: str, path: Path, error: type[DataError]) -> np.ndarray:
    if name not in frame:
        some = ", ".join(map(str, frame.columns[:12]))
        msg = f"{path.name} has no column {name!r}; it has: {some}{', ...' if frame.shape[1] > 12 else ''}."
        raise error(msg)
    return _texts(frame[name])


def _read_table(path: Path, target: str, group: str | None) -> Samples:
    try:
        frame = pd.read_csv(path, sep=_TABLES[path.suffix.lower()])
    except (OSError, ValueError) as error:
        msg = f"{path} cannot be read as a table ({error}); wanted a header and one row a sample."
        raise FormatError(msg) from error
    labels = _column(frame, target, path, LabelError)
    donors = _column(frame, group, path, GroupError) if group else None
    rest = frame.drop(columns=[c for c in (target, group) if c])
    words = [str(c) for c in rest.columns if not pd.api.types.is_numeric_dtype(rest[c])]
    naming = next((c for c in words if rest[c].is_unique), None)
    numbers = rest.select_dtypes(["number", "bool"]).astype(float).replace([np.inf, -np.inf], np.nan)
    numbers = numbers.loc[:, numbers.nunique() > 1]
    if not numbers.shape[1]:
        msg = f"{path.name} has no numeric column that varies beside {target!r}; wanted one feature at least."
        raise FormatError(msg)
    notes = []
    empty = int(numbers.isna().to_numpy().sum())
    if empty:
        share = empty / numbers.size
        notes.append(f"{empty:,} empty values ({100 * share:.1f} %) were filled with the median of their column.")
    ignored = [c for c in words if c != naming]
    if ignored:
        notes.append(f"Columns of words took no part: {', '.join(ignored[:8])}{', ...' if len(ignored) > 8 else ''}.")
    filled = numbers.fillna(numbers.median())
    x = ((filled - filled.mean()) / filled.std(ddof=0)).clip(-10, 10).to_numpy(dtype=np.float32)
    names = _texts(rest[naming]) if naming else np.arange(1, len(frame) + 1).astype(str)
    return Samples(
        kind="table",
        names=names,
        labels=labels,
        donors=donors,
        x=x,
        features=filled.to_numpy(dtype=np.float32),
        feature_names=np.asarray(numbers.columns, dtype=str),
        pictures=None,
        fingerprints={str(path): fingerprint_file(path)},
        notes=tuple(notes),
    )


def _read_cells(
    path: Path,
    target: str,
    group: str | None,
    representation: str | None,
    n_components: int,
    *,
    seed: int,
    threads: int,
    talk: Talk,
) -> Samples:
    from whycell.encode.cells import Gaps, log_normalise
    from whycell.jobs.references import load_references
    from whycell.knowledge.genes import symbol_of
    from whycell.models.projection import learn_encoder

    # The target may be a disease as well as a cell type, so that what the ontology says of it is not passed on.
    loaded = load_references([path], label=target, donor=group, threads=threads)
    n = len(loaded.obs)
    nothing = np.zeros(n, dtype=int)
    if representation is None:
        talk.note(f"{n:,} cells on their first {n_components} principal components, which saw no label")
        measured = np.ones((1, len(loaded.genes)), dtype=bool)
        encoder = learn_encoder(
            loaded.X,
            nothing,
            measured,
            kind=nothing,
            weights=np.ones(n),
            n_components=n_components,
            target=1e4,
            rng=np.random.default_rng(seed),
        )
        columns = np.arange(loaded.X.shape[1], dtype=np.int32)
        x, _ = encoder.encode(loaded.X, columns, gaps=Gaps(measured), pattern=nothing.astype(np.int32))
    else:
        x = _obsm(path, representation, n)
    logged = log_normalise(loaded.X, target=1e4)
    kept = _most_telling(logged)
    labels = _texts(loaded.obs["label"])
    labels[np.isin(labels, ["unknown", "nan", "Unknown"])] = ""
    return Samples(
        kind="cells",
        names=_texts(loaded.obs["cell"]),
        labels=labels,
        donors=_texts(loaded.obs["donor"]) if group and "donor" in loaded.obs else None,
        x=np.asarray(x, dtype=np.float32),
        features=np.asarray(logged[:, kept].todense(), dtype=np.float32),
        feature_names=np.asarray(symbol_of(loaded.genes[kept]), dtype=str),
        pictures=None,
        fingerprints=dict(loaded.fingerprints),
        notes=(f"Coordinates: {representation or f'{x.shape[1]} principal components of log(1 + CP10k)'}.",),
    )


def _most_telling(logged) -> np.ndarray:
    """Genes seen in 1 % of the cells or more, at most so many, those that vary most."""
    n = logged.shape[0]
    seen = np.asarray((logged > 0).sum(axis=0)).ravel()
    mean = np.asarray(logged.mean(axis=0)).ravel()
    variance = np.asarray(logged.multiply(logged).mean(axis=0)).ravel() - mean**2
    able = np.flatnonzero(seen >= max(3, 0.01 * n))
    return np.sort(able[np.argsort(-variance[able], kind="stable")[:_MOST_FEATURES]])


def _obsm(path: Path, key: str, n: int) -> np.ndarray:
    import h5py

    with h5py.File(path, "r") as file:
        held = list(file["obsm"]) if "obsm" in file else []
        if key not in held or not isinstance(file["obsm"][key], h5py.Dataset):
            msg = f"{path.name} has no array {key!r} in obsm; it has: {', '.join(held) or 'none'}."
            raise FormatError(msg)
        x = np.asarray(file["obsm"][key][()], dtype=np.float32)
    if x.ndim != 2 or len(x) != n or not np.isfinite(x).all():
        msg = (
            f"obsm[{key!r}] of {path.name} has the shape {x.shape}: wanted finite numbers, a row for each of {n} cells."
        )
        raise FormatError(msg)
    return x


def _picture_files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("*/*") if p.suffix.lower() in _PICTURES)


def _read_pictures(path: Path, target: str, group: str | None, *, seed: int, talk: Talk) -> Samples:
    from whycell.encode.images import learn_patches

    if path.is_dir():
        pictures, names, labels, fingerprints = _folder_of_pictures(path)
        donors = None
        if group:
            msg = f"got --group with a folder of pictures, which names no {group}; give an npz with that array"
            raise UsageError(msg)
    else:
        arrays = _npz(path, ("images", target, *([group] if group else [])))
        pictures, labels = arrays["images"], _texts(pd.Series(arrays[target]))
        donors = _texts(pd.Series(arrays[group])) if group else None
        names = _texts(pd.Series(arrays["names"])) if "names" in arrays else np.arange(len(labels)).astype(str)
        fingerprints = {str(path): fingerprint_file(path)}
    talk.note(f"{len(pictures):,} pictures through a dictionary of patches, which saw no label")
    encoded = learn_patches(pictures, seed=seed).encode(pictures)
    encoded -= encoded.mean(axis=0)
    encoded /= np.maximum(encoded.std(axis=0), 1e-6)
    x = _principal(encoded, _PICTURE_DIRECTIONS)
    return Samples(
        kind="images",
        names=names,
        labels=labels,
        donors=donors,
        x=x,
        features=np.zeros((len(x), 0), np.float32),
        feature_names=np.zeros(0, dtype=str),
        pictures=pictures,
        fingerprints=fingerprints,
        notes=(f"Coordinates: {x.shape[1]} principal components of {encoded.shape[1]} answers of patches.",),
    )


def _principal(values: np.ndarray, n: int) -> np.ndarray:
    _, vectors = np.linalg.eigh((values.T @ values).astype(np.float64))
    n = min(n, len(values) - 1, values.shape[1])
    return np.asarray(values @ vectors[:, ::-1][:, :n].astype(np.float32))


def _npz(path: Path, wanted: Sequence[str]) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            held = list(file.files)
            missing = [name for name in wanted if name not in held]
            if missing:
                msg = f"{path.name} holds no array {missing[0]!r}; it holds: {', '.join(held)}."
                raise LabelError(msg)
            arrays = {name: file[name] for name in {*wanted, *({"names"} & set(held))}}
    except (OSError, ValueError) as error:
        if isinstance(error, LabelError):
            raise
        msg = f"{path} cannot be read ({error}); wanted an npz with arrays of numbers and words."
        raise FormatError(msg) from error
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in sorted(lengths.items()))
        msg = f"the arrays of {path.name} have different lengths ({told}); wanted one row a picture in each."
        raise FormatError(msg)
    return arrays


def _folder_of_pictures(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, str]]:
    from PIL import Image, UnidentifiedImageError

    files, pictures = _picture_files(folder), []
    for file in files:
        try:
            with Image.open(file) as picture:
                small = picture.convert("RGB").resize((_PICTURE_SIDE, _PICTURE_SIDE), Image.Resampling.BOX)
                pictures.append(np.asarray(small))
        except (OSError, UnidentifiedImageError) as error:
            msg = f"{file} cannot be read as a picture ({error}); remove it, or save it as PNG."
            raise FormatError(msg) from error
    names = np.array([str(file.relative_to(folder)) for file in files])
    labels = np.array([file.parent.name for file in files])
    return np.stack(pictures), names, labels, {str(file): fingerprint_file(file) for file in files[:1000]}
