"""Is a factor's own motif what its network learned: found first or second, and known again by TOMTOM.

For each of four factors in H1-hESC: the network learns all bound sequences against shuffles (as in ``dna_binding``,
whose models are used where ``WHYCELL_BENCH_MODELS`` names the folder that it kept them in), and 2,000 of the bound
sequences, which it has seen, are scored, their motifs found and matched with 1,400 known ones, by the jobs that
``whycell sequences explain`` and ``whycell motifs`` are.

Beside it what counting finds: the word of 8 letters that is most frequent beyond what shuffles hold (by the square root
of its count there), and the letters about every place that has it but for one letter.

``WHYCELL_BENCH_TFS=SRF`` runs one factor, ``WHYCELL_BENCH_THREADS=1`` uses one core of two.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from _harness import ROOT, report
from whycell.data.sequences import read_sequences
from whycell.encode.sequences import dinucleotide_shuffle, one_hot
from whycell.jobs.motifs import motifs_of_scores
from whycell.jobs.sequences_explain import explain_sequences
from whycell.models.sequence import SequenceModel
from whycell.patterns.known import match_known, read_meme
from whycell.results import Motif

DATA = ROOT.parent / "shared" / "data" / "sequences"
OWN = {"SRF": "M4477_1.02", "TCF12": "M4479_1.02", "YY1": "M1919_1.02", "USF1": "M1917_1.02"}
FACTORS = tuple(filter(None, os.environ.get("WHYCELL_BENCH_TFS", "").split(","))) or tuple(OWN)
THREADS = int(os.environ.get("WHYCELL_BENCH_THREADS", "2"))
MODELS = os.environ.get("WHYCELL_BENCH_MODELS")
EXPLAINED = 2000
WORD, FLANK = 8, 4


def main() -> bool:
    torch.set_num_threads(THREADS)
    known = read_meme(DATA / "jaspar.meme")
    results, first, sure = {}, [], []
    for factor in FACTORS:
        results[factor] = row = _of_factor(factor, known)
        first.append(row["rank"] or np.inf)
        sure.append(1.0 if row["q"] is None else row["q"])
        print(factor, row, flush=True)
    limits = {
        "the worst rank of a factor's own motif": (max(first), "<=", 2),
        "the worst q of it": (max(sure), "<=", 0.01),
    }
    return report("known_motifs", results, limits=limits)


def _of_factor(factor: str, known: list) -> dict:
    own = OWN[factor]
    table = DATA / "chipseq_h1hesc" / f"{factor}.bound.seq.gz"
    bound = read_sequences(table)
    rows = np.sort(np.random.default_rng(0).permutation(len(bound))[:EXPLAINED])
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        model = _model(factor, bound, work)
        query = work / "bound.fa"
        query.write_text("".join(f">{at}\n{bound.letters[at]}\n" for at in rows), encoding="utf-8")
        times = [time.process_time()]
        explain_sequences(query, work / "scores.h5", model=model, threads=THREADS)
        times.append(time.process_time())
        found = motifs_of_scores(work / "scores.h5", work / "motifs", known=DATA / "jaspar.meme", report=False)
        times.append(time.process_time())
    [motifs] = found.motifs.values()
    matches = match_known(motifs, known, most=len(known))
    rank, q = _own(motifs, matches, own)
    counted = _most_frequent_word(one_hot(list(bound.letters[rows])))
    by_counting = match_known([counted], known, most=len(known))
    return {
        "own": own,
        "patterns": len(motifs),
        "rank": rank,
        "q": q,
        "consensus": [m.consensus for m in motifs[:4]],
        "best matches": [_best(matches, m.name) for m in motifs[:4]],
        "left out": len(found.left_out),
        "counting": {"consensus": counted.consensus, "q": _own([counted], by_counting, own)[1]},
        "processor seconds of scoring, of motifs": np.round(np.diff(times), 1).tolist(),
    }


def _model(factor: str, bound, work: Path) -> Path:
    if MODELS and (Path(MODELS) / factor).exists():
        return Path(MODELS) / factor
    return SequenceModel(threads=THREADS).fit(bound, negatives="shuffle", tested=False).save(work / "model")


def _own(motifs: list[Motif], matches: pd.DataFrame, own: str) -> tuple[int | None, float | None]:
    """Rank, from 1, of the first motif that is like the factor's own with q below .01, and that q.

    Where there is none: ``None``, and the least q of all.
    """
    q = matches[matches["known"] == own].set_index("motif")["q"]
    for rank, motif in enumerate(motifs, start=1):
        if q.get(motif.name, 1.0) < 0.01:
            return rank, float(q[motif.name])
    return None, float(q.min()) if len(q) else None


def _best(matches: pd.DataFrame, motif: str) -> str:
    of = matches[matches["motif"] == motif]
    return "" if not len(of) else f"{of.iloc[0]['name']} {of.iloc[0]['q']:.1e}"


def _most_frequent_word(x: np.ndarray) -> Motif:
    shuffles = dinucleotide_shuffle(x, 5, seed=0).reshape(-1, *x.shape[1:])
    here, there = (_word_counts(each) for each in (x, shuffles))
    expected = (there + 1) / 5
    best = int(((here - expected) / np.sqrt(expected)).argmax())
    word = np.array([best // 4**place % 4 for place in reversed(range(WORD))])
    windows = []
    for strand in (x, x[:, ::-1, ::-1]):
        codes = strand.argmax(axis=1)
        last = codes.shape[1] - WORD - FLANK + 1
        alike = sum((codes[:, FLANK + at : last + at] == word[at]).astype(int) for at in range(WORD))
        for row, start in np.argwhere(alike >= WORD - 1):
            windows.append(strand[row, :, start : start + WORD + 2 * FLANK])
    letters = np.mean(windows, axis=0) + 1e-3
    letters /= letters.sum(axis=0)
    nothing = np.zeros_like(letters)
    sites = pd.DataFrame({"sequence": [], "start": [], "stop": [], "strand": []})
    return Motif("counted", letters, nothing, nothing, sites)


def _word_counts(x: np.ndarray) -> np.ndarray:
    """(4**WORD,) sequences' places that hold each word, on either strand."""
    counts = np.zeros(4**WORD)
    for strand in (x, x[:, ::-1, ::-1]):
        codes = strand.argmax(axis=1)
        word = sum(codes[:, at : codes.shape[1] - WORD + 1 + at] * 4 ** (WORD - 1 - at) for at in range(WORD))
        counts += np.bincount(word.ravel(), minlength=4**WORD)
    return counts


if __name__ == "__main__":
    sys.exit(not main())
