"""Sequences of DNA as one thing, read in and checked: FASTA, regions of a genome, and labelled tables.

The kind of a file is told by its first line, not by its name; ``.gz`` is opened as it comes. Letters are made upper
case, so that what a genome masks as repeats counts like the rest; U is T, and every other letter that the IUPAC code
knows stands for an unknown base, N.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from whycell.errors import FormatError, UsageError

__all__ = ["Places", "Sequences", "join_sequences", "read_sequences", "text_lines"]

_TO_PLAIN = str.maketrans("acgtunURYSWKMBDHVrywskmbdhvX.-", "ACGTTNTNNNNNNNNNNNNNNNNNNNNNNN")
_LETTERS = frozenset("ACGTN")
_PLACE = re.compile(r"(?P<chromosome>[\w.]+):(?P<start>\d+)-(?P<stop>\d+)(?:\((?P<strand>[+-])\))?")
#: Names under which a table keeps its letters, its names and its labels; compared without case.
_COLUMNS = {
    "letters": ("sequence", "seq", "dna"),
    "names": ("name", "id", "eventid", "seqname", "sequence_name"),
    "labels": ("label", "bound", "y", "class", "target"),
}


@dataclass(frozen=True)
class Places:
    """Where sequences lie in a genome: (n,) arrays; ``start`` counts from 0, ``stop`` is not included.

    Parameters
    ----------
    chromosome, strand
        Names, and ``"+"`` or ``"-"``.
    start, stop
        Bases.
    """

    chromosome: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    strand: np.ndarray

    def __getitem__(self, rows: Any) -> Places:
        return Places(self.chromosome[rows], self.start[rows], self.stop[rows], self.strand[rows])


@dataclass(frozen=True)
class Sequences:
    """Sequences, what they are called, where they lie and what is known of them.

    Parameters
    ----------
    names
        (n,) text.
    letters
        (n,) text of A, C, G, T and N.
    places
        Where they lie, or ``None``.
    labels
        (n, n_tasks) float32, NaN where a task says nothing of a sequence, or ``None``.
    tasks
        Names of the columns of ``labels``.
    source
        What a message calls the file.
    notes
        What was done to them on the way in, a sentence each.
    """

    names: np.ndarray
    letters: np.ndarray
    places: Places | None = None
    labels: np.ndarray | None = None
    tasks: tuple[str, ...] = ()
    source: str = "sequences"
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.letters)

    def __getitem__(self, rows: Any) -> Sequences:
        return replace(
            self,
            names=self.names[rows],
            letters=self.letters[rows],
            places=None if self.places is None else self.places[rows],
            labels=None if self.labels is None else self.labels[rows],
        )

    @property
    def lengths(self) -> np.ndarray:
        """(n,) letters of each."""
        return np.fromiter((len(s) for s in self.letters), dtype=np.int64, count=len(self))

    def of_width(self, width: int | None = None) -> Sequences:
        """All of one length: cut at both ends, or N set before and behind; the middle stays the middle.

        Parameters
        ----------
        width
            Letters each; without one, all must have the same length already.

        Raises
        ------
        UsageError
            Lengths differ and no width is given.
        """
        lengths = self.lengths
        if width is None:
            if len(np.unique(lengths)) > 1:
                odd = self.names[lengths != lengths[0]][0]
                msg = (
                    f"{self.source} holds sequences of {lengths.min()} to {lengths.max()} letters ({odd!r} is the "
                    f"first unlike {self.names[0]!r}); wanted one length. Give --width to cut and pad them about "
                    "their middle."
                )
                raise UsageError(msg)
            return self
        letters = np.array([_fitted(s, width) for s in self.letters], dtype=object)
        places = self.places
        if places is not None:
            before = np.where(lengths >= width, (lengths - width) // 2, -((width - lengths) // 2))
            start = np.where(places.strand == "-", places.stop - before - width, places.start + before)
            places = replace(places, start=start, stop=start + width)
        return replace(self, letters=letters, places=places)


def read_sequences(
    path: Path | str,
    *,
    genome: Path | str | None = None,
    width: int | None = None,
    labels: Sequence[str] = (),
) -> Sequences:
    """Read FASTA, BED or narrowPeak with a genome, or a table with a column of letters.

    Parameters
    ----------
    path
        The file, plain or gzip. A FASTA header that holds ``chr1:100-200`` or ``chr1:100-200(-)`` gives the place.
    genome
        FASTA of the genome, for regions; its index is made beside it where it may be.
    width
        Bases about the middle of a region, or about its summit where the file has one; regions as they are without.
        Sequences read as letters are cut or padded with N.
    labels
        Columns of a table that are tasks; without, every column called label, bound, y, class or target, or where there
        is none every column of 0 and 1 (and of empty fields, which are unknown).

    Raises
    ------
    FormatError
        Not such a file, empty, damaged, or of letters that are no bases; chromosomes that the genome lacks.
    UsageError
        Regions without a genome.
    MissingExtraError
        Regions without pyfaidx.

    Examples
    --------
    >>> from tempfile import NamedTemporaryFile
    >>> with NamedTemporaryFile("w", suffix=".fa") as file:
    ...     _ = file.write(">chr2:10-14\\nACgt\\n")
    ...     file.flush()
    ...     found = read_sequences(file.name)
    >>> found.letters.tolist(), found.places.chromosome.tolist()
    (['ACGT'], ['chr2'])
    """
    path = Path(path)
    lines = text_lines(path)
    first = next(lines, None)
    if first is None:
        msg = f"{path} is empty; wanted FASTA, BED or a table of sequences."
        raise FormatError(msg)
    if first.startswith((">", ";")):
        found = _fasta(path, first, lines)
    elif _is_region(first):
        from whycell.data.regions import read_regions

        if genome is None:
            msg = f"{path} holds regions, not letters; wanted the genome that they lie in: give it with --genome."
            raise UsageError(msg)
        found = read_regions(path, genome, width=width)
        width = None
    elif "\t" in first or "," in first:
        found = _table(path, labels)
    else:
        msg = f"{path} begins with {first[:40]!r}; wanted FASTA (a first line with >), BED, or a table with a header."
        raise FormatError(msg)
    if not len(found):
        msg = f"{path} holds no sequence; wanted one at least."
        raise FormatError(msg)
    return found if width is None else found.of_width(width)


def join_sequences(parts: Sequence[Sequences]) -> Sequences:
    """Several files as one, from their ``parts``; places are kept where all have them, labels where tasks agree."""
    places = None
    if all(part.places is not None for part in parts):
        fields = ("chromosome", "start", "stop", "strand")
        places = Places(*(np.concatenate([getattr(p.places, f) for p in parts]) for f in fields))
    labels, tasks = None, parts[0].tasks
    if all(part.labels is not None and part.tasks == tasks for part in parts):
        labels = np.concatenate([part.labels for part in parts if part.labels is not None])
    return Sequences(
        np.concatenate([part.names for part in parts]),
        np.concatenate([part.letters for part in parts]),
        places,
        labels,
        tasks if labels is not None else (),
        " + ".join(part.source for part in parts),
        tuple(note for part in parts for note in part.notes),
    )


def _fitted(letters: str, width: int) -> str:
    surplus = len(letters) - width
    if surplus >= 0:
        return letters[surplus // 2 : surplus // 2 + width]
    before = -surplus // 2
    return "N" * before + letters + "N" * (-surplus - before)


def text_lines(path: Path) -> Iterator[str]:
    """Lines of a file, plain or gzip, without empty ones, comments and a browser's headings.

    Raises
    ------
    FormatError
        It is absent, cut off, or no text.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rt") if packed else path.open("rt") as text:
            for line in text:
                if line.strip() and not line.startswith(("#", "track", "browser")):
                    yield line.rstrip("\r\n")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        cause = "it is cut off or damaged" if isinstance(error, EOFError | gzip.BadGzipFile) else str(error)
        cause = "there is no such file" if isinstance(error, FileNotFoundError) else cause
        msg = f"{path} cannot be read: {cause}. Wanted FASTA, BED or a table of sequences, plain or gzip."
        raise FormatError(msg) from error


