"""The same motifs on both sides of a comparison: where each has instances, and what these add to either output.

Sequences are turned one way round and paired, hits go with them, and whatever lies in a hit of any motif is left out of
what other windows add.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from whycell.errors import DataError
from whycell.patterns.contexts import (
    compare_uses,
    judged_use,
    same_instances,
    typical_total,
    used_where,
    window_sums,
)
from whycell.patterns.same_places import Pairs, Side, pair_sequences
from whycell.results.motifs import Motif

__all__ = ["INSTANCES", "TwoContexts"]

#: Columns of a table of instances.
INSTANCES = [
    *("task", "other_task", "motif", "other", "name", "sequence", "other_sequence", "chromosome", "start", "stop"),
    *("strand", "hit_in", "contribution_a", "contribution_b", "p_a", "p_b", "used"),
]
_USES = {"both": "both", "first": "only_a", "second": "only_b", "neither": "neither", "unclear": "unclear"}


@dataclass(frozen=True)
class TwoContexts:
    """Two outputs over the same bases, one way round, with the hits of either.

    Parameters
    ----------
    tasks
        The outputs.
    sides
        Sequences, one way round.
    turned
        (n,) which sequences of either side were turned for it.
    hits
        Of the task, in the letters of the turned sequences.
    pairs
        Which sequences are the same.
    taken
        (n, length) letters of either side that lie in a hit of either.
    scales
        What contributions are divided by.
    total
        What those of a sequence then typically add up to.
    """

    tasks: tuple[str, str]
    sides: tuple[Side, Side]
    turned: tuple[np.ndarray, np.ndarray]
    hits: tuple[pd.DataFrame, pd.DataFrame]
    pairs: Pairs
    taken: tuple[np.ndarray, np.ndarray]
    scales: tuple[float, float]
    total: float

    @classmethod
    def of(
        cls,
        given: tuple[Side, Side],
        hits: tuple[pd.DataFrame, pd.DataFrame],
        *,
        tasks: tuple[str, str],
        scaled: bool,
    ) -> TwoContexts:
        """Two sides brought together.

        Parameters
        ----------
        given
            Sequences as they are, and what each output takes from them.
        hits
            Of either side, of any task.
        tasks
            The outputs.
        scaled
            Whether contributions are divided by what those of a sequence typically add up to.

        Raises
        ------
        DataError
            No sequence is in both, or a hit lies in none.
        """
        by_place = all(side.chromosome is not None for side in given)
        (a, turned_a), (b, turned_b) = (side.one_way(by_place=by_place) for side in given)
        pairs = pair_sequences(a, b)
        found = tuple(
            _turned(table[table["task"] == task], turned, side.letters.shape[1])
            for table, task, turned, side in zip(hits, tasks, (turned_a, turned_b), (a, b), strict=True)
        )
        every = same_instances(found[0], found[1], pairs, lengths=(a.letters.shape[1], b.letters.shape[1]))
        at, start, stop = (every[name].to_numpy(dtype=np.int64) for name in ("pair", "start", "stop"))
        shift = pairs.shift[at]
        taken = (
            _painted(found[0], a.contributions.shape, (pairs.first[at], start, stop)),
            _painted(found[1], b.contributions.shape, (pairs.second[at], start - shift, stop - shift)),
        )
        totals = (typical_total(a.contributions[pairs.first]), typical_total(b.contributions[pairs.second]))
        scales, total = (totals, 1.0) if scaled else ((1.0, 1.0), sum(totals) / 2)
        sides = (a, b)
        return cls(tasks, sides, (turned_a, turned_b), (found[0], found[1]), pairs, taken, scales, total)

    @property
    def alone(self) -> tuple[int, int]:
        """Sequences of either side that have no like on the other."""
        first, second = (
            len(side.letters) - len(np.unique(rows))
            for side, rows in zip(self.sides, (self.pairs.first, self.pairs.second), strict=True)
        )
        return first, second

    def compared(
        self, a: Motif | None, b: Motif | None, close: float, *, least: float, fdr: float
    ) -> tuple[dict[str, object], pd.DataFrame]:
        """The row of a motif, without ``called``, and its instances.

        Parameters
        ----------
        a, b
            The motif on either side; ``None`` where it was not found.
        close
            Their likeness.
        least, fdr
            As of ``compare_uses`` and ``judged_use``.

        Returns
        -------
        The row; and a table with the columns ``INSTANCES``, places as the first side's file has them.
        """
        own = [_of_motif(table, motif) for table, motif in zip(self.hits, (a, b), strict=True)]
        lengths = (self.sides[0].letters.shape[1], self.sides[1].letters.shape[1])
        table = same_instances(own[0], own[1], self.pairs, lengths=lengths)
        pair, start, stop = (table[name].to_numpy(dtype=np.int64) for name in ("pair", "start", "stop"))
        where = [(self.pairs.first[pair], 0), (self.pairs.second[pair], self.pairs.shift[pair])]
        sums, p = [], []
        for side, taken, used, (rows, shift) in zip(
            self.sides, self.taken, (self.pairs.first, self.pairs.second), where, strict=True
        ):
            sums.append(window_sums(side.contributions, rows, start=start - shift, stop=stop - shift))
            p.append(used_where(sums[-1], side.contributions[used], taken=taken[used], width=stop - start))
        scaled = [part / scale for part, scale in zip(sums, self.scales, strict=True)]
        use = judged_use(scaled[0], scaled[1], p=(p[0], p[1]), fdr=fdr)
        found = compare_uses(scaled[0], scaled[1], pair, least=least, total=self.total)
        shown = a if a is not None else b
        row: dict[str, object] = {
            "task": self.tasks[0],
            "other_task": self.tasks[1],
            "motif": a.name if a is not None else "",
            "other": b.name if b is not None else "",
            "consensus": shown.consensus if shown is not None else "",
            "likeness": close,
            "found_in": "both" if a is not None and b is not None else "first" if a is not None else "second",
            "n": len(table),
        }
        row |= {name: getattr(found, name) for name in ("sequences", "mean_a", "mean_b", "difference", "low", "high")}
        row |= {"p": found.p} | {word: int((use == name).sum()) for name, word in _USES.items()}
        names = {key: str(row[key]) for key in ("task", "other_task", "motif", "other")}
        extra = {"contribution_a": sums[0], "contribution_b": sums[1], "p_a": p[0], "p_b": p[1], "used": use}
        return row, self._told(table).assign(**names, **extra)[INSTANCES]

    def _told(self, table: pd.DataFrame) -> pd.DataFrame:
        """Instances as the first side's file has them: its own way round, in the chromosome where known."""
        side, turned = self.sides[0], self.turned[0]
        row = self.pairs.first[table["pair"].to_numpy(dtype=np.int64)]
        start, stop = table["start"].to_numpy(dtype=np.int64), table["stop"].to_numpy(dtype=np.int64)
        strand = table["strand"].to_numpy(dtype=object)
        chromosome = np.full(len(row), "", dtype=object)
        if side.chromosome is not None and side.start is not None and self.pairs.how == "places":
            chromosome, begin = side.chromosome[row], side.start[row].astype(np.int64)
            start, stop = start + begin, stop + begin
        elif len(row):
            length = side.letters.shape[1]
            back = turned[row]
            start, stop = np.where(back, length - stop, start), np.where(back, length - start, stop)
            strand = np.where(back, np.where(strand == "-", "+", "-"), strand)
        return table.assign(
            name=side.names[row],
            sequence=row,
            other_sequence=self.pairs.second[table["pair"].to_numpy(dtype=np.int64)],
            chromosome=chromosome,
            start=start,
            stop=stop,
            strand=strand,
        )


