"""Scores of bases and units in a file, the same however they are cut into parts; and events found where they stand."""

import h5py
import numpy as np
import pandas as pd
import pytest

from whycell.data.sequences import Sequences
from whycell.encode.sequences import one_hot
from whycell.errors import UsageError
from whycell.jobs import sequences_explain, sequences_locate
from whycell.jobs.motifs import read_scores
from whycell.jobs.sequences_explain import explain_sequences
from whycell.jobs.sequences_layers import layers_of_model
from whycell.jobs.sequences_locate import locate_sequences
from whycell.jobs.sequences_scores import METHODS, base_scores, unit_scores
from whycell.models.sequence import SequenceModel

MOTIF, LENGTH = "TGACGTCA", 60
SMALL = {"channels": 16, "width": 11, "layers": 1, "epochs": 6, "least_steps": 200, "batch": 64, "device": "cpu"}


def letters(n, *, seed, places):
    rng = np.random.default_rng(seed)
    text = rng.choice(list("ACGT"), (n, LENGTH))
    for row, at in zip(text, places, strict=True):
        for start in at:
            row[start : start + len(MOTIF)] = list(MOTIF)
    return ["".join(row) for row in text]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    rng = np.random.default_rng(0)
    bound = np.arange(800) % 2 == 0
    places = [[int(rng.integers(0, LENGTH - 8))] if each else [] for each in bound]
    text = np.array(letters(800, seed=1, places=places), dtype=object)
    sequences = Sequences(
        np.arange(800).astype(str).astype(object), text, labels=bound[:, None].astype("f4"), tasks=("CREB",)
    )
    model = SequenceModel(**SMALL, threads=1).fit(sequences)
    return model.save(tmp_path_factory.mktemp("explain") / "model")


@pytest.fixture(scope="module")
def model(saved):
    return SequenceModel.load(saved)


@pytest.fixture(scope="module")
def query(tmp_path_factory):
    """30 sequences with one motif at a place that the name tells; every other is of the other strand."""
    rng = np.random.default_rng(3)
    starts = rng.integers(0, LENGTH - 8, 30)
    path = tmp_path_factory.mktemp("query") / "query.fa"
    rows = letters(30, seed=4, places=[[start] for start in starts])
    heads = [f">chr1:{1000 * i}-{1000 * i + LENGTH}({'-+'[i % 2]})" for i in range(30)]
    path.write_text("".join(f"{head}\n{row}\n" for head, row in zip(heads, rows, strict=True)))
    return path, starts, one_hot(rows)


def test_parts_make_no_difference_and_motifs_reads_any_method(saved, query, tmp_path, monkeypatch):
    asked = {"model": saved, "references": 3, "threads": 1, "device": "cpu"}
    explain_sequences(query[0], tmp_path / "whole.h5", layers=["first"], **asked)
    monkeypatch.setattr(sequences_explain, "_AT_ONCE", 7)
    explain_sequences(query[0], tmp_path / "parts.h5", layers=["first"], **asked)
    with h5py.File(tmp_path / "whole.h5") as a, h5py.File(tmp_path / "parts.h5") as b:
        for name in ("hypothetical", "contributions", "output", "layers/first/contributions", "layers/first/totals"):
            np.testing.assert_allclose(a["CREB"][name][:], b["CREB"][name][:], atol=2e-6)
        layer = a["CREB/layers/first"]
        difference = a["CREB/output"][:] - a["CREB/reference_output"][:]
        np.testing.assert_allclose(layer["totals"][:].sum(axis=1), difference, atol=1e-4)
        assert np.abs(layer["residual"][:]).max() < 1e-4
    told = explain_sequences(query[0], tmp_path / "m.h5", method="mutagenesis", compare="rescale", **asked)
    assert told["residual"] is None
    assert told["compared"]["CREB"]["median"] > 0.5
    x, hypothetical = read_scores(tmp_path / "m.h5", "CREB")
    assert x.shape == hypothetical.shape == (30, 4, LENGTH)
    assert np.isfinite(hypothetical).all()


