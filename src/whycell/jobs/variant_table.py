"""The table of effects as text: its rows, written while ranks are not yet known, and read again to fill them in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from whycell.data.genome_letters import GenomeLetters
from whycell.data.variant_windows import Change, change_of, rolled
from whycell.data.variants import Variant
from whycell.patterns.variant_motifs import MotifChange, ScoredMotifs
from whycell.results.variants import EFFECT_COLUMNS, MOTIF_COLUMNS

__all__ = ["AT", "change_in_row", "motif_fields", "number", "read_rows", "table_columns", "write_table"]

#: Where each column stands.
AT = {name: at for at, name in enumerate((*EFFECT_COLUMNS, *MOTIF_COLUMNS))}
_FURTHER = 5  # motifs named beside the first


def table_columns(*, with_motifs: bool) -> list[str]:
    """Names of the columns; ``with_motifs`` where some were given."""
    return [*EFFECT_COLUMNS, *(MOTIF_COLUMNS if with_motifs else ())]


def number(value: float) -> str:
    """``value`` with six digits; nothing for NaN."""
    return "" if np.isnan(value) else f"{value:.6g}"


def motif_fields(
    change: Change,
    found: Sequence[MotifChange],
    motifs: ScoredMotifs,
    *,
    contributions: tuple[float, float] = (np.nan, np.nan),
    agrees: str = "",
) -> list[str]:
    """The columns of motifs of one row.

    Parameters
    ----------
    change
        The variant.
    found
        Motifs that it changes, the one named first in front.
    motifs
        The collection.
    contributions, agrees
        Of the letters of the first, in either allele, and whether they agree with the effect.
    """
    if not found:
        return [""] * len(MOTIF_COLUMNS)
    best, *others = found
    start = change.start + best.offset
    return [
        *(motifs.names[best.motif], motifs.labels[best.motif], best.what),
        *(str(start), str(start + int(motifs.widths[best.motif])), best.strand),
        *(number(best.score_ref), number(best.score_alt), *map(number, contributions), agrees),
        ",".join(f"{motifs.labels[each.motif]}:{each.what}" for each in others[:_FURTHER]),
    ]


def change_in_row(fields: Sequence[str], genome: GenomeLetters) -> Change:
    """The change in ``genome`` that a row of the table tells of, from its ``fields`` as text."""
    names = ("chromosome", "position", "id", "ref", "alt")
    chromosome, position, name, ref, alt = (fields[AT[each]] for each in names)
    return rolled(change_of(Variant(chromosome, int(position), name, ref, alt)), genome, behind=False)


def read_rows(path: Path, q: np.ndarray, rank: np.ndarray) -> Iterator[tuple[list[str], int]]:
    """Rows of a file as lists of text, with what is now known, and their rank.

    Parameters
    ----------
    path
        Rows without a header.
    q, rank
        (n, n_tasks), in the order of the rows.
    """
    with path.open(encoding="utf-8") as file:
        for line, its_q, its_rank in zip(file, q.ravel(), rank.ravel(), strict=True):
            fields = line.rstrip("\n").split("\t")
            fields[AT["q"]], fields[AT["rank"]] = number(float(its_q)), str(its_rank)
            yield fields, int(its_rank)


def write_table(
    target: Path, rows: Iterator[tuple[list[str], int]], explained: dict[int, list[str]], *, with_motifs: bool
) -> None:
    """Write the table with its header.

    Parameters
    ----------
    target
        The TSV.
    rows
        From :func:`read_rows`.
    explained
        Number of a row to its columns of motifs, where they are now better known.
    with_motifs
        Whether there are such columns.
    """
    with target.open("w", encoding="utf-8") as file:
        file.write("\t".join(table_columns(with_motifs=with_motifs)) + "\n")
        for at, (fields, _) in enumerate(rows):
            if at in explained:
                fields[AT["motif"] :] = explained[at]
            file.write("\t".join(fields) + "\n")
