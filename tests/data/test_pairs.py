"""Tables of pairs: what is wrong with one is dropped and counted; splits keep genes apart and are frozen."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whycell.data.pair_negatives import matched_negatives
from whycell.data.pair_splits import PairSplit, split_pairs
from whycell.data.pairs import check_known, evidence_of, pair_keys, read_evidence, read_pairs
from whycell.errors import FormatError, GeneError, LabelError


def _written(folder: Path, text: str) -> Path:
    path = folder / "pairs.tsv"
    path.write_text(text.replace(" ", "\t"), encoding="utf-8")
    return path


def test_what_is_wrong_with_a_table_is_dropped_and_counted(tmp_path: Path) -> None:
    rows = [
        "BRCA1 PARP1 1",
        "PARP1 BRCA1 1",
        "TP53 TP53 1",
        "ENSG00000118058 TP53 0",
        "KMT2A TP53 1",
        "MYC EGFR 0",
        " MYC 0",
    ]
    table = read_pairs(_written(tmp_path, "\n".join(["gene_a gene_b label", *rows])), labelled=True)
    assert len(table) == 2  # BRCA1-PARP1 and MYC-EGFR; the id and KMT2A are one gene, labelled both ways
    assert table.dropped == {
        "without a gene": 1,
        "a gene with itself": 1,
        "labelled both ways": 2,
        "second copies": 1,
    }
    assert (table.first < table.second).all()
    assert set(table.symbols.values()) >= {"BRCA1", "PARP1", "MYC", "EGFR"}


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("a b label\nBRCA1 PARP1 1", FormatError, "wanted gene_a and gene_b"),
        ("gene_a gene_b\nBRCA1 PARP1", FormatError, "wanted a column label"),
        ("gene_a gene_b label\nBRCA1 PARP1 yes", LabelError, "'yes' in row 2; wanted 0 or 1"),
        ("gene_a gene_b label\nBRCA1 PARP1 1\nMYC EGFR 1", LabelError, "all 2 pairs have label 1"),
        ("gene_a gene_b label\nMYC MYC 1", FormatError, "no pair of two different genes"),
    ],
)
def test_a_table_that_cannot_be_learned_from_says_why(
    tmp_path: Path, text: str, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        read_pairs(_written(tmp_path, text), labelled=True)


def test_genes_without_features_are_counted_and_mostly_unknown_ones_refused(tmp_path: Path) -> None:
    table = read_pairs(_written(tmp_path, "gene_a gene_b\nBRCA1 PARP1\nMYC EGFR\nTP53 NOSUCH"))
    known = np.array(sorted(set(table.genes) - {"NOSUCH"}), dtype=str)
    assert check_known(table, known, what="pairs").dropped["genes without features"] == 1
    with pytest.raises(GeneError, match="name a gene without features"):
        check_known(table, known[:1], what="pairs")


def test_pieces_of_evidence_doubt_each_other_away(tmp_path: Path) -> None:
    path = tmp_path / "evidence.tsv"
    path.write_text(
        "gene_a.name\tgene_b.name\tSL.source\tSL.statistic_score\tSL.pubmed_id\n"
        "PARP1\tBRCA1\tCRISPR/CRISPRi\t0.8\t1\nBRCA1\tPARP1\tText Mining\t0.3\t2\nBRCA1\tPARP1\tText Mining\t0.3\t3\n",
        encoding="utf-8",
    )
    table = read_pairs(_written(tmp_path, "gene_a gene_b\nBRCA1 PARP1\nMYC EGFR"))
    weight, told = evidence_of(table, read_evidence(path))
    at = int(np.flatnonzero(np.isfinite(weight))[0])
    assert weight[at] == pytest.approx(1 - (1 - 0.8) * (1 - 0.4))
    assert told[at].startswith("CRISPR/CRISPRi (1); Text Mining (2)")
    assert told[1 - at] == ""


@given(seed=st.integers(0, 50), folds=st.integers(2, 6))
@settings(max_examples=20)
def test_no_held_out_gene_is_trained_on(seed: int, folds: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 40, 300), rng.integers(40, 80, 300)
    split = split_pairs(first, second, keys=np.arange(300), folds=folds, seed=seed)
    for part in split.rounds:
        trained = set(first[part.train]) | set(second[part.train])
        for setting, new in (("both_new", 2), ("one_new", 1)):
            test = part.tests[setting]
            n_new = np.array(
                [(a not in trained) + (b not in trained) for a, b in zip(first[test], second[test], strict=True)]
            )
            assert (n_new >= new).all()
        every = np.concatenate([part.train, *part.tests.values()])
        assert len(every) == len(np.unique(every)) == 300
    both = np.concatenate([part.tests["both_new"] for part in split.rounds])
    assert len(both) == len(np.unique(both))


def test_an_edited_split_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    split = split_pairs(rng.integers(0, 40, 99), rng.integers(40, 80, 99), keys=np.arange(99), folds=3)
    split.save(tmp_path / "s.json")
    again = PairSplit.load(tmp_path / "s.json")
    assert again.hash == split.hash
    text = (tmp_path / "s.json").read_text(encoding="utf-8")
    (tmp_path / "s.json").write_text(text.replace('"1.1": "1', '"1.1": "2').replace('"1.1": "3', '"1.1": "1'))
    with pytest.raises(FormatError, match="changed after it was written"):
        PairSplit.load(tmp_path / "s.json")


def test_matched_negatives_have_the_positives_degrees() -> None:
    rng = np.random.default_rng(1)
    a, b = (400 * rng.random(3000) ** 2).astype(int), rng.integers(0, 400, 3000)
    keep = a != b
    keys, first = np.unique(pair_keys(a[keep].astype(str), b[keep].astype(str)), return_index=True)
    a, b = a[keep][first], b[keep][first]
    no_a, no_b = matched_negatives(a, b, n_genes=400, seed=0)
    assert not np.isin(pair_keys(no_a.astype(str), no_b.astype(str)), keys).any()
    assert len(np.unique(pair_keys(no_a.astype(str), no_b.astype(str)))) == len(no_a)
    assert len(no_a) > 0.8 * len(a)
    degree = [np.bincount(np.concatenate(pair), minlength=400) for pair in ((a, b), (no_a, no_b))]
    assert (degree[1] <= degree[0]).all()  # never more often than in the positives
