"""``whycell motifs compare``: how much each motif counts in two contexts, at the same places."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from whycell.compute import Talk
from whycell.data.whole import check_free, folder_written_whole
from whycell.jobs.motif_names import read_known_names
from whycell.jobs.motifs import read_hits, read_motifs
from whycell.jobs.motifs_compare_inputs import asked_pairs, read_side, scores_of
from whycell.jobs.record import fingerprint_file, write_run
from whycell.lenses.significance import q_values
from whycell.patterns.contexts import match_motifs
from whycell.patterns.two_contexts import INSTANCES, TwoContexts
from whycell.reports.motif_contexts import contexts_page
from whycell.results import Contexts, Motif

__all__ = ["compare_motifs"]

_MOTIFS = [
    *("task", "other_task", "motif", "other", "called", "consensus", "likeness", "found_in", "n", "sequences"),
    *("mean_a", "mean_b", "difference", "low", "high", "p", "q", "differs"),
    *("both", "only_a", "only_b", "neither", "unclear"),
]


def compare_motifs(
    first: Path,
    second: Path | None,
    output: Path,
    *,
    task: str | None = None,
    other_task: str | None = None,
    scores: Path | None = None,
    other_scores: Path | None = None,
    least: float = 0.2,
    scaled: bool = True,
    fdr: float = 0.05,
    report: bool = True,
    force: bool = False,
    talk: Talk | None = None,
) -> Contexts:
    """Ask of every motif whether it counts more in one context than in the other.

    Writes ``contexts.tsv``, ``instances.tsv``, ``about.json`` and ``report.html``.

    Parameters
    ----------
    first, second
        Folders that ``whycell motifs`` wrote; without a second, two tasks of the first.
    output
        The folder.
    task, other_task
        Of the first and of the second folder; without, every task that both have.
    scores, other_scores
        The files of scores, where they are no longer where the folders say.
    least
        Share of their mean size by which one side must exceed the other; see ``patterns.contexts.compare_uses``.
    scaled
        Divide contributions by what those of a sequence typically add up to.
    fdr
        Share of false differences, and of instances falsely called used.
    report
        Whether the page is made.
    force, talk
        As everywhere.

    Raises
    ------
    FormatError
        A folder is none of motifs, or its scores are gone or changed.
    DataError
        The two hold no sequence in common.
    UsageError
        The tasks cannot be told, or are the same one twice.
    """
    talk = talk or Talk()
    check_free(output, force=force)
    folders = (Path(first), Path(first if second is None else second))
    files = (scores_of(folders[0], scores), scores_of(folders[1], other_scores))
    motifs = (read_motifs(folders[0]), read_motifs(folders[1]))
    hits = (read_hits(folders[0]), read_hits(folders[1]))
    known = (read_known_names(folders[0]), read_known_names(folders[1]))
    asked = asked_pairs(
        (list(motifs[0]), list(motifs[1])), task=task, other_task=other_task, same=folders[0] == folders[1]
    )
    rows: list[dict[str, object]] = []
    instances: list[pd.DataFrame] = []
    drawn: list[tuple[Motif | None, Motif | None]] = []
    scales, notes = [], list[str]()
    with talk.progress("comparing contexts", len(asked)) as bar:
        for one, other in asked:
            given = (read_side(files[0], one), read_side(files[1], other))
            both = TwoContexts.of(given, hits, tasks=(one, other), scaled=scaled)
            notes += [note for note in _without_like(both, folders) if note not in notes]
            scales.append((one, other, *both.scales))
            matched = match_motifs(motifs[0][one], motifs[1][other])
            if all(a is None or b is None for a, b, _ in matched):
                notes.append(f"no motif of {one} is one of {other}: each is asked for at the places of its own side.")
            for a, b, close in matched:
                row, table = both.compared(a, b, close, least=least, fdr=fdr)
                row["called"] = _called(known, (one, other), (a, b))
                rows.append(row)
                instances.append(table)
                drawn.append((a, b))
            bar.advance()
    for note in notes:
        talk.warn(note)
    result = Contexts(
        _judged(rows, fdr),
        pd.concat(instances, ignore_index=True) if instances else pd.DataFrame(columns=INSTANCES),
        tuple(drawn),
        pd.DataFrame(scales, columns=["task", "other_task", "scale_a", "scale_b"]),
        tuple(notes),
        {
            "first": str(folders[0]),
            "second": str(folders[1]),
            "scores": [str(file) for file in files],
            "least": least,
            "scaled": scaled,
            "fdr": fdr,
        },
    )
    with folder_written_whole(output, force=force) as folder:
        folder.mkdir()
        _write(result, folder, report=report)
    inputs = {str(path): fingerprint_file(path) for path in (*files, *(f / "hits.tsv" for f in folders))}
    write_run(
        output, "motifs compare", inputs=inputs, seed=0, parameters={"least": least, "scaled": scaled, "fdr": fdr}
    )
    return result


def _without_like(both: TwoContexts, folders: tuple[Path, Path]) -> list[str]:
    return [
        f"{left:,} of {len(side.letters):,} sequences of {folder} have no like on the other side."
        for folder, side, left in zip(folders, both.sides, both.alone, strict=True)
        if left
    ]


def _called(
    known: tuple[dict[tuple[str, str], str], dict[tuple[str, str], str]],
    tasks: tuple[str, str],
    motifs: tuple[Motif | None, Motif | None],
) -> str:
    """The known motif that either is surely like, or a consensus."""
    here = [
        (names.get((task, m.name)), m) for names, task, m in zip(known, tasks, motifs, strict=True) if m is not None
    ]
    return next((name for name, _ in here if name), here[0][1].consensus)


def _judged(rows: list[dict[str, object]], fdr: float) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=[name for name in _MOTIFS if name not in ("q", "differs")])
    q = q_values(table["p"].to_numpy(dtype=float))
    return table.assign(q=q, differs=q <= fdr)[_MOTIFS]


def _write(result: Contexts, folder: Path, *, report: bool) -> None:
    for name, table in (("contexts", result.motifs), ("instances", result.instances)):
        table.to_csv(folder / f"{name}.tsv", sep="\t", index=False, float_format="%.6g")
    about = {
        "kind": "whycell.contexts",
        "scales": result.scales.to_dict(orient="records"),
        "notes": list(result.notes),
        "provenance": result.provenance,
    }
    (folder / "about.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    if report:
        (folder / "report.html").write_text(contexts_page(result), encoding="utf-8")
