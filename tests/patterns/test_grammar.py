"""Grammar that was planted is found, and none where there is none."""

import numpy as np
import pandas as pd
import pytest

from whycell.encode.sequences import from_one_hot, one_hot
from whycell.errors import UsageError
from whycell.patterns.empty_grounds import empty_backgrounds
from whycell.patterns.gap_counts import counted_gaps, pairs_seen
from whycell.patterns.gap_tests import helix, scan, signs
from whycell.patterns.grammar import draws_for, grammar_of_pair, n_tests, with_q_values
from whycell.patterns.insertions import Insertions, core_of, placements
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


def asked(predict, first, second, x, gaps, *, permutations=2000, seed=0, letters="likeliest"):
    network = Insertions(predict, x, letters=letters, seed=seed)
    return grammar_of_pair(first, second, network=network, gaps=gaps, permutations=permutations, seed=seed)


def test_a_preferred_range_and_order_are_found():
    found = asked(network(gap=10, order=True), A, B, backgrounds(0), range(31), permutations=draws_for(16))
    table = with_q_values([found]).set_index(["question", "order", "strands"])
    gap = table.loc[("gap", "AB", "++")]
    assert gap["q"] < 0.01
    assert gap["reported"]
    assert gap["gaps"] == "9-11"
    assert gap["effect"] == pytest.approx(1.5, abs=0.2)
    order = table.loc[("order", "AB v BA", "++")]
    assert order["q"] < 0.01
    assert order["best"] == "AB"
    assert not table.loc[("gap", "AB", "+-"), "reported"]


def test_none_is_reported_where_none_was_planted_over_twenty_seeds():
    for seed in range(20):
        found = asked(network(seed=seed), A, B, backgrounds(seed), range(0, 31, 5), permutations=500, seed=seed)
        assert not with_q_values([found])["reported"].any(), seed


def test_a_network_that_adds_up_has_no_interaction():
    weights = np.random.default_rng(1).normal(size=(4, 80))
    found = asked(lambda x: (x * weights).sum(axis=(1, 2)), A, B, backgrounds(1), (0, 5, 10))
    np.testing.assert_allclose(found.interactions["interaction"], 0, atol=1e-4)
    assert (found.tests["p"] > 0.05).all()


def test_what_was_asked_before_is_not_asked_again_and_is_the_same():
    weights = np.random.default_rng(2).normal(size=(6, 4, 80))
    count = []

    def predict(x):
        count.append(len(x))
        return np.tanh(np.einsum("nbl,kbl->nk", x, weights) / 10).prod(axis=1) * 100

    x, gaps = backgrounds(2), (0, 3, 7)
    held = Insertions(predict, x, shift=4, letters="drawn", seed=3)
    for placed in placements(A, B, gaps):
        values, _ = held.interaction(placed)
        fresh = Insertions(predict, x, shift=4, letters="drawn", seed=3)
        np.testing.assert_allclose(values, fresh.interaction(placed)[0], atol=1e-9)
    before = sum(count)
    for placed in placements(A, B, gaps):
        held.interaction(placed)
    assert sum(count) - before == 4 * len(gaps) * len(x)


def test_the_arrangements_are_all_there_are_to_a_network_that_reads_both_strands_alike():
    turn = {"+": "-", "-": "+"}
    every = {(order, s + t) for order in ("AB", "BA") for s in "+-" for t in "+-"}
    kept = {(p.order, p.strands) for p in placements(A, B, (0, 1))}
    from_other_strand = {("BA" if o == "AB" else "AB", turn[s[0]] + turn[s[1]]) for o, s in kept}
    assert not kept & from_other_strand
    assert kept | from_other_strand == every
    # Of a motif with itself the right one is named by its place, so that turning exchanges the two signs as well.
    own = {p.strands for p in placements(A, A, (0, 1))}
    assert own | {turn[s[1]] + turn[s[0]] for s in own} == {"++", "--", "+-", "-+"}


def test_drawn_letters_follow_the_shares_and_cores_leave_out_empty_ends():
    shares = np.full((4, 9), 0.25)
    shares[:, 2:7] = 0.1
    shares[0, 2:7] = 0.7
    core, left, right = core_of(Motif("C", shares, shares, shares, pd.DataFrame()))
    assert (left, right, core.width) == (2, 2, 5)
    x = np.eye(4, dtype=np.uint8)[np.random.default_rng(0).integers(0, 4, (4000, 20))].transpose(0, 2, 1)
    drawn = Insertions(lambda x: x[:, 0].sum(axis=1), x, letters="drawn")
    (placed, *_) = placements(core, core, (0, 2))
    drawn.interaction(placed)
    assert drawn.alone(core).mean() == pytest.approx(5 * (0.7 - 0.25), abs=0.05)


