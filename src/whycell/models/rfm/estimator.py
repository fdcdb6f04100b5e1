"""Recursive feature machines behind scikit-learn's contract."""

# n - row, f - feature as given, d - coordinate, c - output, k - class

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MultiOutputMixin, RegressorMixin
from sklearn.utils import column_or_1d
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted

from whycell.errors import LabelError
from whycell.models.rfm.fitting import FeatureMachine
from whycell.models.rfm.probability import as_classes, probabilities, sharpness_of

__all__ = ["RecursiveFeatureMachine", "RecursiveFeatureMachineClassifier", "RecursiveFeatureMachineRegressor"]

#: A target of whole numbers with more different values than this is a quantity, not a name.
_MOST_CLASSES = 20


class RecursiveFeatureMachineClassifier(ClassifierMixin, FeatureMachine, BaseEstimator):
    """Classes by a kernel machine that learns its metric.

    Targets are the shares of the classes; a free intercept takes the place of their priors. Probabilities are the
    softmax of the answers at the sharpness that suits the held-out ones best.

    Parameters
    ----------
    kernel, metric, bandwidth, ridge, power, shrinkage, iterations, centre, leaf_size, solver, precision, device
        As in :class:`RecursiveFeatureMachine`.
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, groups: Any = None) -> Self:
        """Learn from rows.

        Parameters
        ----------
        X, sample_weight, groups
            As in :meth:`RecursiveFeatureMachine.fit`.
        y
            (n,) classes.

        Raises
        ------
        LabelError
            Fewer than two classes.
        """
        columns, y = self._checked(X, y, multi_output=False)
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            msg = f"y holds the one class {self.classes_[0]!r}; wanted two classes at least, to learn what differs."
            raise LabelError(msg)
        shares = np.eye(len(self.classes_))[codes]
        targets = shares[:, 1:] if len(self.classes_) == 2 else shares
        held_out, weights = self._learn(columns, targets, sample_weight, groups, classes=len(self.classes_))
        known = weights > 0
        answers = as_classes(held_out)
        self.sharpness_ = sharpness_of(answers[known], shares[known], weights[known])
        self.loo_ = probabilities(answers, self.sharpness_)
        right = answers[known].argmax(axis=1) == codes[known]
        self.loo_score_ = float(np.average(right, weights=weights[known]))
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """Answers before they are made probabilities.

        Parameters
        ----------
        X
            (n, f) rows.

        Returns
        -------
        (n, k); of two classes (n,), above 0 for the second.
        """
        answers = self._answers(X)
        return 2 * answers[:, 0] - 1 if answers.shape[1] == 1 else answers

    def predict_proba(self, X: Any) -> np.ndarray:
        """(n, k) calibrated probabilities of the classes.

        Parameters
        ----------
        X
            (n, f) rows.
        """
        answers = as_classes(self._answers(X))
        return probabilities(answers, self.sharpness_)

    def predict(self, X: Any) -> np.ndarray:
        """(n,) the class of the largest answer.

        Parameters
        ----------
        X
            (n, f) rows.
        """
        answers = as_classes(self._answers(X))
        return np.asarray(self.classes_[answers.argmax(axis=1)])


class RecursiveFeatureMachineRegressor(MultiOutputMixin, RegressorMixin, FeatureMachine, BaseEstimator):
    """Numbers by a kernel machine that learns its metric; several outputs share kernel and metric.

    Parameters
    ----------
    kernel, metric, bandwidth, ridge, power, shrinkage, iterations, centre, leaf_size, solver, precision, device
        As in :class:`RecursiveFeatureMachine`.
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, groups: Any = None) -> Self:
        """Learn from rows.

        Parameters
        ----------
        X, sample_weight, groups
            As in :meth:`RecursiveFeatureMachine.fit`.
        y
            (n,) or (n, c) numbers.
        """
        columns, y = self._checked(X, y, multi_output=True)
        y = np.asarray(y, dtype=np.float64)
        self._flat = y.ndim == 1
        targets = y[:, None] if self._flat else y
        weights = self._weights(sample_weight, len(targets))
        self._middle = weights @ targets / weights.sum()
        spread = np.sqrt(weights @ (targets - self._middle) ** 2 / weights.sum())
        self._spread = np.where(spread > 0, spread, 1.0)
        held_out, _ = self._learn(columns, (targets - self._middle) / self._spread, weights, groups, classes=0)
        loo = held_out * self._spread + self._middle
        known = weights > 0
        error = weights[known] @ (targets[known] - loo[known]) ** 2 / weights.sum()
        self.loo_ = loo[:, 0] if self._flat else loo
        self.loo_score_ = float(np.mean(1 - error / self._spread**2))
        return self

    def predict(self, X: Any) -> np.ndarray:
        """(n,) or (n, c) numbers, as ``y`` was.

        Parameters
        ----------
        X
            (n, f) rows.
        """
        answers = self._answers(X)
        answers = answers * self._spread + self._middle
        return answers[:, 0] if self._flat else answers


def _classifies(machine: RecursiveFeatureMachine) -> bool:
    return hasattr(machine.__dict__.get("machine_", machine), "classes_")


