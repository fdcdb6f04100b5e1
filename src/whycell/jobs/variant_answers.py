"""What a network answers about variants, and about random changes: a chunk at a time, rows to a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from scipy.special import expit

from whycell.compute import Talk
from whycell.data.genome_letters import GenomeLetters
from whycell.data.variant_windows import KINDS, Change, change_of, rolled
from whycell.data.variants import LeftOut, Variant, matching_variants, read_variants
from whycell.jobs.variant_table import motif_fields, number
from whycell.jobs.variant_tracks import unit_of
from whycell.models.sequence import SequenceModel
from whycell.patterns.named_motifs import first_for, of_task
from whycell.patterns.variant_motifs import MotifChange, ScoredMotifs, changed_motifs
from whycell.patterns.variants import Effects, NullEffects, Reservoir, variant_effects

__all__ = ["Asking", "answered", "chunks", "letters_about", "null_effects"]

_CHUNK = 256
_ABOUT = 500  # variants of each kind whose surroundings are counted


@dataclass(frozen=True)
class Asking:
    """What stays the same from chunk to chunk.

    Parameters
    ----------
    model, genome, tasks
        The network, where variants lie, and the outputs asked for.
    motifs
        Looked for; ``None`` where none were given.
    shifts
        See ``data.variant_windows.windows_of``.
    path
        Of the variants.
    """

    model: SequenceModel
    genome: GenomeLetters
    tasks: list[str]
    motifs: ScoredMotifs | None
    shifts: int
    path: Path

    @property
    def unit(self) -> float:
        """What a difference of outputs is divided by."""
        return unit_of(self.model)

    @property
    def columns(self) -> list[int]:
        """Where the tasks stand among the model's."""
        return [self.model.tasks_.index(task) for task in self.tasks]

    @property
    def longest(self) -> int:
        """Letters of an allele that a window has room for, wherever it is shifted."""
        return int(self.model.length_) // 2 - self.shifts

    def ask(self, x: np.ndarray) -> np.ndarray:
        """(n, n_tasks) log odds before calibration, or logarithms of counts, of ``x`` (n, 4, length)."""
        return self.model.logits(x)[:, self.columns]

    def effects(self, changes: Sequence[Change]) -> Effects:
        """What ``changes`` do to the outputs, in the network's own units."""
        return variant_effects(self.ask, changes, genome=self.genome, length=self.model.length_, shifts=self.shifts)

    def values(self, output: np.ndarray) -> np.ndarray:
        """Calibrated probabilities, or expected counts, of an ``output`` (n, n_tasks)."""
        output = output * self.model.scale_[self.columns] + self.model.shift_[self.columns]
        if self.model.kind == "class":
            return np.asarray(expit(output))
        return np.asarray(np.exp(output) if self.model.kind == "counts" else np.maximum(np.expm1(output), 0))

    def usable(self, left_out: LeftOut, *, allowed: float) -> Iterator[tuple[Variant, Change]]:
        """Variants of the file that fit the genome and the model's window.

        Parameters
        ----------
        left_out
            Counts the others.
        allowed
            Share of reference alleles that may differ from the genome.
        """
        found = matching_variants(
            read_variants(self.path, left_out=left_out),
            self.genome,
            left_out=left_out,
            allowed=allowed,
            source=self.path,
        )
        for variant in found:
            change = rolled(change_of(variant), self.genome, behind=False)
            if max(change.stop - change.start, len(change.letters)) > self.longest:
                left_out.add(f"longer than the {self.longest} letters that the model's window has room for", variant)
            else:
                yield variant, change


def letters_about(reservoir: Reservoir, work: Asking) -> np.ndarray:
    """(4,) shares of letters about a sample of the variants, the same on either strand.

    Parameters
    ----------
    reservoir
        The sample.
    work
        The genome, and how far about.
    """
    counts = np.ones(4)
    half = work.model.length_ // 2
    for kind in KINDS:
        for change in reservoir.kept[kind][:_ABOUT]:
            here = work.genome.codes(change.chromosome, change.start - half, change.start + half)
            counts += np.bincount(here, minlength=5)[:4]
    counts = counts + counts[::-1]
    return np.asarray(counts / counts.sum())


def null_effects(reservoir: Reservoir, work: Asking, *, n: int, talk: Talk) -> NullEffects:
    """What random changes do, of each kind that the sample holds.

    Parameters
    ----------
    reservoir
        Variants that they are drawn about.
    work
        Whom to ask.
    n
        Of each kind.
    talk
        Told of progress.
    """
    drawn = reservoir.null_changes(n, work.genome, length=work.model.length_)
    found = {}
    with talk.progress("asking about random changes", sum(map(len, drawn.values()))) as bar:
        for kind, changes in drawn.items():
            parts = []
            for part in chunks(changes):
                parts.append(work.effects(part).effect / work.unit)
                bar.advance(len(part))
            if parts:
                found[kind] = np.concatenate(parts)
    return NullEffects(found)


def answered(work: Asking, nulls: NullEffects, rows: Path, *, n: int, talk: Talk) -> tuple[np.ndarray, np.ndarray, int]:
    """Write a row a variant and task, without q and rank, which only the last row makes known.

    Parameters
    ----------
    work
        Whom to ask about what.
    nulls
        What effects are held against.
    rows
        The file.
    n
        Alleles that are usable.
    talk
        Told of progress.

    Returns
    -------
    (n, n_tasks) float32 sizes of effects, and p-values; how many alleles were padded.
    """
    size, p = (np.empty((n, len(work.tasks)), dtype=np.float32) for _ in range(2))
    at = padded = 0
    with rows.open("w", encoding="utf-8") as file, talk.progress("asking about variants", n) as bar:
        for part in chunks(work.usable(LeftOut(), allowed=1.0)):
            changes = [change for _, change in part]
            effects = work.effects(changes)
            told = slice(at, at + len(part))
            effect = effects.effect / work.unit
            chance = nulls.p_values([c.kind for c in changes], effect)
            size[told], p[told] = np.abs(effect), chance
            changed = (
                changed_motifs(changes, work.motifs, genome=work.genome)
                if work.motifs is not None
                else [[] for _ in changes]
            )
            _write_rows(file, part, effects, chance, changed, work)
            at, padded = at + len(part), padded + int(effects.padded.sum())
            bar.advance(len(part))
    return size, p, padded


def chunks(items: Iterable[Any], size: int = _CHUNK) -> Iterator[list[Any]]:
    """Lists of at most ``size`` of the ``items``, in their order."""
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part


def _write_rows(
    file: TextIO,
    part: Sequence[tuple[Variant, Change]],
    effects: Effects,
    chance: np.ndarray,
    changed: Sequence[Sequence[MotifChange]],
    work: Asking,
) -> None:
    effect, spread = effects.effect / work.unit, effects.spread / work.unit
    ref, alt = work.values(effects.ref), work.values(effects.alt)
    for row, (variant, change) in enumerate(part):
        of_variant = (variant.chromosome, str(variant.position), variant.name, variant.ref, variant.alt, change.kind)
        for at, task in enumerate(work.tasks):
            values = (effect[row, at], spread[row, at], ref[row, at], alt[row, at], chance[row, at])
            fields = [*of_variant, task, *map(number, values), "", ""]
            if work.motifs is not None:
                own = of_task(changed[row], work.motifs, task=task)
                fields += motif_fields(change, first_for(own, work.motifs, effect=effect[row, at]), work.motifs)
            file.write("\t".join(fields) + "\n")
