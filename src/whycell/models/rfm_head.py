"""A recursive feature machine on the typer's coordinates, in place of its network.

    logits = s · (K_M(x, centres) a + intercept) + b,        K_M = exp(-d_M / L)

The machine is kernel ridge regression on the share of each leaf in a cell's label; M is learned by recursion (a power
of its own AGOP), bandwidth, ridge and number of rounds by leave-one-out (``models.rfm``). The scale s and the offsets b
turn answers to cells that shaped neither metric nor machine into log-probabilities of greatest likelihood; temperatures
and thresholds are then found on held-out donors, as for any head.

*Sample.* A machine holds its cells, so at most ``most`` rows teach it: two thirds of them cells seen whole, half of
these taken in turn from every label and half at random; one third cells seen through the gaps of a random view. What is
seen of one cell is held out together. Rows are weighed by what each label and donor weighs among all cells.

*Labels above leaves.* A label that may mean several leaves is shared out among them, at first as the cells of one leaf
are, then as a first machine answers.
"""

# n - row of the sample, d - coordinate, k - leaf

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from whycell.lenses.agop_kernels import kernel_and_slopes, kernel_matrix, square_distances

if TYPE_CHECKING:
    from whycell.models.lessons import Lesson
    from whycell.models.rfm.learning import Learned as Machine
    from whycell.models.rfm.problem import Problem

__all__ = ["fit_machines", "is_machine", "machine_gradient", "machine_logits", "sample_rows"]

Head = Mapping[str, np.ndarray]
_WHOLE = 2 / 3
_ROUNDS = 3
_STEPS = 60  # of the scale and the offsets
_FEWEST = 1e-3  # prior of a leaf that no cell is known to be


def is_machine(head: Head) -> bool:
    """Whether the weights are a machine's and not a network's."""
    return "centres" in head


def machine_logits(x: np.ndarray, head: Head) -> np.ndarray:
    """(n, k) logits at coordinates ``x`` (n, d)."""
    factor, centres = (head[name].astype(x.dtype, copy=False) for name in ("factor", "centres"))
    kernel = kernel_matrix(x @ factor, centres, bandwidth=float(head["bandwidth"][0]))
    return np.asarray(kernel @ head["coefficients"] + head["bias"].ravel())


def machine_gradient(x: np.ndarray, of_logits: np.ndarray, head: Head) -> np.ndarray:
    """(n, d) gradient by the coordinates ``x`` of a sum of the logits, weighted by ``of_logits`` (n, k) row by row.

    In double precision: ``Σ_i s(x, z_i) (of_logits · a_i) (x - z_i)``, seen through the metric and back.
    """
    factor, centres = head["factor"].astype(np.float64), head["centres"].astype(np.float64)
    u = x.astype(np.float64) @ factor
    _, slopes = kernel_and_slopes(square_distances(u, centres), bandwidth=float(head["bandwidth"][0]))
    pulls = slopes * (of_logits @ head["coefficients"].T.astype(np.float64))
    return np.asarray((pulls.sum(axis=1, keepdims=True) * u - pulls @ centres) @ factor.T)


def fit_machines(lessons: Sequence[Lesson], *, most: int, seed: int) -> list[dict[str, np.ndarray]]:
    """One machine a lesson.

    Parameters
    ----------
    lessons
        Each with its own cells.
    most
        Rows that teach a machine at most.
    seed
        Of the samples.

    Returns
    -------
    One dict of float32 arrays a lesson: ``centres`` (n, r), seen through the metric; ``factor`` (d, r);
    ``coefficients`` (n, k), ``bias`` (1, k), ``bandwidth`` (1,).
    """
    return [_fit(lesson, most, np.random.default_rng([seed, i])) for i, lesson in enumerate(lessons)]


