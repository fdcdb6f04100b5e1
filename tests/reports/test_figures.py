"""Figures are returned and leave matplotlib as it was."""

import io
import warnings

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from whycell.reports import figures
from whycell.results import Evaluation


@pytest.fixture
def drawn(evaluation: Evaluation) -> dict[str, Figure]:
    random = np.random.default_rng(0)
    names = np.resize(np.array(["a $x_1$", "_b", "unknown"]), 60)
    curves = {kind: {m: c[kind] for m, c in evaluation.curves.items()} for kind in ("reliability", "risk_coverage")}
    scores = pd.DataFrame(
        {"model": list("abcdef"), "metric": "ece", "value": [0.1, 0.2, 0.3, 0.2, 9, np.nan], "low": np.nan}
    )
    return {
        "map": figures.cell_map(random.random((60, 2)), names),
        "numbers": figures.cell_map(random.random((60, 2)), random.random(60), method="PCA"),
        "composition": figures.composition(names, np.resize(["d1", "d2"], 60)),
        "confusion": figures.confusion(evaluation.confusion["whycell"]),
        "intervals": figures.intervals(scores.assign(high=np.nan)),
        "reliability": figures.reliability(curves["reliability"]),
        "risk_coverage": figures.risk_coverage(curves["risk_coverage"]),
        "per_class": figures.per_class(evaluation.per_class, by="label", value="f1"),
    }


def test_figures_are_drawn_without_a_word(drawn: dict[str, Figure]) -> None:
    before = dict(mpl.rcParams)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for figure in drawn.values():
            assert isinstance(figure, Figure)
            figure.savefig(io.BytesIO(), format="png")
    assert dict(mpl.rcParams) == before
    assert mpl._pylab_helpers.Gcf.get_num_fig_managers() == 0


def test_a_reliability_figure_draws_the_numbers_given(drawn: dict[str, Figure], evaluation: Evaluation) -> None:
    curve = evaluation.curves["whycell"]["reliability"].query("n > 0")
    points = drawn["reliability"].axes[0].collections[0].get_offsets()
    np.testing.assert_allclose(points, curve[["confidence", "accuracy"]])


def test_a_confusion_row_sums_to_one(drawn: dict[str, Figure]) -> None:
    shares = drawn["confusion"].axes[0].images[0].get_array()
    np.testing.assert_allclose(np.asarray(shares).sum(axis=1), 1)
