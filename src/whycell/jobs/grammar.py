"""``whycell grammar``: what the motifs of a folder do together, in a network's eyes and in the sequences."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
import pandas as pd

from whycell.compute import Step, Talk
from whycell.data.whole import check_free, folder_written_whole
from whycell.errors import UsageError
from whycell.jobs.grammar_motifs import MotifFolder, TakenMotif, described_motifs, taken_motifs
from whycell.jobs.motifs import read_scores
from whycell.jobs.record import fingerprint_file, write_run
from whycell.jobs.sequences_opened import asked_tasks, opened_model
from whycell.models.sequence import SequenceModel
from whycell.patterns.empty_grounds import empty_backgrounds
from whycell.patterns.gap_counts import counted_gaps, pairs_seen
from whycell.patterns.grammar import CLOSEST, draws_for, grammar_of_pair, n_tests, with_q_values
from whycell.patterns.insertions import Insertions, placements
from whycell.reports.grammar import grammar_page
from whycell.results.grammar import GrammarFindings, PairGrammar
from whycell.results.motifs import Motif

__all__ = ["grammar_of_motifs"]

_SHIFT = 8
_AT_ONCE = 128  # sequences a pass: what a network holds of them stays in the cache
_TABLES = ("motifs", "interactions", "tests", "alone", "gaps_counted", "ranges_counted")


def grammar_of_motifs(
    motifs: Path,
    output: Path,
    *,
    model: Path,
    scores: Path | None = None,
    tasks: Sequence[str] = (),
    chosen: Sequence[str] = (),
    most_motifs: int = 5,
    widest: int = 30,
    closest: int = CLOSEST,
    backgrounds: int = 50,
    letters: str = "drawn",
    fdr: float = 0.01,
    report: bool = True,
    seed: int = 0,
    threads: int = 0,
    device: str = "auto",
    force: bool = False,
    talk: Talk | None = None,
) -> GrammarFindings:
    """Ask a network about pairs of motifs by gap, order and strand, count the same in sequences, and write a folder.

    ``tests.tsv``, ``interactions.tsv``, ``alone.tsv``, ``gaps_counted.tsv``, ``ranges_counted.tsv``, ``motifs.tsv``,
    ``about.json`` and ``report.html``.

    Parameters
    ----------
    motifs
        Folder that ``whycell motifs`` wrote.
    output
        The folder.
    model
        Folder of the model; interactions are in its outputs before calibration, log odds of a class.
    scores
        What the motifs were found in, where it is no longer where they say.
    tasks
        Outputs that are asked, each about its own motifs; all that the folder has motifs of without.
    chosen
        Names of motifs, ``NAME`` of the task or ``TASK/NAME``; without, those whose hits contribute most.
    most_motifs
        How many are taken where none is chosen.
    widest
        Largest gap.
    closest
        Smallest gap that is tested; smaller ones are asked and drawn.
    backgrounds
        Shuffles without motifs that they are written into.
    letters
        ``"drawn"`` from a motif's shares, or its ``"likeliest"``.
    fdr
        Largest q-value that is reported.
    report
        Whether the page is made.
    seed, threads, device, force, talk
        As everywhere.

    Raises
    ------
    FormatError
        ``motifs`` is no such folder, or its scores are gone.
    UsageError
        No such task or motif; sequences too short.
    OutputError
        The folder exists and ``force`` is not set.
    """
    from whycell.models.sequence_fit import torch_threads

    talk = talk or Talk()
    check_free(output, force=force)
    folder = MotifFolder.of(motifs, scores)
    trained = opened_model(model, threads=threads, device=device)
    asked = [task for task in asked_tasks(tasks, trained) if tasks or folder.motifs.get(task)]
    taken = {task: taken_motifs(folder, task, chosen=chosen, most=most_motifs) for task in asked}
    if not taken:
        msg = (
            f"{motifs} has motifs of {', '.join(folder.motifs) or 'no task'}; the model's: {', '.join(trained.tasks_)}."
        )
        raise UsageError(msg)
    grounds = {task: _grounds(folder, task, some, trained, backgrounds, seed, talk) for task, some in taken.items()}
    gaps, shift = _room(taken, trained.length_, widest, closest, talk)
    draws = draws_for(sum(map(_n_tests, taken.values())), fdr=fdr)
    every: dict[str, list[PairGrammar]] = {}
    total = sum(_n_asked([m.core for m in some], gaps) * backgrounds for some in taken.values())
    with torch_threads(threads), talk.progress("asking the network", total) as bar:
        for task, some in taken.items():
            predict = _predict(trained, task, bar)
            network = Insertions(predict, grounds[task], letters=letters, shift=shift, seed=seed)
            every[task] = [
                grammar_of_pair(
                    a.core, b.core, network=network, gaps=gaps, closest=closest, permutations=draws, seed=seed
                )
                for a, b in combinations_with_replacement(some, 2)
            ]
    unit = "log odds" if trained.kind == "class" else "log counts"
    parameters = {
        "tasks": list(taken),
        "chosen": {task: [m.name for m in some] for task, some in taken.items()},
        "widest": gaps[-1],
        "closest": closest,
        "backgrounds": backgrounds,
        "letters": letters,
        "fdr": fdr,
        "permutations": draws,
    }
    with talk.progress("counting gaps", len(taken)) as bar:
        counted = [_counted(folder, task, some, gaps[-1], seed, bar) for task, some in taken.items()]
    gaps_of = pd.concat([table for table, _ in counted], ignore_index=True)
    tests = with_q_values(every, fdr=fdr)
    of_task = [pairs_seen(tests[tests["task"] == t], gaps_of[gaps_of["task"] == t]) for t in taken]
    result = GrammarFindings(
        pd.concat([described_motifs(folder, task, some=some) for task, some in taken.items()], ignore_index=True),
        _tables(every, "interactions"),
        tests.assign(seen=pd.concat(of_task)),
        _tables(every, "alone").drop(columns=["first", "second"]).drop_duplicates(["task", "motif"], keep="last"),
        gaps_of,
        pd.concat([ranges_of for _, ranges_of in counted], ignore_index=True),
        {"motifs": str(motifs), "model": str(model), "seed": seed, "unit": unit, "predictions": total, **parameters},
    )
    with folder_written_whole(output, force=force) as scratch:
        scratch.mkdir()
        _write(result, scratch, report=report)
    inputs = {str(p): fingerprint_file(p) for p in (motifs / "motifs.h5", motifs / "hits.tsv")}
    write_run(output, "grammar", inputs=inputs, seed=seed, parameters={"model": str(model), **parameters})
    return result


def _grounds(
    folder: MotifFolder,
    task: str,
    some: Sequence[TakenMotif],
    trained: SequenceModel,
    backgrounds: int,
    seed: int,
    talk: Talk,
) -> np.ndarray:
    of = task if folder.motifs.get(task) else next(iter(folder.motifs))
    x, _ = read_scores(folder.scores, of)
    if x.shape[2] != trained.length_:
        msg = f"{folder.scores} holds sequences of {x.shape[2]} letters; the model reads {trained.length_}."
        raise UsageError(msg)
    made, holding = empty_backgrounds(x, folder.hits, [m.core for m in some], n=backgrounds, seed=seed)
    if holding:
        talk.warn(f"{task}: {holding} of {len(made)} backgrounds hold a motif by chance, as good as its weaker sites.")
    return made


def _room(
    taken: dict[str, list[TakenMotif]], length: int, widest: int, closest: int, talk: Talk
) -> tuple[tuple[int, ...], int]:
    """The gaps that fit beside the two widest motifs, and by how many letters the middle can be moved."""
    width = max(2 * m.core.width for some in taken.values() for m in some)
    most = min(widest, length - width)
    if most <= closest:
        msg = (
            f"Two motifs take {width} of the {length} letters that the model reads, which leaves no two gaps from "
            f"{closest} to {widest} letters to compare; choose shorter ones with --motif, or other gaps."
        )
        raise UsageError(msg)
    if most < widest:
        talk.warn(f"Gaps go to {most}, not to {widest}: two motifs take {width} of the {length} letters.")
    return tuple(range(most + 1)), max(0, min(_SHIFT, (length - width - most - 2) // 2))


def _predict(trained: SequenceModel, task: str, bar: Step) -> Callable[[np.ndarray], np.ndarray]:
    column = trained.tasks_.index(task)

    def predict(x: np.ndarray) -> np.ndarray:
        parts = []
        for part in np.split(x, range(_AT_ONCE, len(x), _AT_ONCE)):
            parts.append(trained.logits(part)[:, column])
            bar.advance(len(part))
        return np.concatenate(parts)

    return predict


def _n_tests(some: Sequence[TakenMotif]) -> int:
    return n_tests(pairs=len(some) * (len(some) - 1) // 2, alone=len(some))


def _n_asked(cores: Sequence[Motif], gaps: Sequence[int]) -> int:
    """Predictions for each background: nothing, each motif at each place, each pair at each gap."""
    alone, both = set(), 0
    for first, second in combinations_with_replacement(cores, 2):
        for placed in placements(first, second, gaps):
            both += len(gaps)
            for (motif, strand), begins in ((placed.left, placed.left_at), (placed.right, placed.right_at)):
                alone |= {(motif.name, strand, at) for at in begins}
    return 1 + len(alone) + both


def _counted(
    folder: MotifFolder, task: str, some: Sequence[TakenMotif], most: int, seed: int, bar: Step
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Gaps between the cores of hits of every pair."""
    parts = []
    for motif in some:
        hits = folder.hits[(folder.hits["task"] == motif.task) & (folder.hits["motif"] == motif.own)]
        start = hits["start"] + np.where(hits["strand"] == "-", motif.right, motif.left)
        parts.append(hits.assign(motif=motif.name, start=start, stop=start + motif.core.width))
    hits = pd.concat(parts, ignore_index=True)
    both: tuple[list[pd.DataFrame], list[pd.DataFrame]] = ([], [])
    for a, b in combinations_with_replacement(some, 2):
        for tables, found in zip(both, counted_gaps(hits, a.name, second=b.name, most=most, seed=seed), strict=True):
            found.insert(0, "task", task)
            found.insert(1, "first", a.name)
            found.insert(2, "second", b.name)
            tables.append(found)
    bar.advance()
    return pd.concat(both[0], ignore_index=True), pd.concat(both[1], ignore_index=True)


def _tables(every: dict[str, list[PairGrammar]], name: str) -> pd.DataFrame:
    parts = list[pd.DataFrame]()
    for task, pairs in every.items():
        for pair in pairs:
            part: pd.DataFrame = getattr(pair, name).copy()
            for at, (column, value) in enumerate((("task", task), ("first", pair.first), ("second", pair.second))):
                part.insert(at, column, value)
            parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _write(result: GrammarFindings, folder: Path, *, report: bool) -> None:
    for name in _TABLES:
        getattr(result, name).to_csv(folder / f"{name}.tsv", sep="\t", index=False, float_format="%.6g")
    about = {"kind": "whycell.grammar", "provenance": result.provenance}
    (folder / "about.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    if report:
        (folder / "report.html").write_text(grammar_page(result), encoding="utf-8")
