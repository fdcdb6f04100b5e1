"""``whycell motifs compare``: how much each motif counts in two contexts, at the same places."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from whycell.compute import Talk
from whycell.data.whole import check_free, folder_written_whole
from whycell.errors import DataError, FormatError, UsageError
from whycell.jobs.motif_kinds import known_as
from whycell.jobs.motifs import read_hits, read_motifs
from whycell.jobs.record import fingerprint_file, write_run
from whycell.lenses.significance import q_values
from whycell.patterns.contexts import (
    compare_uses,
    judged_use,
    match_motifs,
    same_instances,
    typical_total,
    used_where,
    window_sums,
)
from whycell.patterns.same_places import Pairs, Side, pair_sequences
from whycell.reports.motif_contexts import contexts_page
from whycell.results import Contexts, Motif

__all__ = ["compare_motifs"]

_AT_ONCE = 1000  # sequences of which hypothetical scores are in memory
_USES = {"both": "both", "first": "only_a", "second": "only_b", "neither": "neither", "unclear": "unclear"}


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
    files = tuple(_scores_of(folder, given) for folder, given in zip(folders, (scores, other_scores), strict=True))
    motifs = tuple(read_motifs(folder) for folder in folders)
    hits = tuple(read_hits(folder) for folder in folders)
    asked = _asked(tuple(tuple(m) for m in motifs), task, other_task, same=folders[0] == folders[1])
    rows: list[dict[str, object]] = []
    instances: list[pd.DataFrame] = []
    drawn: list[tuple[Motif | None, Motif | None]] = []
    scales, notes = [], list[str]()
    with talk.progress("comparing contexts", len(asked)) as bar:
        for one, other in asked:
            both = _Both.opened(files, (one, other), hits, scaled=scaled)
            notes += [note for note in both.notes(folders) if note not in notes]
            scales.append((one, other, *both.scales))
            matched = match_motifs(motifs[0][one], motifs[1][other])
            if all(a is None or b is None for a, b, _ in matched):
                notes.append(f"no motif of {one} is one of {other}: each is asked for at the places of its own side.")
            for a, b, close in matched:
                row, table = both.compared(a, b, close, least=least, fdr=fdr)
                row["called"] = _called(folders, (one, other), (a, b))
                rows.append(row)
                instances.append(table)
                drawn.append((a, b))
            bar.advance()
    for note in notes:
        talk.warn(note)
    result = Contexts(
        _judged(rows, fdr),
        pd.concat(instances, ignore_index=True) if instances else pd.DataFrame(columns=_INSTANCES),
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


_MOTIFS = [
    *(
        "task",
        "other_task",
        "motif",
        "other",
        "called",
        "consensus",
        "likeness",
        "found_in",
        "n",
        "sequences",
        "mean_a",
    ),
    *("mean_b", "difference", "low", "high", "p", "q", "differs", "both", "only_a", "only_b", "neither", "unclear"),
]
_INSTANCES = [
    *("task", "other_task", "motif", "other", "name", "sequence", "other_sequence", "chromosome", "start", "stop"),
    *("strand", "hit_in", "contribution_a", "contribution_b", "p_a", "p_b", "used"),
]


@dataclass(frozen=True)
class _Both:
    """Two outputs over the same bases, one way round, with the hits of either."""

    tasks: tuple[str, str]
    sides: tuple[Side, Side]
    turned: tuple[np.ndarray, np.ndarray]
    hits: tuple[pd.DataFrame, pd.DataFrame]
    pairs: Pairs
    taken: tuple[np.ndarray, np.ndarray]
    scales: tuple[float, float]
    total: float

    @classmethod
    def opened(
        cls,
        files: tuple[Path, ...],
        tasks: tuple[str, str],
        hits: tuple[pd.DataFrame, ...],
        *,
        scaled: bool,
    ) -> _Both:
        given = [_side(file, task) for file, task in zip(files, tasks, strict=True)]
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

    def notes(self, folders: tuple[Path, Path]) -> list[str]:
        """How many sequences have no like on the other side."""
        found = []
        for folder, side, rows in zip(folders, self.sides, (self.pairs.first, self.pairs.second), strict=True):
            left = len(side.letters) - len(np.unique(rows))
            if left:
                found.append(f"{left:,} of {len(side.letters):,} sequences of {folder} have no like on the other side.")
        return found

    def compared(
        self, a: Motif | None, b: Motif | None, close: float, *, least: float, fdr: float
    ) -> tuple[dict[str, object], pd.DataFrame]:
        """The row of a motif, and its instances."""
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
        names = {key: row[key] for key in ("task", "other_task", "motif", "other")}
        extra = {"contribution_a": sums[0], "contribution_b": sums[1], "p_a": p[0], "p_b": p[1], "used": use}
        return row, self._told(table).assign(**names, **extra)[_INSTANCES]

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


def _scores_of(folder: Path, given: Path | None) -> Path:
    """The file of scores that a folder of motifs was made from, as it was then."""
    try:
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        told = Path(about["provenance"]["scores"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"{folder} is no folder of motifs ({error}); wanted one that `whycell motifs` wrote."
        raise FormatError(msg) from error
    places = [given] if given is not None else [told, folder.parent / told.name]
    here = next((path for path in places if path.is_file()), None)
    if here is None:
        msg = (
            f"the scores that {folder} was made from, {places[0]}, are gone; wanted them for what each place adds. "
            "Say where they are with --scores (of the first folder) or --other-scores (of the second)."
        )
        raise FormatError(msg)
    kept = _fingerprint(folder, told)
    if kept is not None and kept != fingerprint_file(here):
        msg = f"{here} is not as it was when {folder} was made; run `whycell motifs` on it again."
        raise FormatError(msg)
    return here


def _fingerprint(folder: Path, scores: Path) -> str | None:
    try:
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        return str(run["inputs"][str(scores)])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _asked(
    tasks: tuple[tuple[str, ...], ...], task: str | None, other_task: str | None, *, same: bool
) -> list[tuple[str, str]]:
    for asked, here, word in ((task, tasks[0], "first"), (other_task, tasks[1], "second")):
        if asked is not None and asked not in here:
            msg = f"the {word} folder has no task {asked!r}; it has {', '.join(here)}."
            raise UsageError(msg)
    if same:
        if task is None and other_task is None and len(tasks[0]) == 2:
            return [(tasks[0][0], tasks[0][1])]
        if task is None or other_task is None or task == other_task:
            msg = (
                f"one folder with the tasks {', '.join(tasks[0])}; wanted two of them: give --task and --other-task, "
                "or a second folder."
            )
            raise UsageError(msg)
        return [(task, other_task)]
    if task is not None or other_task is not None:
        a, b = task or _only(tasks[0], other_task, "--task"), other_task or _only(tasks[1], task, "--other-task")
        return [(a, b)]
    shared = [name for name in tasks[0] if name in tasks[1]]
    if shared:
        return [(name, name) for name in shared]
    return [(_only(tasks[0], None, "--task"), _only(tasks[1], None, "--other-task"))]


def _only(tasks: tuple[str, ...], wanted: str | None, option: str) -> str:
    if wanted in tasks:
        return str(wanted)
    if len(tasks) == 1:
        return tasks[0]
    msg = f"the tasks {', '.join(tasks)} are there; wanted one: give it with {option}."
    raise UsageError(msg)


def _side(file: Path, task: str) -> Side:
    """Sequences and what a task takes from their letters: all that is kept of the scores."""
    try:
        with h5py.File(file) as held:
            x, names = held["sequences"][:], held["names"].asstr()[:]
            parts = [
                np.einsum("nbl,nbl->nl", x[at : at + _AT_ONCE], held[task]["hypothetical"][at : at + _AT_ONCE])
                for at in range(0, len(x), _AT_ONCE)
            ]
            places = {}
            if "chromosome" in held:
                places = {name: held[name].asstr()[:] for name in ("chromosome", "strand")} | {
                    "start": held["start"][:]
                }
    except (OSError, KeyError) as error:
        msg = f"{file} holds no scores of {task!r} ({error}); wanted a file that `whycell sequences explain` wrote."
        raise FormatError(msg) from error
    letters = np.where(x.any(axis=1), x.argmax(axis=1), 4).astype(np.uint8)
    return Side(letters, np.concatenate(parts), names, **places)


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


def _called(folders: tuple[Path, Path], tasks: tuple[str, str], motifs: tuple[Motif | None, Motif | None]) -> str:
    """The known motif that either is surely like, or a consensus."""
    for folder, task, motif in zip(folders, tasks, motifs, strict=True):
        path = folder / "matches.tsv"
        if motif is not None and path.is_file():
            known = known_as(
                pd.read_csv(path, sep="\t", dtype={"task": str, "motif": str, "name": str}), task, motif.name
            )
            if known:
                return known
    return next(motif.consensus for motif in motifs if motif is not None)


def _judged(rows: list[dict[str, object]], fdr: float) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=[name for name in _MOTIFS if name not in ("q", "differs")])
    p = table["p"].to_numpy(dtype=float)
    q = np.full(len(p), np.nan)
    tested = ~np.isnan(p)
    q[tested] = q_values(p[tested])
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
