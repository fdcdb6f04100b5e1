"""From a VCF file to a table of effects through the command, as a person would type it."""

import json

import numpy as np
import pandas as pd
import pytest

from whycell.data.sequences import Sequences
from whycell.models.sequence import SequenceModel

MOTIF, LENGTH, SITES = "TGACGTCA", 40, 24


def letters_with(motif, n, rng):
    letters = rng.choice(list("ACGT"), (n, LENGTH))
    for row in range(0, n, 2):
        start = int(rng.integers(0, LENGTH - len(motif)))
        letters[row, start : start + len(motif)] = list(motif)
    return np.array(["".join(row) for row in letters], dtype=object)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model that knows one motif, a genome that holds it at known places, and motifs in a file."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("variants")
    labels = (np.arange(600) % 2 == 0).astype(np.float32)[:, None]
    names = np.arange(600).astype(str).astype(object)
    given = Sequences(names, letters_with(MOTIF, 600, rng), labels=labels, tasks=("CREB",))
    small = {"channels": 16, "width": 9, "layers": 1, "epochs": 6, "least_steps": 150, "batch": 64}
    SequenceModel(**small, threads=1, device="cpu").fit(given).save(folder / "model")
    genome = "".join(f"{''.join(rng.choice(list('ACGT'), 92))}{MOTIF}" for _ in range(SITES)) + "A" * 100
    (folder / "genome.fa").write_text(f">chr1\n{genome}\n")
    rows = ["##fileformat=VCFv4.3", "#CHROM\tPOS\tID\tREF\tALT"]
    for site in range(SITES):
        at = 100 * site + 40  # between two sites
        rows.append(f"chr1\t{at + 1}\tout{site}\t{genome[at]}\t{'ACGT'['ACGT'.index(genome[at]) - 1]}")
        at = 100 * site + 95  # the C of the middle
        rows.append(f"chr1\t{at + 1}\tin{site}\tC\tA,*")
        rows.append(f"chr1\t{at}\tdel{site}\tACG\tA")
    (folder / "v.vcf").write_text("\n".join(rows) + "\n")
    shares = "\n".join(" ".join("0.91" if c == x else "0.03" for x in "ACGT") for c in MOTIF)
    head = "MEME version 4\n\nALPHABET= ACGT\n\n"
    meme = f"{head}MOTIF M1 CREB1\nletter-probability matrix: alength= 4 w= {len(MOTIF)}\n{shares}\n"
    (folder / "known.meme").write_text(meme)
    return folder


@pytest.fixture
def variants(run, folder):
    def ask(*more, file="v.vcf", genome="genome.fa"):
        given = ("--genome", folder / genome, "--model", folder / "model", "-j", 1, *more)
        return run("sequences", "variants", folder / file, *given)

    return ask


def test_broken_motifs_lead_the_table(variants, folder, tmp_path):
    out, page = tmp_path / "effects.tsv", tmp_path / "effects.html"
    extra = ("--known", folder / "known.meme", "--null", 200, "--explained", 30, "--report", page)
    done = variants("-o", out, *extra, "--json")
    assert done.code == 0, done.err
    assert done.json["alleles"] == 3 * SITES
    assert done.json["kinds"] == {"snv": 2 * SITES, "deletion": SITES}
    assert done.json["left_out"][0]["alleles"] == SITES
    table = pd.read_csv(out, sep="\t")
    assert len(table) == 3 * SITES
    inside = table[~table["id"].str.startswith("out")]
    assert (inside["effect"] < 0).mean() > 0.95
    assert inside["rank"].median() < table[table["id"].str.startswith("out")]["rank"].median()
    assert (inside["motif_name"] == "CREB1").all()
    assert (inside["what"] == "broken").all()
    assert (inside["motif_start"] % 100 == 92).all()
    explained = inside[inside["agrees"].notna()]
    assert (explained["agrees"] == "yes").mean() > 0.8
    assert (np.sign(table["alt_value"] - table["ref_value"]) * np.sign(table["effect"]) >= 0).all()
    assert table[["p", "q"]].min().min() > 0
    assert table["q"].ge(table["p"] - 1e-9).all()
    text = page.read_text()
    assert text.count("contributions in the reference above") == 12
    assert "CREB1" in text
    kept = json.loads((tmp_path / "run.json").read_text())
    assert kept["command"] == "sequences variants"
    before = out.read_bytes()
    done = variants("-o", out, *extra, "--force")
    assert done.code == 0, done.err
    assert out.read_bytes() == before
    assert page.read_text() == text


def test_without_motifs_or_null_there_are_effects_alone(variants, folder, tmp_path):
    out = tmp_path / "effects.tsv"
    (folder / "t.tsv").write_text("chrom\tpos\tref\talt\nchr1\t96\tC\tA\nchr1\t2450\tA\tAAC\n")
    done = variants("-o", out, "--null", 0, "--shifts", 1, file="t.tsv")
    assert done.code == 0, done.err
    table = pd.read_csv(out, sep="\t")
    assert list(table.columns)[-3:] == ["p", "q", "rank"]
    assert table["p"].isna().all()
    assert sorted(table["rank"]) == [1, 2]


def test_what_goes_wrong_is_told_in_a_sentence_and_nothing_is_left(variants, folder, tmp_path):
    out = tmp_path / "effects.tsv"
    (folder / "other.vcf").write_text("1\t96\t.\tC\tA\n")
    done = variants("-o", out, file="other.vcf")
    assert (done.code, "name chromosomes differently" in done.err) == (1, True)
    (folder / "zero.vcf").write_text("".join(f"chr1\t{100 * i + 95}\t.\tC\tA\n" for i in range(1, SITES)))
    done = variants("-o", out, file="zero.vcf")
    assert (done.code, "count from 0" in done.err) == (1, True)
    done = variants("-o", out, "--task", "GATA1")
    assert (done.code, "it has CREB" in done.err) == (2, True)
    done = variants("-o", out, genome="none.fa")
    assert (done.code, "cannot be opened" in done.err) == (1, True)
    (folder / "long.tsv").write_text(f"chr1\t2450\tA\tA{'C' * 60}\n")
    done = variants("-o", out, file="long.tsv")
    assert (done.code, "room for" in done.err) == (1, True)
    assert not list(tmp_path.iterdir())
