"""``whycell motifs``: from base scores to motifs, their places, and what they are known as."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from whycell.compute import Talk
from whycell.data.whole import check_free, folder_written_whole
from whycell.errors import FormatError, UsageError
from whycell.jobs.motif_kinds import add_kinds, write_kinds
from whycell.jobs.record import fingerprint_file, write_run
from whycell.patterns.enriched import Enrichment
from whycell.patterns.known import match_known, read_meme
from whycell.patterns.motifs import find_motifs
from whycell.patterns.told import FEWEST_SITES, told_motifs
from whycell.reports.motifs import motifs_page
from whycell.results import Kinds, Motif, MotifFindings

__all__ = ["motifs_of_scores", "read_hits", "read_motifs", "read_scores"]

_PLACES = ("chromosome", "start", "stop", "strand")


def motifs_of_scores(
    scores: Path,
    output: Path,
    *,
    known: Path | None = None,
    tasks: Sequence[str] = (),
    fdr: float = 0.05,
    most_sites: int = 5000,
    n_kinds: int | None = None,
    report: bool = True,
    seed: int = 0,
    force: bool = False,
    talk: Talk | None = None,
) -> MotifFindings:
    """Find motifs in what ``whycell sequences explain`` wrote, and write a folder of them.

    ``motifs.meme`` (letter shares), ``motifs.h5`` (also contributions, and the sites), ``hits.tsv``, ``summary.tsv``,
    ``matches.tsv``, ``left_out.tsv``, ``about.json`` and ``report.html``; and the tables of
    ``jobs.motif_kinds.write_kinds``.

    Parameters
    ----------
    scores
        The HDF5 file of scores.
    output
        The folder.
    known
        Motifs in MEME format to match with.
    tasks
        Those looked at; all without.
    fdr
        Share of false hits allowed, motif by motif.
    most_sites
        Sites clustered at most; see ``patterns.motifs.find_motifs``.
    n_kinds
        Kinds of sequence that are told apart: chosen by agreement without a number, 0 for none.
    report
        Whether the page is made.
    seed, force, talk
        As everywhere.

    Raises
    ------
    FormatError
        ``scores`` or ``known`` is no such file.
    OutputError
        The folder exists and ``force`` is not set.
    """
    talk = talk or Talk()
    check_free(output, force=force)
    collection = read_meme(known) if known is not None else []
    found: dict[str, list[Motif]] = {}
    tables: dict[str, list[pd.DataFrame]] = {"hits": [], "matches": [], "left_out": [], "summary": []}
    with _opened(scores) as file:
        x, where, here = _common(file, scores)
        asked = _asked(tasks, here, scores)
        with talk.progress("finding motifs and their places", 2 * len(asked)) as bar:
            for task in asked:
                hypothetical = file[task]["hypothetical"][:].astype(np.float32)
                patterns = find_motifs(x, hypothetical, most_sites=most_sites, fewest_sites=FEWEST_SITES)
                bar.advance()
                kept, hits, left_out, enriched = told_motifs(patterns, x, hypothetical, fdr=fdr, seed=seed)
                found[task] = kept
                parts = {"hits": hits, "matches": match_known(kept, collection), "left_out": left_out}
                parts["summary"] = _counted(kept, hits, enriched)
                if not kept:
                    talk.warn(_none_told(task, len(left_out)))
                for name, part in parts.items():
                    tables[name].append(part.assign(task=task))
                bar.advance()
    joined = {name: _joined(parts, _COLUMNS[name]) for name, parts in tables.items()}
    joined["hits"] = _placed(joined["hits"], where)
    inputs = {str(p): fingerprint_file(p) for p in (scores, known) if p is not None}
    parameters = {"tasks": asked, "fdr": fdr, "most_sites": most_sites}
    shape = {"sequences": len(x), "length": x.shape[2]}
    result = MotifFindings(found, **joined, provenance={"scores": str(scores), **shape, "seed": seed, **parameters})
    kinds = add_kinds(result, where["name"], n_kinds=n_kinds, seed=seed)
    with folder_written_whole(output, force=force) as folder:
        folder.mkdir()
        _write(result, kinds, folder, report=report)
    write_run(output, "motifs", inputs=inputs, seed=seed, parameters=parameters)
    return result


def read_scores(scores: Path, task: str) -> tuple[np.ndarray, np.ndarray]:
    """Sequences (n, 4, length) and hypothetical contributions of a task, float32."""
    with _opened(scores) as file:
        x, _, here = _common(file, scores)
        _asked([task], here, scores)
        return x, file[task]["hypothetical"][:].astype(np.float32)


def read_motifs(folder: Path) -> dict[str, list[Motif]]:
    """Motifs by task of a folder that ``motifs_of_scores`` wrote.

    Raises
    ------
    FormatError
        It is no such folder.
    """
    path = Path(folder) / "motifs.h5"
    try:
        with h5py.File(path) as file:
            return {task: [_stored(file[task][name], name) for name in file[task].attrs["order"]] for task in file}
    except (OSError, KeyError) as error:
        msg = f"{folder} holds no motifs ({error}); wanted a folder that `whycell motifs` wrote."
        raise FormatError(msg) from error


def read_hits(folder: Path) -> pd.DataFrame:
    """Hits of a folder that ``motifs_of_scores`` wrote.

    Returns
    -------
    One row a hit: the columns of ``MotifFindings.hits``. ``start_in_sequence`` and ``strand_in_sequence`` count in the
    sequence, whether or not its place in a chromosome is known.

    Raises
    ------
    FormatError
        It is no such folder, or one of an earlier version.
    """
    path = Path(folder) / "hits.tsv"
    text = dict.fromkeys(("task", "motif", "strand", "name", "chromosome", "strand_in_sequence"), str)
    try:
        hits = pd.read_csv(path, sep="\t", dtype=text, keep_default_na=False, na_values={"contribution": [""]})
    except (OSError, ValueError) as error:
        msg = f"{folder} holds no hits ({error}); wanted a folder that `whycell motifs` wrote."
        raise FormatError(msg) from error
    absent = {*_COLUMNS["hits"], "name", "start_in_sequence", "strand_in_sequence"} - set(hits.columns)
    if absent:
        msg = f"{path} has no column {sorted(absent)[0]!r}; write the folder anew with `whycell motifs`."
        raise FormatError(msg)
    return hits


_COLUMNS = {
    "hits": ["task", "motif", "sequence", "start", "stop", "strand", "score", "q", "contribution"],
    "matches": ["task", "motif", "known", "name", "p", "q", "offset", "strand", "likeness"],
    "left_out": ["task", "motif", "consensus", "sites", "reason"],
    "summary": ["task", "motif", "consensus", "sites", "hits", "sequences", "contribution", "held", "held_by_chance"],
}


def _none_told(task: str, n_left: int) -> str:
    if n_left:
        return f"{task}: no motif is told; left_out.tsv says why {n_left} patterns are not."
    return f"{task}: no pattern of {FEWEST_SITES} sites was found; were enough sequences scored that hold one?"


def _counted(motifs: Sequence[Motif], hits: pd.DataFrame, enriched: Mapping[str, Enrichment]) -> pd.DataFrame:
    rows = []
    for motif in motifs:
        places = hits[hits["motif"] == motif.name]
        adds = float(places["contribution"].mean()) if len(places) else float(motif.contribution.sum())
        held, by_chance = enriched[motif.name][:2] if motif.name in enriched else (np.nan, np.nan)
        counts = (len(motif.sites), len(places), places["sequence"].nunique())
        rows.append((motif.name, motif.consensus, *counts, adds, held, by_chance))
    return pd.DataFrame(rows, columns=_COLUMNS["summary"][1:])


def _opened(scores: Path) -> h5py.File:
    try:
        return h5py.File(scores)
    except OSError as error:
        msg = f"{scores} cannot be opened ({error}); wanted a file that `whycell sequences explain` wrote."
        raise FormatError(msg) from error


def _common(file: h5py.File, scores: Path) -> tuple[np.ndarray, dict[str, np.ndarray], list[str]]:
    if "sequences" not in file or "tasks" not in file.attrs:
        msg = f"{scores} holds no scores of sequences; wanted a file that `whycell sequences explain` wrote."
        raise FormatError(msg)
    where: dict[str, np.ndarray] = {"name": file["names"].asstr()[:]}
    for name in _PLACES:
        if name in file:
            where[name] = file[name].asstr()[:] if file[name].dtype == object else file[name][:]
    return file["sequences"][:].astype(np.float32), where, [str(task) for task in file.attrs["tasks"]]


def _asked(tasks: Sequence[str], here: Sequence[str], scores: Path) -> list[str]:
    absent = [task for task in tasks if task not in here]
    if absent:
        msg = f"{scores} has no task {absent[0]!r}; it has {', '.join(here)}."
        raise UsageError(msg)
    return list(tasks or here)


def _joined(parts: Sequence[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    filled = [part for part in parts if len(part)]
    return pd.concat(filled, ignore_index=True)[columns] if filled else pd.DataFrame(columns=columns)


def _placed(hits: pd.DataFrame, where: dict[str, np.ndarray]) -> pd.DataFrame:
    """With the names of the sequences, and in the letters of the chromosome where places are known."""
    at = hits["sequence"].to_numpy(dtype=np.int64)
    within = {"start_in_sequence": hits["start"], "strand_in_sequence": hits["strand"]}
    hits = hits.assign(name=where["name"][at])
    if "chromosome" not in where:
        return hits.assign(**within)
    turned = where["strand"][at] == "-"
    start = np.where(turned, where["stop"][at] - hits["stop"], where["start"][at] + hits["start"])
    width = hits["stop"] - hits["start"]
    strand = np.where(turned, hits["strand"].map({"+": "-", "-": "+"}), hits["strand"])
    chromosome = where["chromosome"][at]
    return hits.assign(chromosome=chromosome, start=start, stop=start + width, strand=strand, **within)


def _write(result: MotifFindings, kinds: Kinds | None, folder: Path, *, report: bool) -> None:
    for name in _COLUMNS:
        getattr(result, name).to_csv(folder / f"{name}.tsv", sep="\t", index=False, float_format="%.6g")
    (folder / "motifs.meme").write_text(_meme(result.motifs), encoding="utf-8")
    with h5py.File(folder / "motifs.h5", "w") as file:
        for task, motifs in result.motifs.items():
            group = file.create_group(task)
            group.attrs["order"] = [m.name for m in motifs]
            for motif in motifs:
                _store(group.create_group(motif.name), motif)
    about = {"kind": "whycell.motifs", "tasks": list(result.motifs), "provenance": result.provenance}
    (folder / "about.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    if kinds is not None:
        write_kinds(kinds, folder)
    if report:
        (folder / "report.html").write_text(motifs_page(result, kinds=kinds), encoding="utf-8")


def _store(group: h5py.Group, motif: Motif) -> None:
    for name in ("letters", "contribution", "hypothetical"):
        group.create_dataset(name, data=getattr(motif, name))
    for name in ("sequence", "start", "stop"):
        group.create_dataset(f"sites_{name}", data=motif.sites[name].to_numpy(dtype=np.int64))
    group.create_dataset("sites_turned", data=(motif.sites["strand"] == "-").to_numpy())


def _stored(group: h5py.Group, name: str) -> Motif:
    sites = pd.DataFrame({column: group[f"sites_{column}"][:] for column in ("sequence", "start", "stop")})
    sites["strand"] = np.where(group["sites_turned"][:], "-", "+")
    return Motif(name, group["letters"][:], group["contribution"][:], group["hypothetical"][:], sites)


def _meme(motifs: dict[str, list[Motif]]) -> str:
    lines = ["MEME version 4", "", "ALPHABET= ACGT", "", "strands: + -", ""]
    for task, found in motifs.items():
        for motif in found:
            lines += [f"MOTIF {task}/{motif.name} {motif.consensus}"]
            lines += [f"letter-probability matrix: alength= 4 w= {motif.width} nsites= {len(motif.sites)} E= 0"]
            lines += [" ".join(f"{share:.6f}" for share in column) for column in motif.letters.T]
            lines += [""]
    return "\n".join(lines)
