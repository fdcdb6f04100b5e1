"""Grammar: does a motif's effect depend on another, on how far apart they stand, in which order and on which strand?

Two motifs are written into backgrounds that hold neither (``patterns.insertions``), and the network is asked four
times:

    I = f(AB) - f(A) - f(B) + f(background)

as a function of the gap between them, their order and their strands, each motif alone at the place it has beside the
other: what a place near the border adds is taken off. Five questions are tested over the backgrounds, by flipping signs
of their profiles (``patterns.gap_tests``):

- *gap*: is there a range of gaps over which I is higher or lower than at the others?
- *order*, *strand*: do two arrangements differ, over all gaps or over a range of them?
- *helix*: does I come again at every turn of the double helix, 10.5 letters?
- *together*: is I other than zero on the whole? A network that has been convinced by one motif has little to add for
  the other, so that I below zero may be the network's flattening and no grammar; the other questions compare I with I.

Where hardly a letter lies between two motifs, each is written over the flank of the other, and a network that reads a
little of that flank shows an interaction that is none: gaps below three letters are asked and shown, and not tested
unless asked for. Motifs that touch in real sequences are found as one.

Benjamini and Hochberg's q-values are over all the tests. A network's answers have no noise of measuring, so that a
dependence of no interest is significant in enough backgrounds: what is *reported* is also at least a stated part of
what the motifs do by themselves. And a network answers of arrangements that no sequence showed it, too: how many real
pairs stand as a test speaks of is counted (``patterns.gap_counts.pairs_seen``), and where hardly any do, it is a guess.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from whycell.errors import UsageError
from whycell.patterns.gap_tests import helix, mean_of, scan, signs
from whycell.patterns.insertions import Insertions, placements
from whycell.results.grammar import PairGrammar
from whycell.results.motifs import Motif

__all__ = ["CLOSEST", "draws_for", "grammar_of_pair", "n_tests", "with_q_values"]

#: Letters between two motifs from which on they are tested: nearer, one is written over the other's flank.
CLOSEST = 3
_FEWEST_DRAWS = 10_000
_LEAST_SHARE = 0.5
_TURNS = 22  # gaps in a row that show two turns of the helix
_NORMAL = 1.96

Row = tuple[str, str, str, str, str, float, float]


def grammar_of_pair(
    first: Motif,
    second: Motif,
    *,
    network: Insertions,
    gaps: Sequence[int] = tuple(range(31)),
    closest: int = CLOSEST,
    permutations: int = _FEWEST_DRAWS,
    seed: int = 0,
) -> PairGrammar:
    """Interactions of two motifs, or of one with itself, by insertion.

    Parameters
    ----------
    first, second
        Motifs, or cores of them; one and the same object for a motif beside itself.
    network
        What is asked, with its backgrounds.
    gaps
        Letters between the two.
    closest
        Smallest gap that is tested; smaller ones are in the table of interactions.
    permutations, seed
        Of the tests; see ``draws_for``.

    Raises
    ------
    UsageError
        The sequences are too short for the widest gap, or fewer than two gaps are tested.
    """
    gaps = sorted(gaps)
    network.check_room(first, second, gaps)
    found: dict[tuple[str, str], np.ndarray] = {}
    rows = list[pd.DataFrame]()
    for placed in placements(first, second, gaps):
        values, both = network.interaction(placed)
        found[placed.order, placed.strands] = values
        half = _NORMAL * values.std(axis=0, ddof=1) / np.sqrt(len(values))
        mean = values.mean(axis=0)
        columns = {"order": placed.order, "strands": placed.strands, "gap": list(gaps), "interaction": mean}
        rows.append(pd.DataFrame({**columns, "low": mean - half, "high": mean + half, "together": both.mean(axis=0)}))
    flips = signs(len(network.plain), permutations, seed=seed)
    tested = [gap for gap in gaps if gap >= closest]
    if len(tested) < 2:
        msg = f"{len(tested)} gaps of {closest} letters or more are asked for; wanted two, to compare them."
        raise UsageError(msg)
    kept = {kind: values[:, -len(tested) :] for kind, values in found.items()}
    tests = _each(kept, flips, tested) + _contrasts(kept, flips, tested)
    alone = pd.DataFrame(
        [(m.name, *_interval(network.alone(m))) for m in _apart(first, second)],
        columns=["motif", "effect", "low", "high"],
    )
    return PairGrammar(
        first.name,
        second.name,
        pd.concat(rows, ignore_index=True),
        pd.DataFrame(tests, columns=["question", "order", "strands", "best", "gaps", "effect", "p"]),
        alone,
        max(float(alone["effect"].abs().max()), float(network.plain.std()), 1e-12),
    )


def n_tests(*, pairs: int, alone: int) -> int:
    """How many tests are made of so many pairs of different motifs and of motifs beside themselves (``alone``)."""
    return 16 * pairs + 12 * alone


def draws_for(tests: int, *, fdr: float = 0.01) -> int:
    """Draws that let one finding among so many ``tests`` reach a q-value of ``fdr``, twice over."""
    return max(_FEWEST_DRAWS, int(np.ceil(2 * tests / fdr)))


def with_q_values(
    grammars: Sequence[PairGrammar] | Mapping[str, Sequence[PairGrammar]],
    *,
    fdr: float = 0.01,
    least: float = _LEAST_SHARE,
) -> pd.DataFrame:
    """All tests of several pairs in one table, with ``q`` and whether each is ``reported``.

    Parameters
    ----------
    grammars
        Of the pairs; or those of each task, by its name, which becomes a column.
    fdr
        Largest ``q`` that is reported.
    least
        Smallest effect that is reported, as a part of the pair's ``scale``.
    """
    from scipy.stats import false_discovery_control

    named = grammars if isinstance(grammars, Mapping) else {"": grammars}
    tables = [
        g.tests.assign(task=task, first=g.first, second=g.second, share=g.tests["effect"].abs() / g.scale)
        for task, pairs in named.items()
        for g in pairs
    ]
    table = pd.concat(tables, ignore_index=True)
    table["q"] = false_discovery_control(table["p"])
    table["reported"] = (table["q"] <= fdr) & (table["share"] >= least)
    names = ["first", "second", "question", "order", "strands", "best", "gaps", "effect", "share", "p", "q", "reported"]
    names = names if not isinstance(grammars, Mapping) else ["task", *names]
    return table[names].sort_values(["q", "share"], ascending=[True, False], kind="stable", ignore_index=True)


def _apart(first: Motif, second: Motif) -> list[Motif]:
    return [first] if first is second else [first, second]


def _interval(values: np.ndarray) -> tuple[float, float, float]:
    mean, half = float(values.mean()), _NORMAL * float(values.std(ddof=1)) / np.sqrt(len(values))
    return mean, mean - half, mean + half


def _told(gaps: Sequence[int], start: int, stop: int) -> str:
    return str(gaps[start]) if stop - start == 1 else f"{gaps[start]}-{gaps[stop - 1]}"


def _each(found: Mapping[tuple[str, str], np.ndarray], flips: np.ndarray, gaps: Sequence[int]) -> list[Row]:
    """What is asked of every arrangement by itself."""
    every = _told(gaps, 0, len(gaps))
    in_a_row = len(gaps) >= _TURNS and list(gaps) == list(range(gaps[0], gaps[0] + len(gaps)))
    rows: list[Row] = []
    for (order, strands), values in found.items():
        one = scan(values, flips, centred=True)
        told = _told(gaps, one.start, one.stop)
        rows.append(("gap", order, strands, told, told, one.effect, one.p))
        rows.append(("together", order, strands, "", every, *mean_of(values.mean(axis=1), flips)))
        if in_a_row:
            first, amplitude, p = helix(values, flips)
            rows.append(("helix", order, strands, str(gaps[first]), every, amplitude, p))
    return rows


def _contrasts(found: Mapping[tuple[str, str], np.ndarray], flips: np.ndarray, gaps: Sequence[int]) -> list[Row]:
    """Order against order on the same strands, and strands against strands in the same order."""
    rows: list[Row] = []
    kinds = list(found)
    for at, one in enumerate(kinds):
        for other in kinds[at + 1 :]:
            if (one[0] == other[0]) == (one[1] == other[1]):
                continue
            best = scan(found[one] - found[other], flips, centred=False)
            more = one if best.effect > 0 else other
            told = _told(gaps, best.start, best.stop)
            if one[1] == other[1]:
                rows.append(("order", f"{one[0]} v {other[0]}", one[1], more[0], told, abs(best.effect), best.p))
            else:
                rows.append(("strand", one[0], f"{one[1]} v {other[1]}", more[1], told, abs(best.effect), best.p))
    return rows
