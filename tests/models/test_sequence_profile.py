"""A network on DNA says where reads fall about a motif, on either strand; and a killed training goes on as it was."""

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from sklearn.base import clone

from whycell.data.sequences import Sequences
from whycell.encode.sequences import one_hot
from whycell.errors import DataError, UsageError
from whycell.lenses import hypothetical
from whycell.metrics.profiles import halves, js_divergence
from whycell.models import sequence_fit
from whycell.models.sequence import SequenceModel

MOTIF, LENGTH, OUT = "TGACGTCA", 120, 100
SMALL = {
    "kind": "profile",
    "channels": 12,
    "width": 9,
    "layers": 3,
    "epochs": 5,
    "least_steps": 250,
    "batch": 64,
    "learning_rate": 5e-3,
    "threads": 1,
    "device": "cpu",
}
#: Reads about a motif: two shoulders, and a footprint where the protein sits.
FOOTPRINT = np.r_[np.full(12, 1.0), np.full(8, 0.02), np.full(12, 1.0)]


def planted(n, *, seed=0):
    """Sequences with one motif in half of them, reads of their middle, and where the motif starts (-1 without)."""
    rng = np.random.default_rng(seed)
    letters = rng.choice(list("ACGT"), (n, LENGTH))
    rate, at = np.full((n, LENGTH), 0.05), np.full(n, -1)
    for row in range(0, n, 2):
        at[row] = rng.integers(22, LENGTH - 30)
        letters[row, at[row] : at[row] + 8] = list(MOTIF)
        rate[row, at[row] - 12 : at[row] + 20] += FOOTPRINT
    reads = rng.poisson(rate)[:, None].astype(np.float32)
    text = np.array(["".join(row) for row in letters], dtype=object)
    names = np.array([f"s{i}" for i in range(n)], dtype=object)
    return Sequences(names, text, tasks=("CREB",)), reads[..., 10 : 10 + OUT], at


@pytest.fixture(scope="module")
def model():
    sequences, reads, _ = planted(700)
    return SequenceModel(**SMALL).fit(sequences, reads)


def test_the_footprint_stands_about_the_motif(model):
    sequences, _, at = planted(80, seed=5)
    profile = model.predict_profile(sequences)[:, 0]
    inside, beside = [], []
    for row in np.flatnonzero(at >= 22):
        start = at[row] - 10
        inside.append(profile[row, start + 1 : start + 7].mean())
        beside.append(np.r_[profile[row, start - 9 : start - 2], profile[row, start + 10 : start + 17]].mean())
    assert np.median(np.array(inside) / beside) < 0.2
    assert np.median(beside) > 0.6  # reads a base; 1.05 planted
    count = model.predict_proba(sequences)[:, 0]
    np.testing.assert_allclose(profile.sum(axis=1), count, rtol=1e-4)
    assert count[at >= 0].mean() > 2.5 * count[at < 0].mean()


def test_the_card_says_how_near_it_is_and_could_be(model):
    scores = model.scores_["CREB"]
    assert scores["spearman"] > 0.6
    assert scores["jsd"] < scores["jsd_mean_profile"] - 0.05
    assert scores["jsd"] == pytest.approx(scores["jsd_if_right"], abs=0.06)
    assert scores["jsd_halves"] > scores["jsd_if_right"]


def test_the_other_strand_has_the_same_reads_turned_round(model, tmp_path):
    sequences, _, _ = planted(10, seed=2)
    x = one_hot(list(sequences.letters))
    np.testing.assert_allclose(
        model.predict_profile(x[:, ::-1, ::-1].copy())[..., ::-1], model.predict_profile(x), atol=1e-5
    )
    model.save(tmp_path / "model")
    again = SequenceModel.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict_profile(x), model.predict_profile(x))
    np.testing.assert_array_equal(again.logits(x), model.logits(x))


