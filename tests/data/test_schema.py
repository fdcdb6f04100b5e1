"""The CELLxGENE fields, in the places where old and new schema versions keep them."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from whycell._keys import ObsKeys
from whycell.data.cells import open_cells
from whycell.data.schema import donor_kinds, is_reserved, organisms, primary_cells


def cells_with(*, uns: dict | None = None, obs: dict | None = None):
    frame = pd.DataFrame(obs or {"x": [1, 2]}, index=["a", "b"])
    return open_cells(ad.AnnData(np.ones((2, 3), dtype=np.float32), obs=frame, uns=uns or {}))


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ({"uns": {"organism_ontology_term_id": "NCBITaxon:9606"}}, ("human",)),
        ({"uns": {"organism": "Mus musculus"}}, ("mouse",)),
        ({"obs": {"organism_ontology_term_id": ["NCBITaxon:9606", "NCBITaxon:10090"]}}, ("human", "mouse")),
        ({"obs": {"organism": ["Danio rerio", "Danio rerio"]}}, ("Danio rerio",)),
        ({"uns": {"organism": "unknown"}, "obs": {"organism": ["Homo sapiens", "unknown"]}}, ("human",)),
        ({}, ()),
    ],
)
def test_the_organism_is_read_from_uns_and_obs(place, said):
    assert organisms(cells_with(**place)) == said


def test_reserved_words_are_no_donors():
    said = donor_kinds(["D1", "unknown", "na", None, float("nan"), "pooled", "pooled [D1,D2]", 7, "pooler"])
    assert list(said) == ["donor", *["unknown"] * 4, "pooled", "pooled", "donor", "donor"]


@pytest.mark.parametrize(
    ("values", "primary"),
    [
        ([True, False, True], [1, 0, 1]),
        (["True", "False", "false"], [1, 0, 0]),
        (pd.Categorical([False, True, None]), [0, 1, 1]),
        ([1, 0, 1], [1, 0, 1]),
    ],
)
def test_secondary_cells_are_found_however_they_are_written(values, primary):
    np.testing.assert_array_equal(primary_cells(pd.DataFrame({"is_primary_data": values})), np.array(primary, bool))
    assert primary_cells(pd.DataFrame({"x": [1]})) is None


def test_we_write_no_reserved_name():
    assert not any(is_reserved(name) for name in ObsKeys().all())
    assert is_reserved("cell_type")
    assert is_reserved("__x")
