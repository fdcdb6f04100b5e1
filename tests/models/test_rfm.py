"""Recursive feature machines: exact formulas, scikit-learn's contract, and what is learned on planted data."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.utils.estimator_checks import check_estimator

from whycell.errors import DataError, LabelError, ModelError, UsageError
from whycell.models.rfm import (
    RecursiveFeatureMachine,
    RecursiveFeatureMachineClassifier,
    RecursiveFeatureMachineRegressor,
)
from whycell.models.rfm.choosing import Seen, agop_of, fit_given
from whycell.models.rfm.geometry import Shape, Space, distances_among, kernel_of
from whycell.models.rfm.iterating import solve_by_blocks
from whycell.models.rfm.problem import Problem
from whycell.models.rfm.solving import solve, solve_only, solve_path
from whycell.models.rfm.storing import load


def _problem(n: int = 60, d: int = 5, c: int = 2, *, flags: int = 0, seed: int = 0) -> Problem:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, d))
    if flags:
        rows[:, :flags] = rows[:, :flags] > 0
    targets = rng.normal(size=(n, c)) + rows[:, :1]
    two = torch.zeros(d, dtype=torch.bool)
    two[:flags] = True
    weights = torch.from_numpy(rng.uniform(0.5, 2, n))
    return Problem(torch.from_numpy(rows), torch.from_numpy(targets), weights, None, 0, two)


def _kernel(problem: Problem) -> torch.Tensor:
    return kernel_of(distances_among(problem.rows, norm=2.0), bandwidth=2.0, exponent=1.0)


@pytest.mark.parametrize("ridges", [(0.05,), (0.01, 0.05, 0.5)], ids=["factorised", "eigenvalues"])
def test_leave_one_out_equals_explicit_refits(ridges: tuple[float, ...]) -> None:
    problem = _problem()
    kernel = _kernel(problem)
    for found in solve_path(kernel, problem.targets, ridges=ridges, weights=problem.weights):
        for row in (0, 17, 59):
            rest = torch.tensor([i for i in range(60) if i != row])
            again = solve_only(
                kernel[rest][:, rest], problem.targets[rest], ridge=found.ridge, weights=problem.weights[rest]
            )
            refit = kernel[row, rest] @ again.coefficients + again.intercept
            torch.testing.assert_close(found.held_out[row], refit, rtol=0, atol=1e-8)


def test_leave_group_out_equals_explicit_refits() -> None:
    problem = _problem()
    kernel, groups = _kernel(problem), torch.arange(60) % 7
    found = solve(kernel, problem.targets, ridge=0.05, weights=problem.weights, groups=groups)
    assert found is not None
    for group in range(7):
        rest, out = torch.nonzero(groups != group)[:, 0], torch.nonzero(groups == group)[:, 0]
        again = solve_only(kernel[rest][:, rest], problem.targets[rest], ridge=0.05, weights=problem.weights[rest])
        refit = kernel[out][:, rest] @ again.coefficients + again.intercept
        torch.testing.assert_close(found.held_out[out], refit, rtol=0, atol=1e-8)


@pytest.mark.parametrize("shape", [Shape(), Shape(2, 2), Shape(2, 1.4), Shape(1, 1), Shape(1.5, 1)])
@pytest.mark.parametrize("metric", ["none", "diagonal", "full"])
def test_agop_from_kept_distances_equals_autograd(shape: Shape, metric: str) -> None:
    problem = _problem(flags=2)
    generator = torch.Generator().manual_seed(1)
    root = {
        "none": None,
        "diagonal": torch.rand(5, generator=generator, dtype=torch.float64) + 0.1,
        "full": torch.randn(5, 3, generator=generator, dtype=torch.float64),
    }[metric]
    space = Space(root, problem.flags)
    seen = Seen.of(problem, space, norm=shape.norm)
    fit = fit_given(problem, seen, exponent=shape.exponent, relative=1.0, ridge=0.1)
    centres = space.seen(problem.rows)

    def answer(row: torch.Tensor, i: int) -> torch.Tensor:
        # The term of the row itself is constant nought in the closed form; autograd has no slope at its kink.
        others = torch.tensor([j for j in range(60) if j != i])
        steps = (space.seen(row[None]) - centres[others]).abs()
        distances = (steps**shape.norm).sum(1) ** (1 / shape.norm)
        return torch.exp(-((distances / fit.bandwidth) ** shape.exponent)) @ fit.solution.coefficients[others]

    expected = torch.zeros(5, 5, dtype=torch.float64)
    for i, row in enumerate(problem.rows):
        if shape.norm < 2 and metric != "full":  # where coordinates of 0 and 1 are equal |x| has no slope: nudge none
            row = row.clone()
        gradient = torch.autograd.functional.jacobian(lambda x, i=i: answer(x, i), row)
        gradient = torch.nan_to_num(gradient)
        expected += problem.weights[i] * gradient.T @ gradient
    expected /= problem.weights.sum()
    found = agop_of(problem, fit, diagonal=False)
    scale = float(expected.abs().max())
    torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=1e-6)
    torch.testing.assert_close(agop_of(problem, fit, diagonal=True), found.diagonal(), rtol=1e-9, atol=1e-12)


def test_agop_equals_finite_differences() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 4))
    machine = RecursiveFeatureMachineRegressor(precision="double").fit(X, X[:, 0] * X[:, 1])
    leaf, step = machine._model.leaves[0], 1e-5
    points = rng.normal(size=(7, 4))
    moved = [(leaf.answer(points + step * e) - leaf.answer(points - step * e)) / (2 * step) for e in np.eye(4)]
    np.testing.assert_allclose(leaf.gradients(points)[:, 0], np.concatenate(moved, axis=1), atol=1e-5)


@pytest.mark.parametrize("kind", [RecursiveFeatureMachineClassifier, RecursiveFeatureMachineRegressor])
def test_scikit_learns_contract_holds(kind: type) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # checks that this machine's libraries cannot run are skipped with a warning
        told = check_estimator(kind(), on_fail=None)
    assert [(each["check_name"], each["exception"]) for each in told if each["status"] == "failed"] == []


def test_directions_of_a_low_rank_target_are_found() -> None:
    rng = np.random.default_rng(0)
    planted = np.linalg.qr(rng.normal(size=(30, 2)))[0]
    X = rng.normal(size=(1400, 30))
    z = X @ planted
    y = z[:, 0] * z[:, 1]
    machine = RecursiveFeatureMachine().fit(X[:700], y[:700])
    plain = RecursiveFeatureMachine(kernel="laplace", metric="none").fit(X[:700], y[:700])
    cosines = np.linalg.svd(machine.directions_(2) @ planted)[1]
    assert cosines.min() > 0.97
    assert machine.score(X[700:], y[700:]) > 0.8 > 0.5 > plain.score(X[700:], y[700:])


def test_a_metric_is_not_learned_from_noise() -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(300, 20))
    machine = RecursiveFeatureMachine().fit(X, rng.normal(size=300))
    assert machine.trials_["iteration"].iloc[-1] == 0
    assert machine.loo_score_ < 0.1


def test_weights_are_copies_and_order_does_not_matter() -> None:
    rng = np.random.default_rng(2)
    X, weights = rng.normal(size=(60, 3)), rng.integers(0, 4, 60)
    y = np.where(X[:, 0] + 0.5 * rng.normal(size=60) > 0, "a", "b")
    weighted = RecursiveFeatureMachine().fit(X, y, weights)
    rows = rng.permutation(np.repeat(np.arange(60), weights))
    copied = RecursiveFeatureMachine().fit(X[rows], y[rows])
    np.testing.assert_allclose(weighted.predict_proba(X), copied.predict_proba(X), atol=1e-9)
    again = RecursiveFeatureMachine().fit(X, y, weights)
    assert again.predict_proba(X).tobytes() == weighted.predict_proba(X).tobytes()
    assert np.isnan(weighted.loo_[weights == 0]).all()


def test_tables_with_words_and_gaps_are_read() -> None:
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"age": rng.normal(50, 9, 200), "sex": rng.choice(["f", "m"], 200), "same": 1.0})
    frame.loc[:30, "age"] = np.nan
    y = np.where((frame["sex"] == "f") ^ frame["age"].isna(), 3, 7)
    machine = RecursiveFeatureMachine().fit(frame, y)
    assert machine.score(frame, y) > 0.95
    assert list(machine.coordinates_) == ["age", "same", "age is missing", "sex=f", "sex=m"]
    assert machine.feature_scores_()["same"] == 0
    assert machine.feature_scores_().sum() == pytest.approx(1)
    unseen = frame.assign(sex="unknown").head(3)
    assert np.isfinite(machine.predict_proba(unseen)).all()


def test_a_tree_answers_like_one_machine_and_is_continuous() -> None:
    rng = np.random.default_rng(4)
    X = rng.normal(size=(1200, 3))
    y = np.column_stack([np.sin(2 * X[:, 0]), X[:, 1]])
    tree = RecursiveFeatureMachineRegressor(leaf_size=300, iterations=1, kernel="laplace").fit(X, y)
    assert len(tree._model.leaves) > 3
    assert tree.score(X[:, :], y) > 0.95
    assert tree.loo_score_ > 0.9
    ends = X[0], X[1]
    path = np.linspace(*ends, 2000)
    answers = tree.predict(path)
    assert np.abs(np.diff(answers, axis=0)).max() < 0.05
    np.testing.assert_allclose(tree._model.shares(X).sum(axis=1), 1)


def test_blocks_give_what_a_factorisation_gives() -> None:
    problem = _problem(400, 3, 1)
    exact = solve(_kernel(problem), problem.targets, ridge=0.1, weights=problem.weights)
    blocks = solve_by_blocks(
        problem.rows,
        problem.targets,
        shape=Shape(),
        bandwidth=2.0,
        ridge=0.1,
        weights=problem.weights,
        tolerance=1e-10,
    )
    assert exact is not None
    torch.testing.assert_close(blocks.coefficients, exact.coefficients, rtol=0, atol=1e-7)


def test_a_saved_machine_answers_the_same_and_an_edited_one_is_refused(tmp_path) -> None:
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"a": rng.normal(size=90), "b": rng.choice(["x", "y"], 90)})
    y = np.where(frame["a"] > 0, "up", "down")
    machine = RecursiveFeatureMachine().fit(frame, y)
    machine.save(tmp_path / "m", about={"target": "y"})
    again, card = load(tmp_path / "m")
    assert again.predict_proba(frame).tobytes() == machine.predict_proba(frame).tobytes()
    assert list(again.classes_) == ["down", "up"]
    assert card["target"] == "y"
    about = tmp_path / "m" / "about.json"
    about.write_text(about.read_text().replace('"target": "y"', '"target": "z"'))
    with pytest.raises(ModelError, match="edited after it was written"):
        load(tmp_path / "m")


def test_what_makes_no_sense_is_refused_in_a_sentence() -> None:
    X = np.arange(20.0)[:, None]
    with pytest.raises(LabelError, match="one class"):
        RecursiveFeatureMachineClassifier().fit(X, np.ones(20, int))
    with pytest.raises(UsageError, match="no kernel"):
        RecursiveFeatureMachine(kernel="cubic").fit(X, X[:, 0])
    with pytest.raises(DataError, match="no finite y"):
        RecursiveFeatureMachineRegressor().fit(pd.DataFrame({"a": list("xy") * 10}), np.full(20, np.nan))
