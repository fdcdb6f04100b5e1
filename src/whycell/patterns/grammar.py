"""Grammar: does a motif's effect depend on another, on how far apart they stand, in which order and on which strand?

*By insertion.* Two motifs are written into backgrounds that hold neither, and the network is asked four times:

    I = f(AB) - f(A) - f(B) + f(background)

as a function of the gap between them, their order and their strands. Whether the gap matters is tested by shuffling the
gaps within each background, against the largest deviation of any gap (so that looking at many gaps costs nothing);
whether the order or the strand matters, and whether there is any interaction, by flipping signs of the backgrounds'
differences. Benjamini and Hochberg's q-values are over all the tests. A network's answers have no noise of measuring,
so that a tiny dependence of no interest is significant in enough backgrounds: what is *reported* must also be at least
a stated part of what the motifs do by themselves.

*As counted.* How far apart hits of the two stand in real sequences, against the same hits dealt anew among the
sequences that hold both: of as many pairs, is one gap commoner than where the hits lie would make it?
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from whycell.errors import UsageError
from whycell.results.motifs import Motif

__all__ = ["Grammar", "counted_gaps", "grammar_of_pair", "with_q_values"]

Predict = Callable[[np.ndarray], np.ndarray]
STRANDS = ("++", "+-", "-+", "--")
_TURNED = {"+": "-", "-": "+"}


@dataclass(frozen=True)
class Grammar:
    """What two motifs do together.

    Parameters
    ----------
    first, second
        Names of the motifs.
    interactions
        One row an arrangement: ``order`` (``"AB"`` or ``"BA"``), ``strands``, ``gap``, ``interaction`` (mean over the
        backgrounds), ``error`` (its standard error) and ``p`` of the gap against the other gaps.
    tests
        One row a question: ``question`` (``"interaction"``, ``"gap"``, ``"order"``, ``"strand"``), ``order``,
        ``strands``, ``best`` (the gap, order or strands with the largest interaction), ``effect`` and ``p``.
    alone
        Mean effect of the first and of the second motif by itself.
    """

    first: str
    second: str
    interactions: pd.DataFrame
    tests: pd.DataFrame
    alone: tuple[float, float]


def grammar_of_pair(
    predict: Predict,
    first: Motif,
    second: Motif,
    background: np.ndarray,
    *,
    gaps: Sequence[int] = tuple(range(31)),
    permutations: int = 2000,
    seed: int = 0,
) -> Grammar:
    """Interactions of two motifs, or of one with itself, by insertion.

    Parameters
    ----------
    predict
        From (n, 4, length) one-hot to (n,) numbers, such as logits of a task.
    first, second
        Motifs, written in by their likeliest letters.
    background
        (n, 4, length) sequences that hold neither, such as dinucleotide shuffles; 30 or more.
    gaps
        Letters between the two.
    permutations, seed
        Of the tests.

    Raises
    ------
    UsageError
        The sequences are too short for the widest gap, or fewer than two gaps are asked for.
    """
    length, widest = background.shape[2], first.width + second.width + max(gaps)
    if widest > length or len(gaps) < 2:
        msg = (
            f"{first.name} and {second.name} with gaps up to {max(gaps)} take {widest} of {length} letters, at "
            f"{len(gaps)} gaps; wanted two gaps or more, none longer than {length - first.width - second.width}."
        )
        raise UsageError(msg)
    same = first is second
    rng = np.random.default_rng(seed)
    plain = np.asarray(predict(background), dtype=np.float64)
    arrangements = _arrangements(same=same)
    effects = {key: _interaction(predict, plain, first, second, background, key, gaps) for key in arrangements}
    found = {key: effect[0] for key, effect in effects.items()}
    rows, tests = [], []
    for (order, strands), values in found.items():
        p = _p_of_gaps(values, permutations, rng)
        mean, error = values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values))
        rows += [(order, strands, g, m, e, q) for g, m, e, q in zip(gaps, mean, error, p, strict=True)]
        best = int(np.abs(mean - mean.mean()).argmax())
        tests.append(("gap", order, strands, str(gaps[best]), float(mean[best] - mean.mean()), float(p.min())))
        whole = values.mean(axis=1)
        tests.append(("interaction", order, strands, "", float(whole.mean()), _p_of_signs(whole, permutations, rng)))
    tests += _contrasts(found, permutations, rng, same=same)
    alone = tuple(float(np.mean([e[which].mean() for e in effects.values()])) for which in (1, 2))
    return Grammar(
        first.name,
        second.name,
        pd.DataFrame(rows, columns=["order", "strands", "gap", "interaction", "error", "p"]),
        pd.DataFrame(tests, columns=["question", "order", "strands", "best", "effect", "p"]),
        (alone[0], alone[1]),
    )


def with_q_values(grammars: Sequence[Grammar], *, fdr: float = 0.01, least: float = 0.1) -> pd.DataFrame:
    """All tests of several pairs in one table, with ``q`` and whether each is ``reported``.

    Parameters
    ----------
    grammars
        Of the pairs.
    fdr
        Largest ``q`` that is reported.
    least
        Smallest effect that is reported, as a part of the larger effect of the two motifs alone.
    """
    from scipy.stats import false_discovery_control

    tables = [g.tests.assign(first=g.first, second=g.second, share=_shares(g)) for g in grammars]
    table = pd.concat(tables, ignore_index=True)
    table["q"] = false_discovery_control(table["p"])
    table["reported"] = (table["q"] <= fdr) & (table["share"] >= least)
    names = ["first", "second", "question", "order", "strands", "best", "effect", "share", "p", "q", "reported"]
    return table[names].sort_values(["q", "share"], ascending=[True, False], kind="stable", ignore_index=True)


def counted_gaps(
    hits: pd.DataFrame, first: str, second: str, *, most: int = 100, permutations: int = 200, seed: int = 0
) -> pd.DataFrame:
    """Gaps between neighbouring hits of two motifs in the same sequence, counted, against hits dealt anew.

    Parameters
    ----------
    hits
        From ``find_hits``.
    first, second
        Names of motifs; may be the same.
    most
        Largest gap counted.
    permutations, seed
        Of the null: each sequence keeps its hits of the first, and has those of the second from another sequence.

    Returns
    -------
    One row an order, strands and gap that occurs: ``order``, ``strands``, ``gap``, ``n``, ``expected``, ``p``, ``q``.
    """
    from scipy.stats import binom, false_discovery_control

    rng = np.random.default_rng(seed)
    one, other = (hits[hits["motif"] == name] for name in (first, second))
    both = np.intersect1d(one["sequence"], other["sequence"])
    one, other = one[one["sequence"].isin(both)], other[other["sequence"].isin(both)]
    seen = _gaps(one, other, most, same=first == second)
    dealt_counts = np.ones(seen.shape)  # a gap that no deal had is not impossible
    for _ in range(permutations):
        dealt = other.assign(sequence=other["sequence"].map(dict(zip(both, rng.permutation(both), strict=True))))
        dealt_counts += _gaps(one, dealt, most, same=first == second)
    share, total = dealt_counts / dealt_counts.sum(), seen.sum()
    order, strands, gap = np.nonzero(seen)
    n, expected = seen[seen > 0], total * share[seen > 0]
    p = binom.sf(n - 1, total, share[seen > 0])
    q = false_discovery_control(p) if len(p) else p
    columns = {"order": np.array(["AB", "BA"])[order], "strands": np.array(STRANDS)[strands], "gap": gap}
    table = pd.DataFrame({**columns, "n": n.astype(np.int64), "expected": expected, "p": p, "q": q})
    return table.sort_values("q", kind="stable", ignore_index=True)


def _arrangements(*, same: bool) -> list[tuple[str, str]]:
    """Orders and strands that differ; of a motif with itself, A then B is B then A."""
    strands = ("++", "+-", "-+") if same else ("++", "+-")
    return [(order, s) for order in (("AB",) if same else ("AB", "BA")) for s in strands]


def _interaction(
    predict: Predict,
    plain: np.ndarray,
    first: Motif,
    second: Motif,
    background: np.ndarray,
    arrangement: tuple[str, str],
    gaps: Sequence[int],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n, n_gaps) interaction, and effect of either alone at the same places."""
    order, strands = arrangement
    one, other = _letters(first, strands[0]), _letters(second, strands[1])
    left, right = (one, other) if order == "AB" else (other, one)
    middle = background.shape[2] // 2
    columns = []
    for gap in gaps:
        start = middle - (left.shape[1] + gap + right.shape[1]) // 2
        second_at = start + left.shape[1] + gap
        with_left, with_right = _written(background, left, start), _written(background, right, second_at)
        together = _written(with_left, right, second_at)
        asked = np.concatenate([together, with_left, with_right])
        columns.append(np.asarray(predict(asked), dtype=np.float64).reshape(3, -1))
    both, left_alone, right_alone = np.stack(columns, axis=2)
    base = plain[:, None]
    alone = (left_alone - base, right_alone - base)
    of_first, of_second = alone if order == "AB" else alone[::-1]
    return both - left_alone - right_alone + base, of_first, of_second


