"""Datamodels: which training samples push a prediction up or down, from models trained on random subsets.

After Ilyas et al. 2022. A datamodel of a target is linear in who was in the training set,

    output(S) = intercept + sum over i in S of values_i

and here it is fitted to the models that the time allows for: at first scores from gradients (TRAK) alone, then these
and what thousands of models say beyond them (:func:`whycell.lenses.estimators.estimate`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from whycell.compute import Talk
from whycell.errors import DataError, UsageError
from whycell.lenses.estimators import FEWEST_BESIDE_PRIOR, Effects, difference_in_means, estimate
from whycell.lenses.fits import Fit, fit_each
from whycell.lenses.many import PENALTIES, HeadSettings, fit_many, one_thread_each, train_many
from whycell.lenses.masks import MaskKind, check_balance, draw_masks, smallest_effect
from whycell.lenses.vectorised import Network, fit_networks
from whycell.metrics.attribution import lds

__all__ = ["Datamodels", "Plan", "datamodels"]

#: Models of the first small block, which is timed.
PILOT = 32
#: Share of the budget that gradients get, and of the models that quality is measured on; of fewer than 80 models, none.
PRIOR_SHARE, TESTED, FEWEST_TESTED, MOST_TESTED = 0.1, 0.08, 20, 300
#: Share of a budget that is planned for: the pace of the first block is not that of every block.
_PLANNED = 0.95
_SLOWLY = 2  # models of the first block where each is a call of the user's function


@dataclass(frozen=True)
class Plan:
    """What is going to be done, known before it is.

    Parameters
    ----------
    n_models
        Models to train.
    seconds
        CPU seconds foreseen, estimation left out.
    seconds_a_model
        Timed on the first small block.
    spread
        Standard deviation of an output over those models, median over targets.
    smallest_effect
        The smallest effect of one sample on an output that shows at three standard errors (difference in means).
    """

    n_models: int
    seconds: float
    seconds_a_model: float
    spread: float
    smallest_effect: float

    def __str__(self) -> str:
        return (
            f"{self.n_models:,} models, about {self.seconds:,.0f} CPU seconds; "
            f"an effect of {self.smallest_effect:.2g} on an output will show (outputs vary by {self.spread:.2g})"
        )


@dataclass(frozen=True)
class Datamodels:
    """Effects of training samples, or groups of them, on the outputs of targets.

    Parameters
    ----------
    values
        (n_targets, n_units) change of the output (log-odds of the target's label, unless ``fit`` answers something
        else) when the unit is in the training set rather than out.
    standard_errors
        (n_targets, n_units) of the difference in means, which uses the models alone and nothing else: a cautious
        measure of how well ``values`` are known. None where too few models were trained.
    intercept
        (n_targets,)
    quality
        ``lds``: mean rank correlation of foretold and observed outputs, on models not used for fitting, one seed each
        (NaN where there are too few models to spare);
        ``lds_by_target``; ``weights`` of the estimates that went in; ``models``; ``seconds`` spent; ``balance``.
    units
        Names of the columns: sample numbers, or groups.
    plan
        What was foreseen.
    masks
        (n_models, n_units) bool.
    outputs
        (n_models, n_targets).
    labels
        (n_targets,) whose log-odds the outputs are.
    """

    values: np.ndarray
    standard_errors: np.ndarray | None
    intercept: np.ndarray
    quality: dict[str, Any]
    units: np.ndarray
    plan: Plan
    masks: np.ndarray
    outputs: np.ndarray
    labels: np.ndarray | None

    def predict(self, masks: np.ndarray) -> np.ndarray:
        """(m, n_units) who is in -> (m, n_targets) outputs foretold."""
        return np.asarray(masks, np.float32) @ self.values.T.astype(np.float32) + self.intercept

    def top(self, target: int, *, k: int = 10) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the ``k`` strongest supporters and opponents of a target, strongest first."""
        order = np.argsort(self.values[target])
        return order[::-1][:k], order[:k]


