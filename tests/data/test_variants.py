"""Variants are read as they stand in the file, held against the genome, and set into windows."""

import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whycell.data.genome_letters import GenomeLetters, as_codes, as_letters
from whycell.data.variant_windows import change_of, windows_of
from whycell.data.variants import LeftOut, Variant, matching_variants, read_variants
from whycell.errors import DataError, FormatError

HEAD = "##fileformat=VCFv4.2\n##contig=<ID=chr1>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
BODY = """chr1\t5\trs1\ta\tG,t\t.\t.\t.
chr1\t5\trs1\tA\tG\t.\t.\t.
chr1\t7\t.\tGT\tG\t.\t.\t.
chr1\t8\t.\tT\t*,<DEL>,TACC,.\t.\t.\t.
chr1\t9\t.\tA\tA]chr2:8]\t.\t.\t.
chr1\t10\t.\tN\tA\t.\t.\t.
"""
READ = [
    Variant("chr1", 5, "rs1", "A", "G"),
    Variant("chr1", 5, "rs1", "A", "T"),
    Variant("chr1", 7, ".", "GT", "G"),
    Variant("chr1", 8, ".", "T", "TACC"),
]


@pytest.fixture
def genome(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "genome.fa"
    letters = "".join(rng.choice(list("ACGTacgt"), 400))
    path.write_text(f">chr1\n{letters[:200]}\n{letters[200:]}\n>chr2\nACGTNNACGT\n")
    return GenomeLetters(path)


@pytest.mark.parametrize("packed", [False, True])
def test_vcf_rows_are_taken_apart_and_what_has_no_letters_is_counted(tmp_path, packed):
    path = tmp_path / ("v.vcf.gz" if packed else "v.vcf")
    path.write_bytes(gzip.compress((HEAD + BODY).encode()) if packed else (HEAD + BODY).encode())
    left_out = LeftOut()
    assert list(read_variants(path, left_out=left_out)) == READ
    assert left_out.counts == {
        "told twice": 1,
        "allele removed by a deletion before it (*)": 1,
        "symbolic allele, such as <DEL>": 1,
        "no allele": 1,
        "breakend": 1,
        "letters other than A, C, G and T": 1,
    }
    assert left_out.first["breakend"].startswith("chr1:9 A>")


@pytest.mark.parametrize(
    "text",
    [
        "alt\tref\tpos\tchrom\nG\tA\t5\tchr1\n",
        "#chromosome\tposition\tref\talt\nchr1\t5\tA\tG\n",
        "chr1\t5\tA\tG\n",
        "chr1\t5\t.\tA\tG\t.\n",
    ],
)
def test_tables_are_read_under_a_header_in_any_order_and_without_one(tmp_path, text):
    (tmp_path / "t.tsv").write_text(text)
    assert list(read_variants(tmp_path / "t.tsv")) == [Variant("chr1", 5, ".", "A", "G")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "holds no variant"),
        (HEAD.encode(), "holds no variant"),
        (b"chr1 5 A G\n", "parted by tabs"),
        (HEAD.encode() + b"chr1\tfive\t.\tA\tG\n", "line 4 .* whole number"),
        (HEAD.encode() + b"chr1\t5\t.\n", "line 4"),
        (gzip.compress((HEAD + BODY).encode())[:-12], "cut off"),
        (b"BCF\x02\x02\xff\xfe", "cannot be read"),
    ],
)
def test_what_is_no_file_of_variants_is_told(tmp_path, content, said):
    (tmp_path / "v").write_bytes(content)
    with pytest.raises(FormatError, match=said):
        list(read_variants(tmp_path / "v"))


def snvs(genome, shift=0, exchange=False):
    rng = np.random.default_rng(1)
    for at in rng.choice(380, 60, replace=False):
        ref = genome.letters("chr1", int(at), int(at) + 1)
        alt = "ACGT"["ACGT".index(ref) - 1]
        yield Variant("chr1", int(at) + 1 - shift, ".", *((alt, ref) if exchange else (ref, alt)))


