"""A catalogue answers questions and nothing else: it cannot be written to, and no other file can be read through it."""

import sys
from pathlib import Path

import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from files import every_kind

from whycell.cli import main
from whycell.corpus.catalog import Catalog
from whycell.corpus.harmonise import find_columns
from whycell.corpus.parts import SCHEMAS
from whycell.errors import FormatError, UsageError
from whycell.jobs.corpus_report import report, summarise
from whycell.jobs.scan import scan


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus it's")  # a quote in the path must not end a string of SQL
    every_kind(folder / "files")
    scan(folder / "files", folder / "catalog")
    return folder / "catalog"


@pytest.mark.parametrize(
    "question",
    [
        "select * from read_text('/etc/hostname')",
        "select * from read_csv('/etc/passwd')",
        "select * from '/etc/passwd'",
        "select * from glob('/*')",
        "copy (select 1) to 'out.csv'",
        "create table mine as select 1",
        "drop view cells",
        "set enable_external_access = true",
        "attach '/tmp/other.db'",
        "install httpfs",
        "select 1; select 2",
        "",
        "select no_such_column from files",
    ],
)
def test_what_is_no_question_about_the_catalogue_is_refused(catalog: Path, question: str) -> None:
    before = {path: path.read_bytes() for path in catalog.rglob("*") if path.is_file()}
    with Catalog(catalog) as opened, pytest.raises(UsageError):
        opened.sql(question)
    assert {path: path.read_bytes() for path in catalog.rglob("*") if path.is_file()} == before


def test_a_path_that_climbs_out_is_refused(catalog: Path) -> None:
    inside = str(catalog).replace("'", "''")
    (catalog.parent / "secret.txt").write_text("secret", encoding="utf-8")
    with Catalog(catalog) as opened, pytest.raises(UsageError):
        opened.sql(f"select * from read_text('{inside}/../secret.txt')")


def test_the_views_say_what_the_parquet_says(catalog: Path) -> None:
    files = pd.read_parquet(catalog / "files")
    runs = pd.read_parquet(catalog / "runs")
    with Catalog(catalog) as opened:
        assert opened.one("select count(*) from files") == len(files)
        assert opened.one("select sum(n) from runs") == runs["n"].sum() == files["n_cells"].sum()
        assert opened.one("select sum(n) from cells") == runs[runs["is_primary"]]["n"].sum()
        total = opened.sql("select sum(n) as n from runs")["n"]
        assert str(total.dtype) == "Int64"


def test_a_catalogue_without_files_answers_with_no_rows(tmp_path: Path) -> None:
    from whycell.corpus.parts import start_catalog

    start_catalog(tmp_path / "catalog")
    with Catalog(tmp_path / "catalog") as opened:
        for view in ("files", "cells", "runs", "var", "dist", "labels", "columns"):
            assert len(opened.sql(f"select * from {view}")) == 0
        assert opened.sql("select * from runs").columns.tolist() == SCHEMAS["runs"].names


def test_a_folder_that_is_no_catalogue_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="corpus scan"):
        Catalog(tmp_path)


def test_the_page_shows_files_that_stand_apart_first_and_all_that_failed(catalog: Path, tmp_path: Path) -> None:
    summary = report(catalog, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert summary.summary["unreadable"] == len(summary.unreadable) == 6
    assert all(name in page for name in ("text.h5ad", "is not an HDF5 file", "schema7.h5ad", "synonym"))
    assert summary.summary["twice"] == 30
    assert summarise(catalog).types["cells"].sum() <= summary.summary["cells"]
    again = tmp_path / "again.html"
    report(catalog, again)
    assert again.read_text(encoding="utf-8") == page


def test_a_file_far_from_the_others_stands_apart(tmp_path: Path) -> None:
    import anndata as ad
    import numpy as np
    import scipy.sparse as sp

    rng = np.random.default_rng(0)
    (tmp_path / "files").mkdir()
    for i in range(6):
        deep = 40.0 if i == 4 else 1.0 + 0.05 * i
        values = rng.poisson(deep, (50, 40)).astype(np.float32)
        made = np.log1p(values / values.sum(axis=1, keepdims=True) * 1e4) if i == 5 else values
        ad.AnnData(sp.csr_matrix(made)).write_h5ad(tmp_path / "files" / f"{i}.h5ad")
    scan(tmp_path / "files", tmp_path / "catalog")
    files = summarise(tmp_path / "catalog").files
    apart = files[files["outlier"] != ""].set_index("name")["outlier"].to_dict()
    assert apart == {"4.h5ad": "many counts", "5.h5ad": "no counts: log1p cp10k"}
    assert set(files["name"].head(2)) == set(apart)


def test_the_command_prints_tables_of_three_kinds(catalog: Path, capsys: pytest.CaptureFixture[str]) -> None:
    question = "select cell_type, sum(n) as n from cells group by 1 order by 2 desc, 1 limit 2"
    shown = []
    for how in ([], ["--tsv"], ["--json"]):
        with pytest.raises(SystemExit) as ended:
            main(["corpus", "query", str(catalog), question, *how])
        assert ended.value.code == 0
        shown.append(capsys.readouterr().out)
    assert shown[1].splitlines()[0] == "cell_type\tn"
    assert '"n": ' in shown[2]
    with pytest.raises(SystemExit) as ended:
        main(["corpus", "query", str(catalog), "drop view cells"])
    assert ended.value.code == 2


def test_a_field_is_found_by_name_before_synonym_before_values() -> None:
    values = {"x": ["CL:0000236", "CL:0000084"], "y": ["UBERON:0000178"], "z": ["red", "blue"]}
    found = find_columns(["celltype", "cell_type", "x", "y", "z", "Donor ID"], peek=lambda name: values.get(name, []))
    told = {field: (each.column, each.rule) for field, each in found.items()}
    assert told == {
        "cell_type": ("cell_type", "name"),
        "donor": ("Donor ID", "synonym"),
        "cell_type_id": ("x", "values"),
        "tissue_id": ("y", "values"),
    }