def datamodels(
    kind: str | Fit | Network,
    X: Any,
    y: Any,
    X_target: Any,
    y_target: Any = None,
    *,
    alpha: float = 0.5,
    n_models: int = 5000,
    budget: float | None = None,
    groups: Sequence[Any] | np.ndarray | None = None,
    strata: Sequence[Any] | np.ndarray | None = None,
    mask_kind: MaskKind = "fixed",
    settings: HeadSettings | None = None,
    seed: int = 0,
    device: str = "cpu",
    threads: int = 1,
    executor: Any = None,
    folder: Path | str | None = None,
    talk: Talk | None = None,
    confirm: Callable[[Plan], bool] | None = None,
) -> Datamodels:
    """Train models on random subsets and say which samples each target's output rests on.

    Parameters
    ----------
    kind
        ``"linear"``, ``"mlp"``, ``"ridge"``, ``"kernel"`` (:mod:`whycell.lenses.many`), a
        :class:`whycell.lenses.Network` (any torch module), or a function of (X, y, mask) (:mod:`whycell.lenses.fits`).
    X, y
        (n, ...) training inputs, brought to a scale of about one, and (n,) labels.
    X_target, y_target
        (t, ...) inputs to be explained, and the (t,) labels whose log-odds are asked for; None takes the label that the
        first models give, by majority.
    alpha
        Share of the units in a subset. 0.5 for effects; 0.1 shows subgroups better.
    n_models
        Models to train.
    budget
        CPU seconds instead of ``n_models``, estimation included. Where it allows for fewer than a few hundred models,
        all of it goes into gradients ("linear" and "mlp").
    groups, strata, mask_kind
        See :func:`whycell.lenses.draw_masks`; with ``groups`` the columns of the answer are groups, in sorted order.
    settings
        How the heads learn.
    executor
        Where calls of a function run, see :func:`whycell.lenses.fits.fit_each`.
    folder
        Where finished blocks are kept, so that a killed run goes on.
    confirm
        Is shown the :class:`Plan` before the training; answering False ends with :class:`UsageError`.
    seed, device, threads, talk
        See docs/parameters.md.

    Returns
    -------
    :class:`Datamodels`

    Raises
    ------
    UsageError
        An unknown kind, a share outside 0..1, too few models.
    DataError
        Inputs that do not fit together.
    """
    begun = time.process_time()
    if isinstance(kind, str) and kind not in PENALTIES:
        msg = f"kind {kind!r}: wanted one of {', '.join(PENALTIES)}, or a function of (X, y, mask)"
        raise UsageError(msg)
    X, y, X_target = np.asarray(X), np.asarray(y), np.asarray(X_target)
    talk = talk or Talk()
    asking = _Asking(kind, X, y, X_target=X_target, settings=settings, device=device, executor=executor)

    def draw(count: int, start: int) -> np.ndarray:
        return draw_masks(len(X), count, alpha=alpha, kind=mask_kind, strata=strata, groups=groups, seed=start)

    with one_thread_each():
        labels = asking.labels(draw(PILOT, seed + 1), y_target, seed)
        each, spread = asking.time_pilot(draw(asking.pilot, seed + 1), labels, seed)
        prior = None
        if budget is not None:
            n_models, gradients = _affordable(
                budget, each, begun, sizes=(len(X), len(X_target)), differentiable=asking.differentiable
            )
            prior = asking.prior(labels, gradients, seed) if gradients else None
        plan = Plan(
            n_models, n_models * each, each, spread, smallest_effect(max(n_models, 1), spread=spread, alpha=alpha)
        )
        talk.note(str(plan))
        if confirm is not None and not confirm(plan):
            msg = "the plan was not agreed to: nothing was trained"
            raise UsageError(msg)
        if prior is None and asking.differentiable:
            prior = asking.prior(labels, max(1.0, PRIOR_SHARE * plan.seconds), seed)
        masks = draw(max(n_models, 1), seed)
        outputs = np.empty((0, len(X_target)), np.float32)
        if n_models:
            outputs = asking.outputs(masks, labels, seed, threads=threads, folder=folder, talk=talk)
        units, columns = _units(groups, len(X))
        masks = masks[: len(outputs), columns]
        prior = prior if prior is None or groups is None else _by_group(prior, groups)
        if not len(outputs):
            return _of_prior(prior, units, plan, labels, begun)
        effects, quality = _tested(masks, outputs, prior, threads)
        errors = difference_in_means(masks, outputs).standard_errors
    quality |= {"models": n_models, "seconds": time.process_time() - begun, "balance": check_balance(masks)}
    return Datamodels(effects.values, errors, effects.intercept, quality, units, plan, masks, outputs, labels)


