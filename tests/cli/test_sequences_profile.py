"""Reads of a bigWig learned as a profile through the command, predicted, written as a bigWig."""

import h5py
import numpy as np
import pytest

SIZE, MOTIF = 6000, "TGACGTCA"


@pytest.fixture
def world(tmp_path):
    """A genome of six chromosomes, reads about the motifs in it, and regions about them on either strand."""
    bigwig = pytest.importorskip("pyBigWig")
    rng = np.random.default_rng(1)
    names = [f"chr{i}" for i in range(1, 7)]
    fasta, regions = [], []
    with bigwig.open(str(tmp_path / "reads.bw"), "w") as file:
        file.addHeader([(name, SIZE) for name in names])
        for name in names:
            letters, rate = rng.choice(list("ACGT"), SIZE), np.full(SIZE, 0.05)
            for middle in range(200, SIZE - 200, 120):
                at = middle + int(rng.integers(-20, 20))
                letters[at : at + 8] = list(MOTIF)
                rate[at - 10 : at + 18] += 1.0
                regions.append(f"{name}\t{middle - 60}\t{middle + 60}\tr{middle}\t0\t{'+-'[len(regions) % 2]}\n")
            file.addEntries(name, 0, values=rng.poisson(rate).astype(float).tolist(), span=1, step=1)
            fasta.append(f">{name}\n{''.join(letters)}\n")
    (tmp_path / "genome.fa").write_text("".join(fasta))
    (tmp_path / "regions.bed").write_text("".join(regions))
    return tmp_path


def options(world):
    files = ("--positives", world / "regions.bed", "--genome", world / "genome.fa", "--signal", world / "reads.bw")
    return (*files, "-j", 1)


def test_profile_from_bigwig_to_bigwig(run, world, monkeypatch):
    import pyBigWig

    from whycell.models.sequence_settings import SUITS

    monkeypatch.setitem(SUITS, "profile", {**SUITS["profile"], "layers": 2, "learning_rate": 5e-3})
    train = ("sequences", "train", *options(world), "--kind", "profile", "--profile-width", 100, "--epochs", 30)
    done = run(*train, "--logger", "csv", "-o", world / "model", "--json")
    assert done.code == 0, done.err
    assert done.json["held_out_by"] == "chromosomes"
    assert done.json["out_length"] == 100
    assert [one["file"] for one in done.json["trained_on"]] == ["regions.bed", "reads.bw", "genome.fa"]
    assert done.json["scores"]["reads"]["jsd"] < done.json["scores"]["reads"]["jsd_mean_profile"]
    assert (world / "model-log" / "log.csv").read_text().count("held_out") == len(done.json["curve"]["held_out"])
    assert not list(world.glob(".model*"))

    predict = ("sequences", "predict", world / "regions.bed", "--genome", world / "genome.fa", "-m", world / "model")
    done = run(*predict, "-o", world / "counts.tsv", "--profiles", world / "p.h5", "-j", 1)
    assert done.code == 0, done.err
    done = run(*predict, "-o", world / "counts2.tsv", "--profiles", world / "p.bw", "-j", 1)
    assert done.code == 0, done.err
    with h5py.File(world / "p.h5") as file, pyBigWig.open(str(world / "p.bw")) as written:
        profile, start, strand = file["reads/profile"][:], file["start"][:], file["strand"].asstr()[:]
        for row in (0, 1):  # either strand
            values = np.array(written.values("chr1", int(start[row]), int(start[row]) + 100))
            along = profile[row] if strand[row] == "+" else profile[row][::-1]
            assert np.corrcoef(values, along)[0, 1] > 0.9  # neighbours overlap by 80 bases, which are means
    done = run("models", "--card", world / "model", "--json")
    assert done.json["tasks"] == ["reads"]
    assert done.json["parameters"]["kind"] == "profile"


def test_options_that_do_not_go_together_are_told(run, world):
    model = world / "m"
    done = run("sequences", "train", *options(world), "--kind", "profile", "--profile-width", 99, "-o", model)
    assert done.code in (1, 2)
    assert "one middle" in done.err
    done = run("sequences", "train", *options(world), "--kind", "class", "-o", model)
    assert done.code in (1, 2)
    assert "--kind counts" in done.err
    (world / "regions.bed").write_text("".join(f"chr1\t{at}\t{at + 50}\n" for at in range(0, 3000, 100)))
    import pyBigWig

    with pyBigWig.open(str(world / "reads.bw"), "w") as file:
        file.addHeader([("1", SIZE)])
        file.addEntries("1", 0, values=[1.0] * SIZE, span=1, step=1)
    done = run("sequences", "train", *options(world), "-o", model)
    assert done.code in (1, 2)
    assert "chr1 and 1" in done.err
