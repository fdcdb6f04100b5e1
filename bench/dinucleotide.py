"""Dinucleotide shuffles: is every shuffle as likely, and how long do they take? Beside tangermeme's, in the same run.

``make bench NAME=dinucleotide``
"""

from __future__ import annotations

import itertools
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable

import numpy as np
import torch
from scipy import stats
from tangermeme.ersatz import dinucleotide_shuffle as tangermeme_shuffle

from _harness import report
from whycell.encode.sequences import dinucleotide_shuffle, from_one_hot, one_hot

#: Short enough that all their shuffles can be listed; the first is the one on which deeplift returns its input.
SHORT = ("ACGTACAGT", "GATTACAGA", "AACAGGACA", "ACGACGTCA", "CTTCTCGCA")
DRAWS, N, LENGTH = 5_000, 100_000, 200


def all_shuffles(sequence: str) -> list[str]:
    """Every sequence with the same ends and the same dinucleotides."""

    def pairs(each: str) -> Counter[str]:
        return Counter(a + b for a, b in itertools.pairwise(each))

    inner = {"".join(each) for each in itertools.permutations(sequence[1:-1])}
    every = (sequence[0] + each + sequence[-1] for each in inner)
    return sorted(each for each in every if pairs(each) == pairs(sequence))


def ours(x: np.ndarray, k: int) -> np.ndarray:
    return dinucleotide_shuffle(x, k, seed=0)


def theirs(x: np.ndarray, k: int) -> np.ndarray:
    return tangermeme_shuffle(torch.from_numpy(x), n=k, random_state=0).numpy()


def uniformity(draw: Callable[[np.ndarray, int], np.ndarray], sequence: str) -> dict[str, object]:
    """How many of the shuffles were met in ``DRAWS`` draws, and the p-value of all being as likely."""
    paths = all_shuffles(sequence)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            drawn = Counter(from_one_hot(draw(one_hot([sequence]), DRAWS)[0]))
    except ValueError as error:
        return {"shuffles": len(paths), "met": 0, "p": 0.0, "refused": str(error)[:60]}
    p = float(stats.chisquare([drawn[path] for path in paths]).pvalue)
    return {"shuffles": len(paths), "met": len(drawn), "p": round(p, 4)}


def cpu_seconds(draw: Callable[[np.ndarray, int], np.ndarray], x: np.ndarray, k: int) -> float:
    """The least of three runs, after one that compiles."""
    draw(x[:4], 2)
    seconds = []
    for _ in range(3):
        start = time.process_time()
        draw(x, k)
        seconds.append(time.process_time() - start)
    return round(min(seconds), 2)


def main() -> bool:
    torch.set_num_threads(1)
    letters = np.random.default_rng(0).choice(np.frombuffer(b"ACGT", dtype=np.uint8), (N, LENGTH))
    x = one_hot([row.tobytes().decode() for row in letters])
    even = {
        sequence: {"whycell": uniformity(ours, sequence), "tangermeme": uniformity(theirs, sequence)}
        for sequence in SHORT
    }
    few = x[: N // 20]
    seconds = {
        f"{N:,} x {LENGTH} bp, one shuffle each, CPU-s": {
            "whycell": cpu_seconds(ours, x, 1),
            "tangermeme": cpu_seconds(theirs, x, 1),
        },
        f"{len(few):,} x {LENGTH} bp, 20 shuffles each, CPU-s": {
            "whycell": cpu_seconds(ours, few, 20),
            "tangermeme": cpu_seconds(theirs, few, 20),
        },
    }
    found = [each["whycell"] for each in even.values()]
    limits = {
        "share of the shuffles that is met": (min(each["met"] / each["shuffles"] for each in found), ">=", 1.0),
        "every shuffle as likely: least p of five, chi-square": (min(each["p"] for each in found), ">=", 0.002),
        "100,000 x 200 bp, CPU-s": (next(iter(seconds.values()))["whycell"], "<=", 10.0),
    }
    return report("dinucleotide", {f"uniformity in {DRAWS:,} draws": even} | seconds, limits=limits)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