class _Asking:
    """One question to many models: what they are, and on what they are asked."""

    def __init__(
        self,
        kind: str | Fit | Network,
        X: np.ndarray,
        y: np.ndarray,
        *,
        X_target: np.ndarray,
        settings: HeadSettings | None,
        device: str,
        executor: Any,
    ) -> None:
        self.kind, self.X, self.y, self.X_target = kind, X, y, X_target
        self.settings, self.device, self.executor = settings, device, executor
        self.differentiable = kind in ("linear", "mlp")
        self.pilot = PILOT if isinstance(kind, str) else _SLOWLY

    def labels(self, masks: np.ndarray, given: Any, seed: int) -> np.ndarray | None:
        """(t,) labels asked for: those given, else what the pilot models say most often."""
        if given is not None or not isinstance(self.kind, str):
            if given is None and isinstance(self.kind, Network):
                msg = "networks need y_target: the labels whose log-odds are asked for"
                raise DataError(msg)
            given = None if given is None else np.asarray(given)
            if given is not None and len(given) != len(self.X_target):
                msg = f"{len(given)} labels for {len(self.X_target)} targets: wanted one for each"
                raise DataError(msg)
            return given
        many = train_many(self.kind, self.X, self.y, masks=masks, seed=seed, settings=self.settings, device=self.device)  # type: ignore[arg-type]
        codes = np.searchsorted(many.classes, many.predict(self.X_target))
        votes = np.stack([(codes == k).sum(axis=0) for k in range(len(many.classes))])
        return np.asarray(many.classes[votes.argmax(axis=0)])

    def time_pilot(self, masks: np.ndarray, labels: np.ndarray | None, seed: int) -> tuple[float, float]:
        """CPU seconds a model, and the median spread of an output, from a first small block."""
        self.outputs(masks[:2], labels, seed)  # what is paid once is not the models'
        start = time.process_time()
        outputs = self.outputs(masks, labels, seed)
        return max((time.process_time() - start) / len(masks), 1e-6), float(np.median(outputs.std(axis=0)))

    def outputs(
        self,
        masks: np.ndarray,
        labels: np.ndarray | None,
        seed: int,
        *,
        threads: int = 1,
        folder: Path | str | None = None,
        talk: Talk | None = None,
    ) -> np.ndarray:
        if isinstance(self.kind, Network):
            return fit_networks(
                self.kind,
                self.X,
                self.y,
                masks=masks,
                X_target=self.X_target,
                y_target=labels,
                seed=seed,
                device=self.device,
                folder=folder,
                talk=talk,
            )
        if not isinstance(self.kind, str):
            return fit_each(
                self.kind,
                self.X,
                self.y,
                masks=masks,
                X_target=self.X_target,
                y_target=labels,
                threads=threads,
                executor=self.executor,
                folder=folder,
                talk=talk,
            )
        return fit_many(
            self.kind,  # type: ignore[arg-type]
            self.X,
            self.y,
            masks=masks,
            X_target=self.X_target,
            y_target=labels,
            seed=seed,
            settings=self.settings,
            device=self.device,
            threads=threads,
            folder=folder,
            talk=talk,
        )

    def prior(self, labels: np.ndarray | None, seconds: float, seed: int) -> np.ndarray:
        """(t, n) scores from the gradients of some models of random halves."""
        from whycell.lenses.tracing import trak

        classes, codes = np.unique(self.y, return_inverse=True)
        at = np.searchsorted(classes, labels)
        X, X_target = (np.asarray(each, np.float32) for each in (self.X, self.X_target))
        return trak(str(self.kind), (X, codes), (X_target, at), budget=seconds, seed=seed).values


def _affordable(
    budget: float, each: float, begun: float, *, sizes: tuple[int, int], differentiable: bool
) -> tuple[int, float]:
    """Models within the budget, and CPU seconds for gradients."""
    n, n_targets = sizes
    left = _PLANNED * budget - (time.process_time() - begun)
    estimation = 0.5 + 2.5 * (n / 1000) ** 2 * (n_targets / 200) + 0.5 * (n / 1000) ** 3
    gradients = PRIOR_SHARE * budget if differentiable else 0.0
    affordable = int((left - gradients - estimation) / each)
    if affordable >= FEWEST_BESIDE_PRIOR or not differentiable:
        if affordable < 4:
            msg = f"a budget of {budget:g} CPU seconds: one model takes {each:.2g}; wanted time for four at least"
            raise UsageError(msg)
        return affordable, gradients
    return 0, max(left, 0.1)


def _tested(
    masks: np.ndarray, outputs: np.ndarray, prior: np.ndarray | None, threads: int
) -> tuple[Effects, dict[str, Any]]:
    """Effects from most models, and how well they foretell the last ones."""
    n_tested = min(max(int(TESTED * len(masks)), FEWEST_TESTED), MOST_TESTED) if len(masks) >= 4 * FEWEST_TESTED else 0
    used = slice(0, len(masks) - n_tested)
    effects = estimate(masks[used], outputs[used], prior=prior, threads=threads)
    quality: dict[str, Any] = {"weights": effects.weights, "tested_on": n_tested, "lds": float("nan")}
    if n_tested:
        by_target = lds(effects.values, masks[-n_tested:], outputs[-n_tested:])
        quality |= {"lds": float(by_target.mean()), "lds_by_target": by_target}
    return effects, quality


def _of_prior(
    prior: np.ndarray | None, units: np.ndarray, plan: Plan, labels: np.ndarray | None, begun: float
) -> Datamodels:
    """Gradients alone."""
    if prior is None:
        msg = "no models and no gradients: give a larger budget"
        raise UsageError(msg)
    quality = {"weights": {"prior": 1.0}, "lds": float("nan"), "models": 0, "seconds": time.process_time() - begun}
    nothing = np.empty((0, len(prior)), np.float32)
    masks = np.empty((0, prior.shape[1]), bool)
    return Datamodels(prior, None, np.zeros(len(prior)), quality, units, plan, masks, nothing, labels)


def _units(groups: Any, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Names of the units, and one sample of each."""
    if groups is None:
        return np.arange(n), np.arange(n)
    names, first = np.unique(np.asarray(groups).astype(str), return_index=True)
    return names, first


def _by_group(values: np.ndarray, groups: Any) -> np.ndarray:
    codes = np.unique(np.asarray(groups).astype(str), return_inverse=True)[1]
    return np.asarray(values @ np.eye(codes.max() + 1, dtype=values.dtype)[codes])
