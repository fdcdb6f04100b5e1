"""Signal of regions out of a bigWig, its sum or its value at every base; and such values written as one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from whycell.data.regions import naming_of
from whycell.data.sequences import Places
from whycell.errors import FormatError, MissingExtraError

__all__ = ["region_profile", "region_total", "write_bigwig"]

_SHOWN = 3


def region_total(places: Places, bigwig: Path | str) -> np.ndarray:
    """(n,) sum of a bigWig over the bases of each region; a base without a value counts 0.

    Parameters
    ----------
    places
        The regions.
    bigwig
        The file.

    Raises
    ------
    MissingExtraError
        pyBigWig is not installed.
    FormatError
        The file cannot be read, or lacks a chromosome or its end.
    """
    file = _open_bigwig(places, bigwig)
    rows = zip(places.chromosome, places.start, places.stop, strict=True)
    found = [file.stats(str(c), int(a), int(b), type="sum", exact=True)[0] for c, a, b in rows]
    return np.array([0.0 if x is None else x for x in found], dtype=np.float32)


def region_profile(places: Places, bigwig: Path | str, *, width: int) -> np.ndarray:
    """(n, width) values of a bigWig at every base about the middle of each region, 0 where it holds nothing.

    Those of a region of the other strand are turned, so that they run as its letters do.

    Parameters
    ----------
    places
        The regions, each at least ``width`` long.
    bigwig
        The file.
    width
        Bases.

    Raises
    ------
    MissingExtraError, FormatError
        As of ``region_total``; and of regions that are shorter.
    """
    length = places.stop - places.start
    if len(length) and length.min() < width:
        msg = f"a region has {length.min()} bases; wanted {width} at least, to read {bigwig} about its middle."
        raise FormatError(msg)
    file = _open_bigwig(places, bigwig)
    found = np.empty((len(length), width), dtype=np.float32)
    for row, (c, a, b, strand) in enumerate(
        zip(places.chromosome, places.start, places.stop, places.strand, strict=True)
    ):
        surplus = int(b - a) - width
        start = int(a) + (surplus // 2 if strand != "-" else surplus - surplus // 2)
        values = file.values(str(c), start, start + width, numpy=True)
        found[row] = values if strand != "-" else values[::-1]
    return np.nan_to_num(found, copy=False)


def write_bigwig(path: Path | str, places: Places, *, values: np.ndarray, sizes: Mapping[str, int]) -> None:
    """Write values at every base of regions; the mean where regions overlap.

    Parameters
    ----------
    path
        The file to be.
    places
        (n,) regions.
    values
        (n, width), each in the direction of its region's letters.
    sizes
        Bases of every chromosome.
    """
    file = _bigwig_library().open(str(path), "w")
    named = sorted(set(places.chromosome))
    file.addHeader([(name, int(sizes[name])) for name in named])
    forward = np.where((places.strand == "-")[:, None], values[:, ::-1], values)
    for name in named:
        here = places.chromosome == name
        at, row = np.unique(places.start[here][:, None] + np.arange(values.shape[1]), return_inverse=True)
        mean = np.bincount(row.ravel(), weights=forward[here].ravel()) / np.bincount(row.ravel())
        for run in np.split(np.arange(len(at)), np.flatnonzero(np.diff(at) > 1) + 1):
            file.addEntries(name, int(at[run[0]]), values=mean[run].tolist(), span=1, step=1)
    file.close()


def _bigwig_library() -> Any:
    try:
        import pyBigWig
    except ImportError as error:
        msg = "bigWig needs pyBigWig; install it with: pip install pyBigWig"
        raise MissingExtraError(msg) from error
    return pyBigWig


def _is_bigwig(path: Path) -> bool:
    """By its first bytes, as the library prints its own complaint about any other file."""
    with path.open("rb") as file:
        return file.read(4) in (b"\x26\xfc\x8f\x88", b"\x88\x8f\xfc\x26")


def _open_bigwig(places: Places, bigwig: Path | str) -> Any:
    library = _bigwig_library()
    if not Path(bigwig).is_file() or not _is_bigwig(Path(bigwig)):
        why = "it is none" if Path(bigwig).is_file() else "there is no such file"
        msg = f"{bigwig} cannot be opened as bigWig: {why}; wanted a .bw file with a value at every base."
        raise FormatError(msg)
    try:
        file = library.open(str(bigwig))
    except RuntimeError as error:
        msg = f"{bigwig} cannot be opened as bigWig: it is cut off or damaged; copy it again."
        raise FormatError(msg) from error
    known = file.chroms()
    absent = sorted(set(places.chromosome) - set(known))
    if absent:
        cure = naming_of(absent[0], set(known))
        msg = f"{bigwig} has no chromosome {absent[0]!r} (it has {', '.join(list(known)[:_SHOWN])}); {cure}"
        raise FormatError(msg)
    beyond = np.flatnonzero(places.stop > np.array([known[c] for c in places.chromosome], dtype=np.int64))
    if len(beyond):
        at = beyond[0]
        c = places.chromosome[at]
        msg = (
            f"a region of {c} ends at {places.stop[at]}, and {bigwig} has {c} end at {known[c]}; is it of another "
            "assembly than the genome?"
        )
        raise FormatError(msg)
    return file
