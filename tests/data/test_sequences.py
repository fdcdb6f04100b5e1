"""Sequences are read as they stand, whatever the file, and what cannot be read is told in one sentence."""

import gzip

import numpy as np
import pytest

from whycell.data.bigwig import region_profile, region_total
from whycell.data.near_copies import near_copies
from whycell.data.regions import gc_matched_regions, read_regions
from whycell.data.sequences import read_sequences
from whycell.errors import FormatError, UsageError

RNG = np.random.default_rng(7)


def letters(n, *, gc=0.5):
    return "".join(RNG.choice(list("ACGT"), n, p=[(1 - gc) / 2, gc / 2, gc / 2, (1 - gc) / 2]))


def turned(text):
    return text.translate(str.maketrans("ACGTN", "TGCAN"))[::-1]


@pytest.fixture
def genome(tmp_path):
    chromosomes = {"chr1": letters(3000, gc=0.3), "chr2": letters(3000, gc=0.6), "chr3": letters(500)}
    path = tmp_path / "genome.fa"
    lines = {
        name: "\n".join(text[at : at + 60] for at in range(0, len(text), 60)) for name, text in chromosomes.items()
    }
    path.write_text("".join(f">{name}\n{text}\n" for name, text in lines.items()))
    return path, chromosomes


def test_fasta_of_several_lines_lower_case_and_gaps_is_read_with_its_places(tmp_path):
    path = tmp_path / "peaks.fa.gz"
    with gzip.open(path, "wt") as file:
        file.write(">chr1:10-18(-) first\nacgt\nRYN-\n\n>chr2:5-13\nUUUUACGT\n")
    found = read_sequences(path)
    assert found.letters.tolist() == ["ACGTNNNN", "TTTTACGT"]
    assert found.names.tolist() == ["chr1:10-18(-)", "chr2:5-13"]
    assert found.places.strand.tolist() == ["-", "+"]
    assert "4 of 16 bases" in found.notes[0]


def test_regions_about_their_summit_on_either_strand_are_the_genome_itself(tmp_path, genome):
    path, chromosomes = genome
    bed = tmp_path / "peaks.narrowPeak"
    rows = [("chr1", 100, 200, "a", "0", ".", "1", "1", "1", 20), ("chr2", 400, 460, "b", "0", "-", "1", "1", "1", -1)]
    rows.append(("chr3", 490, 500, "c", "0", "+", "1", "1", "1", 5))
    bed.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))
    found = read_regions(bed, path, width=40)
    assert found.letters.tolist() == [chromosomes["chr1"][100:140], turned(chromosomes["chr2"][410:450])]
    assert found.names.tolist() == ["a", "b"]
    assert "1 regions" in found.notes[0]


def test_drawn_regions_have_the_gc_of_those_given_and_overlap_none(tmp_path, genome):
    path, _ = genome
    bed = tmp_path / "peaks.bed"
    starts = RNG.choice(2900, 30, replace=False)
    bed.write_text("".join(f"chr{1 + i % 2}\t{s}\t{s + 50}\n" for i, s in enumerate(starts)))
    given = read_regions(bed, path)
    drawn = gc_matched_regions(given, path, seed=1)
    assert len(drawn) + sum(int(n.split()[0]) for n in drawn.notes) == len(given)

    def share(sequences):
        return np.sort([(s.count("G") + s.count("C")) / 50 for s in sequences.letters])

    assert len(drawn) > 20
    assert abs(share(drawn).mean() - share(given).mean()) < 0.02
    for chromosome, start in zip(drawn.places.chromosome, drawn.places.start, strict=True):
        here = given.places.chromosome == chromosome
        assert not ((given.places.start[here] < start + 50) & (given.places.stop[here] > start)).any()


def test_signal_is_the_sum_over_each_region(tmp_path, genome):
    bigwig = pytest.importorskip("pyBigWig")
    path, _ = genome
    with bigwig.open(str(tmp_path / "s.bw"), "w") as file:
        file.addHeader([("chr1", 3000), ("chr2", 3000)])
        file.addEntries(["chr1"], [100], ends=[150], values=[4.0])
    (tmp_path / "r.bed").write_text("chr1\t100\t200\nchr2\t0\t100\n")
    places = read_regions(tmp_path / "r.bed", path).places
    np.testing.assert_allclose(region_total(places, tmp_path / "s.bw"), [200.0, 0.0])  # bases without a value are none


