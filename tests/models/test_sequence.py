"""A network on DNA learns a motif, is the same for either strand, calibrated, and the same after saving."""

import numpy as np
import pytest

from whycell.data.sequences import Sequences
from whycell.encode.sequences import one_hot
from whycell.errors import DataError, ModelError, UsageError
from whycell.lenses import hypothetical
from whycell.models.folder import read_folder, write_folder
from whycell.models.kmers import GappedKmers
from whycell.models.sequence import SequenceModel, held_out_folds
from whycell.models.sequence_store import KIND

MOTIF, LENGTH = "TGACGTCA", 40
SMALL = {
    "channels": 16,
    "width": 9,
    "layers": 1,
    "epochs": 6,
    "least_steps": 150,
    "batch": 64,
    "threads": 1,
    "device": "cpu",
}


def sequences(n, *, seed=0, both=True):
    rng = np.random.default_rng(seed)
    letters = rng.choice(list("ACGT"), (n, LENGTH))
    bound = np.arange(n) % 2 == 0 if both else np.ones(n, dtype=bool)
    for row in np.flatnonzero(bound):
        start = int(rng.integers(0, LENGTH - len(MOTIF)))
        letters[row, start : start + len(MOTIF)] = list(MOTIF[:7] + rng.choice(list("ACGT")))
    text = np.array(["".join(row) for row in letters], dtype=object)
    names = np.array([f"s{i}" for i in range(n)], dtype=object)
    return Sequences(names, text, labels=bound[:, None].astype(np.float32), tasks=("bound",))


@pytest.fixture(scope="module")
def model():
    return SequenceModel(**SMALL).fit(sequences(600))


def test_it_learns_and_says_how_right_it_is(model):
    score = model.scores_["bound"]
    assert score["auroc"] > 0.95
    assert score["auroc_low"] <= score["auroc"] <= score["auroc_high"]
    fresh = sequences(200, seed=9)
    p = model.predict_proba(fresh)[:, 0]
    assert abs(p.mean() - 0.5) < 0.1


def test_either_strand_has_the_same_answer(model):
    x = one_hot(list(sequences(20, seed=3).letters))
    np.testing.assert_allclose(model.predict_proba(x), model.predict_proba(x[:, ::-1, ::-1].copy()), atol=1e-6)


def test_the_same_seed_gives_the_same_weights_and_saving_keeps_them(model, tmp_path):
    again = SequenceModel(**SMALL).fit(sequences(600))
    query = sequences(30, seed=4)
    np.testing.assert_array_equal(again.logits(query), model.logits(query))
    model.save(tmp_path / "model", about={"negatives": "given"})
    read = SequenceModel.load(tmp_path / "model")
    np.testing.assert_array_equal(read.predict_proba(query), model.predict_proba(query))
    assert read.card()["scores"] == model.card()["scores"]
    about = tmp_path / "model" / "about.json"
    about.write_text(about.read_text().replace('"negatives": "given"', '"negatives": "gc"'))
    with pytest.raises(ModelError, match="edited"):
        SequenceModel.load(tmp_path / "model")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"channels": 24}, "weights of other shapes"),
        ({"of_a_later_version": 1}, "a card that this version cannot read"),
    ],
)
def test_a_model_of_another_version_is_told_in_a_sentence(model, tmp_path, changed, said):
    model.save(tmp_path / "model")
    tensors, card = read_folder(tmp_path / "model", kind=KIND)
    card["parameters"] |= changed
    write_folder(tmp_path / "other", tensors, kind=KIND, about=card)
    with pytest.raises(ModelError, match=rf"{said}.*; it was written by whycell .*: train it again"):
        SequenceModel.load(tmp_path / "other")


def test_positives_alone_are_learned_against_their_shuffles():
    found = SequenceModel(**SMALL).fit(sequences(300, both=False), negatives="shuffle")
    assert found.scores_["bound"]["auroc"] > 0.9


def test_contributions_point_at_the_motif(model):
    query = sequences(40, seed=5)[slice(0, 40, 2)]
    x = one_hot(list(query.letters))
    reference = np.full((1, 4, LENGTH), 0.25, dtype=np.float32)
    scores = (hypothetical(model.module, x, reference=reference, target=0).values * x).sum(axis=1)
    inside = np.array([s.find(MOTIF[:7]) for s in query.letters])
    share = [scores[i, at : at + 7].sum() / np.abs(scores[i]).sum() for i, at in enumerate(inside) if at >= 0]
    assert np.median(share) > 0.4


def test_whole_chromosomes_are_held_out_where_places_are_known():
    from whycell.data.sequences import Places

    given = sequences(90)
    chromosome = np.array([f"chr{1 + i % 12}" for i in range(90)], dtype=object)
    zero = np.zeros(90, dtype=np.int64)
    placed = Sequences(
        given.names, given.letters, Places(chromosome, zero, zero + LENGTH, np.full(90, "+", dtype=object))
    )
    fold, by, _ = held_out_folds(placed, seed=0)
    assert by == "chromosomes"
    assert all(len(set(fold[chromosome == c])) == 1 for c in set(chromosome))


def test_gapped_kmers_are_the_same_on_either_strand():
    x = one_hot(list(sequences(10).letters))
    kmers = GappedKmers(k=4, span=6)
    difference = kmers.features(x) - kmers.features(x[:, ::-1, ::-1].copy())
    assert abs(difference).max() < 1e-6


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"labels": np.ones((40, 1), dtype=np.float32)}, "wanted both 0 and 1"),
        ({"labels": np.full((40, 1), 0.5)}, "0.5"),
    ],
)
def test_labels_that_cannot_be_learned_are_told(change, said):
    from dataclasses import replace

    with pytest.raises(DataError, match=said):
        SequenceModel(**SMALL).fit(replace(sequences(40), **change))


def test_what_does_not_exist_is_told():
    with pytest.raises(UsageError, match="dilated"):
        SequenceModel(network="transformer")