def test_a_motif_with_itself_has_three_arrangements():
    found = asked(network(), A, A, backgrounds(2), (3, 8))
    assert set(found.interactions["order"]) == {"AB"}
    assert set(found.interactions["strands"]) == {"++", "+-", "-+"}
    assert len(found.alone) == 1


@pytest.mark.parametrize(("first", "second"), [(A, B), (A, A)])
def test_the_number_of_tests_is_known_beforehand(first, second):
    found = asked(lambda x: x[:, 0, 0].astype(float), first, second, backgrounds(4), range(25), permutations=50)
    assert len(found.tests) == n_tests(pairs=int(first is not second), alone=int(first is second))


def test_sequences_too_short_for_the_gap_are_told():
    with pytest.raises(UsageError, match="take 94 of 80"):
        asked(network(), A, B, backgrounds(3), (0, 80))
    with pytest.raises(UsageError, match="1 gaps of 3 letters or more"):
        asked(network(), A, B, backgrounds(3), (0, 1, 2, 3))


def test_ranges_that_stay_together_are_judged_rightly():
    """Noise that is alike at neighbouring gaps, and skewed: of true nulls no more than so many are significant."""
    rng = np.random.default_rng(0)
    small = 0
    for seed in range(300):
        walk = np.cumsum(rng.exponential(1, (40, 31)) - 1, axis=1)
        small += scan(walk, signs(40, 400, seed=seed), centred=True).p <= 0.05
    assert small / 300 < 0.09


def test_turns_of_the_helix_are_told_from_one_preferred_range():
    rng = np.random.default_rng(1)
    at, flips = np.arange(31), signs(40, 2000, seed=0)
    noise = rng.normal(0, 0.5, (40, 31))
    first, amplitude, p = helix(noise + np.cos(2 * np.pi * (at - 4) / 10.5), flips)
    assert (first, p < 0.01) == (4, True)
    assert amplitude == pytest.approx(1, abs=0.2)
    assert helix(noise + 3.0 * ((at >= 8) & (at <= 12)), flips)[2] > 0.01
    assert helix(noise + np.exp(-at / 5), flips)[2] > 0.01


def test_backgrounds_hold_no_motif():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (200, 60))
    letters = A.letters.argmax(axis=0)
    places = rng.integers(0, 54, 200)
    for row, at in enumerate(places):
        codes[row, at : at + 6] = letters
    x = np.eye(4, dtype=np.uint8)[codes].transpose(0, 2, 1).copy()
    sites = pd.DataFrame({"sequence": range(200), "start": places, "stop": places + 6, "strand": "+"})
    motif = Motif("A", A.letters, A.letters, A.letters, sites)
    made, holding = empty_backgrounds(x, sites, [motif], n=40)
    assert made.shape == (40, 4, 60)
    assert holding == 0
    assert not any("GATAAG" in text or turned("GATAAG") in text for text in from_one_hot(made))


def test_real_pairs_are_counted_for_what_a_test_speaks_of():
    places = [
        ("A", "B", o, s, gap, 1 + 10 * (o == "BA")) for o in ("AB", "BA") for s in ("++", "+-") for gap in range(9)
    ]
    counted = pd.DataFrame(places, columns=["first", "second", "order", "strands", "gap", "n"])
    asked_of = [("A", "B", "AB", "++", "2-4"), ("A", "B", "AB v BA", "+-", "3"), ("A", "B", "AB", "++ v +-", "0-8")]
    tests = pd.DataFrame(asked_of, columns=["first", "second", "order", "strands", "gaps"], index=[7, 1, 3])
    assert pairs_seen(tests, counted).to_dict() == {7: 3, 1: 11, 3: 9}


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
    found, ranges = counted_gaps(hits, "A", second="B", most=50)
    best = found.iloc[0]
    assert (best["order"], best["strands"], best["gap"]) == ("AB", "++", 7)
    assert best["q"] < 0.01
    assert not (found["q"].iloc[1:] < 0.01).any()
    best = ranges.sort_values("p", kind="stable").iloc[0]
    assert (best["order"], best["strands"], best["gaps"]) == ("AB", "++", "7")
    assert best["p"] < 0.01