def sample_rows(meaning: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """(at most n,) positions, rising: half of them in turn from every label, the rest at random.

    Parameters
    ----------
    meaning
        (n_cells,) int, the label of each cell.
    n
        How many.
    rng
        Source of randomness.
    """
    if len(meaning) <= n:
        return np.arange(len(meaning))
    order = rng.permutation(len(meaning))
    turn = np.empty(len(meaning), dtype=np.int64)
    for kind in np.unique(meaning):
        mine = order[meaning[order] == kind]
        turn[mine] = np.arange(len(mine))
    in_turn = order[np.argsort(turn[order], kind="stable")][: n // 2]
    rest = order[~np.isin(order, in_turn)][: n - len(in_turn)]
    return np.sort(np.concatenate([in_turn, rest]))


def _fit(lesson: Lesson, most: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    import torch

    from whycell.models.rfm.choosing import Chain
    from whycell.models.rfm.geometry import Shape
    from whycell.models.rfm.learning import Plan, learn
    from whycell.models.rfm.problem import Problem

    cells = sample_rows(lesson.meaning, max(2, int(most * _WHOLE)), rng)
    gaps = rng.permutation(len(lesson.meaning))[: most - int(most * _WHOLE)] if len(lesson.views) > 1 else cells[:0]
    view = rng.integers(1, max(len(lesson.views), 2), size=len(gaps))
    x = np.concatenate([lesson.views[0][cells], lesson.views[view, gaps]]) if len(gaps) else lesson.views[0][cells]
    rows = np.concatenate([cells, gaps])
    kind, allowed = lesson.meaning[rows], lesson.meanings[lesson.meaning[rows]]
    weights = _weights(lesson, kind, rows)
    shares = _shares(allowed, weights)

    def problem(targets: np.ndarray) -> Problem:
        double = torch.float64 if len(x) <= 1000 else torch.float32
        return Problem(
            rows=torch.as_tensor(x, dtype=double),
            targets=torch.as_tensor(targets, dtype=double),
            weights=torch.as_tensor(weights, dtype=double),
            groups=torch.as_tensor(rows) if len(np.unique(rows)) < len(rows) else None,
            classes=max(targets.shape[1], 3),
            flags=torch.zeros(x.shape[1], dtype=torch.bool),
        )

    plan = Plan(chains=(Chain(Shape(), "full", power=0.5), Chain(Shape(), "full", power=1.0)), iterations=_ROUNDS)
    learned = learn(problem(shares), plan)
    told = _unseen(problem(shares), learned)
    scale, offset = _likeliest(told, allowed, weights)
    if (allowed.sum(axis=1) > 1).any():
        shares = _answered(scale * told + offset, allowed)
        learned = learn(problem(shares), plan)
        scale, offset = _likeliest(_unseen(problem(shares), learned), allowed, weights)
    fit = learned.fit
    root = np.eye(x.shape[1]) if fit.space.root is None else fit.space.root.double().numpy()
    intercept = fit.solution.intercept.double().numpy()
    out = {
        "centres": x @ root,
        "factor": root,
        "coefficients": scale * fit.solution.coefficients.double().numpy(),
        "bias": (scale * intercept + offset)[None],
        "bandwidth": np.array([fit.bandwidth]),
    }
    return {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in out.items()}


def _unseen(problem: Problem, learned: Machine) -> np.ndarray:
    """(n, k) answers to every row by machines whose metric it did not shape and that were fitted without it.

    The metric is learned on one half of the cells, as often as the machine's own was, and the other half is left out
    one by one under it. Leave-one-out under a metric that saw the row is far too sure.
    """
    from whycell.models.rfm.choosing import Seen, fit_best, fit_given, learn_root
    from whycell.models.rfm.geometry import Space

    out = np.empty(tuple(problem.targets.shape))
    fit, chain = learned.fit, learned.chain
    exponent, relative, ridge = fit.shape.exponent, fit.relative, fit.solution.ridge
    halves = problem.halves(most=len(problem))
    for teachers, pupils in (halves, halves[::-1]):
        part, space = problem.take(teachers), Space(None, problem.flags)
        for _ in range(learned.iteration):
            seen = Seen.of(part, space, norm=fit.shape.norm)
            space = learn_root(part, fit_given(part, seen, exponent=exponent, relative=relative, ridge=ridge), chain)
        rest = problem.take(pupils)
        seen = Seen.of(rest, space, norm=fit.shape.norm)
        found = fit_best(rest, seen, exponent=exponent, bandwidths=(relative,), ridges=(ridge,))
        out[pupils] = found.solution.held_out.double().numpy()
    return out


def _weights(lesson: Lesson, kind: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(n,) of mean 1: what a cell weighs, times how much rarer its label is in the sample than among all cells."""
    n_kinds = len(lesson.meanings)
    everywhere = np.bincount(lesson.meaning, minlength=n_kinds) / len(lesson.meaning)
    here = np.bincount(kind, minlength=n_kinds) / len(kind)
    weight = lesson.weights[rows] * (everywhere / np.maximum(here, 1e-12))[kind]
    weight = np.maximum(weight, 1e-3 * weight.max())
    return np.asarray(weight / weight.mean(), dtype=np.float64)


def _shares(allowed: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(n, k) share of each leaf in a row's label: as leaves are among the rows that mean one leaf."""
    single = allowed.sum(axis=1) == 1
    prior = (allowed[single] * weights[single, None]).sum(axis=0) + _FEWEST * weights.sum()
    return _answered(np.broadcast_to(np.log(prior), allowed.shape), allowed)


def _answered(logits: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """(n, k) softmax within the leaves allowed."""
    kept = np.where(allowed, logits, -np.inf)
    kept = np.exp(kept - kept.max(axis=1, keepdims=True))
    return np.asarray(kept / kept.sum(axis=1, keepdims=True))


def _likeliest(answers: np.ndarray, allowed: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    """Scale and offsets (k,) that make ``softmax(scale · answers + offset)`` likeliest for what the labels allow."""
    import torch

    f, w = torch.as_tensor(answers), torch.as_tensor(weights / weights.sum())
    may = torch.where(torch.as_tensor(allowed), 0.0, -torch.inf).double()
    log_scale = torch.tensor(np.log(8.0), dtype=torch.float64, requires_grad=True)
    offset = torch.zeros(f.shape[1], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([log_scale, offset], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        log_p = torch.log_softmax(log_scale.exp() * f + offset, dim=1)
        value = -(torch.logsumexp(log_p + may, dim=1) * w).sum() + 1e-3 * offset.square().mean()
        value.backward()
        return value

    optimiser.step(loss)
    return float(log_scale.detach().exp()), offset.detach().numpy()
