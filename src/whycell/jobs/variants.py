"""``whycell sequences variants``: what every variant does to every task, and the motif it makes or breaks.

The file is read twice. The first time is quick: alleles are counted and held against the genome, so that a file of
another assembly is refused before the network works for hours, and changes are drawn for the null. The second time the
network answers, a chunk at a time, and rows go to a file of their own; only the sizes of effects and their p-values are
held, eight bytes an allele and task. With the last row known, ranks and q are filled in.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from whycell.compute import Talk
from whycell.data.genome_letters import GenomeLetters
from whycell.data.variants import LeftOut
from whycell.data.whole import check_free, write_whole, written_whole
from whycell.errors import UsageError
from whycell.jobs.record import fingerprint_file, write_run
from whycell.jobs.sequences_opened import asked_tasks, opened_model
from whycell.jobs.variant_answers import Asking, answered, chunks, letters_about, null_effects
from whycell.jobs.variant_motifs import collected_motifs
from whycell.jobs.variant_table import AT, change_in_row, read_rows, table_columns, write_table
from whycell.jobs.variant_tracks import Tracks
from whycell.lenses.significance import q_values
from whycell.models.sequence_fit import torch_threads
from whycell.patterns.named_motifs import of_task
from whycell.patterns.variant_motifs import changed_motifs
from whycell.patterns.variants import NullEffects, Reservoir
from whycell.results.variants import VariantFindings

__all__ = ["effects_of_variants"]

_TOP = 20
_NULL = (1000, 20_000)  # random changes of each kind, at least and at most
_SAMPLED = 5000  # variants of each kind that they are drawn about
_SCORED = 32  # variants whose bases are scored at a time


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
    work = Asking(trained, GenomeLetters(genome), asked_tasks(tasks, trained), None, shifts, variants)
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
    background = letters_about(reservoir, work)
    found, about = collected_motifs(motifs, known, tasks=work.tasks, background=background, p=motif_p)
    for note in about:
        talk.warn(note)
    work = replace(work, motifs=found)
    with torch_threads(threads), written_whole(output, force=force) as scratch:
        nulls = null_effects(reservoir, work, n=null, talk=talk) if null else NullEffects({})
        with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as folder:
            rows = Path(folder) / "rows.tsv"
            size, p, padded = answered(work, nulls, rows, n=n, talk=talk)
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


def _explained(
    rows: Iterator[tuple[list[str], int]], work: Asking, tracks: Tracks, *, most: int, talk: Talk
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
            for part in chunks(of_task, _SCORED):
                found |= _named(part, task, work, tracks)
                bar.advance(len(part))
    for at, fields in top:
        if at in found:
            fields[AT["motif"] :] = found[at]
    table = pd.DataFrame([fields for _, fields in top], columns=table_columns(with_motifs=work.motifs is not None))
    for name in ("position", "rank", "effect", "spread", "ref_value", "alt_value", "p", "q"):
        table[name] = pd.to_numeric(table[name], errors="coerce")
    return table.sort_values(["task", "rank"], kind="stable", ignore_index=True), found


def _named(part: Sequence[tuple[int, list[str]]], task: str, work: Asking, tracks: Tracks) -> dict[int, list[str]]:
    motifs = work.motifs
    if motifs is None:
        return {}
    changes = [change_in_row(fields, work.genome) for _, fields in part]
    changed = [of_task(each, motifs, task=task) for each in changed_motifs(changes, motifs, genome=work.genome)]
    effects = [float(fields[AT["effect"]]) for _, fields in part]
    columns = tracks.named(changes, changed, motifs, task=task, effects=effects)
    return {at: column for (at, _), column in zip(part, columns, strict=True)}


def _judged(p: np.ndarray) -> np.ndarray:
    """Benjamini and Hochberg's q of every task by itself."""
    q = np.empty(p.shape, dtype=np.float32)
    for at in range(p.shape[1]):
        q[:, at] = q_values(p[:, at])
    return q


def _ranked(size: np.ndarray) -> np.ndarray:
    rank = np.empty(size.shape, dtype=np.int64)
    for at in range(size.shape[1]):
        rank[np.argsort(-size[:, at], kind="stable"), at] = np.arange(1, len(size) + 1)
    return rank
