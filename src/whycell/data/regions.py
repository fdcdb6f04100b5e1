"""Regions of a genome (BED, narrowPeak) and the letters that stand there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from whycell.data.sequences import Places, Sequences, text_lines
from whycell.errors import FormatError, MissingExtraError

__all__ = ["gc_matched_regions", "naming_of", "open_genome", "read_regions"]

_NARROWPEAK_COLUMNS, _SUMMIT = 10, 9
_COMPLEMENT = str.maketrans("ACGTN", "TGCAN")
_SHOWN = 3
_BINS = 50  # of GC content, in which drawn regions must agree with those given


def open_genome(path: Path | str) -> Any:
    """The genome as pyfaidx opens it.

    Raises
    ------
    MissingExtraError
        pyfaidx is not installed.
    FormatError
        The file is not there, or is no FASTA that can be indexed.
    """
    try:
        from pyfaidx import Fasta, FastaIndexingError
    except ImportError as error:
        msg = "regions of a genome need pyfaidx; install it with: pip install 'whycell[dna]'"
        raise MissingExtraError(msg) from error
    try:
        return Fasta(str(path), sequence_always_upper=True, as_raw=True)
    except (OSError, ValueError, FastaIndexingError) as error:
        msg = f"the genome {path} cannot be opened ({error}); wanted FASTA, plain or bgzip, in a folder to write to."
        raise FormatError(msg) from error


def read_regions(path: Path | str, genome: Path | str, *, width: int | None = None) -> Sequences:
    """Letters of the regions of a BED or narrowPeak file.

    Parameters
    ----------
    path
        Chromosome, start, stop, and where given name, score and strand; ten columns are narrowPeak, whose last is the
        summit. A region of the other strand is turned round.
    genome
        FASTA.
    width
        Bases about the summit, or the middle where there is none; the region as it is without.

    Regions that would reach beyond an end of their chromosome are left out and counted in ``notes``.

    Raises
    ------
    FormatError
        No numbers where places should be, or chromosomes that the genome does not have.
    """
    path = Path(path)
    table = _bed(path)
    fasta = open_genome(genome)
    _check_chromosomes(path, genome, table["chromosome"], fasta)
    start, stop = table["start"].to_numpy(), table["stop"].to_numpy()
    if width is not None:
        centre = table["summit"].to_numpy()
        start = centre - width // 2
        stop = start + width
    size = {name: len(fasta[name]) for name in dict.fromkeys(table["chromosome"])}
    inside = (start >= 0) & (stop <= table["chromosome"].map(size).to_numpy()) & (stop > start)
    if len(inside) and not inside.any():
        wide = f"of {width} bases about their middle or summit " if width else ""
        msg = f"all {len(inside):,} regions {wide}of {path} reach beyond their chromosome in {genome}; is it theirs?"
        raise FormatError(msg)
    table, start, stop = table[inside], start[inside], stop[inside]
    letters = [
        _turned(str(fasta[c][int(a) : int(b)]), s)
        for c, a, b, s in zip(table["chromosome"], start, stop, table["strand"], strict=True)
    ]
    notes = (
        ()
        if inside.all()
        else (f"{int((~inside).sum())} regions of {path.name} reach beyond their chromosome and are left out.",)
    )
    places = Places(table["chromosome"].to_numpy(dtype=object), start, stop, table["strand"].to_numpy(dtype=object))
    plain = np.array(["".join(x if x in "ACGTN" else "N" for x in s) for s in letters], dtype=object)
    return Sequences(table["name"].to_numpy(dtype=object), plain, places, source=str(path), notes=notes)


def gc_matched_regions(given: Sequences, genome: Path | str, *, seed: int = 0, tries: int = 200) -> Sequences:
    """As many regions of the genome that overlap none of the given, each with the share of G and C of one of them.

    Parameters
    ----------
    given
        With places, all of one width.
    genome
        FASTA they come from.
    seed
        Of the draw.
    tries
        Regions drawn for each wanted, before those nearest in GC are taken and the shortfall is told in ``notes``.
    """
    if given.places is None:
        msg = f"{given.source} has no places in a genome; GC-matched regions need BED, or use shuffled negatives."
        raise FormatError(msg)
    fasta, rng = open_genome(genome), np.random.default_rng(seed)
    width = int(given.lengths[0])
    names = [n for n in fasta.keys() if len(fasta[n]) >= width and n in set(given.places.chromosome)]  # noqa: SIM118
    share = np.array([len(fasta[n]) - width + 1 for n in names], dtype=np.float64)
    taken = {n: _merged(given.places, n) for n in names}
    wanted = np.bincount(_gc_bin(given.letters), minlength=_BINS + 1)
    found: list[tuple[str, int, str]] = []
    for _ in range(tries):
        missing = int(wanted.sum())
        if not missing:
            break
        for which in rng.choice(len(names), size=max(64, missing), p=share / share.sum()):
            name, start = names[which], int(rng.integers(0, int(share[which])))
            if _overlaps(taken[name], start, start + width):
                continue
            letters = str(fasta[name][start : start + width])
            at = int(_gc_bin(np.array([letters], dtype=object))[0])
            if letters.count("N") * 2 < width and wanted[at] > 0:
                wanted[at] -= 1
                found.append((name, start, "".join(x if x in "ACGT" else "N" for x in letters)))
    begin = np.array([s for _, s, _ in found], dtype=np.int64)
    places = Places(
        np.array([n for n, _, _ in found], dtype=object), begin, begin + width, np.full(len(found), "+", dtype=object)
    )
    short = len(given) - len(found)
    notes = (f"{short} negatives with the GC content of a positive were not found in {tries} tries.",) if short else ()
    named = np.array([f"{n}:{s}-{s + width}" for n, s, _ in found], dtype=object)
    return Sequences(
        named, np.array([x for _, _, x in found], dtype=object), places, source="GC-matched regions", notes=notes
    )


def _bed(path: Path) -> pd.DataFrame:
    rows = [line.split("\t") if "\t" in line else line.split() for line in text_lines(path)]
    try:
        start = np.array([int(r[1]) for r in rows], dtype=np.int64)
        stop = np.array([int(r[2]) for r in rows], dtype=np.int64)
    except (ValueError, IndexError) as error:
        msg = f"{path} is no BED file ({error}); wanted chromosome, start and stop in every line."
        raise FormatError(msg) from error
    summit = (start + stop) // 2
    if rows and all(len(r) == _NARROWPEAK_COLUMNS for r in rows):
        peak = np.array([int(r[_SUMMIT]) for r in rows])
        summit = np.where(peak >= 0, start + peak, summit)
    named = [
        f"{r[0]}:{a}-{b}" if len(r) < 4 or r[3] in ".-" else r[3] for r, a, b in zip(rows, start, stop, strict=True)
    ]
    strand = [r[5] if len(r) > 5 and r[5] in "+-" else "+" for r in rows]
    return pd.DataFrame(
        {
            "chromosome": [r[0] for r in rows],
            "start": start,
            "stop": stop,
            "name": named,
            "strand": strand,
            "summit": summit,
        }
    )


def _check_chromosomes(path: Path, genome: Path | str, column: pd.Series, fasta: Any) -> None:
    known = set(fasta.keys())
    absent = sorted(set(column) - known)
    if not absent:
        return
    cure = naming_of(absent[0], known)
    shown = ", ".join(absent[:_SHOWN]) + (" and more" if len(absent) > _SHOWN else "")
    msg = f"{path} names {shown}, which {genome} does not have (it has {', '.join(sorted(known)[:_SHOWN])}); {cure}"
    raise FormatError(msg)


def naming_of(absent: str, known: set[str]) -> str:
    """What to do about a chromosome that another file does not have."""
    other = absent[3:] if absent.startswith("chr") else f"chr{absent}"
    if other in known:
        return "the two name chromosomes differently (chr1 and 1); rename those of the regions"
    return "is it of another assembly or species?"


def _turned(letters: str, strand: str) -> str:
    return letters if strand == "+" else letters.translate(_COMPLEMENT)[::-1]


def _gc_bin(letters: np.ndarray) -> np.ndarray:
    shares = [(s.count("G") + s.count("C")) / max(1, len(s) - s.count("N")) for s in letters]
    return np.asarray(np.rint(np.array(shares) * _BINS), dtype=np.int64)


def _merged(places: Places, chromosome: str) -> tuple[np.ndarray, np.ndarray]:
    here = places.chromosome == chromosome
    order = np.argsort(places.start[here], kind="stable")
    return places.start[here][order], np.maximum.accumulate(places.stop[here][order])


def _overlaps(taken: tuple[np.ndarray, np.ndarray], start: int, stop: int) -> bool:
    last = int(np.searchsorted(taken[0], stop)) - 1
    return last >= 0 and int(taken[1][last]) > start
