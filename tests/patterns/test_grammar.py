"""Grammar that was planted is found, and none where there is none."""

import numpy as np
import pandas as pd
import pytest

from whycell.encode.sequences import one_hot
from whycell.errors import UsageError
from whycell.patterns.grammar import counted_gaps, grammar_of_pair, with_q_values
from whycell.results.motifs import Motif


def motif(name, letters):
    shares = one_hot([letters])[0] * 0.96 + 0.01
    return Motif(name, shares, shares, shares, pd.DataFrame())


A, B = motif("A", "GATAAG"), motif("B", "CAGCTGTT")


def places(x, letters):
    """(n, length) where the letters stand, on the strand that is read."""
    wanted = one_hot([letters])[0]
    width = wanted.shape[1]
    n = x.shape[2] - width + 1
    return np.stack([(x[:, :, at : at + width] * wanted).sum(axis=(1, 2)) == width for at in range(n)], axis=1)


def turned(letters):
    return letters.translate(str.maketrans("ACGT", "TGCA"))[::-1]


def network(*, gap=None, order=False, seed=0):
    """Counts motifs on either strand; B 8 to 12 letters behind A adds more, where asked. Noise stands for the rest."""

    def predict(x):
        a = places(x, "GATAAG").any(axis=1) + places(x, turned("GATAAG")).any(axis=1)
        b = places(x, "CAGCTGTT").any(axis=1) + places(x, turned("CAGCTGTT")).any(axis=1)
        score = 1.0 * a + 1.0 * b
        first, second = places(x, "GATAAG"), places(x, "CAGCTGTT")
        for row in np.flatnonzero(first.any(axis=1) & second.any(axis=1)):
            at, there = first[row].argmax(), second[row].argmax()
            between = there - at - 6 if there > at else at - there - 8
            if gap is not None and abs(between - gap) <= 1:
                score[row] += 1.5
            if order and there > at:
                score[row] += 0.8
        noise = np.random.default_rng(seed).normal(0, 0.3, x.shape[1:])
        return score + (x * noise).sum(axis=(1, 2)) * 0.1

    return predict


def backgrounds(seed):
    letters = np.random.default_rng(seed).integers(0, 4, (40, 80))
    return np.eye(4, dtype=np.float32)[letters].transpose(0, 2, 1).copy()


def test_a_preferred_gap_and_order_are_found():
    found = grammar_of_pair(network(gap=10, order=True), A, B, backgrounds(0), gaps=range(0, 31, 2), seed=0)
    table = with_q_values([found]).set_index(["question", "order", "strands"])
    gap = table.loc[("gap", "AB", "++")]
    assert gap["q"] < 0.01
    assert gap["reported"]
    assert gap["best"] == "10"
    order = table.loc[("order", "", "++")]
    assert order["q"] < 0.01
    assert order["best"] == "AB"
    assert not table.loc[("gap", "AB", "+-"), "reported"]


def test_none_is_reported_where_none_was_planted_over_twenty_seeds():
    for seed in range(20):
        found = grammar_of_pair(
            network(seed=seed), A, B, backgrounds(seed), gaps=range(0, 31, 3), permutations=500, seed=seed
        )
        assert not with_q_values([found])["reported"].any(), seed


def test_a_network_that_adds_up_has_no_interaction():
    weights = np.random.default_rng(1).normal(size=(4, 80))
    found = grammar_of_pair(lambda x: (x * weights).sum(axis=(1, 2)), A, B, backgrounds(1), gaps=(0, 5, 10))
    np.testing.assert_allclose(found.interactions["interaction"], 0, atol=1e-4)


def test_a_motif_with_itself_has_one_order():
    found = grammar_of_pair(network(), A, A, backgrounds(2), gaps=(0, 5))
    assert set(found.interactions["order"]) == {"AB"}
    assert set(found.interactions["strands"]) == {"++", "+-", "-+"}


def test_sequences_too_short_for_the_gap_are_told():
    with pytest.raises(UsageError, match="take 94 of 80"):
        grammar_of_pair(network(), A, B, backgrounds(3), gaps=(0, 80))


def test_gaps_are_counted_on_either_strand_against_hits_dealt_anew():
    rng = np.random.default_rng(0)
    rows = []
    for sequence in range(300):
        start, strand = int(rng.integers(0, 60)), "+-"[sequence % 2]
        near = sequence % 3 == 0
        other = start + 6 + 7 if strand == "+" else start - 7 - 8
        other = other if near else int(rng.integers(0, 100))
        rows.append(("A", sequence, start, start + 6, strand))
        rows.append(("B", sequence, other, other + 8, strand if near else "+-"[int(rng.integers(2))]))
    hits = pd.DataFrame(rows, columns=["motif", "sequence", "start", "stop", "strand"])
    found = counted_gaps(hits, "A", "B", most=50)
    best = found.iloc[0]
    assert (best["order"], best["strands"], best["gap"]) == ("AB", "++", 7)
    assert best["q"] < 0.01
    assert not (found["q"].iloc[1:] < 0.01).any()
