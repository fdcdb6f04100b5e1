"""Layers, scores, comparison and places through the commands, as a person would type them."""

import numpy as np
import pandas as pd
import pytest

from whycell.data.sequences import Sequences
from whycell.models.sequence import SequenceModel


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Barely trained: what is asked here is whether the words are understood."""
    rng = np.random.default_rng(0)
    text = np.array(["".join(row) for row in rng.choice(list("ACGT"), (60, 40))], dtype=object)
    sequences = Sequences(np.arange(60).astype(str).astype(object), text, tasks=("A",))
    small = {"channels": 8, "width": 9, "layers": 1, "epochs": 1, "least_steps": 2}
    fitted = SequenceModel(**small, threads=1, device="cpu").fit(sequences, negatives="shuffle")
    return fitted.save(tmp_path_factory.mktemp("cli") / "model")


@pytest.fixture
def query(tmp_path):
    path = tmp_path / "query.tsv"
    rng = np.random.default_rng(1)
    rows = [f"s{i}\t{''.join(rng.choice(list('ACGT'), 40))}" for i in range(8)]
    path.write_text("\n".join(["name\tsequence", *rows]) + "\n")
    return path


def test_layers_scores_and_places(run, model, query, tmp_path):
    done = run("sequences", "layers", model, "--json")
    assert done.code == 0, done.err
    assert "@last" in [row["layer"] for row in done.json]
    scores, filters = tmp_path / "s.h5", tmp_path / "f.meme"
    asked = ("sequences", "explain", query, "--model", model, "-o", scores, "--references", 2, "-j", 1)
    done = run(*asked, "--layer", "first", "--filters", filters, "--compare", "mutagenesis", "--json")
    assert done.code == 0, done.err
    assert set(done.json["compared"]["bound"]["cpu_s_each"]) == {"genomics", "mutagenesis"}
    assert filters.is_file()
    done = run(*asked, "--force", "--compare", "gradient-times-input")
    assert "correlation with gradient-times-input" in done.err
    places = tmp_path / "p.tsv"
    done = run("sequences", "locate", query, "--model", model, "-o", places, "--by", "neurons", "-j", 1)
    assert done.code == 0, done.err
    assert len(pd.read_csv(places, sep="\t")) == 8


def test_what_goes_wrong_is_told_in_a_sentence(run, model, query, tmp_path):
    asked = ("sequences", "explain", query, "--model", model, "-o", tmp_path / "s.h5")
    for options, words in (
        (("--layer", "second"), "it has first"),
        (("--filters", tmp_path / "f.meme"), "say which with --layer"),
        (("--neuron", "first:1", "--layer", "first"), "leave one away"),
        (("--neuron", "first:1", "--method", "mutagenesis"), "for a neuron take"),
        (("--head", "profile"), "profile"),
    ):
        done = run(*asked, *options)
        assert done.code in (1, 2), done.err
        assert words in done.err
        assert not (tmp_path / "s.h5").exists()
    done = run("sequences", "locate", query, "--model", model, "-o", tmp_path / "p.tsv", "--layer", "first")
    assert done.code in (1, 2)
    assert "only 'neurons' are of a layer" in done.err