def test_signal_at_every_base_runs_as_the_letters_do(tmp_path, genome):
    bigwig = pytest.importorskip("pyBigWig")
    path, _ = genome
    values = RNG.poisson(3.0, 3000).astype(float)
    with bigwig.open(str(tmp_path / "s.bw"), "w") as file:
        file.addHeader([("chr1", 3000), ("2", 3000)])
        file.addEntries("chr1", list(range(200, 3000)), values=values[200:].tolist(), span=1)
    (tmp_path / "r.bed").write_text("chr1\t300\t341\ta\t0\t+\nchr1\t300\t341\tb\t0\t-\nchr1\t100\t141\tc\t0\t+\n")
    places = read_regions(tmp_path / "r.bed", path).places
    found = region_profile(places, tmp_path / "s.bw", width=20)
    np.testing.assert_array_equal(found[0], values[310:330])
    np.testing.assert_array_equal(found[1], values[311:331][::-1])  # the middle counts from where the letters begin
    assert not found[2].any()
    (tmp_path / "r.bed").write_text("chr2\t300\t341\n")
    with pytest.raises(FormatError, match="chr1 and 1"):
        region_profile(read_regions(tmp_path / "r.bed", path).places, tmp_path / "s.bw", width=20)


def test_cut_letters_have_the_places_of_what_is_left(tmp_path, genome):
    _, chromosomes = genome
    at, text = 700, chromosomes["chr1"][700:741]
    (tmp_path / "x.fa").write_text(f">chr1:{at}-{at + 41}(+)\n{text}\n>chr1:{at}-{at + 41}(-)\n{turned(text)}\n")
    found = read_sequences(tmp_path / "x.fa", width=16)
    for letters, start, stop, strand in zip(
        found.letters, found.places.start, found.places.stop, found.places.strand, strict=True
    ):
        here = chromosomes["chr1"][start:stop]
        assert letters == (here if strand == "+" else turned(here))


def test_columns_of_0_and_1_are_tasks_where_none_is_called_a_label(tmp_path):
    (tmp_path / "t.tsv").write_text("name\tseq\tSRF\tYY1\twidth\nx\tACGT\t1\t\t4\ny\tACGA\t0\t1\t4\nz\tACGC\t0\t0\t4\n")
    found = read_sequences(tmp_path / "t.tsv")
    assert found.tasks == ("SRF", "YY1")
    assert np.isnan(found.labels[0, 1])


def test_a_table_gives_letters_names_and_labels(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text("EventID\tseq\tBound\tother\nx\tACGT\t1\t\ny\tACGA\t0\t1\n")
    found = read_sequences(path)
    assert found.tasks == ("Bound",)
    assert found.labels[:, 0].tolist() == [1, 0]
    both = read_sequences(path, labels=["Bound", "other"])
    assert np.isnan(both.labels[0, 1])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        ("\n\n# only a comment\n", "is empty"),
        (">a\nACGT\n>b\n\n", "no letter"),
        (">a\nAC!T\n", "'!'"),
        ("hello\n", "wanted FASTA"),
        ("name\tvalue\na\t1\n", "sequence or seq"),
        ("chr1\t5\t9\n", "--genome"),
        ("seq\tlabel\nACGT\tyes\n", "'yes'"),
    ],
)
def test_what_is_no_sequence_is_told(tmp_path, content, said):
    path = tmp_path / "x"
    path.write_text(content)
    with pytest.raises((FormatError, UsageError), match=said):
        read_sequences(path)


def test_a_chromosome_that_the_genome_names_otherwise_is_told(tmp_path, genome):
    (tmp_path / "r.bed").write_text("1\t5\t9\n")
    with pytest.raises(FormatError, match="chr1 and 1"):
        read_sequences(tmp_path / "r.bed", genome=genome[0])


def test_one_width_keeps_the_middle(tmp_path):
    path = tmp_path / "x.fa"
    path.write_text(">a\nAACGTT\n>b\nCG\n")
    with pytest.raises(UsageError, match="--width"):
        read_sequences(path).of_width()
    assert read_sequences(path, width=4).letters.tolist() == ["ACGT", "NCGN"]


def test_near_copies_are_those_that_share_stretches_on_either_strand():
    base = [letters(101) for _ in range(50)]
    shifted = base[3][40:] + letters(40)
    other_strand = turned(base[7])
    found = near_copies([*base, shifted, other_strand, "N" * 101])
    assert found[50] == found[3]
    assert found[51] == found[7]
    assert len(set(found.tolist())) == 51
