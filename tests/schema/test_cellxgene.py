"""A file that is valid by the CELLxGENE schema is valid after we typed it, by the schema's own validator.

The validator lives in an environment of its own (`make schema` makes it and runs this): it pins an older anndata.
"""

import json
import os
import subprocess
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from whycell.jobs.annotate import annotate
from whycell.jobs.train import train
from whycell.knowledge.genes import resolve_genes

pytestmark = pytest.mark.schema

DEMO = Path(__file__).resolve().parents[2] / "demo"
KNOWN = """
import sys
from cellxgene_schema.gencode import SupportedOrganisms, GeneChecker
known = GeneChecker(SupportedOrganisms.HOMO_SAPIENS)
print(" ".join(gene for gene in sys.stdin.read().split() if known.is_valid_id(gene)))
"""
JUDGE = """
import json, sys
from cellxgene_schema.validate import validate
print("\\n" + json.dumps([list(validate(path)[1]) for path in sys.argv[1:]]))
"""


def theirs(code: str, *arguments: object, given: str = "") -> str:
    """Run code in the environment of the validator; the last line that it prints."""
    python = os.environ.get("WHYCELL_CELLXGENE_PYTHON")
    if not python:
        pytest.skip("no environment with cellxgene-schema: run `make schema`")
    asked = [python, "-c", code, *map(str, arguments)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(asked, input=given, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def errors(*paths: Path) -> list[list[str]]:
    """What the validator has against each file; its start takes longer than its work."""
    return json.loads(theirs(JUDGE, *paths))


@pytest.fixture(scope="module")
def curated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real cells as the schema wants them: Ensembl ids, raw counts, every obligatory field."""
    import runpy

    folder = tmp_path_factory.mktemp("curated")
    reference, _ = runpy.run_path(str(DEMO / "cells.py"))["write_two_files"](folder)
    cells = ad.read_h5ad(reference)
    ids = pd.Series(resolve_genes(cells.var_names.tolist()).ids)
    known = set(theirs(KNOWN, given=" ".join(ids)).split())
    keep = (ids.isin(known) & ~ids.duplicated()).to_numpy()
    assert keep.sum() > 600
    X = sp.csr_matrix(cells.X[:, keep]).astype(np.float32)
    cells, X = cells[X.sum(axis=1).A1 > 0], X[X.sum(axis=1).A1 > 0]
    terms = pd.read_csv(DEMO / "labels.tsv", sep="\t", index_col=0)["cell_ontology_term_id"]
    obs = pd.DataFrame(
        {
            "cell_type_ontology_term_id": cells.obs["bulk_labels"].astype(str).map(terms).to_numpy(),
            "assay_ontology_term_id": "EFO:0009899",
            "development_stage_ontology_term_id": "unknown",
            "disease_ontology_term_id": "PATO:0000461",
            "self_reported_ethnicity_ontology_term_id": "unknown",
            "sex_ontology_term_id": "unknown",
            "tissue_ontology_term_id": "UBERON:0000178",
            "tissue_type": "tissue",
            "suspension_type": "cell",
            "donor_id": [f"donor{i % 3}" for i in range(cells.n_obs)],
        },
        index=cells.obs_names,
    ).astype("category")
    obs["is_primary_data"] = True
    out = ad.AnnData(X, obs=obs, var=pd.DataFrame({"feature_is_filtered": False}, index=ids[keep].to_numpy()))
    out.uns = {"title": "Blood", "organism_ontology_term_id": "NCBITaxon:9606"}
    out.obsm["X_plain"] = np.random.default_rng(0).standard_normal((out.n_obs, 2)).astype(np.float32)
    out.write_h5ad(folder / "curated.h5ad", compression="gzip")
    train([folder / "curated.h5ad"], folder / "model", label="cell_type_ontology_term_id", donor="donor_id", threads=1)
    return folder


def test_what_was_valid_stays_valid(curated: Path, tmp_path: Path) -> None:
    source, model = curated / "curated.h5ad", str(curated / "model")
    plain, other, clusters, mine = (tmp_path / f"{name}.h5ad" for name in ("plain", "other", "clusters", "mine"))
    annotate(source, plain, model=model, threads=1)
    annotate(source, other, model=model, key="my_types", threads=1)
    annotate(source, clusters, model=model, cluster="donor_id", threads=1)
    mine.write_bytes(source.read_bytes())
    for key in ("first", "second"):
        annotate(mine, inplace=True, model=model, key=key, threads=1)
    # One with a fault besides: otherwise an empty list would say nothing.
    bad = ad.read_h5ad(source)
    bad.obs["__mine"] = "x"
    bad.write_h5ad(tmp_path / "bad.h5ad")
    *good, fault = errors(source, plain, other, clusters, mine, tmp_path / "bad.h5ad")
    assert good == [[]] * 5
    assert len(fault) == 1
    assert "__mine" in fault[0]
