"""Every malformed input gets its finding, with the right weight, and the sentences stay as they were written."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp

from whycell.data.cells import open_cells
from whycell.data.doctor import Diagnosis, examine
from whycell.errors import ExpressionError, FormatError, GeneError
from whycell.jobs import doctor as jobs_doctor
from whycell.jobs.doctor import doctor
from whycell.knowledge.genes import resolve_genes, symbol_of

SYMBOLS = [str(name) for name in sc.datasets.pbmc68k_reduced().raw.var_names]
IDS = list(resolve_genes(SYMBOLS).ids)
MODEL = list(dict.fromkeys(id_ for id_ in IDS if id_))
NAMES = symbol_of(MODEL)


def good(n: int = 120) -> ad.AnnData:
    """Counts of human genes, with nothing wrong but that there are only 765 of them."""
    rng = np.random.default_rng(0)
    strength = rng.gamma(0.5, 2.0, len(SYMBOLS))
    counts = rng.poisson(strength * rng.lognormal(0, 0.4, (n, 1))).astype(np.float32)
    counts[0] += 1  # every gene is seen once
    obs = pd.DataFrame({"donor": pd.Categorical(["a", "b"] * (n // 2))}, index=[f"cell{i}" for i in range(n)])
    return ad.AnnData(sp.csr_matrix(counts), obs=obs, var=pd.DataFrame(index=pd.Index(SYMBOLS)))


def diagnose(adata: ad.AnnData, *, model: bool = True) -> Diagnosis:
    with open_cells(adata) as cells:
        return examine(cells, model_genes=MODEL if model else None)


def with_x(change: Callable[[np.ndarray], np.ndarray]) -> ad.AnnData:
    adata = good()
    adata.X = sp.csr_matrix(change(adata.X.toarray().astype(np.float64)).astype(np.float32))
    return adata


def with_names(names: list[str]) -> ad.AnnData:
    adata = good()
    adata.var_names = pd.Index(names)
    return adata


def put(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(x: np.ndarray) -> np.ndarray:
        x[7, 11] = value
        return x

    return change


def sized(x: np.ndarray, target: float = 1e4) -> np.ndarray:
    return x / x.sum(axis=1, keepdims=True) * target


def z_scored(x: np.ndarray) -> np.ndarray:
    x = np.log1p(sized(x))
    return np.minimum((x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-9), 10)


def scaled_with_raw() -> ad.AnnData:
    adata = with_x(lambda x: np.log1p(sized(x)))
    raw = adata.copy()
    adata.raw = raw
    adata.X = z_scored(good().X.toarray())
    return adata


def scaled_with_counts() -> ad.AnnData:
    adata = with_x(z_scored)
    adata.layers["umi"] = good().X
    return adata


def emptied(*, rows: slice = slice(0), columns: slice = slice(0)) -> ad.AnnData:
    def change(x: np.ndarray) -> np.ndarray:
        x[rows] = 0
        x[:, columns] = 0
        return x

    return with_x(change)


def with_obs(**columns: object) -> ad.AnnData:
    adata = good()
    for name, values in columns.items():
        adata.obs[name] = values
    return adata


def cut_to(n_genes: int) -> ad.AnnData:
    return good()[:, :n_genes].copy()


def twice_named_genes() -> ad.AnnData:
    return with_names([*SYMBOLS[:-2], SYMBOLS[0], IDS[1]])


def twice_named_cells() -> ad.AnnData:
    adata = good()
    adata.obs_names = ["same", "same", *adata.obs_names[2:]]
    return adata


def named_in_column() -> ad.AnnData:
    adata = good()
    adata.var["what_ever"] = SYMBOLS
    adata.var["biotype"] = "protein_coding"
    adata.var_names = [str(i) for i in range(adata.n_vars)]
    return adata


def from_mouse_by_field() -> ad.AnnData:
    adata = good()
    adata.uns["organism_ontology_term_id"] = "NCBITaxon:10090"
    return adata


def typed_before() -> ad.AnnData:
    return with_obs(
        **{"whycell": "T cell", "whycell--cell_ontology_term_id": "CL:0000084", "whycell_leaf_confidence": 0.9}
    )


def with_missing() -> ad.AnnData:
    adata = good()
    adata.obs["donor"] = adata.obs["donor"].where(np.arange(adata.n_obs) > 2)
    return adata


def two_files_joined() -> ad.AnnData:
    return with_x(lambda x: np.vstack([x[:60], np.log1p(sized(x[60:]))]))


# name: (build, code, level, mended, usable)
CASES: dict[str, tuple[Callable[[], ad.AnnData], str, str, bool, bool]] = {
    "raw counts": (good, "raw_counts", "info", False, True),
    "log1p": (lambda: with_x(lambda x: np.log1p(sized(x))), "log1p", "info", True, True),
    "log1p of CPM": (lambda: with_x(lambda x: np.log1p(sized(x, 1e6))), "log1p", "info", True, True),
    "log2": (lambda: with_x(lambda x: np.log2(1 + sized(x))), "log2", "info", True, True),
    "cpm": (lambda: with_x(lambda x: sized(x, 1e6)), "cpm", "info", True, True),
    "double log": (lambda: with_x(lambda x: np.log1p(np.log1p(sized(x)))), "double_log", "warning", True, True),
    "scaled": (lambda: with_x(z_scored), "scaled", "error", False, False),
    "scaled, raw there": (scaled_with_raw, "scaled", "info", True, True),
    "scaled, counts in a layer": (scaled_with_counts, "scaled", "info", True, True),
    "negative": (lambda: with_x(put(-2.0)), "negative_values", "error", False, False),
    "NaN": (lambda: with_x(put(np.nan)), "not_finite", "error", False, False),
    "infinity": (lambda: with_x(put(np.inf)), "not_finite", "error", False, False),
    "only zeros": (lambda: with_x(np.zeros_like), "no_values", "error", False, False),
    "noise": (
        lambda: with_x(lambda x: np.random.default_rng(1).uniform(0.1, 3, x.shape)),
        "unknown_values",
        "error",
        False,
        False,
    ),
    "two kinds of cells": (two_files_joined, "unknown_values", "error", False, False),
    "corrected": (
        lambda: with_x(lambda x: 4 * x * np.random.default_rng(1).uniform(0.5, 1, x.shape)),
        "corrected_counts",
        "warning",
        False,
        True,
    ),
    "presence only": (lambda: with_x(lambda x: (x > 0) * 1.0), "binary_values", "warning", False, True),
    "symbols": (good, "symbols", "info", True, True),
    "Ensembl": (
        lambda: with_names([i or f"ENSG9999{n:07}" for n, i in enumerate(IDS)]),
        "ensembl",
        "info",
        False,
        True,
    ),
    "versioned": (
        lambda: with_names([f"{i or f'ENSG9999{n:07}'}.{n % 9}" for n, i in enumerate(IDS)]),
        "versioned_ensembl",
        "info",
        True,
        True,
    ),
    "mouse symbols": (lambda: with_names([s.capitalize() for s in SYMBOLS]), "mouse_genes", "error", False, False),
    "numbers": (lambda: with_names([str(i) for i in range(765)]), "integer_gene_names", "error", False, False),
    "numbers, names in a column": (named_in_column, "genes_in_column", "info", True, True),
    "no genes at all": (lambda: with_names([f"peak{i}" for i in range(765)]), "unknown_genes", "error", False, False),
    "zebrafish": (lambda: with_names([f"ENSDARG{i:011}" for i in range(765)]), "wrong_organism", "error", False, False),
    "duplicated genes": (twice_named_genes, "duplicated_genes", "warning", True, True),
    "five genes": (lambda: cut_to(5), "too_few_genes", "error", False, False),
    "panel": (lambda: cut_to(200), "gene_panel", "warning", True, True),
    "transposed": (lambda: good().T, "transposed", "error", False, False),
    "empty cells": (lambda: emptied(rows=slice(3, 9)), "empty_cells", "warning", True, True),
    "some zero genes": (lambda: emptied(columns=slice(5, 9)), "all_zero_genes", "info", False, True),
    "most genes zero": (lambda: emptied(columns=slice(0, 600)), "all_zero_genes", "warning", False, True),
    "duplicate cell names": (twice_named_cells, "duplicate_cell_names", "warning", True, True),
    "wrong organism": (from_mouse_by_field, "wrong_organism", "error", False, False),
    "missing category": (with_missing, "missing_categories", "warning", True, True),
    "reserved": (lambda: with_obs(cell_type="T cell"), "reserved_columns", "info", True, True),
    "forbidden": (lambda: with_obs(__mine=1), "reserved_columns", "warning", False, True),
    "secondary": (lambda: with_obs(is_primary_data=False), "not_primary_data", "warning", False, True),
    "typed before": (typed_before, "annotated_before", "info", False, True),
}


@pytest.mark.filterwarnings("ignore:Variable names are not unique", "ignore:Observation names are not unique")
@pytest.mark.parametrize("name", CASES)
def test_every_input_gets_its_finding(name):
    build, code, level, mended, usable = CASES[name]
    found = diagnose(build())
    here = [finding for finding in found.findings if finding.code == code]
    assert len(here) == 1, found.frame()[["code", "message"]].to_string()
    assert (here[0].level, here[0].mended) == (level, mended)
    assert found.usable == usable, found.frame()[["code", "message"]].to_string()
    assert here[0].message.endswith(".")
    assert here[0].cure or level == "info"


def message(adata: ad.AnnData, code: str) -> str:
    return next(f"{f.message} {f.cure}" for f in diagnose(adata).findings if f.code == code)


def test_sentences_are_as_they_were_written():
    """A biologist reads them; a change of words should be a decision."""
    n = len(MODEL)
    assert message(CASES["five genes"][0](), "too_few_genes") == (
        f"Only 5 of the model's {n} genes ({500 / n:.1f} %) are in this file; at least 10 % are needed. "
        "This file names genes like 'HES4, TNFRSF4, SSU72, …'; "
        f"the model like '{MODEL[5]} ({NAMES[5]}), {MODEL[6]} ({NAMES[6]})'. "
        "Give the matrix with all genes that were measured, with human symbols or Ensembl ids; "
        "if this is a panel, train a model on references cut to it."
    )
    assert message(CASES["NaN"][0](), "not_finite").startswith(
        "X holds NaN or infinite values: 1 of 38,777 values looked at is NaN or infinite. "
        "They are in 1 of 120 cells, row(s) 7 counting from 0. Give the values from before"
    )
    assert message(CASES["duplicate cell names"][0](), "duplicate_cell_names").startswith(
        "2 cells share one name where each should have its own: same. Cells are told apart by their place"
    )
    assert message(CASES["scaled, raw there"][0](), "scaled") == (
        "X holds scaled values (z-scores); raw/X holds log1p of counts per 10,000 and is used instead. Nothing to do."
    )
    assert message(CASES["transposed"][0](), "transposed") == (
        "The matrix lies on its side: its 765 rows are named like genes (HES4, TNFRSF4, SSU72, …) and its 120 columns "
        "like cells (cell0, cell1, cell2, …). Cells are rows, genes are columns: adata = adata.T."
    )


@pytest.mark.parametrize(
    ("place", "where"), [("X", "X"), ("layers", "layers/anything"), ("raw", "raw/X"), ("spliced", "X")]
)
def test_raw_counts_are_found_wherever_they_are(place, where):
    adata = with_x(lambda x: np.log1p(sized(x)))
    counts = good()
    if place == "X":
        adata.layers["log"] = adata.X
        adata.X = counts.X
    elif place == "raw":
        adata.raw = counts
    else:
        adata.layers["anything" if place == "layers" else "spliced"] = counts.X
    found = diagnose(adata)
    assert found.where == where
    assert found.kind.kind == ("log1p_cp10k" if place == "spliced" else "counts")


def test_a_matrix_cut_to_few_genes_stands_back():
    adata = cut_to(200)
    whole = with_x(lambda x: np.log1p(sized(x)))
    adata.raw = whole
    found = diagnose(adata)
    assert (found.where, found.kind.kind, len(found.genes.ids)) == ("raw/X", "log1p_cp10k", 765)


def test_without_a_model_a_file_is_judged_alone():
    assert diagnose(good(), model=False).usable
    assert not diagnose(cut_to(5), model=False).usable


@pytest.mark.parametrize(
    ("name", "error"), [("NaN", ExpressionError), ("five genes", GeneError), ("transposed", GeneError)]
)
def test_an_error_can_be_raised(name, error):
    with pytest.raises(error):
        diagnose(CASES[name][0]()).raise_if_unusable()
    diagnose(good()).raise_if_unusable()


def cut(path):
    good().write_h5ad(path)
    path.write_bytes(path.read_bytes()[:5000])


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda path: None, "missing_file"),
        (cut, "truncated_file"),
        (lambda path: path.write_bytes(b""), "truncated_file"),
        (lambda path: path.write_text("gene,cell1\nCD3D,1\n"), "not_h5ad"),
        (lambda path: path.mkdir(), "not_h5ad"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_finding(tmp_path, make, code):
    path = tmp_path / "file.h5ad"
    make(path)
    found = doctor(path)
    assert [finding.code for finding in found.findings] == [code]
    assert str(path) in found.findings[0].message
    assert not found.usable
    assert found.to_dict()["kind"] is None
    with pytest.raises(FormatError):
        found.raise_if_unusable()


def test_the_answer_can_be_written_as_json(tmp_path):
    good().write_h5ad(tmp_path / "good.h5ad")
    answer = json.loads(json.dumps(doctor(tmp_path / "good.h5ad").to_dict()))
    assert answer["usable"] is True
    assert answer["genes"]["naming"] == "symbol"
    assert {"code", "level", "message", "cure", "mended"} == set(answer["findings"][0])


def test_the_page_names_every_finding_and_its_example_runs(capsys):
    """A finding that is not explained is half a finding; codes are read out of the source, so none is forgotten."""
    source = "".join(path.read_text("utf-8") for path in Path(jobs_doctor.__file__).parents[1].rglob("*doctor.py"))
    folder = Path(jobs_doctor.__file__).parents[1] / "data"
    source += "".join(path.read_text("utf-8") for path in folder.glob("examine_*.py"))
    codes = set(re.findall(r'Finding\(\s*"(\w+)"', source)) | {case[1] for case in CASES.values()}
    page = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text("utf-8")
    listed = set(re.findall(r"^\| `(\w+)` \|", page, flags=re.MULTILINE))
    assert codes <= listed, codes - listed
    exec(compile(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1], "docs/doctor.md", "exec"), {})
    printed = capsys.readouterr().out
    assert printed.startswith("False double_log\n")
    assert "error too_few_genes" in printed


@pytest.mark.parametrize(
    ("file", "naming"),
    [
        ("kang_ctrl_8donors", "ensembl"),
        ("kang_ctrl_9015genes", "symbol"),
        ("pbmc3k_counts", "symbol"),
        ("zheng_facs_3774", "ensembl"),
    ],
)
def test_real_files_are_well(shared_data, file, naming):
    found = doctor(shared_data / "cells" / f"{file}.h5ad")
    assert found.usable
    assert (found.where, found.kind.kind, found.genes.naming) == ("X", "counts", naming)


def test_real_reduced_pbmcs_use_the_logarithm_in_raw():
    found = diagnose(sc.datasets.pbmc68k_reduced())
    assert found.usable
    assert (found.where, found.kind.kind) == ("raw/X", "log1p")
