"""Variants as one thing, read as a stream and held against the genome: VCF, or a table of place and alleles.

A row of several alleles is taken apart. What has no letters (``*``, ``<DEL>``, breakends, a missing allele) and what
the genome contradicts is left out, and a :class:`LeftOut` counts it by reason: a file of a million variants is never
held in memory, nor is any of it lost in silence.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from whycell.data.genome_letters import GenomeLetters
from whycell.errors import DataError, FormatError

__all__ = ["LeftOut", "Variant", "matching_variants", "read_variants"]

_LETTERS = frozenset("ACGT")
_COMPLEMENT = str.maketrans("ACGT", "TGCA")
#: Names under which a table keeps its columns; compared without case and without a leading #.
_COLUMNS = {
    "chromosome": ("chromosome", "chrom", "chr"),
    "position": ("position", "pos"),
    "ref": ("ref", "reference"),
    "alt": ("alt", "alternate", "alternative"),
}
_NAMES = ("id", "name", "rsid", "variant")
_VCF = (0, 1, 2, 3, 4)
_ENOUGH = 1000  # reference alleles looked at, before a file may be refused without reading the rest of it
_MOSTLY = 0.6  # of the mismatches that one cause must explain to be named; chance explains a quarter


class Variant(NamedTuple):
    """One alternative allele: ``position`` counts from 1 as in VCF and is that of the first letter of ``ref``."""

    chromosome: str
    position: int
    name: str
    ref: str
    alt: str

    def __str__(self) -> str:
        return f"{self.chromosome}:{self.position} {_short(self.ref)}>{_short(self.alt)}"


class LeftOut:
    """How many alleles were left out, by reason, with the first of each."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.first: dict[str, str] = {}

    def add(self, reason: str, where: object) -> None:
        """One more for ``reason``, at ``where``."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        self.first.setdefault(reason, str(where))

    def nothing_left(self, source: object, *, hint: str = "") -> DataError:
        """The error that no allele of ``source`` is left, with the reasons and a ``hint``."""
        told = "; ".join(f"{reason} ({n:,}, first {self.first[reason]})" for reason, n in self.counts.items())
        return DataError(f"no variant of {source} is left to look at: {told}.{hint}")


def read_variants(path: Path | str, *, left_out: LeftOut | None = None) -> Iterator[Variant]:
    """Alleles of a VCF 4 file, or of a table with a header; plain, gzip or bgzip; one at a time.

    Parameters
    ----------
    path
        VCF, with or without its heading, of which the first five columns are read; or tab-separated columns
        chromosome, position (from 1), ref and alt, and id where there is one, in any order under a header, in this
        order without.
    left_out
        Counts what is no letters, what changes nothing, and an allele told twice at one place in a row.

    Yields
    ------
    Variant
        In upper case.

    Raises
    ------
    FormatError
        Absent, cut off, no such file, empty, or a place that is no number.
    """
    path = Path(path)
    left_out = left_out if left_out is not None else LeftOut()
    columns, n, place, seen = None, 0, ("", 0), set[tuple[str, str]]()
    for number, line in _numbered_lines(path):
        fields = line.split("\t")
        if columns is None:
            columns, is_header = _columns_of(path, fields)
            if is_header:
                continue
        for variant in _alleles(path, number, fields, columns):
            n += 1
            reason = _unusable(variant)
            if place != variant[:2]:
                place = (variant.chromosome, variant.position)
                seen.clear()
            if not reason and (variant.ref, variant.alt) in seen:
                reason = "told twice"
            if reason:
                left_out.add(reason, variant)
                continue
            seen.add((variant.ref, variant.alt))
            yield variant
    if not n:
        msg = f"{path} holds no variant; wanted VCF, or a table of chromosome, position, ref and alt."
        raise FormatError(msg)


def matching_variants(
    variants: Iterable[Variant],
    genome: GenomeLetters,
    *,
    left_out: LeftOut | None = None,
    allowed: float = 0.05,
    source: object = "the file",
) -> Iterator[Variant]:
    """Those variants whose reference allele is what the genome has there.

    Parameters
    ----------
    variants
        As :func:`read_variants` yields them.
    genome
        Whose letters are compared.
    left_out
        Counts those that are not, on a chromosome that the genome lacks, beyond its end, or where it has N.
    allowed
        Share of mismatches from which the whole file is refused; 1 never refuses.
    source
        What a message calls the file.

    Yields
    ------
    Variant

    Raises
    ------
    DataError
        Too many mismatches, with the first place and the likely cause; chromosomes named otherwise; none that match.
    """
    left_out = left_out if left_out is not None else LeftOut()
    against, looked_at, kept = _Against(genome, source), 0, 0
    for variant in variants:
        if variant.chromosome not in genome:
            against.check_name(variant)
            left_out.add("chromosome that the genome does not have", variant)
            continue
        start = variant.position - 1
        stop = start + len(variant.ref)
        if start < 0 or stop > genome.size(variant.chromosome):
            left_out.add("beyond the end of its chromosome", variant)
            continue
        looked_at += 1
        there = genome.letters(variant.chromosome, start, stop)
        if there == variant.ref:
            kept += 1
            yield variant
        elif "N" in there:
            left_out.add("the genome has N there", variant)
        else:
            left_out.add("the genome has another letter there", variant)
            against.add(variant, there)
            if looked_at >= _ENOUGH:
                against.refuse(looked_at, allowed)
    against.refuse(looked_at, allowed)
    if not kept:
        raise left_out.nothing_left(source, hint=f" {genome.path} has {', '.join(genome.names[:3])} and so on.")


class _Against:
    """Variants that the genome contradicts, and what would explain them."""

    def __init__(self, genome: GenomeLetters, source: object) -> None:
        self.genome, self.source = genome, source
        self.n, self.first = 0, ""
        self.causes = dict.fromkeys(("zero", "swapped", "strand"), 0)

    def check_name(self, variant: Variant) -> None:
        name = variant.chromosome
        other = name[3:] if name.startswith("chr") else f"chr{name}"
        if other in self.genome:
            msg = (
                f"{self.source} names {name}, which {self.genome.path} does not have: it has {other}; the two name "
                "chromosomes differently (chr1 and 1): rename those of the variants (bcftools annotate "
                "--rename-chrs)."
            )
            raise DataError(msg)

    def add(self, variant: Variant, there: str) -> None:
        self.n += 1
        self.first = self.first or f"{variant}, where the genome has {_short(there)}"
        after = self.genome.letters(variant.chromosome, variant.position, variant.position + len(variant.ref))
        swapped = self.genome.letters(variant.chromosome, variant.position - 1, variant.position - 1 + len(variant.alt))
        self.causes["zero"] += after == variant.ref
        self.causes["swapped"] += swapped == variant.alt
        self.causes["strand"] += there == variant.ref.translate(_COMPLEMENT)[::-1]

    def refuse(self, looked_at: int, allowed: float) -> None:
        if self.n <= allowed * looked_at or not self.n:
            return
        msg = (
            f"{self.n:,} of {looked_at:,} reference alleles of {self.source} are not what {self.genome.path} has there "
            f"(first {self.first}); {self._cause()}. Or give --mismatches 1 to leave them out whatever their number."
        )
        raise DataError(msg)

    def _cause(self) -> str:
        cause = max(self.causes, key=lambda each: self.causes[each])
        share = self.causes[cause] / self.n
        if share < _MOSTLY:
            return "is it the genome of another assembly or species?"
        return {
            "zero": f"{share:.0%} of them fit one letter further: do the positions count from 0? VCF counts from 1",
            "swapped": f"of {share:.0%} the genome has the other allele: are ref and alt exchanged?",
            "strand": f"{share:.0%} of them fit the other strand: VCF wants the letters of the forward strand",
        }[cause]


def _numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines with their number, without empty ones and the heading of a VCF file, but with a table's header."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rt", encoding="utf-8") if packed else path.open("rt", encoding="utf-8") as text:
            for number, line in enumerate(text, start=1):
                if line.strip() and not line.startswith("##"):
                    yield number, line.rstrip("\r\n")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        cause = "it is cut off or damaged" if isinstance(error, EOFError | gzip.BadGzipFile) else str(error)
        msg = f"{path} cannot be read: {cause}. Wanted VCF or a table of variants, plain, gzip or bgzip (no BCF)."
        raise FormatError(msg) from error


def _columns_of(path: Path, fields: list[str]) -> tuple[tuple[int, ...], bool]:
    """Where chromosome, position, name, ref and alt stand (-1: no name), and whether this line is a header."""
    words = [field.lstrip("#").strip().lower() for field in fields]
    where = [next((words.index(w) for w in names if w in words), -1) for names in _COLUMNS.values()]
    if min(where) >= 0:
        named = next((words.index(w) for w in _NAMES if w in words), -1)
        return (where[0], where[1], named, where[2], where[3]), True
    if len(fields) >= 4 and fields[1].isdigit():
        if set(fields[2].upper()) <= _LETTERS and (len(fields) == 4 or not set(fields[4].upper()) <= _LETTERS):
            return (0, 1, -1, 2, 3), False
        if len(fields) >= 5:
            return _VCF, False
    if fields[0].startswith("#"):
        msg = f"the header of {path} is {' '.join(fields)[:80]!r}; wanted #CHROM POS ID REF ALT, parted by tabs."
    else:
        msg = (
            f"{path} begins with {' '.join(fields)[:60]!r}; wanted VCF, or columns chromosome, position, ref and alt "
            "parted by tabs."
        )
    raise FormatError(msg)


def _alleles(path: Path, number: int, fields: list[str], columns: tuple[int, ...]) -> Iterator[Variant]:
    try:
        chromosome, position, ref, alts = (fields[at] for at in (columns[0], columns[1], columns[3], columns[4]))
        name = fields[columns[2]] if columns[2] >= 0 else "."
        place = int(position)
    except (IndexError, ValueError):
        msg = (
            f"line {number} of {path} is {' '.join(fields)[:60]!r}; wanted a chromosome, a position that is a whole "
            "number, ref and alt, parted by tabs."
        )
        raise FormatError(msg) from None
    for alt in alts.split(","):
        yield Variant(chromosome, place, name or ".", ref.strip().upper(), alt.strip().upper())


def _unusable(variant: Variant) -> str:
    """Why an allele cannot be looked at; empty where it can."""
    ref, alt = variant.ref, variant.alt
    if alt in (".", "") or ref in (".", ""):
        return "no allele"
    if alt == "*":
        return "allele removed by a deletion before it (*)"
    if alt.startswith("<"):
        return "symbolic allele, such as <DEL>"
    if "[" in alt or "]" in alt:
        return "breakend"
    if not set(ref) <= _LETTERS or not set(alt) <= _LETTERS:
        return "letters other than A, C, G and T"
    if ref == alt:
        return "the alternative is the reference"
    return "" if variant.position > 0 else "beyond the end of its chromosome"


def _short(letters: str) -> str:
    return letters if len(letters) <= 12 else f"{letters[:10]}... ({len(letters)} letters)"
