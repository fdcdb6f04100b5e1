"""Base contributions in both alleles of a variant, against the same references.

The references are dinucleotide shuffles of the reference allele's window, for both alleles: contributions of an allele
add up to its output less that of the references, so what the letters contribute in the one allele and in the other
differs by the effect, and the share that a motif's letters have in it can be told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from whycell.data.genome_letters import GenomeLetters, as_letters
from whycell.data.variant_windows import Change, Window, windows_of
from whycell.encode.sequences import dinucleotide_shuffle, one_hot_of
from whycell.jobs.variant_table import change_in_row, motif_fields
from whycell.lenses import deeplift
from whycell.models.sequence import SequenceModel
from whycell.patterns.named_motifs import fits, likeness
from whycell.patterns.variant_motifs import MotifChange, ScoredMotifs
from whycell.results.variants import DrawnVariant

__all__ = ["Tracks", "unit_of"]

_SHOWN = 30  # letters on either side of a variant that is drawn
_DRAWN = 12
_FACTS = ("effect", "spread", "p", "q", "ref_value", "alt_value", "motif_name", "what", "score_ref", "score_alt")


def unit_of(model: SequenceModel) -> float:
    """What a difference of outputs of ``model`` is divided by: log odds stay, counts are told in powers of two."""
    return 1.0 if model.kind == "class" else float(np.log(2))


@dataclass(frozen=True)
class Tracks:
    """Contributions of letters in both alleles.

    Parameters
    ----------
    model
        The network; contributions are in its log odds before calibration, of counts in powers of two.
    genome
        Where variants lie.
    references
        Shuffles.
    seed
        Of them.
    """

    model: SequenceModel
    genome: GenomeLetters
    references: int
    seed: int

    def of_windows(self, windows: Sequence[Window], task: str) -> tuple[np.ndarray, np.ndarray]:
        """(n, length) contributions in the reference and in the alternative of every window.

        Parameters
        ----------
        windows
            As ``windows_of`` gives them.
        task
            The output that is explained.
        """
        at = self.model.tasks_.index(task)
        ref, alt = (one_hot_of(np.stack([getattr(w, side) for w in windows])) for side in ("ref", "alt"))
        shuffled = dinucleotide_shuffle(ref, self.references, seed=self.seed)
        scores = deeplift(
            self.model.module,
            np.concatenate([ref, alt]),
            reference=np.concatenate([shuffled, shuffled]),
            target=at,
            rule="genomics",
        )
        total = np.asarray(scores.values).sum(axis=1) / unit_of(self.model)
        return total[: len(windows)], total[len(windows) :]

    def named(
        self,
        changes: Sequence[Change],
        found: Sequence[Sequence[MotifChange]],
        motifs: ScoredMotifs,
        *,
        task: str,
        effects: Sequence[float],
    ) -> list[list[str]]:
        """Columns of motifs of changes: of each the motif that is most like what the letters contribute.

        Parameters
        ----------
        changes
            Variants.
        found, motifs
            Motifs that each changes, one at least, and the collection.
        task, effects
            The output, and what the change does to it.
        """
        windows = [self._window(change) for change in changes]
        ref, alt = self.of_windows(windows, task)
        columns = []
        for i, (change, window) in enumerate(zip(changes, windows, strict=True)):
            first = self._likest(found[i], motifs, change, window, (ref[i], alt[i]), effects[i])
            start = change.start - window.start + first.offset
            here = slice(max(0, start), max(0, start + int(motifs.widths[first.motif])))
            both = float(ref[i, here].sum()), float(alt[i, here].sum())
            share = (both[1] - both[0]) * np.sign(effects[i]) >= abs(effects[i]) / 2
            agrees = "yes" if share and fits(first, motifs, effect=effects[i]) else "no"
            order = [first, *(each for each in found[i] if each is not first)]
            columns.append(motif_fields(change, order, motifs, contributions=both, agrees=agrees))
        return columns

    def drawn(self, top: pd.DataFrame, tasks: Sequence[str]) -> tuple[DrawnVariant, ...]:
        """Tracks of the largest effects, a fair share for every task.

        Parameters
        ----------
        top
            Rows of the table, by task and rank.
        tasks
            Those answered for.
        """
        found = []
        for task in tasks:
            rows = top[top["task"] == task].head(max(1, _DRAWN // len(tasks)))
            changes = [change_in_row([str(v) for v in row], self.genome) for row in rows.itertuples(index=False)]
            windows = [self._window(change) for change in changes]
            ref, alt = self.of_windows(windows, task) if windows else (np.empty(0), np.empty(0))
            for i in range(len(rows)):
                facts = {str(name): value for name, value in rows.iloc[i].items()}
                found.append(_drawn(facts, changes[i], windows[i], ref[i], alt[i]))
        return tuple(found)

    def _window(self, change: Change) -> Window:
        return windows_of(change, self.genome, length=self.model.length_)[0]

    def _likest(
        self,
        found: Sequence[MotifChange],
        motifs: ScoredMotifs,
        change: Change,
        window: Window,
        contributions: tuple[np.ndarray, np.ndarray],
        effect: float,
    ) -> MotifChange:
        at = change.start - window.start

        def rank(each: MotifChange) -> tuple[bool, float]:
            side = int(each.score_alt > each.score_ref)
            codes = (window.ref, window.alt)[side]
            like = likeness(each, motifs, codes=codes, contributions=contributions[side], at=at)
            return fits(each, motifs, effect=effect), like

        return max(found, key=rank)


def _drawn(row: dict[str, Any], change: Change, window: Window, ref: np.ndarray, alt: np.ndarray) -> DrawnVariant:
    at = change.start - window.start
    size = max(change.stop - change.start, len(change.letters))
    first, last = max(0, at - _SHOWN), min(len(window.ref), at + size + _SHOWN)
    motif = None
    if row.get("motif"):
        start, stop = (int(row[name]) - window.start - first for name in ("motif_start", "motif_stop"))
        motif = (max(0, start), min(stop, last - first))
    return DrawnVariant(
        f"{row['chromosome']}:{row['position']} {row['ref']}>{row['alt']}, {row['task']}",
        as_letters(window.ref[first:last]),
        as_letters(window.alt[first:last]),
        ref[first:last],
        alt[first:last],
        (at - first, at - first + size),
        motif,
        {name: row[name] for name in _FACTS if name in row and row[name] != ""},
    )
