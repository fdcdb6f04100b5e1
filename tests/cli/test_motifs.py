"""Motifs, kinds and contexts through the command, on scores whose truth is written by hand."""

import re

import h5py
import numpy as np
import pandas as pd
import pytest

from whycell.patterns.motifs import motif_from_sites

ONE, TWO, LENGTH, N = "TGACGTCATTAC", "GGAAGCCTTTGC", 80, 240
EVIL = "<script>alert(1)</script>"


def _planted():
    """Sequences with ONE, TWO, both or neither, and where each stands."""
    rng = np.random.default_rng(0)
    texts, at = [], {ONE: np.full(N, -1), TWO: np.full(N, -1)}
    for row in range(N):
        text = "".join(rng.choice(list("ACGT"), LENGTH))
        for motif, (low, high), bit in ((ONE, (0, 25), 1), (TWO, (40, 65), 2)):
            if row % 4 & bit:
                start = at[motif][row] = int(rng.integers(low, high))
                text = text[:start] + motif + text[start + 12 :]
        texts.append(text)
    return texts, at


@pytest.fixture
def scores(tmp_path, monkeypatch):
    """Task A reads both motifs; task B reads ONE only where TWO stands too. The search itself is left out."""
    rng = np.random.default_rng(1)
    texts, at = _planted()
    x = np.stack([(np.array(list(t))[None] == np.array(list("ACGT"))[:, None]) for t in texts]).astype(np.uint8)
    path = tmp_path / "scores.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("sequences", data=x)
        file.create_dataset("names", data=[f"{EVIL}{i}" for i in range(N)], dtype=h5py.string_dtype())
        file.attrs["tasks"] = ["A", "B"]
        for task in "AB":
            track = rng.normal(0, 0.01, (N, LENGTH))
            for motif, starts in at.items():
                for row in np.flatnonzero(starts >= 0):
                    needed = task == "A" or motif == TWO or at[TWO][row] >= 0
                    track[row, starts[row] : starts[row] + 12] += 0.2 * needed * rng.uniform(0.8, 1.2)
            file.create_dataset(f"{task}/hypothetical", data=(x * track[:, None]).astype(np.float32))

    def found(given, hypothetical, **_):
        motifs = []
        for number, starts in enumerate(at.values()):
            rows = np.flatnonzero(starts >= 0)
            sites = pd.DataFrame({"sequence": rows, "start": starts[rows], "stop": starts[rows] + 12, "strand": "+"})
            motifs.append(motif_from_sites(given, hypothetical, sites, name=f"positive_{number + 1}"))
        return motifs

    monkeypatch.setattr("whycell.jobs.motifs.find_motifs", found)
    return path


def test_kinds_and_contexts(run, scores, tmp_path):
    motifs, contexts = tmp_path / "motifs", tmp_path / "contexts"
    done = run("motifs", scores, "-o", motifs, "--json")
    assert done.code == 0, done.err
    kinds = pd.read_csv(motifs / "kinds.tsv", sep="\t")
    assert [row["motifs"] for row in done.json["kinds"]] == list(kinds["motifs"])
    assert sorted(len(str(name).split(" + ")) for name in kinds["motifs"]) == [1, 1, 1, 2]
    of = pd.read_csv(motifs / "kind_of.tsv", sep="\t")
    truth = np.arange(N) % 4
    assert pd.crosstab(of["kind"], truth).max(axis=1).sum() >= 0.95 * N
    page = (motifs / "report.html").read_text()
    assert "<script>alert(1)" not in page
    assert not re.search(r"(src|href)=[\"']?https?:", page)

    done = run("motifs", "compare", motifs, "-o", contexts, "--json")
    assert done.code == 0, done.err
    one, two = sorted(done.json["motifs"], key=lambda row: row["motif"])
    assert one["differs"]
    assert not two["differs"]
    assert one["mean_a"] > one["mean_b"] > 0
    instances = pd.read_csv(contexts / "instances.tsv", sep="\t")
    own = instances[instances["motif"] == "positive_1"]
    alone = own["sequence"] % 4 == 1
    assert (own["used"][alone] == "first").mean() > 0.9
    assert (own["used"][~alone & (own["sequence"] % 4 == 3)] == "both").mean() > 0.9
    assert "<script>alert(1)" not in (contexts / "report.html").read_text()


def test_the_other_strand_is_the_same_context(run, scores, tmp_path):
    turned = tmp_path / "turned.h5"
    with h5py.File(scores) as file, h5py.File(turned, "w") as other:
        order = np.random.default_rng(2).permutation(N)
        other.create_dataset("sequences", data=file["sequences"][:][order, ::-1, ::-1])
        other.create_dataset("names", data=file["names"][:][order], dtype=h5py.string_dtype())
        other.attrs["tasks"] = ["A"]
        other.create_dataset("A/hypothetical", data=file["A/hypothetical"][:][order, ::-1, ::-1])
    for path, name in ((scores, "a"), (turned, "b")):
        found = run("motifs", path, "-o", tmp_path / name, "--task", "A", "--kinds", 0, "-q")
        assert found.code == 0, found.err
    done = run("motifs", "compare", tmp_path / "a", tmp_path / "b", "-o", tmp_path / "c", "--least", 0, "--json")
    assert done.code == 0, done.err
    matched = [row for row in done.json["motifs"] if row["n"]]
    assert matched
    assert not any(row["differs"] for row in matched)


def test_what_goes_wrong_is_told_in_a_sentence(run, scores, tmp_path):
    assert run("motifs", scores, "-o", tmp_path / "m", "-q", "--kinds", 0).code == 0
    done = run("motifs", "compare", tmp_path / "m", "-o", tmp_path / "c", "--task", "C")
    assert done.code == 2
    assert "it has A, B" in done.err
    done = run("motifs", "compare", tmp_path / "m", tmp_path / "m", "-o", tmp_path / "c", "--task", "A")
    assert done.code == 2
    assert "--other-task" in done.err
    done = run("motifs", "compare", tmp_path, "-o", tmp_path / "c")
    assert done.code == 1
    assert "no folder of motifs" in done.err
    with h5py.File(scores, "a") as file:
        file["A/hypothetical"][0] = 1
    done = run("motifs", "compare", tmp_path / "m", "-o", tmp_path / "c")
    assert done.code == 1
    assert "not as it was" in done.err
    scores.unlink()
    done = run("motifs", "compare", tmp_path / "m", "-o", tmp_path / "c")
    assert done.code == 1
    assert "--scores" in done.err
    assert run("motifs", scores, "-o", tmp_path / "n", "--kinds", "few").code == 2
    assert not (tmp_path / "c").exists()


def test_help_shows_both_ways(run):
    told = run("motifs", "--help").out
    assert "whycell motifs scores.h5" in told
    assert "whycell motifs compare" in told
    assert run("motifs", "-o", "x").code == 2
