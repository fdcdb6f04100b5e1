"""``whycell sequences variants``: what every variant does to every task, and the motif it makes or breaks.

The file is read twice. The first time is quick: alleles are counted and held against the genome, so that a file of
another assembly is refused before the network works for hours, and changes are drawn for the null. The second time the
network answers, a chunk at a time, and rows go to a file of their own; only the sizes of effects and their p-values are
held, eight bytes an allele and task. With the last row known, ranks and q are filled in.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd
from scipy.special import expit

from whycell.compute import Talk
from whycell.data.genome_letters import GenomeLetters
from whycell.data.variant_windows import KINDS, Change, change_of, rolled
from whycell.data.variants import LeftOut, Variant, matching_variants, read_variants
from whycell.data.whole import check_free, write_whole, written_whole
from whycell.errors import UsageError
from whycell.jobs.record import fingerprint_file, write_run
from whycell.jobs.sequences_opened import asked_tasks, opened_model
from whycell.jobs.variant_motifs import collected_motifs
from whycell.jobs.variant_table import AT, change_in_row, motif_fields, number, read_rows, table_columns, write_table
from whycell.jobs.variant_tracks import Tracks
from whycell.lenses.significance import q_values
from whycell.models.sequence import SequenceModel
from whycell.models.sequence_fit import torch_threads
from whycell.patterns.variant_motifs import MotifChange, ScoredMotifs, changed_motifs, first_for
from whycell.patterns.variants import Effects, NullEffects, Reservoir, variant_effects
from whycell.results.variants import VariantFindings

__all__ = ["effects_of_variants"]

_CHUNK = 256
_TOP = 20
_NULL = (1000, 20_000)  # random changes of each kind, at least and at most
_SAMPLED = 5000  # variants of each kind that they are drawn about
_SCORED = 32  # variants whose bases are scored at a time


@dataclass(frozen=True)
class _Work:
    """What stays the same from chunk to chunk."""

    model: SequenceModel
    genome: GenomeLetters
    tasks: list[str]
    motifs: ScoredMotifs | None
    shifts: int
    path: Path

    @property
    def unit(self) -> float:
        """What a difference of outputs is divided by: counts are told in powers of two."""
        return 1.0 if self.model.kind == "class" else float(np.log(2))

    @property
    def columns(self) -> list[int]:
        return [self.model.tasks_.index(task) for task in self.tasks]

    @property
    def longest(self) -> int:
        return int(self.model.length_) // 2 - self.shifts

    def ask(self, x: np.ndarray) -> np.ndarray:
        """Log odds before calibration, or logarithms of counts, of the tasks asked for."""
        return self.model.logits(x)[:, self.columns]

    def effects(self, changes: Sequence[Change]) -> Effects:
        return variant_effects(self.ask, changes, genome=self.genome, length=self.model.length_, shifts=self.shifts)

    def values(self, output: np.ndarray) -> np.ndarray:
        """Calibrated probabilities, or expected counts."""
        output = output * self.model.scale_[self.columns] + self.model.shift_[self.columns]
        if self.model.kind == "class":
            return np.asarray(expit(output))
        return np.asarray(np.exp(output) if self.model.kind == "counts" else np.maximum(np.expm1(output), 0))

    def usable(self, left_out: LeftOut, *, allowed: float) -> Iterator[tuple[Variant, Change]]:
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


def effects_of_variants(
    variants: Path,
    output: Path,
    *,
    model: Path,
    genome: Path,
    tasks: Sequence[str] = (),
    motifs: Path | None = None,
    known: Path | None = None,
    motif_p: float = 3e-4,
    shifts: int = 4,
    null: int | None = None,
    explained: int = 100,
    references: int = 10,
    mismatches: float = 0.05,
    report: Path | None = None,
    seed: int = 0,
    threads: int = 0,
    device: str = "auto",
    force: bool = False,
    talk: Talk | None = None,
) -> VariantFindings:
    """Write a table with a row a variant, alternative allele and task.

    ``chromosome``, ``position`` (from 1), ``id``, ``ref``, ``alt`` as in the file; ``kind`` (snv, mnv, insertion,
    deletion, indel); ``effect``, log odds of the alternative less those of the reference, before calibration (of counts
    the logarithm to base 2 of their ratio), mean over windows, and ``spread``, its standard deviation over them;
    ``ref_value`` and ``alt_value``, the calibrated probability or count of either; ``p`` and ``q``, see
    ``patterns.variants``; ``rank``, 1 for the largest effect of a task. With motifs: ``motif``, ``motif_name``,
    ``what`` it does to it, ``motif_start`` and ``motif_stop`` (from 0, in the reference), ``motif_strand``,
    ``score_ref``, ``score_alt`` (bits), see ``patterns.variant_motifs``; contributions of the letters there in either
    allele; whether they ``agree``: the effect has the sign that follows, and they account for half of it or more; and
    ``further_motifs``.

    Parameters
    ----------
    variants, genome
        What ``read_variants`` takes, and FASTA.
    output
        The TSV.
    model, tasks
        Folder, and those asked for; all without.
    motifs, known
        Folder that ``whycell motifs`` wrote, and motifs in MEME format.
    motif_p
        See ``patterns.variant_motifs.scored_motifs``.
    shifts
        See ``data.variant_windows.windows_of``.
    null
        Random changes of each kind; by itself a tenth as many as alleles, 1,000 at least and 20,000 at most; 0 gives
        no p-values. The smallest p is one over their number.
    explained
        Rows of each task, of the largest effects among those with a motif, whose bases are scored.
    references
        Dinucleotide shuffles of the reference that both alleles are compared with.
    mismatches
        Share of reference alleles that may differ from the genome; they are left out.
    report
        HTML page of the largest effects.
    seed, threads, device, force, talk
        As everywhere.

    Raises
    ------
    DataError
        The variants do not fit the genome; see ``data.variants``.
    UsageError
        A task that the model does not have, or more shifts than its window has room for.
    OutputError
        The file exists and ``force`` is not set.
    """
    talk = talk or Talk()
    check_free(output, report, force=force)
    trained = opened_model(model, threads=threads, device=device)
    work = _Work(trained, GenomeLetters(genome), asked_tasks(tasks, trained), None, shifts, variants)
    if work.longest < 1:
        msg = f"shifts is {shifts}; wanted fewer than half of the {trained.length_} letters that the model reads."
        raise UsageError(msg)
    rng = np.random.default_rng(seed)
    left_out, reservoir = LeftOut(), Reservoir(_SAMPLED, rng=rng)
    with talk.progress("holding variants against the genome") as bar:
        for _, change in work.usable(left_out, allowed=mismatches):
            reservoir.add(change)
            bar.advance()
    n = sum(reservoir.seen.values())
    if not n:
        raise left_out.nothing_left(variants)
    _tell(left_out, talk)
    null = min(max(n // 10, _NULL[0]), _NULL[1]) if null is None else null
    background = _background(reservoir, work)
    found, about = collected_motifs(motifs, known, tasks=work.tasks, background=background, p=motif_p)
    for note in about:
        talk.warn(note)
    work = replace(work, motifs=found)
    with torch_threads(threads), written_whole(output, force=force) as scratch:
        nulls = _null(reservoir, work, null, talk) if null else NullEffects({})
        with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as folder:
            rows = Path(folder) / "rows.tsv"
            size, p, padded = _answered(work, nulls, rows, n=n, talk=talk)
            q, rank = _judged(p), _ranked(size)
            tracks = Tracks(trained, work.genome, references=references, seed=seed)
            top, named = _explained(read_rows(rows, q, rank), work, tracks, most=explained, talk=talk)
            drawn = tracks.drawn(top, work.tasks) if report is not None else ()
            write_table(scratch, read_rows(rows, q, rank), named, with_motifs=found is not None)
    if padded:
        talk.warn(
            f"{padded:,} alleles stand so near to an end of their chromosome that unknown letters (N) were added."
        )
    parameters = {
        "tasks": work.tasks,
        "shifts": shifts,
        "null": null,
        "motif_p": motif_p,
        "references": references,
        "mismatches": mismatches,
        "padded": padded,
        "left_out": left_out.counts,
    }
    inputs = [variants, genome, *(p for p in (known, motifs and Path(motifs) / "motifs.h5") if p)]
    result = VariantFindings(
        n,
        {kind: seen for kind, seen in reservoir.seen.items() if seen},
        tuple(work.tasks),
        "log odds" if trained.kind == "class" else "log2 fold",
        pd.DataFrame(
            [(reason, k, left_out.first[reason]) for reason, k in left_out.counts.items()],
            columns=["reason", "alleles", "first"],
        ),
        top,
        drawn,
        {"model": str(model), "genome": str(genome), "variants": str(variants), "seed": seed, **parameters},
    )
    if report is not None:
        from whycell.reports.variants import variants_page

        write_whole(report, variants_page(result))
    fingerprints = {str(p): fingerprint_file(p) for p in inputs}
    write_run(output, "sequences variants", inputs=fingerprints, seed=seed, parameters=parameters)
    return result


def _tell(left_out: LeftOut, talk: Talk) -> None:
    for reason, n in left_out.counts.items():
        talk.warn(f"{n:,} alleles are left out: {reason} (first {left_out.first[reason]}).")


def _background(reservoir: Reservoir, work: _Work) -> np.ndarray:
    """(4,) shares of letters about a sample of the variants, the same on either strand."""
    counts = np.ones(4)
    half = work.model.length_ // 2
    for kind in KINDS:
        for change in reservoir.kept[kind][:500]:
            here = work.genome.codes(change.chromosome, change.start - half, change.start + half)
            counts += np.bincount(here, minlength=5)[:4]
    counts = counts + counts[::-1]
    return np.asarray(counts / counts.sum())


def _null(reservoir: Reservoir, work: _Work, null: int, talk: Talk) -> NullEffects:
    drawn = reservoir.null_changes(null, work.genome, length=work.model.length_)
    found = {}
    with talk.progress("asking about random changes", sum(map(len, drawn.values()))) as bar:
        for kind, changes in drawn.items():
            parts = []
            for part in _chunks(iter(changes)):
                parts.append(work.effects(part).effect / work.unit)
                bar.advance(len(part))
            if parts:
                found[kind] = np.concatenate(parts)
    return NullEffects(found)


def _answered(work: _Work, nulls: NullEffects, rows: Path, *, n: int, talk: Talk) -> tuple[np.ndarray, np.ndarray, int]:
    """Rows without q and rank in a file; (n, n_tasks) float32 sizes of effects and p-values; alleles padded."""
    size, p = (np.empty((n, len(work.tasks)), dtype=np.float32) for _ in range(2))
    at = padded = 0
    with rows.open("w", encoding="utf-8") as file, talk.progress("asking about variants", n) as bar:
        for part in _chunks(work.usable(LeftOut(), allowed=1.0)):
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


def _write_rows(
    file: TextIO,
    part: Sequence[tuple[Variant, Change]],
    effects: Effects,
    chance: np.ndarray,
    changed: Sequence[Sequence[MotifChange]],
    work: _Work,
) -> None:
    effect, spread = effects.effect / work.unit, effects.spread / work.unit
    ref, alt = work.values(effects.ref), work.values(effects.alt)
    for row, (variant, change) in enumerate(part):
        of_variant = (variant.chromosome, str(variant.position), variant.name, variant.ref, variant.alt, change.kind)
        for at, task in enumerate(work.tasks):
            values = (effect[row, at], spread[row, at], ref[row, at], alt[row, at], chance[row, at])
            fields = [*of_variant, task, *map(number, values), "", ""]
            if work.motifs is not None:
                of_task = _of_task(changed[row], work.motifs, task)
                fields += motif_fields(change, first_for(of_task, work.motifs, effect=effect[row, at]), work.motifs)
            file.write("\t".join(fields) + "\n")


def _of_task(found: Sequence[MotifChange], motifs: ScoredMotifs, task: str) -> list[MotifChange]:
    return [each for each in found if motifs.tasks[each.motif] in ("", task)]


def _explained(
    rows: Iterator[tuple[list[str], int]], work: _Work, tracks: Tracks, *, most: int, talk: Talk
) -> tuple[pd.DataFrame, dict[int, list[str]]]:
    """The largest effects as a table, and by row the columns of motifs, now that contributions are known."""
    wanted: dict[str, list[tuple[int, list[str]]]] = {task: [] for task in work.tasks}
    top: list[tuple[int, list[str]]] = []
    for at, (fields, rank) in enumerate(rows):
        if rank <= _TOP:
            top.append((at, fields))
        if rank <= most and work.motifs is not None and fields[AT["motif"]]:
            wanted[fields[AT["task"]]].append((at, fields))
    found: dict[int, list[str]] = {}
    with talk.progress("scoring the letters of motifs", sum(map(len, wanted.values()))) as bar:
        for task, of_task in wanted.items():
            for part in _chunks(iter(of_task), _SCORED):
                found |= _named(part, task, work, tracks)
                bar.advance(len(part))
    for at, fields in top:
        if at in found:
            fields[AT["motif"] :] = found[at]
    table = pd.DataFrame([fields for _, fields in top], columns=table_columns(with_motifs=work.motifs is not None))
    for name in ("position", "rank", "effect", "spread", "ref_value", "alt_value", "p", "q"):
        table[name] = pd.to_numeric(table[name], errors="coerce")
    return table.sort_values(["task", "rank"], kind="stable", ignore_index=True), found


def _named(part: Sequence[tuple[int, list[str]]], task: str, work: _Work, tracks: Tracks) -> dict[int, list[str]]:
    motifs = work.motifs
    if motifs is None:
        return {}
    changes = [change_in_row(fields, work.genome) for _, fields in part]
    changed = [_of_task(each, motifs, task) for each in changed_motifs(changes, motifs, genome=work.genome)]
    effects = [float(fields[AT["effect"]]) for _, fields in part]
    columns = tracks.named(changes, changed, motifs, task=task, effects=effects)
    return {at: column for (at, _), column in zip(part, columns, strict=True)}


def _judged(p: np.ndarray) -> np.ndarray:
    """Benjamini and Hochberg's q of every task by itself, NaN where there is no p."""
    q = np.full(p.shape, np.nan, dtype=np.float32)
    for at in range(p.shape[1]):
        known = ~np.isnan(p[:, at])
        q[known, at] = q_values(p[known, at])
    return q


def _ranked(size: np.ndarray) -> np.ndarray:
    rank = np.empty(size.shape, dtype=np.int64)
    for at in range(size.shape[1]):
        rank[np.argsort(-size[:, at], kind="stable"), at] = np.arange(1, len(size) + 1)
    return rank


def _chunks(items: Iterator[Any], size: int = _CHUNK) -> Iterator[list[Any]]:
    while part := list(islice(items, size)):
        yield part
