"""Figures from an annotated AnnData, by key."""

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from whycell import pl
from whycell.errors import LabelError, UsageError


@pytest.fixture
def typed() -> ad.AnnData:
    obs = pd.DataFrame(
        {
            "truth": pd.Categorical(["B cell", "B cell", "CD4-positive, alpha-beta T cell", "my own $label$", None]),
            "donor": list("aabbb"),
            "k": pd.Categorical(["B cell", "T cell", "T cell", "unknown", "T cell"]),
            "k--cell_ontology_term_id": ["CL:0000236", "CL:0000084", "CL:0000084", "", "CL:0000084"],
            "k_confidence": np.array([0.95, 0.6, 0.9, 0.1, 0.8], dtype=np.float32),
            "k_novelty": np.linspace(0, 1, 5, dtype=np.float32),
        },
        index=[f"cell{i}" for i in range(5)],
    )
    return ad.AnnData(
        np.zeros((5, 1), dtype=np.float32), obs=obs, obsm={"X_umap": np.random.default_rng(0).random((5, 2))}
    )


@pytest.mark.parametrize("color", ["call", "confidence", "novelty", "donor"])
def test_a_map_is_returned_and_nothing_else_happens(typed: ad.AnnData, color: str) -> None:
    before = typed.copy()
    assert isinstance(pl.cell_map(typed, key="k", color=color), Figure)
    pd.testing.assert_frame_equal(before.obs, typed.obs)


def test_every_figure_is_drawn(typed: ad.AnnData) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = [
            pl.composition(typed, key="k", groups="donor"),
            pl.confusion(typed, "truth", key="k"),
            pl.reliability(typed, "truth", key="k"),
            pl.risk_coverage(typed, "truth", key="k"),
        ]
        for figure in drawn:
            figure.canvas.draw()


def test_a_call_above_the_truth_is_right_and_what_cannot_be_judged_is_left_out(typed: ad.AnnData) -> None:
    confidence, right = pl._judged(typed, "truth", key="k")
    np.testing.assert_allclose(confidence, [0.95, 0.6, 0.9])
    assert right.tolist() == [True, False, True]


def test_what_is_missing_is_named(typed: ad.AnnData) -> None:
    with pytest.raises(UsageError, match=r"no column 'whycell'.*'truth'.*run whycell.tl.annotate"):
        pl.composition(typed)
    with pytest.raises(UsageError, match=r"obsm has no 'X_tsne', only 'X_umap'"):
        pl.cell_map(typed, key="k", basis="X_tsne")
    with pytest.raises(LabelError, match="none of the labels"):
        pl.reliability(typed, "donor", key="k")
