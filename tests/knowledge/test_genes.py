"""One gene under its many names; what is not known is said to be unknown."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whycell.errors import GeneError
from whycell.knowledge.genes import GeneTable, resolve_genes, symbol_of

CD3E, MS4A1, KMT2A, MATR3 = "ENSG00000198851", "ENSG00000156738", "ENSG00000118058", "ENSG00000015479"
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("name", "id_", "rule"),
    [
        ("ENSG00000198851", CD3E, "id"),
        ("ENSG00000198851.12", CD3E, "id"),
        ("ENSG00000198851.12_PAR_Y", CD3E, "id"),
        ("CD3E_ENSG00000198851", CD3E, "id"),
        ("ENSG99999999999", "ENSG99999999999", "retired_id"),
        ("ENSMUSG00000032093", "", "unknown"),  # a mouse's
        ("CD3E", CD3E, "symbol"),
        (" CD3E ", CD3E, "symbol"),
        ("GRCh38_CD3E", CD3E, "symbol"),
        ("HLA.DRA", "ENSG00000204287", "symbol"),
        ("MATR3", MATR3, "symbol"),  # two ids share the symbol; HGNC names one
        ("CD99", "ENSG00000002586", "symbol"),  # on X and Y
        ("Cd3e", "", "unknown"),
        ("cd3e", "", "unknown"),
        ("MLL", KMT2A, "previous"),
        ("C1ORF112", "ENSG00000000460", "previous"),  # C1orf112, upper-cased, now FIRRM
        ("CD20", MS4A1, "previous"),
        ("CD56", "ENSG00000149294", "alias"),
        ("Y_RNA", "", "ambiguous"),
        ("QARS", "", "ambiguous"),  # once the symbol of two genes
        ("nonsense", "", "unknown"),
        ("", "", "unknown"),
        ("7157", "", "unknown"),
    ],
)
def test_the_rule_of_a_human_name(name: str, id_: str, rule: str) -> None:
    found = resolve_genes([name], species="human")
    assert (found.ids[0], found.rules[0]) == (id_, rule)


@pytest.mark.parametrize(
    ("names", "naming", "species"),
    [
        ([CD3E, MS4A1, KMT2A], "ensembl", "human"),
        ([f"{CD3E}.7", f"{MS4A1}.18"], "ensembl_versioned", "human"),
        (["CD3E", "MS4A1", "GNLY"], "symbol", "human"),
        (["Cd3e", "Ms4a1", "Gzmb"], "symbol", "mouse"),
        (["ENSMUSG00000032093.9"], "ensembl_versioned", "mouse"),
        (["CD3E", "MS4A1", "ENSG00000290825"], "mixed", "human"),
        (["ENSRNOG00000016069", "ENSRNOG00000019193"], "ensembl", "other"),
        (["ENSDARG00000000001"], "ensembl", "other"),
        ([str(i) for i in range(50)], "numbers", "unknown"),
        ([f"feature-{i}" for i in range(50)], "unknown", "unknown"),
        ([], "unknown", "unknown"),
    ],
)
def test_what_a_column_holds(names: list[str], naming: str, species: str) -> None:
    found = resolve_genes(names)
    assert (found.naming, found.species) == (naming, species)


def test_names_that_are_numbers() -> None:
    found = resolve_genes(np.arange(300))
    assert (found.naming, found.share_resolved) == ("numbers", 0.0)
    assert resolve_genes(pd.Series([1.0, 2.0])).naming == "numbers"


def test_missing_names_are_unknown() -> None:
    found = resolve_genes([None, float("nan"), pd.NA, "CD3E"])
    assert found.rules.tolist() == ["unknown", "unknown", "unknown", "symbol"]


def test_duplicates_are_reported_and_keep_their_place() -> None:
    found = resolve_genes(["CD3E", f"{CD3E}.1", "MS4A1", "CD3E", "junk", "junk"])
    assert found.ids.tolist() == [CD3E, CD3E, MS4A1, CD3E, "", ""]
    assert found.duplicates == [CD3E]


def test_an_old_name_beside_the_gene_itself_is_another_gene() -> None:
    assert resolve_genes(["MLL", "CD3E"]).rules.tolist() == ["previous", "symbol"]
    assert resolve_genes(["MLL", "KMT2A"]).rules.tolist() == ["ambiguous", "symbol"]


def test_symbols_for_people() -> None:
    found = resolve_genes(["MLL", f"{CD3E}.2", "ENSG00000290825", "ENSG99999999999", "what"])
    assert found.symbols().tolist() == ["KMT2A", "CD3E", "DDX11L16", "ENSG99999999999", "what"]
    assert found.frame().columns.tolist() == ["name", "id", "symbol", "rule"]
    assert found.counts()["id"] == 2
    assert symbol_of([CD3E, "ENSMUSG00000032093", ""]) == ["CD3E", "Cd3e", ""]


def test_retired_ids_are_filled_from_the_symbols_beside_them() -> None:
    ids = resolve_genes(["ENSG99999999999", CD3E, "ENSG99999999998", "ENSG99999999997"])
    symbols = resolve_genes(["MS4A1", "CD3E", "CD3E", "MLL"])
    filled = ids.filled_from(symbols)
    # The third row's gene is taken already, and the fourth has only an old name.
    assert filled.ids.tolist() == [MS4A1, CD3E, "ENSG99999999998", "ENSG99999999997"]
    assert filled.rules.tolist() == ["symbol", "id", "retired_id", "retired_id"]
    with pytest.raises(GeneError, match="both must be columns of one table"):
        ids.filled_from(resolve_genes(["Cd3e"]))


@pytest.mark.parametrize("species", ["human", "mouse"])
def test_the_shipped_tables(species: str) -> None:
    table = GeneTable.load(species)
    assert len(table.ids) > 70_000
    assert list(table.ids) == sorted(set(table.ids))
    assert "GENCODE" in table.source
    named = resolve_genes(table.symbols[table.symbols != ""], species=species)
    assert named.share_resolved > 0.95
    assert set(named.rules) <= {"symbol", "ambiguous"}
    assert resolve_genes(table.ids).species == species


def test_the_tables_are_small() -> None:
    folder = ROOT / "src" / "whycell" / "knowledge" / "_tables"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 3e6


@given(
    st.lists(st.one_of(st.text(max_size=12), st.sampled_from(["CD3E", "MLL", "Cd3e", f"{CD3E}.3", "7"])), max_size=30)
)
def test_any_names_get_one_answer_each(names: list[str]) -> None:
    found = resolve_genes(names)
    assert len(found.ids) == len(found.rules) == len(names)
    assert all(
        (id_ == "") == (rule in ("ambiguous", "unknown")) for id_, rule in zip(found.ids, found.rules, strict=True)
    )
    again = resolve_genes(found.ids[found.ids != ""])
    assert again.ids.tolist() == found.ids[found.ids != ""].tolist()


def test_a_species_without_a_table() -> None:
    with pytest.raises(GeneError, match="no gene table of 'rat'; there is one of human and of mouse"):
        resolve_genes(["Cd3e"], species="rat")
    assert GeneTable.load("human").biotype(CD3E) == "protein_coding"
    assert GeneTable.load("human").biotype("ENSG99999999999") == ""


def test_symbols_agree_with_the_ids_beside_them(shared_data: Path) -> None:
    import anndata

    var = anndata.read_h5ad(shared_data / "cells" / "zheng_facs_3774.h5ad", backed="r").var
    ids, symbols = resolve_genes(var.index), resolve_genes(var["symbol"])
    both = (ids.rules == "id") & np.isin(symbols.rules, ["symbol", "previous"])
    assert both.sum() > 15_000
    assert np.mean(ids.ids[both] == symbols.ids[both]) > 0.985


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    genes = [
        ("ENSG00000000001", "AAA", "protein_coding"),
        ("ENSG00000000002", "BBB", "protein_coding"),
        ("ENSG00000000003", "BBB", "lncRNA"),
        ("ENSG00000000004", "CCC", "lncRNA"),
        ("ENSG00000000005", "CCC", "lncRNA"),
        ("ENSG00000000006", "ENSG00000000006", "lncRNA"),
        ("ENSG00000000007", "C1orf7", "protein_coding"),
        ("ENSG00000000008", "DDD", "lncRNA"),
        ("ENSG00000000009", "DDD", "lncRNA"),
    ]
    (tmp_path / "genes.csv").write_text("".join(f"{id_},{symbol},1,10,{kind}\n" for id_, symbol, kind in genes))
    names = [
        ("HGNC:1", "AAA", "Approved", "BOTH|one|two", "OLD|BBB", "ENSG00000000001"),
        ("HGNC:2", "BBB", "Approved", "two|OLD", "", "ENSG00000000002"),
        ("HGNC:3", "NOID", "Approved", "BOTH", "", ""),
        ("HGNC:4", "GONE", "Entry Withdrawn", "lost", "", "ENSG00000000004"),
        ("HGNC:5", "NEWER", "Approved", "123|NA|ENSG00000000001", "", "ENSG00000000006"),
        ("HGNC:6", "DDD", "Approved", "", "", "ENSG00000000009"),
    ]
    heading = "hgnc_id\tsymbol\tstatus\talias_symbol\tprev_symbol\tensembl_gene_id\n"
    (tmp_path / "names.txt").write_text(heading + "".join("\t".join(row) + "\n" for row in names))
    return tmp_path


def test_making_the_tables(sources: Path) -> None:
    command = [sys.executable, ROOT / "scripts" / "make_gene_tables.py", "--species", "human", "--source", "toy"]
    inputs = ["--genes", sources / "genes.csv", "--names", sources / "names.txt", "--output", sources / "out"]
    subprocess.run([*command, *inputs], check=True, capture_output=True)

    genes = pd.read_parquet(sources / "out" / "genes_human.parquet").set_index("id")
    assert genes.index[genes["primary"]].str[-1].tolist() == ["1", "2", "7", "9"]
    assert genes.loc["ENSG00000000006", "symbol"] == ""

    names = pd.read_parquet(sources / "out" / "names_human.parquet").set_index("name")
    found = {name: (row.id[-1:], row.kind) for name, row in names.iterrows()}
    assert found == {
        "BOTH": ("", "ambiguous"),  # also an alias of a gene without an id
        "C1ORF7": ("7", "alias"),
        "NEWER": ("6", "previous"),  # approved by HGNC, not yet by Ensembl
        "OLD": ("1", "previous"),  # once official goes before never official
        "one": ("1", "alias"),
        "two": ("", "ambiguous"),
    }