def test_mutagenesis_is_what_the_model_says_of_every_mutant(model, query):
    x = query[2][:2].copy()
    x[1, :, 5] = 0
    found = base_scores(model.module, x, method="mutagenesis").values
    for row in range(2):
        for at in (0, 5, 23):
            mutants = np.repeat(x[row : row + 1], 4, axis=0)
            mutants[:, :, at] = np.eye(4)
            said = model.logits(mutants)[:, 0]
            apart = found[row, :, at] - found[row, 0, at]
            np.testing.assert_allclose(apart, said - said[0], atol=2e-5)
            here = x[row, :, at]
            if here.any():
                others = said[here == 0].mean()
                np.testing.assert_allclose((found[row, :, at] * here).sum(), said[here == 1][0] - others, atol=2e-5)


def test_units_of_any_layer_add_up_and_either_strand_says_the_same(model, query):
    x = query[2][:6]
    for layer in ("first", "@last", "dense"):
        found = unit_scores(model.module, x, layer=layer, references=4)
        scale = np.abs(found.output - found.reference_output).max()
        assert np.abs(found.residual).max() < 1e-4 * scale
        assert found.totals.shape[:1] == (6,)
    np.testing.assert_allclose(found.output, model.logits(x)[:, 0], atol=1e-5)
    for method in METHODS:
        assert base_scores(model.module, x[:1], method=method, references=2).values.shape == (1, 4, LENGTH)


def test_neurons_and_filters(saved, query, tmp_path):
    assert {"first", "@last"} <= set(layers_of_model(saved)["layer"])
    asked = {"model": saved, "references": 2, "threads": 1, "device": "cpu"}
    told = explain_sequences(query[0], tmp_path / "n.h5", neurons=["first:2", "dense:1"], **asked)
    assert told["tasks"] == ["first:2", "dense:1"]
    assert read_scores(tmp_path / "n.h5", "first:2")[1].shape == (30, 4, LENGTH)
    explain_sequences(query[0], tmp_path / "f.h5", layers=["first"], filters=tmp_path / "f.meme", **asked)
    assert (tmp_path / "f.meme").read_text().startswith("MEME version 4")
    assert "MOTIF CREB/first/" in (tmp_path / "f.meme").read_text()
    for wrong, word in (({"layers": ["second"]}, "it has first"), ({"neurons": ["first:999"]}, "wanted first:CHANNEL")):
        with pytest.raises(UsageError, match=word):
            explain_sequences(query[0], tmp_path / "x.h5", **wrong, **asked)
    with pytest.raises(UsageError, match="wanted one of: genomics"):
        explain_sequences(query[0], tmp_path / "x.h5", method="guess", **asked)


@pytest.mark.parametrize("by", ["bases", "neurons", "mutagenesis"])
def test_a_planted_motif_is_located(saved, query, tmp_path, by):
    path, starts, _ = query
    asked = {"model": saved, "references": 5, "threads": 1, "device": "cpu"}
    frame = locate_sequences(path, tmp_path / "p.tsv", by=by, **asked)
    truth = starts + (len(MOTIF) - 1) / 2
    error = np.abs(frame["position"] - truth)
    assert np.median(error) < (8 if by == "neurons" else 3)
    written = pd.read_csv(tmp_path / "p.tsv", sep="\t")
    assert list(written.columns) == list(frame.columns)
    region, forward = 1000 * np.arange(30), np.arange(30) % 2 == 1
    base = np.where(forward, region + frame["position"], region + LENGTH - 1 - frame["position"])
    assert np.abs(written["at"] - base).max() <= 0.5
    assert (written["lower"] <= written["upper"]).all()


def test_two_motifs_are_two_events(saved, tmp_path):
    rows = letters(20, seed=8, places=[[6, 44]] * 20)
    path = tmp_path / "two.fa"
    path.write_text("".join(f">s{i}\n{row}\n" for i, row in enumerate(rows)))
    asked = {"model": saved, "references": 5, "threads": 1, "device": "cpu", "events": 2}
    frame = locate_sequences(path, tmp_path / "p.tsv", **asked)
    both = frame.pivot_table(index="name", columns="event", values="position").dropna()
    assert len(both) >= 5  # of two equal sites the network may need one only
    near = np.abs(np.sort(both.to_numpy(), axis=1) - [9.5, 47.5]) < 4
    assert near.all(axis=1).mean() > 0.7
    assert sequences_locate.LOCATED_BY[0] == "bases"
    with pytest.raises(UsageError, match="wanted one of: bases"):
        locate_sequences(path, tmp_path / "q.tsv", by="guess", model=saved)
