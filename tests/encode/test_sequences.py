"""Letters to numbers and back; shuffles keep what they must and miss no path."""

from collections import Counter
from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from whycell.encode.sequences import composition_background, dinucleotide_shuffle, from_one_hot, gc_background, one_hot
from whycell.errors import DataError, UsageError

sequences = st.text(alphabet="ACGTN", min_size=1, max_size=40)


def _pairs(sequence: str) -> Counter[str]:
    return Counter(a + b for a, b in pairwise(sequence))


@given(sequences)
def test_letters_come_back(sequence: str) -> None:
    assert from_one_hot(one_hot([sequence.lower()])) == [sequence]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["ACGT", "AC"], "sequences of 2 to 4 letters"),
        (["ACGT", "ACRT"], "'R' at position 2 of sequence 1"),
        (["ACé"], "'é' at position 2 of sequence 0"),
        ("ACGT", "got one string"),
    ],
)
def test_what_is_no_sequence_is_refused(given: list[str], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        one_hot(given)


def test_a_column_that_is_not_one_letter_is_refused() -> None:
    with pytest.raises(DataError, match="not one letter"):
        dinucleotide_shuffle(np.full((1, 4, 5), 0.25), 2, seed=0)
    with pytest.raises(DataError, match="wanted \\(n, 4, length\\)"):
        dinucleotide_shuffle(np.zeros((2, 5, 4)), 2, seed=0)
    with pytest.raises(UsageError, match="k=0"):
        dinucleotide_shuffle(one_hot(["ACGT"]), 0, seed=0)


@given(st.lists(sequences, min_size=1, max_size=3).filter(lambda each: len({len(s) for s in each}) == 1), st.integers())
@settings(max_examples=60)
def test_shuffles_keep_dinucleotides_and_ends(given: list[str], seed: int) -> None:
    for sequence, shuffles in zip(given, dinucleotide_shuffle(one_hot(given), 4, seed=seed), strict=True):
        for shuffle in from_one_hot(shuffles):
            assert _pairs(shuffle) == _pairs(sequence)
            assert (shuffle[0], shuffle[-1]) == (sequence[0], sequence[-1])


def _all_shuffles(sequence: str) -> list[str]:
    inner = {"".join(each) for each in permutations(sequence[1:-1])}
    every = (sequence[0] + each + sequence[-1] for each in inner)
    return sorted(each for each in every if _pairs(each) == _pairs(sequence))


@pytest.mark.parametrize("sequence", ["ACGTACAGT", "ACGACGTCA", "AACAGGACA", "CTTCTCGC", "ATNATTNAT", "GATTACAGA"])
def test_every_shuffle_is_as_likely(sequence: str) -> None:
    paths = _all_shuffles(sequence)
    drawn = Counter(from_one_hot(dinucleotide_shuffle(one_hot([sequence]), 400 * len(paths), seed=3)[0]))
    assert len(paths) > 2
    assert set(drawn) == set(paths)
    assert stats.chisquare([drawn[path] for path in paths]).pvalue > 1e-3


def test_a_shuffle_depends_on_its_sequence_and_the_seed_alone() -> None:
    generator = np.random.default_rng(0)
    x = one_hot(["".join(each) for each in generator.choice(list("ACGT"), (6, 60))])
    together = dinucleotide_shuffle(x, 5, seed=11)
    np.testing.assert_array_equal(together[4:5], dinucleotide_shuffle(x[4:5], 5, seed=11))
    np.testing.assert_array_equal(together[:, :2], dinucleotide_shuffle(x, 2, seed=11))
    assert (together != dinucleotide_shuffle(x, 5, seed=12)).any()
    assert len(set(from_one_hot(together.reshape(-1, 4, 60)))) == 30


def test_backgrounds_know_each_sequence_s_composition() -> None:
    x = one_hot(["AACN", "GGGC", "NNNN"])
    np.testing.assert_allclose(
        composition_background(x)[:, :, 2], [[2 / 3, 1 / 3, 0, 0], [0, 0.25, 0.75, 0], [0.25] * 4]
    )
    np.testing.assert_allclose(
        gc_background(x)[:, :, 0], [[1 / 3, 1 / 6, 1 / 6, 1 / 3], [0, 0.5, 0.5, 0], [0.25] * 4], rtol=1e-6
    )