def _letters(motif: Motif, strand: str) -> np.ndarray:
    best = np.eye(4, dtype=np.float32)[motif.letters.argmax(axis=0)].T
    return best if strand == "+" else best[::-1, ::-1]


def _written(x: np.ndarray, letters: np.ndarray, start: int) -> np.ndarray:
    out = x.copy()
    out[:, :, start : start + letters.shape[1]] = letters
    return out


def _p_of_gaps(values: np.ndarray, permutations: int, rng: np.random.Generator) -> np.ndarray:
    """(n_gaps,) p-value of each gap's deviation, against the largest deviation of gaps shuffled in each background."""
    centred = values - values.mean(axis=1, keepdims=True)
    spread = centred.std(ddof=1) / np.sqrt(len(values)) or 1.0
    seen = np.abs(centred.mean(axis=0)) / spread
    largest = np.empty(permutations)
    for at in range(permutations):
        largest[at] = np.abs(rng.permuted(centred, axis=1).mean(axis=0)).max() / spread
    return (1 + (largest[:, None] >= seen[None, :] - 1e-12).sum(axis=0)) / (permutations + 1)


def _p_of_signs(values: np.ndarray, permutations: int, rng: np.random.Generator) -> float:
    """Sign-flip test of a mean of zero."""
    flips = rng.choice((-1.0, 1.0), size=(permutations, len(values)))
    null = np.abs(flips @ values) / len(values)
    return float((1 + (null >= abs(values.mean()) - 1e-12).sum()) / (permutations + 1))