def _fasta(path: Path, first: str, lines: Iterator[str]) -> Sequences:
    names, letters = [first[1:].strip()], list[str]()
    now: list[str] = []
    for line in lines:
        if line.startswith(">"):
            letters.append("".join(now))
            names.append(line[1:].strip())
            now = []
        else:
            now.append(line.strip())
    letters.append("".join(now))
    found = [_PLACE.search(name) for name in names]
    places = None
    if all(found):
        places = Places(
            np.array([m["chromosome"] for m in found if m], dtype=object),
            np.array([int(m["start"]) for m in found if m], dtype=np.int64),
            np.array([int(m["stop"]) for m in found if m], dtype=np.int64),
            np.array([m["strand"] or "+" for m in found if m], dtype=object),
        )
    return _checked(path, [name.split()[0] if name else str(i) for i, name in enumerate(names)], letters, places)


def _table(path: Path, wanted: Sequence[str]) -> Sequences:
    try:
        frame = pd.read_csv(path, sep=None, engine="python", dtype=str, keep_default_na=False, compression="infer")
    except (ValueError, OSError, EOFError) as error:
        msg = f"{path} cannot be read as a table ({error}); wanted columns such as name, sequence, label."
        raise FormatError(msg) from error
    letters = _column(frame, "letters")
    if letters is None:
        msg = f"{path} has the columns {', '.join(map(str, frame.columns))}; wanted one called sequence or seq."
        raise FormatError(msg)
    absent = [name for name in wanted if name not in frame]
    if absent:
        msg = f"{path} has no column {absent[0]!r}; wanted one of: {', '.join(map(str, frame.columns))}."
        raise FormatError(msg)
    named = _column(frame, "names")
    names = [str(i) for i in range(len(frame))] if named is None else list(frame[named])
    found = _checked(path, names, list(frame[letters]), None)
    tasks = tuple(wanted) or tuple(c for c in frame.columns if str(c).lower() in _COLUMNS["labels"])
    tasks = tasks or tuple(c for c in frame.columns if c not in (letters, named) and _is_class(frame[c]))
    if not tasks:
        return found
    values = np.stack([_numbers(path, frame[task]) for task in tasks], axis=1)
    return replace(found, labels=values, tasks=tasks)