def test_variants_that_fit_the_genome_pass_and_others_are_counted(genome):
    left_out = LeftOut()
    bad = [
        Variant("chr1", 401, ".", "A", "C"),
        Variant("chr9", 1, ".", "A", "C"),
        Variant("chr2", 5, ".", "A", "C"),
    ]
    assert list(matching_variants([*snvs(genome), *bad], genome, left_out=left_out)) == list(snvs(genome))
    assert sorted(left_out.counts) == [
        "beyond the end of its chromosome",
        "chromosome that the genome does not have",
        "the genome has N there",
    ]


@pytest.mark.parametrize(
    ("variants", "said"),
    [
        (lambda g: snvs(g, shift=1), "count from 0"),
        (lambda g: snvs(g, exchange=True), "exchanged"),
        (lambda g: snvs(g, shift=7), "another assembly"),
        (lambda _: [Variant("NC_1.11", 5, ".", "A", "C")], "has chr1, chr2"),
        (lambda _: [Variant("1", 5, ".", "A", "C")], "name chromosomes differently"),
    ],
)
def test_a_file_that_the_genome_contradicts_is_refused_with_the_likely_cause(genome, variants, said):
    with pytest.raises(DataError, match=said):
        list(matching_variants(variants(genome), genome))


def test_mismatches_may_be_left_out(genome):
    left_out = LeftOut()
    mixed = [*snvs(genome), *snvs(genome, exchange=True)]
    assert len(list(matching_variants(mixed, genome, left_out=left_out, allowed=1))) == 60
    assert left_out.counts == {"the genome has another letter there": 60}


alleles = st.text("ACGT", min_size=1, max_size=6)


@given(st.integers(60, 330), alleles, alleles, st.integers(1, 4), st.integers(21, 40))
def test_windows_hold_the_allele_and_what_stays(position, ref, alt, shifts, length):
    rng = np.random.default_rng(position)
    text = "".join(rng.choice(list("ACGT"), 400))
    text = text[: position - 1] + ref + text[position - 1 + len(ref) :]
    genome, changed = _Text(text), _Text(text[: position - 1] + alt + text[position - 1 + len(ref) :])
    if ref == alt:
        return
    forward = change_of(Variant("chr1", position, ".", ref, alt))
    back = change_of(Variant("chr1", position, ".", alt, ref))
    for window in windows_of(forward, genome, length=length, shifts=shifts):
        assert as_letters(window.ref) == text[window.start : window.start + length]
        assert as_letters(window.alt) in changed.text
        assert not window.padded
    # A variant and the one that takes it back are looked at in the same windows.
    there, again = (windows_of(c, g, length=length, shifts=shifts) for c, g in ((forward, genome), (back, changed)))
    assert {(w.ref.tobytes(), w.alt.tobytes()) for w in there} == {(w.alt.tobytes(), w.ref.tobytes()) for w in again}


def test_windows_move_inwards_at_the_ends_and_are_padded_where_that_does_not_help():
    genome = _Text("ACGTACGTAC")
    (window,) = windows_of(change_of(Variant("chr1", 1, ".", "A", "C")), genome, length=6)
    assert (as_letters(window.ref), as_letters(window.alt), window.padded) == ("ACGTAC", "CCGTAC", False)
    (window,) = windows_of(change_of(Variant("chr1", 10, ".", "C", "G")), genome, length=12)
    assert (as_letters(window.alt), window.padded) == ("NACGTACGTAGN", True)
    front, behind = windows_of(change_of(Variant("chr1", 9, ".", "AC", "A")), genome, length=6)
    assert (as_letters(front.alt), as_letters(behind.alt)) == ("ACGTAN", "TACGTA")


class _Text:
    """A genome of one chromosome."""

    def __init__(self, text):
        self.text = text

    def size(self, _):
        return len(self.text)

    def codes(self, _, start, stop):
        padded = "N" * max(0, -start) + self.text[max(0, start) : max(0, stop)]
        return as_codes(padded + "N" * (stop - start - len(padded)))