@pytest.mark.parametrize("head", ["counts", "profile"])
def test_either_head_is_explained_by_the_motif(model, head):
    sequences, _, at = planted(30, seed=3)
    x = one_hot(list(sequences.letters))
    reference = np.full((1, 4, LENGTH), 0.25, dtype=np.float32)
    found = hypothetical(model.module_for("CREB", head=head), x, reference=reference, target=0)
    assert np.abs(found.residual).max() < 1e-4 * max(1, np.abs(found.output).max())
    scores = np.abs((found.values * x).sum(axis=1))
    rows = np.flatnonzero(at >= 0)
    share = [scores[row, at[row] : at[row] + 8].sum() / scores[row].sum() for row in rows]
    assert np.median(share) > 0.3  # 8 of 120 letters


def test_a_killed_training_ends_with_the_same_weights(tmp_path, monkeypatch):
    sequences, reads, _ = planted(200)
    short = {**SMALL, "epochs": 8, "least_steps": 20, "dropout": 0.3}
    whole = SequenceModel(**short).fit(sequences, reads)
    monkeypatch.setattr(sequence_fit, "EVERY", 0.0)

    class Kill:
        def log(self, step, values):
            if step == 5:
                raise KeyboardInterrupt

    class Count:
        passes = 0

        def log(self, step, values):
            self.passes += 1

    with pytest.raises(KeyboardInterrupt):
        SequenceModel(**short).fit(sequences, reads, resume=tmp_path, logger=Kill())
    count = Count()
    again = SequenceModel(**short).fit(sequences, reads, resume=tmp_path, logger=count)
    assert count.passes == 3
    assert again.curve_ == whole.curve_
    for name, value in whole.net_.state_dict().items():
        np.testing.assert_array_equal(again.net_.state_dict()[name].numpy(), value.numpy())
    other = SequenceModel(**{**short, "seed": 1}).fit(sequences, reads, resume=tmp_path)  # not its state
    assert len(other.curve_) == 8
    assert other.curve_[0] != whole.curve_[0]


def test_no_better_loss_stops_the_training():
    sequences, reads, _ = planted(120)
    noise = np.random.default_rng(0).permutation(reads)
    found = SequenceModel(**{**SMALL, "epochs": 60, "least_steps": 0, "patience": 2}).fit(sequences, noise)
    assert 18 < len(found.curve_) < 60


def test_it_is_an_estimator():
    model = SequenceModel(**SMALL)
    assert clone(model).get_params() == model.get_params()
    model.set_params(channels=0)
    sequences, reads, _ = planted(40)
    with pytest.raises(UsageError, match="channels is 0"):
        model.fit(sequences, reads)
    assert "kind='profile'" in repr(clone(SequenceModel(**SMALL)))


def test_what_cannot_be_learned_is_told(model):
    sequences, reads, _ = planted(40)
    with pytest.raises(DataError, match="even number fewer"):
        SequenceModel(**SMALL).fit(sequences, reads[..., :51])
    with pytest.raises(DataError, match="0 for every sequence"):
        SequenceModel(**SMALL).fit(sequences, reads * 0)
    with pytest.raises(DataError, match="counts are 0 or more"):
        SequenceModel(**SMALL).fit(sequences, reads - 1)
    with pytest.raises(UsageError, match="odd"):
        SequenceModel(**{**SMALL, "width": 8})
    with pytest.raises(UsageError, match="no task"):
        model.module_for("SRF")
    with pytest.raises(UsageError, match="--kind profile"):
        SequenceModel().predict_profile(sequences)


def test_divergence_is_scipys_and_halves_hold_every_read():
    rng = np.random.default_rng(0)
    p, q = rng.poisson(1.0, (6, 20)) + 0.0, rng.poisson(2.0, (6, 20)) + 0.0
    np.testing.assert_allclose(js_divergence(p, q), jensenshannon(p, q, axis=1, base=2) ** 2, atol=1e-12)
    one, other = halves(q, seed=1)
    np.testing.assert_array_equal(one + other, q)
    assert halves(q + 0.5) is None
    assert np.isnan(js_divergence(p * 0, q)).all()