def _column(frame: pd.DataFrame, kind: str) -> str | None:
    return next((str(c) for word in _COLUMNS[kind] for c in frame.columns if str(c).lower() == word), None)


def _is_class(column: pd.Series) -> bool:
    return {"0", "1"} <= set(column) <= {"0", "1", "", "NA", "nan", "NaN"}


def _numbers(path: Path, column: pd.Series) -> np.ndarray:
    values = pd.to_numeric(column.replace("", np.nan), errors="coerce")
    strange = values.isna() & ~column.str.lower().isin(["", "na", "nan"])
    if strange.any():
        msg = (
            f"column {column.name!r} of {path} holds {column[strange].iloc[0]!r}; wanted numbers, 0 and 1 for a class."
        )
        raise FormatError(msg)
    return np.asarray(values, dtype=np.float32)


def _checked(path: Path, names: Sequence[str], letters: Sequence[str], places: Places | None) -> Sequences:
    plain = [s.translate(_TO_PLAIN) for s in letters]
    notes = []
    for name, s in zip(names, plain, strict=True):
        strange = set(s) - _LETTERS
        if strange or not s:
            got = f"the letter {min(strange)!r}" if strange else "no letter"
            msg = f"the sequence {name!r} of {path} holds {got}; wanted bases (A, C, G, T, N)."
            raise FormatError(msg)
    unknown = sum(s.count("N") for s in plain)
    if unknown:
        notes.append(f"{unknown:,} of {sum(map(len, plain)):,} bases of {path.name} are unknown (N).")
    return Sequences(
        np.array(names, dtype=object), np.array(plain, dtype=object), places, source=str(path), notes=tuple(notes)
    )


def _is_region(line: str) -> bool:
    parts = line.split()
    return len(parts) >= 3 and parts[1].isdigit() and parts[2].isdigit()