class RecursiveFeatureMachine(FeatureMachine, BaseEstimator):
    """A kernel machine that learns which directions of its input matter; classes or numbers, by the target.

    ``K(x, z) = exp(-(‖T(x - z)‖_p / L)^q)`` with ``M = T'T`` learned: fit, take the average gradient outer product
    (AGOP) of what was fitted, make it the metric, and again. Radhakrishnan and others, Science 2024.

    Kernel, bandwidth and ridge are chosen by exact leave-one-out, or leave-group-out; kind of metric and iterations by
    leave-one-out among rows that did not shape the metric. Nothing is drawn at random: the same rows give the same
    machine, in whatever order they come. Copies of a row count as one row of more weight.

    Parameters
    ----------
    kernel
        ``"laplace"`` (p = 2, q = 1), ``"gaussian"`` (2, 2), ``"product"`` (1, 1), a pair (p, q) with 0 < q <= p <= 2,
        or ``"auto"``: the three are compared.
    metric
        ``"full"``, ``"diagonal"``, ``"none"``, or a number of directions; ``"auto"`` is full for p = 2 and diagonal
        else.
    bandwidth
        L in units of the median distance between rows under the metric; ``None`` chooses.
    ridge
        Noise variance of a row of weight 1, the kernel of a row with itself being 1; ``None`` chooses.
    power
        The metric is the AGOP to this power.
    shrinkage
        Share of the identity in the metric: a direction that one iteration lost can be found by a later one.
    iterations
        Times that the metric is learned; ``None`` chooses, up to 5.
    centre
        Take the mean gradient off before the outer product.
    leaf_size
        With more rows than this a tree of machines is fitted, split at the median of the top direction of the AGOP.
    solver
        ``"exact"`` factorises; ``"iterative"`` is preconditioned conjugate gradients on blocks of the kernel, which
        never holds the kernel of all rows; ``"auto"`` is exact, in a tree where there are many rows.
    precision
        ``"single"``, ``"double"``, or ``"auto"``: double up to 1,000 rows.
    device
        ``"cpu"``, ``"cuda"`` or ``"auto"``.
    task
        ``"classification"``, ``"regression"``, or ``"auto"``: words, truth values and up to 20 different whole numbers
        are classes.

    Attributes
    ----------
    agop_ : (d, d) AGOP by the coordinates named in ``coordinates_``.
    loo_ : (n, ...) held-out predictions of the training rows: numbers, or probabilities. NaN where a row had no weight.
    loo_score_ : accuracy or R² of these.
    trials_ : table of all that was tried, with its judged loss.
    """

    def __init__(
        self,
        *,
        kernel: str | tuple[float, float] = "auto",
        metric: str | int = "auto",
        bandwidth: float | None = None,
        ridge: float | None = None,
        power: float = 0.7,
        shrinkage: float = 0.003,
        iterations: int | None = None,
        centre: bool = False,
        leaf_size: int = 10_000,
        solver: str = "auto",
        precision: str = "auto",
        device: str = "cpu",
        task: str = "auto",
    ) -> None:
        super().__init__(
            kernel=kernel,
            metric=metric,
            bandwidth=bandwidth,
            ridge=ridge,
            power=power,
            shrinkage=shrinkage,
            iterations=iterations,
            centre=centre,
            leaf_size=leaf_size,
            solver=solver,
            precision=precision,
            device=device,
        )
        self.task = task

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, groups: Any = None) -> Self:
        """Learn from rows.

        Parameters
        ----------
        X
            (n, f) numbers, NaN where missing; or a table with columns of numbers and words, see
            :mod:`whycell.models.rfm.encoding`.
        y
            (n,) classes or numbers, or (n, c) numbers.
        sample_weight
            (n,) not negative; a weight of two means what two copies mean.
        groups
            (n,) rows of one group are held out together.
        """
        params = {name: value for name, value in self.get_params(deep=False).items() if name != "task"}
        kind = (
            RecursiveFeatureMachineClassifier if self._task(y) == "classification" else RecursiveFeatureMachineRegressor
        )
        self.machine_ = kind(**params).fit(X, y, sample_weight, groups=groups)
        self.task_ = "classification" if hasattr(self.machine_, "classes_") else "regression"
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Classes or numbers of rows.

        Parameters
        ----------
        X
            (n, f) rows.
        """
        check_is_fitted(self, "machine_")
        return self.machine_.predict(X)

    @available_if(_classifies)
    def predict_proba(self, X: Any) -> np.ndarray:
        """(n, k) calibrated probabilities of the classes.

        Parameters
        ----------
        X
            (n, f) rows.
        """
        return self.machine_.predict_proba(X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy, or R².

        Parameters
        ----------
        X, y, sample_weight
            As in :meth:`fit`.
        """
        check_is_fitted(self, "machine_")
        return float(self.machine_.score(X, y, sample_weight))

    def as_chosen(self) -> Self:
        """An estimator, not fitted, that takes for granted what this one chose."""
        check_is_fitted(self, "machine_")
        return type(self)(**self.machine_.as_chosen().get_params(deep=False), task=self.task_)

    def __getattr__(self, name: str) -> Any:
        # Only what a fit leaves behind, and only once there is one: clone and pickle ask for much else.
        inner = self.__dict__.get("machine_")
        if inner is None or name.startswith("__") or not (name.endswith("_") or name.startswith("_")):
            msg = f"{type(self).__name__!r} object has no attribute {name!r}"
            raise AttributeError(msg)
        return getattr(inner, name)

    def _task(self, y: Any) -> str:
        if self.task != "auto":
            return self.task
        kind = type_of_target(y)
        if kind == "multiclass" and np.asarray(y).dtype.kind in "iuf" and len(np.unique(y)) > _MOST_CLASSES:
            return "regression"
        return "classification" if kind in ("binary", "multiclass", "unknown") else "regression"
