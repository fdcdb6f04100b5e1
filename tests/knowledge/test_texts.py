"""The table of genes: joined by identifiers, one row a gene, texts by facet."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from whycell.errors import FormatError, GeneError
from whycell.knowledge.gene_sources import read_gene_info, read_hgnc, read_summaries
from whycell.knowledge.texts import build_gene_table, coverage, gene_texts, read_gene_table, write_gene_table

TAB = "\t"
INFO = """#tax_id^GeneID^Symbol^LocusTag^Synonyms^dbXrefs^chromosome^map_location^description^type_of_gene
9606^1^OLD1^-^A|B^HGNC:HGNC:5|Ensembl:ENSG00000000001^19^19q^first gene^protein-coding
9606^2^TWIN^-^-^HGNC:HGNC:6|Ensembl:ENSG00000000002|Ensembl:ENSG00000000003^1^1q^second^protein
9606^3^-LONE^-^-^-^1^1q^-^unknown
""".replace("^", TAB)
HGNC = """hgnc_id^symbol^name^locus_type^status^alias_symbol^prev_symbol^entrez_id^ensembl_gene_id
HGNC:5^NEW1^gene one^gene with protein product^Approved^"A|X"^OLD1^1^ENSG00000000001
HGNC:6^TWIN^gene two^gene with protein product^Approved^^^2^ENSG00000000002
HGNC:7^ONLY^gene of hgnc^RNA, long non-coding^Approved^^^^ENSG00000000007
HGNC:8^GONE^withdrawn^x^Entry Withdrawn^^^9^
""".replace("^", TAB)
SUMMARY = """#tax_id^GeneID^Source^Summary
9606^1^RefSeq^Does a thing. [provided by RefSeq, Jul 2008].
9606^1^Other^Short.
9606^2^RefSeq^Does another.
""".replace("^", TAB)


@pytest.fixture
def table(tmp_path: Path) -> pd.DataFrame:
    for name, text in (("info", INFO), ("hgnc", HGNC), ("summary", SUMMARY)):
        with gzip.open(tmp_path / f"{name}.gz", "wt") as stream:
            stream.write(text)
    return build_gene_table(
        read_gene_info(tmp_path / "info.gz"),
        read_hgnc(tmp_path / "hgnc.gz"),
        summaries=read_summaries(tmp_path / "summary.gz"),
    )


def test_sources_are_joined_by_identifier_and_the_newer_name_wins(table: pd.DataFrame) -> None:
    by_id = table.set_index("gene_id")
    assert list(by_id.index) == ["HGNC:7", "NCBIGene:1", "NCBIGene:2", "NCBIGene:3"]
    first = by_id.loc["NCBIGene:1"]
    assert (first["symbol"], first["name"], first["summary"]) == ("NEW1", "gene one", "Does a thing.")
    assert (first["aliases"], first["previous"]) == (["A", "B", "X"], ["OLD1"])
    assert by_id.loc["NCBIGene:2", "ensembl_ids"] == ["ENSG00000000002", "ENSG00000000003"]
    assert by_id.loc["HGNC:7", "ensembl_ids"] == ["ENSG00000000007"]


def test_a_text_belongs_to_a_gene_and_a_facet(table: pd.DataFrame) -> None:
    more = pd.DataFrame({"gene_id": ["NCBIGene:3", "NCBIGene:99"], "facet": "drugs", "text": ["aspirin", "not a gene"]})
    texts = gene_texts(table, more, facets=["drugs", "summary"])
    assert texts.to_numpy().tolist() == [
        ["NCBIGene:3", "drugs", "aspirin"],
        ["NCBIGene:1", "summary", "Does a thing."],
        ["NCBIGene:2", "summary", "Does another."],
    ]
    with pytest.raises(GeneError, match="no facet pathways; there are name, summary"):
        gene_texts(table, facets=["pathways"])


def test_the_table_comes_back_and_nothing_else_is_taken_for_it(table: pd.DataFrame, tmp_path: Path) -> None:
    write_gene_table(table, tmp_path / "genes.parquet", sources={"info.gz": "sha256:1"})
    back = read_gene_table(tmp_path / "genes.parquet")
    assert [list(ids) for ids in back["ensembl_ids"]] == table["ensembl_ids"].tolist()
    table[["symbol"]].to_parquet(tmp_path / "other.parquet")
    with pytest.raises(FormatError, match="holds symbol, not a gene table"):
        read_gene_table(tmp_path / "other.parquet")


def test_a_wrong_file_is_named_with_where_to_get_the_right_one(tmp_path: Path) -> None:
    (tmp_path / "wrong.tsv").write_text("a\tb\n1\t2\n")
    with pytest.raises(FormatError, match=r"no column #tax_id.*starts with a, b.*ncbi"):
        read_gene_info(tmp_path / "wrong.tsv")
    with pytest.raises(FormatError, match=r"absent.gz is not there; hgnc is to be had from https"):
        read_hgnc(tmp_path / "absent.gz")


def test_coverage_is_of_genes_and_of_counts() -> None:
    found = coverage(["ENSG1", "", "ENSG2", "ENSG3"], np.array([70.0, 10, 15, 5]), described=["ENSG1", "ENSG3"])
    assert (found.with_text, found.share_of_genes, found.share_of_counts) == (2, 0.5, 0.75)
    assert found.without == ("ENSG2",)


def test_the_real_files_join(shared_data: Path) -> None:
    genes = shared_data / "genes"
    table = build_gene_table(
        read_gene_info(genes / "Homo_sapiens.gene_info.gz"),
        read_hgnc(genes / "hgnc_complete_set.txt.gz"),
        summaries=read_summaries(genes / "refseq_gene_summaries.tsv.gz"),
    )
    insulin = table[table["symbol"] == "INS"].iloc[0]
    assert (insulin["gene_id"], insulin["ensembl_ids"]) == ("NCBIGene:3630", ["ENSG00000254647"])
    assert "insulin" in insulin["summary"]
    assert table["gene_id"].is_unique
