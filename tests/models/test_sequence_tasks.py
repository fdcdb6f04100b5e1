"""Several tasks at once, rare and partly unknown; and a search that never sees what the card is scored on."""

import numpy as np
import pytest

from whycell.data.sequences import Sequences
from whycell.models import sequence_tune
from whycell.models.sequence import SequenceModel
from whycell.models.sequence_data import learnable
from whycell.models.sequence_tune import tune_sequences

pytest.importorskip("optuna")
MOTIFS, LENGTH = ("TGACGTCA", "CACGTGAC", "GGGACTTT"), 60
SMALL = {
    "channels": 12,
    "width": 9,
    "layers": 1,
    "epochs": 5,
    "least_steps": 160,
    "batch": 64,
    "threads": 1,
    "device": "cpu",
}


def table(n, *, share=(0.5, 0.1, 0.02), unknown=0.3, seed=0):
    """Sequences that hold each motif with its own chance, and labels that are partly unknown."""
    rng = np.random.default_rng(seed)
    letters = rng.choice(list("ACGT"), (n, LENGTH))
    labels = (rng.random((n, 3)) < share).astype(np.float32)
    for row, task in np.argwhere(labels > 0):
        at = int(rng.integers(0, 10)) + 20 * task
        letters[row, at : at + 8] = list(MOTIFS[task])
    labels[rng.random((n, 3)) < unknown] = np.nan
    text = np.array(["".join(row) for row in letters], dtype=object)
    names = np.array([f"s{i}" for i in range(n)], dtype=object)
    return Sequences(names, text, labels=labels, tasks=("half", "tenth", "rare"))


def test_rare_and_unknown_labels_are_learned_and_scored_beside_chance():
    given = table(1200)
    model = SequenceModel(**SMALL).fit(given)
    p = model.predict_proba(given)
    assert p.shape == (1200, 3)
    np.testing.assert_allclose(p.mean(axis=0), np.nanmean(given.labels, axis=0), atol=0.08)
    scores = model.scores_
    assert scores["half"]["auroc"] > 0.9
    assert scores["half"]["n"] == int((~np.isnan(given.labels[learnable_fold(given) == 1, 0])).sum())
    assert scores["tenth"]["auprc_random"] == pytest.approx(scores["tenth"]["positives"] / scores["tenth"]["n"])
    assert scores["half"]["auprc_low"] <= scores["half"]["auprc"] <= scores["half"]["auprc_high"]
    assert scores["half"]["brier"] < scores["half"]["brier_share"]


def test_a_network_starts_from_the_share_of_each_task():
    given = table(400, share=(0.5, 0.1, 0.05))
    model = SequenceModel(**{**SMALL, "epochs": 1, "least_steps": 1, "learning_rate": 1e-9}).fit(given, tested=False)
    shares = 1 / (1 + np.exp(-model.logits(given).mean(axis=0)))
    np.testing.assert_allclose(shares, np.nanmean(given.labels, axis=0), atol=0.15)


def test_the_search_sees_training_rows_alone_goes_on_and_keeps_the_own_numbers_where_none_is_better(
    tmp_path, monkeypatch
):
    given = table(300)
    fold = learnable_fold(given)
    unseen = {s for s, f in zip(given.letters, fold, strict=True) if f < 2}
    seen = []
    rows_of = SequenceModel.train

    def train(self, rows, watched, **more):
        for x in (rows.x, watched[0]):
            seen.extend("".join("ACGT"[c] for c in one.argmax(axis=0)) for one in x)
        return rows_of(self, rows, watched, **more)

    monkeypatch.setattr(SequenceModel, "train", train)
    short = {**SMALL, "epochs": 1, "least_steps": 4}
    space = {"channels": [4, 8]}
    model = SequenceModel(**short)
    found = tune_sequences(model, given, trials=3, inner=2, space=space, storage=tmp_path / "search.journal")
    assert len(found["trials"]) == 3
    assert seen
    assert not unseen & set(seen)
    assert model.channels == found["best"].get("channels", short["channels"])
    assert found["score"] >= found["score_as_given"]
    before = len(seen)
    again = tune_sequences(
        SequenceModel(**short), given, trials=3, inner=2, space=space, storage=tmp_path / "search.journal"
    )
    assert again == found
    n_training = int((fold > 1).sum())
    assert len(seen) - before == 2 * n_training  # the model as given; no trial was run again


@pytest.mark.parametrize("kind", list(sequence_tune.SPACES))
def test_what_is_searched_can_be(kind):
    ends = {
        name: what if isinstance(what, list) else [what["low"], what["high"]]
        for name, what in sequence_tune.SPACES[kind].items()
    }
    for at in (0, -1):
        SequenceModel(kind=kind, **{name: values[at] for name, values in ends.items()})


def learnable_fold(given):
    return learnable(given, kind="class", negatives="given", seed=0).fold
