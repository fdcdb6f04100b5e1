"""Predicted profiles written where other programs read them: HDF5, or a bigWig for a genome browser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from whycell.data.bigwig import write_bigwig
from whycell.data.regions import open_genome
from whycell.data.sequences import Places, Sequences
from whycell.data.whole import check_free, written_whole
from whycell.errors import UsageError
from whycell.jobs.sequences_opened import place_columns
from whycell.models.sequence import SequenceModel

__all__ = ["check_profiles", "write_profiles"]

_HDF5, _BIGWIG = (".h5", ".hdf5"), (".bw", ".bigwig")


def check_profiles(path: Path, model: SequenceModel, sequences: Sequences, *, genome: Path | None) -> None:
    """Raise ``UsageError`` where profiles cannot be written; parameters as of ``write_profiles``."""
    if model.kind != "profile":
        msg = f"the model learned {model.kind} and has no profiles; train one with --kind profile, or leave --profiles."
        raise UsageError(msg)
    kind = Path(path).suffix.lower()
    if kind not in _HDF5 + _BIGWIG:
        msg = f"profiles would go to {path}; wanted a name that ends in .h5 or .bw."
        raise UsageError(msg)
    if kind in _BIGWIG and (sequences.places is None or genome is None):
        what = "the sequences have no places" if sequences.places is None else "the lengths of chromosomes are unknown"
        msg = f"{path} is a bigWig, and {what}; give regions and --genome, or write .h5."
        raise UsageError(msg)


def write_profiles(
    path: Path, model: SequenceModel, sequences: Sequences, *, genome: Path | None = None, force: bool = False
) -> list[Path]:
    """Write expected reads at every base.

    HDF5: ``names``; ``chromosome``, ``start``, ``stop`` and ``strand`` of the bases of the profile, where known; and
    for each task a group with ``profile`` (n, out_length) float32, in the direction of the letters. bigWig: a file for
    each task, with its name before the ending where there are several; the mean where regions overlap.

    Parameters
    ----------
    path
        Ends in ``.h5`` or ``.bw``.
    model
        Of profiles.
    sequences
        As long as it reads.
    genome
        FASTA, for the lengths of chromosomes.
    force
        Overwrite.

    Returns
    -------
    The files written.
    """
    path = Path(path)
    profile = model.predict_profile(sequences)
    places = None if sequences.places is None else _middle(sequences.places, profile.shape[2])
    if path.suffix.lower() in _HDF5:
        _write_hdf5(path, model.tasks_, profile, replace(sequences, places=places), force=force)
        return [path]
    several = len(model.tasks_) > 1
    files = [path.with_name(f"{path.stem}.{task}{path.suffix}") if several else path for task in model.tasks_]
    check_free(*files, force=force)
    fasta = open_genome(genome or "")
    sizes = {name: len(fasta[name]) for name in fasta.keys()}  # noqa: SIM118
    for at, file in enumerate(files):
        with written_whole(file, force=force) as scratch:
            write_bigwig(scratch, places, values=profile[:, at], sizes=sizes)
    return files


def _middle(places: Places, width: int) -> Places:
    surplus = places.stop - places.start - width
    start = places.start + np.where(places.strand == "-", surplus - surplus // 2, surplus // 2)
    return replace(places, start=start, stop=start + width)


def _write_hdf5(path: Path, tasks: tuple[str, ...], profile: np.ndarray, sequences: Sequences, *, force: bool) -> None:
    text = h5py.string_dtype()
    with written_whole(path, force=force) as scratch, h5py.File(scratch, "w") as file:
        file.create_dataset("names", data=sequences.names.astype(object), dtype=text)
        for name, column in place_columns(sequences).items():
            file.create_dataset(name, data=column, **({"dtype": text} if column.dtype == object else {}))
        for at, task in enumerate(tasks):
            file.create_group(task).create_dataset("profile", data=profile[:, at], compression="gzip")