def _turned(hits: pd.DataFrame, turned: np.ndarray, length: int) -> pd.DataFrame:
    """Hits in the letters of sequences turned one way round."""
    sequence = hits["sequence"].to_numpy(dtype=np.int64)
    if len(sequence) and sequence.max() >= len(turned):
        msg = f"a hit lies in sequence {sequence.max()} of {len(turned):,}; wanted the scores that the hits are from."
        raise DataError(msg)
    start = hits["start_in_sequence"].to_numpy(dtype=np.int64)
    stop = start + (hits["stop"] - hits["start"]).to_numpy(dtype=np.int64)
    back = turned[sequence]
    strand = hits["strand_in_sequence"].to_numpy(dtype=object)
    return hits.assign(
        start=np.where(back, length - stop, start),
        stop=np.where(back, length - start, stop),
        strand=np.where(back, np.where(strand == "-", "+", "-"), strand),
    )


def _of_motif(hits: pd.DataFrame, motif: Motif | None) -> pd.DataFrame | None:
    return None if motif is None else hits[hits["motif"] == motif.name]


def _painted(hits: pd.DataFrame, shape: tuple[int, ...], more: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
    """(n, length) letters that lie in a hit."""
    edges = np.zeros((shape[0], shape[1] + 1), dtype=np.int32)
    own = tuple(hits[name].to_numpy(dtype=np.int64) for name in ("sequence", "start", "stop"))
    for sequence, start, stop in (own, more):
        np.add.at(edges, (sequence, start), 1)
        np.add.at(edges, (sequence, stop), -1)
    return np.asarray(edges.cumsum(axis=1)[:, :-1] > 0)
