"""Contributions of genes: complete, equal to the general engine's, and blind to what is not measured."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from whycell.errors import UsageError
from whycell.lenses import deeplift
from whycell.models.answer import Answerer, top_two
from whycell.models.explaining import Pipeline
from whycell.models.multipliers import contrast, gradient, mean_logits, rescale, reveal_cancel
from whycell.models.nets.heads import Heads
from whycell.models.typer import CellTyper

COMPLETE = ("rescale", "reveal-cancel")


@pytest.fixture(scope="module")
def answerer(typer: CellTyper) -> Answerer:
    return typer.answerer_


@pytest.fixture(scope="module")
def pipeline(answerer: Answerer, others) -> Pipeline:
    return Pipeline.of(answerer, answerer.align(np.array(others.genes, dtype=object)))


@pytest.fixture(scope="module")
def asked(answerer: Answerer, pipeline: Pipeline, others) -> dict[str, np.ndarray]:
    """Expression, a reference of other cells, the call's leaf, and three alternatives to it."""
    expression = pipeline.expression(others.X)
    answer = answerer.answer(others.X, pipeline.columns)
    first, second = top_two(answer.probabilities)
    own = np.eye(answerer.space.n_leaves, dtype=bool)
    return {
        "expression": expression,
        "reference": expression[::-1].copy(),
        "leaves": own[first],
        "runner": own[second],
        "rest": ~own[first],
        "probability": answer.probabilities[np.arange(len(first)), first],
    }


def test_the_pipeline_is_the_typer_s_own(answerer: Answerer, pipeline: Pipeline, asked, others) -> None:
    x, _ = answerer.learned.encode(others.X, pipeline.columns, pipeline.measured)
    assert np.abs(pipeline.coordinates(asked["expression"]) - x).max() < 1e-4
    found = pipeline.probability(asked["expression"], asked["leaves"])
    assert np.abs(found - asked["probability"]).max() < 1e-4


@pytest.mark.parametrize("method", COMPLETE)
@pytest.mark.parametrize("side", ["runner", "rest"])
def test_contributions_add_up_to_the_whole_difference(pipeline: Pipeline, asked, method: str, side: str) -> None:
    sides = {"leaves": asked["leaves"], "others": asked[side]}
    found = pipeline.contributions(asked["expression"], asked["reference"], **sides, method=method)
    ends = [pipeline.log_odds(asked[name], asked["leaves"], asked[side]) for name in ("expression", "reference")]
    difference = ends[0] - ends[1]
    residual = np.abs(difference - found.sum(axis=1, dtype=np.float64)) / difference.std()
    assert np.median(residual) < 1e-5
    assert residual.max() < 1e-4


def test_a_cell_s_contributions_do_not_depend_on_other_cells(pipeline: Pipeline, asked) -> None:
    def of(rows: slice) -> np.ndarray:
        return pipeline.contributions(
            asked["expression"][rows],
            asked["reference"][rows],
            leaves=asked["leaves"][rows],
            others=asked["rest"][rows],
        )

    assert np.array_equal(of(slice(None))[90:95], of(slice(90, 95)))


def test_a_gene_that_is_not_measured_says_nothing(answerer: Answerer, others) -> None:
    half = np.arange(0, others.X.shape[1], 2)
    columns = answerer.align(np.array(others.genes, dtype=object)[half])
    pipeline = Pipeline.of(answerer, columns)
    expression = pipeline.expression(sp.csr_matrix(others.X[:20][:, half]))
    reference = np.ones_like(expression)  # whatever it says of genes that are not measured
    leaves = np.eye(answerer.space.n_leaves, dtype=bool)[np.zeros(20, dtype=int)]
    for method in COMPLETE:
        found = pipeline.contributions(expression, reference, leaves=leaves, others=~leaves, method=method)
        assert not found[:, ~pipeline.measured].any()
        assert found[:, pipeline.measured].any()


def test_an_unknown_method_is_refused_by_name(pipeline: Pipeline, asked) -> None:
    with pytest.raises(UsageError, match="guided"):
        pipeline.contributions(
            asked["expression"], asked["reference"], leaves=asked["leaves"], others=asked["rest"], method="guided"
        )


@pytest.fixture(scope="module")
def net() -> Heads:
    generator = torch.Generator().manual_seed(0)
    net = Heads(2, 9, 12, 5, generator=generator).double()
    with torch.no_grad():
        for weights in net.parameters():
            weights.copy_(0.6 * torch.randn(weights.shape, generator=generator, dtype=torch.float64))
    return net


@pytest.fixture(scope="module")
def heads(net: Heads) -> list[dict[str, np.ndarray]]:
    return [{name: w[m].detach().numpy() for name, w in net.named_parameters()} for m in range(2)]


@pytest.fixture(scope="module")
def points() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return rng.normal(size=(40, 9)), rng.normal(size=(40, 9))


def several(columns: list[int]) -> np.ndarray:
    mask = np.zeros((40, 5), dtype=bool)
    mask[:, columns] = True
    return mask


@pytest.mark.parametrize(("leaves", "others"), [([1], [4]), ([0, 2], [1, 3, 4]), ([3], [0, 1, 2, 4])])
def test_multipliers_equal_those_of_the_general_engine(net, heads, points, leaves, others) -> None:
    class MeanLogits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x.unsqueeze(0).expand(2, -1, -1)).mean(dim=0)

    def target(z: torch.Tensor) -> torch.Tensor:
        return torch.logsumexp(z[:, leaves], dim=1) - torch.logsumexp(z[:, others], dim=1)

    x, at = points
    ours = rescale(x, at, heads, several(leaves), several(others)) * (x - at)
    theirs = deeplift(MeanLogits(), torch.tensor(x), reference=torch.tensor(at)[:, None], target=target)
    assert np.abs(ours - np.asarray(theirs.values)).max() < 1e-9


def test_at_the_cell_itself_multipliers_are_the_gradient(net, heads, points) -> None:
    x = torch.tensor(points[0], requires_grad=True)
    z = net(x.unsqueeze(0).expand(2, -1, -1)).mean(dim=0)
    (torch.logsumexp(z[:, :2], dim=1) - z[:, 4]).sum().backward()
    assert np.abs(gradient(points[0], heads, several([0, 1]), several([4])) - x.grad.numpy()).max() < 1e-9


def test_reveal_cancel_shares_what_rescale_does_where_nothing_cancels(heads, points) -> None:
    x, at = points[0], points[0].copy()
    at[:, 4] -= 1.3  # one input alone moves: every hidden unit gets one part only
    sides = (several([0]), several([1, 2, 3, 4]))
    rising = np.maximum(x - at, 0)
    up, _ = reveal_cancel(x, at, heads, *sides, rising=rising, falling=np.zeros_like(x))
    assert np.abs(up[:, 4] - rescale(x, at, heads, *sides)[:, 4]).max() < 1e-9


def test_reveal_cancel_is_complete_and_another_rule(heads, points) -> None:
    x, at = points
    sides = (several([0, 1]), several([2]))
    rising, falling = np.maximum(x - at, 0), np.minimum(x - at, 0)
    up, down = reveal_cancel(x, at, heads, *sides, rising=rising, falling=falling)
    found = up * rising + down * falling
    difference = contrast(mean_logits(x, heads), *sides) - contrast(mean_logits(at, heads), *sides)
    assert np.abs(found.sum(axis=1) - difference).max() < 1e-9
    assert np.abs(found - rescale(x, at, heads, *sides) * (x - at)).max() > 0.01
