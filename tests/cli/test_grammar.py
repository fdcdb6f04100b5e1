"""``whycell grammar`` as a person would type it: tables, a page that stands alone, and sentences for faults."""

import json

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

LENGTH = 60
LETTERS = {"one": "GATAAG", "two<b>": "CAGCTGTT"}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A network that nobody trained: its answers are some function of the letters."""
    from whycell.data.sequences import Sequences
    from whycell.models.sequence import SequenceModel

    rng = np.random.default_rng(0)
    letters = np.array(["".join(rng.choice(list("ACGT"), LENGTH)) for _ in range(40)], dtype=object)
    names = np.arange(40).astype(str).astype(object)
    labels = (np.arange(40) % 2).astype(np.float32)[:, None]
    torch.set_num_threads(1)
    made = SequenceModel(channels=8, width=9, layers=1, epochs=1, least_steps=1, threads=1)
    made.fit(Sequences(names, letters, labels=labels, tasks=("bound",)), tested=False)
    folder = tmp_path_factory.mktemp("model") / "model"
    made.save(folder)
    return folder


@pytest.fixture
def motifs(tmp_path):
    """What ``whycell motifs`` writes, of two motifs planted in 200 sequences; the first is known by a hostile name."""
    from whycell.encode.sequences import one_hot

    rng = np.random.default_rng(1)
    codes = rng.integers(0, 4, (200, LENGTH))
    rows = []
    for row in range(200):
        for name, letters, at in (("one", LETTERS["one"], 5), ("two<b>", LETTERS["two<b>"], int(rng.integers(15, 50)))):
            codes[row, at : at + len(letters)] = ["ACGT".index(c) for c in letters]
            rows.append(("bound", name, row, at, at + len(letters), "+", 9.0, 0.01, 1.0, str(row), at, "+"))
    folder = tmp_path / "motifs"
    folder.mkdir()
    columns = ["task", "motif", "sequence", "start", "stop", "strand", "score", "q", "contribution", "name"]
    hits = pd.DataFrame(rows, columns=[*columns, "start_in_sequence", "strand_in_sequence"])
    hits.to_csv(folder / "hits.tsv", sep="\t", index=False)
    with h5py.File(folder / "motifs.h5", "w") as file:
        group = file.create_group("bound")
        group.attrs["order"] = list(LETTERS)
        for name, letters in LETTERS.items():
            of, sites = group.create_group(name), hits[hits["motif"] == name]
            for table in ("letters", "contribution", "hypothetical"):
                of.create_dataset(table, data=one_hot([letters])[0] * 0.88 + 0.03)
            for column in ("sequence", "start", "stop"):
                of.create_dataset(f"sites_{column}", data=sites[column].to_numpy())
            of.create_dataset("sites_turned", data=np.zeros(len(sites), dtype=bool))
    known = {"task": "bound", "motif": "one", "known": "M1", "name": "<script>x</script>", "p": 1e-6, "q": 1e-4}
    pd.DataFrame([{**known, "offset": 0, "strand": "+"}]).to_csv(folder / "matches.tsv", sep="\t", index=False)
    scores = tmp_path / "scores.h5"
    with h5py.File(scores, "w") as file:
        x = np.eye(4, dtype=np.uint8)[codes].transpose(0, 2, 1)
        file["sequences"] = x
        file["names"] = np.arange(200).astype(str).astype(object)
        file["bound/hypothetical"] = np.zeros(x.shape, dtype=np.float32)
        file.attrs["tasks"] = ["bound"]
    (folder / "about.json").write_text(json.dumps({"provenance": {"scores": str(scores)}}))
    return folder


def test_tables_and_a_page_are_written(run, model, motifs, tmp_path):
    out = tmp_path / "grammar"
    done = run("grammar", motifs, "--model", model, "-o", out, "--gap", 12, "--backgrounds", 12, "-j", 1)
    assert done.code == 0, done.err
    interactions = pd.read_csv(out / "interactions.tsv", sep="\t")
    assert len(interactions) == (4 + 3 + 3) * 13
    assert list(pd.read_csv(out / "alone.tsv", sep="\t")["motif"]) == ["one", "two<b>"]
    tests = pd.read_csv(out / "tests.tsv", sep="\t")
    assert {"gap", "order", "strand", "together"} == set(tests["question"])
    assert (tests["q"] >= tests["p"]).all()
    counted = pd.read_csv(out / "gaps_counted.tsv", sep="\t")
    seen = counted[(counted["first"] != counted["second"]) & (counted["order"] == "AB") & (counted["strands"] == "++")]
    assert seen["n"].sum() > 0
    assert json.loads((out / "run.json").read_text())["command"] == "grammar"
    page = (out / "report.html").read_text()
    assert "<script>x</script>" not in page
    assert "two<b>" not in page
    assert "pairs counted" in page
    again = tmp_path / "again"
    run("grammar", motifs, "--model", model, "-o", again, "--gap", 12, "--backgrounds", 12, "-j", 1)
    assert (again / "tests.tsv").read_bytes() == (out / "tests.tsv").read_bytes()


def test_what_is_reported_is_printed_as_json(run, model, motifs, tmp_path):
    asked = ("--motif", "one", "--gap", 6, "--backgrounds", 10, "--json", "-q", "-j", 1)
    done = run("grammar", motifs, "--model", model, "-o", tmp_path / "g", *asked)
    assert done.code == 0, done.err
    assert isinstance(done.json["reported"], list)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (("--motif", "three"), "no motif 'three'; it has bound/one"),
        (("--task", "TAL1"), "no task 'TAL1'; it has bound"),
    ],
)
def test_what_is_not_there_is_told(run, model, motifs, tmp_path, asked, told):
    done = run("grammar", motifs, "--model", model, "-o", tmp_path / "g", *asked)
    assert done.code == 2
    assert told in done.err
    assert not (tmp_path / "g").exists()


def test_scores_that_have_been_moved_are_asked_for(run, model, motifs, tmp_path):
    (tmp_path / "scores.h5").rename(tmp_path / "moved.h5")
    done = run("grammar", motifs, "--model", model, "-o", tmp_path / "g")
    assert done.code == 1
    assert "--scores" in done.err
