"""From peaks to predictions and base scores through the commands, as a person would type them."""

import h5py
import numpy as np
import pandas as pd
import pytest

MOTIF, LENGTH = "TGACGTCA", 40


@pytest.fixture
def peaks(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "peaks.fa"
    with path.open("w") as file:
        for at in range(240):
            letters = "".join(rng.choice(list("ACGT"), LENGTH))
            start = int(rng.integers(0, LENGTH - 8))
            text = letters[:start] + MOTIF + letters[start + 8 :]
            file.write(f">chr{1 + at % 12}:{1000 * at}-{1000 * at + LENGTH}\n{text}\n")
    return path


def test_train_predict_explain(run, peaks, tmp_path, monkeypatch):
    from whycell.models.sequence import SequenceModel

    monkeypatch.setattr(SequenceModel, "__init__", _small(SequenceModel.__init__))
    model = tmp_path / "model"
    done = run("sequences", "train", "--positives", peaks, "--task", "CREB", "-o", model, "--threads", 1, "--json")
    assert done.code == 0, done.err
    assert done.json["held_out_by"] == "chromosomes"
    assert done.json["scores"]["CREB"]["auroc"] > 0.8
    assert 0 <= done.json["baseline"]["CREB"] <= 1

    calls = tmp_path / "calls.tsv"
    done = run("sequences", "predict", peaks, "--model", model, "-o", calls)
    assert done.code == 0, done.err
    frame = pd.read_csv(calls, sep="\t")
    assert list(frame.columns) == ["name", "chromosome", "start", "stop", "strand", "CREB"]
    assert frame["CREB"].mean() > 0.5

    scores = tmp_path / "scores.h5"
    done = run("sequences", "explain", peaks, "--model", model, "-o", scores, "--references", 3, "--json", "-j", 1)
    assert done.code == 0, done.err
    assert done.json["residual"] < 1e-3
    with h5py.File(scores) as file:
        x, group = file["sequences"][:], file["CREB"]
        assert group["hypothetical"].shape == (240, 4, LENGTH)
        np.testing.assert_allclose(
            group["contributions"][:], (group["hypothetical"][:] * x).sum(axis=1), rtol=1e-5, atol=1e-6
        )
        assert file["chromosome"].asstr()[0] == "chr1"


def test_what_goes_wrong_is_told_in_a_sentence(run, peaks, tmp_path):
    (tmp_path / "regions.bed").write_text("chr1\t1\t50\n")
    done = run("sequences", "train", "--positives", tmp_path / "regions.bed", "-o", tmp_path / "m")
    assert done.code in (1, 2)
    assert "--genome" in done.err
    done = run("sequences", "train", "--positives", peaks, "--negatives", "none.fa", "-o", tmp_path / "m")
    assert done.code in (1, 2)
    assert "shuffle, gc, or a file" in done.err
    done = run("sequences", "predict", peaks, "--model", tmp_path, "-o", tmp_path / "c.tsv")
    assert done.code in (1, 2)
    assert "not a saved model" in done.err
    done = run("motifs", peaks, "-o", tmp_path / "motifs")
    assert done.code in (1, 2)
    assert "sequences explain" in done.err


def _small(init):
    def made(self, **given):
        init(self, **{**given, "channels": 16, "width": 9, "layers": 1, "epochs": 4, "least_steps": 120, "batch": 64})

    return made