def _contrasts(
    found: dict[tuple[str, str], np.ndarray], permutations: int, rng: np.random.Generator, *, same: bool
) -> list[tuple[str, str, str, str, float, float]]:
    """Order against order on the same strands, and strands against strands in the same order."""
    tests = []
    pairs = [] if same else [("order", ("AB", s), ("BA", s)) for s in ("++", "+-")]
    orders = ("AB",) if same else ("AB", "BA")
    pairs += [("strand", (order, "++"), (order, "+-")) for order in orders]
    for question, one, other in pairs:
        gap = (found[one] - found[other]).mean(axis=1)
        which = 0 if question == "order" else 1
        best = (one if gap.mean() > 0 else other)[which]
        order, strands = ("", one[1]) if question == "order" else (one[0], "")
        tests.append((question, order, strands, best, float(gap.mean()), _p_of_signs(gap, permutations, rng)))
    return tests


def _shares(grammar: Grammar) -> np.ndarray:
    largest = max(abs(grammar.alone[0]), abs(grammar.alone[1]), 1e-12)
    return np.abs(grammar.tests["effect"].to_numpy()) / largest


def _gaps(one: pd.DataFrame, other: pd.DataFrame, most: int, *, same: bool) -> np.ndarray:
    """(2, 4, most + 1) counts by order, strands and gap of pairs in the same sequence."""
    pairs = one[["sequence", "start", "stop", "strand"]].merge(
        other[["sequence", "start", "stop", "strand"]], on="sequence", suffixes=("_a", "_b")
    )
    if same:
        pairs = pairs[pairs["start_a"] < pairs["start_b"]]
    ahead = (pairs["start_b"] - pairs["stop_a"]).to_numpy()
    behind = (pairs["start_a"] - pairs["stop_b"]).to_numpy()
    order = np.where(pairs["start_a"] <= pairs["start_b"], 0, 1)
    gap = np.where(order == 0, ahead, behind)
    strands = (pairs["strand_a"] + pairs["strand_b"]).map({s: at for at, s in enumerate(STRANDS)}).to_numpy()
    # Either strand may be read: a pair on - - in the order BA is the pair + + in the order AB.
    turned = np.isin(strands, [STRANDS.index("--"), STRANDS.index("-+")])
    swapped = np.array([STRANDS.index("".join(_TURNED[c] for c in s)) for s in STRANDS])
    order, strands = np.where(turned, 1 - order, order), np.where(turned, swapped[strands.astype(int)], strands)
    counts = np.zeros((2, len(STRANDS), most + 1))
    good = (gap >= 0) & (gap <= most)
    np.add.at(counts, (order[good], strands[good].astype(int), gap[good]), 1)
    return counts
