"""One motif in two contexts: what was planted is found, and what differs by chance alone is not."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whycell.errors import DataError
from whycell.patterns.contexts import compare_uses, judged_use, match_motifs, same_instances, used_where, window_sums
from whycell.patterns.same_places import Side, pair_sequences
from whycell.results import Motif


def _one_hot(text):
    return (np.array(list(text))[None] == np.array(list("ACGT"))[:, None]).astype(np.float32)


def _side(texts, contributions=None, **places):
    letters = np.array([["ACGTN".index(letter) for letter in text] for text in texts], dtype=np.uint8)
    contributions = np.zeros(letters.shape) if contributions is None else contributions
    return Side(letters, contributions, np.array([f"s{i}" for i in range(len(letters))], dtype=object), **places)


def _random(rng, n, length):
    return ["".join(rng.choice(list("ACGT"), length)) for _ in range(n)]


def _motif(name, text):
    letters = 0.9 * _one_hot(text) + 0.025
    return Motif(name, letters, letters, letters, pd.DataFrame({"strand": ["+"]}))


def test_motifs_are_matched_once_each_on_either_strand():
    first = [_motif("positive_1", "TGACGTAC"), _motif("positive_2", "GGGCCCAA")]
    second = [_motif("positive_1", "AACCTTGG"), _motif("positive_2", "GTACGTCA")]
    pairs = match_motifs(first, second)
    named = [(a.name if a else None, b.name if b else None) for a, b, _ in pairs]
    assert named == [("positive_1", "positive_2"), ("positive_2", None), (None, "positive_1")]


def test_sequences_are_paired_by_letters_whichever_strand():
    rng = np.random.default_rng(0)
    texts = _random(rng, 20, 30)
    turned = ["".join("TGCA"["ACGT".index(c)] for c in text[::-1]) for text in texts]
    values = rng.normal(size=(20, 30))
    first, _ = _side(texts, values).one_way(by_place=False)
    second, _ = _side(turned[::-1], values[::-1, ::-1]).one_way(by_place=False)
    pairs = pair_sequences(first, second)
    np.testing.assert_array_equal(pairs.second, 19 - pairs.first)
    np.testing.assert_array_equal(first.contributions[pairs.first], second.contributions[pairs.second])
    with pytest.raises(DataError, match="none of the 20 sequences"):
        pair_sequences(first, _side(_random(rng, 5, 30)).one_way(by_place=False)[0])


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.integers(-20, 20), st.integers(30, 60))
def test_windows_of_one_genome_are_paired_letter_by_letter(seed, shift, wide):
    rng = np.random.default_rng(seed)
    genome, track = _random(rng, 1, 400)[0], rng.normal(size=400)
    starts = np.array([50, 150, 250])

    def window(begin, width, strand):
        cut = _side([genome[b : b + width] for b in begin], np.stack([track[b : b + width] for b in begin]))
        back = strand == "-"
        cut.letters[back], cut.contributions[back] = 3 - cut.letters[back][:, ::-1], cut.contributions[back][:, ::-1]
        chromosome = np.full(len(begin), "chr1", dtype=object)
        return Side(cut.letters, cut.contributions, cut.names, chromosome, begin, strand).one_way(by_place=True)[0]

    first = window(starts, 40, np.array(["+", "-", "+"]))
    second = window((starts + shift)[::-1].copy(), wide, np.array(["-", "-", "+"]))
    pairs = pair_sequences(first, second)
    np.testing.assert_array_equal(np.abs(pairs.second + pairs.first), 2)
    for one, other, by in zip(pairs.first, pairs.second, pairs.shift, strict=True):
        low, high = max(0, by), min(40, wide + by)
        np.testing.assert_array_equal(
            first.contributions[one, low:high], second.contributions[other, low - by : high - by]
        )


def test_another_genome_is_told():
    rng = np.random.default_rng(1)
    place = {
        "chromosome": np.array(["c"] * 3, dtype=object),
        "start": np.arange(3) * 100,
        "strand": np.array(["+"] * 3),
    }
    with pytest.raises(DataError, match="other letters"):
        pair_sequences(_side(_random(rng, 3, 30), **place), _side(_random(rng, 3, 30), **place))


def test_instances_are_the_union_and_overlapping_hits_are_one():
    rng = np.random.default_rng(2)
    texts = _random(rng, 2, 50)
    pairs = pair_sequences(_side(texts), _side(texts[::-1]))
    a = pd.DataFrame({"sequence": [0, 0, 1], "start": [5, 30, 8], "stop": [15, 40, 18], "strand": "+"})
    b = pd.DataFrame({"sequence": [1, 1, 0], "start": [7, 20, 44], "stop": [17, 30, 54], "strand": "-"})
    found = same_instances(a, b, pairs, lengths=(50, 50))
    assert found[["pair", "start", "hit_in"]].to_numpy().tolist() == [
        [0, 5, "both"],
        [0, 20, "second"],
        [0, 30, "first"],
        [1, 8, "first"],
    ]
    assert len(same_instances(None, None, pairs, lengths=(50, 50))) == 0


def test_a_motif_of_one_context_is_found_and_one_that_wavers_is_not():
    """Ten motifs of the same use but for training noise, and one that half of the sequences need another one for."""
    rng = np.random.default_rng(3)
    sequence = np.repeat(np.arange(200), 3)
    false = 0
    for _ in range(20):
        use = rng.gamma(4, 0.25, len(sequence))
        again = 0.92 * use * rng.lognormal(0, 0.2, len(sequence))
        false += compare_uses(use, again, sequence).p <= 0.05
    assert false <= 1
    needs = np.where(sequence % 2 == 0, use, 0.1 * use) * rng.lognormal(0, 0.2, len(sequence))
    found = compare_uses(use, needs, sequence)
    assert found.p < 1e-6
    assert found.low <= found.difference <= found.high < 0
    assert compare_uses(needs, use, sequence).p == found.p
    assert np.isnan(compare_uses(use[:9], needs[:9], sequence[:9]).p)


def test_many_instances_of_few_sequences_are_few_witnesses():
    rng = np.random.default_rng(4)
    false = 0
    for _ in range(40):
        sequence = np.repeat(np.arange(12), 50)
        mood = rng.normal(0, 0.5, 12)[sequence]
        a, b = 1 + mood + rng.normal(0, 0.1, 600), 1 + rng.normal(0, 0.1, 600)
        false += compare_uses(a, b, sequence, least=0).p <= 0.05
    assert false <= 6


def test_where_an_instance_counts():
    rng = np.random.default_rng(5)
    track = rng.normal(0, 0.05, (100, 80))
    track[:40, 30:40] += 0.3
    rows, start = np.arange(100), np.full(100, 30)
    taken = np.zeros((100, 80), dtype=bool)
    taken[:, 30:40] = True
    sums = window_sums(track, rows, start=start, stop=start + 10)
    np.testing.assert_allclose(sums, track[:, 30:40].sum(axis=1), rtol=1e-9)
    p = used_where(sums, track, taken=taken, width=np.full(100, 10))
    use = judged_use(sums, np.zeros(100), p=(p, np.ones(100)), fdr=0.05)
    assert (use[:40] == "first").all()
    assert (use[40:] == "first").sum() <= 4
