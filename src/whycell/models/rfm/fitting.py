"""What both estimators share: parameters, checks, the fit itself, and what is read off it."""

# n - row, f - feature as given, d - coordinate, c - output

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from sklearn.utils.validation import _check_feature_names, _check_sample_weight, check_is_fitted, validate_data

from whycell.errors import DataError, GroupError, UsageError
from whycell.models.device import torch_device
from whycell.models.rfm.encoding import Columns, Encoding
from whycell.models.rfm.learning import Trial, precision_for
from whycell.models.rfm.planning import plan_of
from whycell.models.rfm.problem import Problem, merged
from whycell.models.rfm.scale import Grown, grow

__all__ = ["FeatureMachine"]


class FeatureMachine:
    """Parameters, fit and read-outs of every recursive feature machine; see ``RecursiveFeatureMachine``.

    Parameters
    ----------
    kernel, metric, bandwidth, ridge, power, shrinkage, iterations, centre, leaf_size, solver, precision, device
        As in :class:`whycell.models.rfm.RecursiveFeatureMachine`.
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
    ) -> None:
        self.kernel = kernel
        self.metric = metric
        self.bandwidth = bandwidth
        self.ridge = ridge
        self.power = power
        self.shrinkage = shrinkage
        self.iterations = iterations
        self.centre = centre
        self.leaf_size = leaf_size
        self.solver = solver
        self.precision = precision
        self.device = device

    @property
    def agop_(self) -> np.ndarray:
        """(d, d) average gradient outer product of the machine over its rows, outputs in units of their spread."""
        check_is_fitted(self, "encoding_")
        if self._agop is None:
            self._agop = self._model.agop(centre=self.centre)
        return self._agop

    @property
    def coordinates_(self) -> np.ndarray:
        """(d,) names of the coordinates: features, their gaps, and the levels of categories."""
        check_is_fitted(self, "encoding_")
        return np.array(self.encoding_.names, dtype=object)

    @property
    def trials_(self) -> pd.DataFrame:
        """One row a thing tried: kernel, metric, iteration, bandwidth, ridge, judged loss, rows, and how judged."""
        check_is_fitted(self, "encoding_")
        return pd.DataFrame([_told(trial) for trial in self._model.trials])

    def feature_scores_(self) -> pd.Series:
        """(f,) share of each feature in the trace of the AGOP, coordinates of one feature together; they sum to 1."""
        diagonal = np.clip(np.diag(self.agop_), 0, None)
        scores = self.encoding_.by_feature(diagonal / (diagonal.sum() or 1.0))
        return pd.Series(scores, index=list(self.encoding_.features), name="score")

    def directions_(self, k: int = 5) -> np.ndarray:
        """(k, d) unit eigenvectors of the AGOP, strongest first, their entry of most weight positive.

        Parameters
        ----------
        k
            How many.
        """
        rows = np.linalg.eigh(self.agop_)[1][:, ::-1][:, :k].T
        strongest = np.abs(rows).argmax(axis=1)
        return rows * np.where(rows[np.arange(len(rows)), strongest] < 0, -1.0, 1.0)[:, None]

    def as_chosen(self) -> Self:
        """An estimator, not fitted, that takes for granted what this one chose: kernel, metric, bandwidth and ridge."""
        check_is_fitted(self, "encoding_")
        last = self._model.trials[-1]
        chain = last.chain
        chosen = {
            "kernel": (chain.shape.norm, chain.shape.exponent),
            "metric": chain.rank if chain.rank is not None else chain.kind,
            "bandwidth": last.bandwidth,
            "ridge": last.ridge,
            "iterations": last.iteration,
        }
        return type(self)(**{**self.get_params(deep=False), **chosen})  # type: ignore[attr-defined]

    def save(self, folder: Path | str, *, about: Mapping[str, Any] | None = None, force: bool = False) -> Path:
        """Write the fitted machine as a folder that holds no code.

        Parameters
        ----------
        folder
            To be made.
        about
            Further plain values for its ``about.json``.
        """
        from whycell.models.rfm.storing import save

        return save(self, Path(folder), about=about or {}, force=force)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        return tags

    def _checked(self, X: Any, y: Any, *, multi_output: bool) -> tuple[Any, Any]:
        columns = Columns.of(X)
        if columns is not None:
            _check_feature_names(self, X, reset=True)
            self.n_features_in_ = X.shape[1]
            y = np.asarray(y)
            if len(y) != len(columns):
                msg = f"X has {len(columns)} rows and y has {len(y)}; give one y a row."
                raise DataError(msg)
            if y.dtype.kind == "f" and not np.isfinite(y).all():
                msg = f"{int((~np.isfinite(y)).sum())} rows have no finite y; remove them before the fit."
                raise DataError(msg)
            return columns, y
        return validate_data(
            self,
            X,
            y,
            dtype=np.float64,
            ensure_all_finite="allow-nan",
            ensure_min_samples=2,
            multi_output=multi_output,
            y_numeric=multi_output,
        )

    def _weights(self, sample_weight: Any, rows: int) -> np.ndarray:
        return np.asarray(
            _check_sample_weight(sample_weight, np.empty((rows, 1)), dtype=np.float64, ensure_non_negative=True)
        )

    def _learn(
        self, columns: Any, targets: np.ndarray, sample_weight: Any, groups: Any, *, classes: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Fit; (n, c) held-out answers and (n,) weights."""
        weights = self._weights(sample_weight, len(targets))
        names = getattr(self, "feature_names_in_", [f"x{f}" for f in range(self.n_features_in_)])
        self.encoding_ = Encoding.learn(columns, [str(name) for name in names], weights)
        codes = None if groups is None else _codes(groups, len(targets))
        rows, means, heavy, codes, where = merged(self.encoding_.transform(columns), targets, weights, codes)
        if rows.nbytes > 0 and not np.isfinite(rows).all():
            msg = "X holds values too large to be told apart; divide the columns that hold them."
            raise DataError(msg)
        plan = plan_of(
            self.kernel,
            self.metric,
            bandwidth=self.bandwidth,
            ridge=self.ridge,
            power=self.power,
            shrinkage=self.shrinkage,
            iterations=self.iterations,
            centre=self.centre,
            coordinates=rows.shape[1],
        )
        problem = _problem(rows, means, heavy, codes, classes, self._device(), self._precision(len(rows)))
        self._model: Grown = grow(problem, plan, leaf_size=int(self.leaf_size), solver=self._solver())
        self._agop: np.ndarray | None = None
        held_out = np.full((len(where), targets.shape[1]), np.nan)
        held_out[where >= 0] = self._model.held_out[where[where >= 0]]
        return held_out, weights

    def _answers(self, X: Any) -> np.ndarray:
        check_is_fitted(self, "encoding_")
        columns: Any = Columns.of(X)
        if self.encoding_.levels:
            if not isinstance(X, pd.DataFrame):
                wanted = ", ".join(self.encoding_.features[:4])
                msg = f"The machine was fitted on a table with words; give a table with its columns ({wanted})."
                raise DataError(msg)
            _check_feature_names(self, X, reset=False)
        if columns is None or not self.encoding_.levels:
            columns = validate_data(self, X, reset=False, dtype=np.float64, ensure_all_finite="allow-nan")
        return self._model.answer(self.encoding_.transform(columns))

    def _device(self) -> torch.device:
        return torch.device(torch_device(self.device))

    def _precision(self, rows: int) -> torch.dtype:
        if self.precision not in ("auto", "single", "double"):
            msg = f"There is no precision {self.precision!r}; there are auto, single and double."
            raise UsageError(msg)
        return precision_for(rows, self.precision)

    def _solver(self) -> str:
        if self.solver not in ("auto", "exact", "iterative"):
            msg = f"There is no solver {self.solver!r}; there are auto, exact and iterative."
            raise UsageError(msg)
        return self.solver


def _problem(
    rows: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    groups: np.ndarray | None,
    classes: int,
    device: torch.device,
    precision: torch.dtype,
) -> Problem:
    def tensor(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(device=device, dtype=precision)

    low, high = rows.min(axis=0), rows.max(axis=0)
    two = (((rows == low) | (rows == high)).all(axis=0)) & (high > low)
    return Problem(
        rows=tensor(rows),
        targets=tensor(targets),
        weights=tensor(weights / weights.mean()),
        groups=None if groups is None else torch.from_numpy(groups).to(device),
        classes=classes,
        flags=torch.from_numpy(two).to(device),
    )


def _codes(groups: Any, rows: int) -> np.ndarray:
    names, codes = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    if len(codes) != rows:
        msg = f"Got {len(codes)} groups for {rows} rows; give one group a row."
        raise GroupError(msg)
    if len(names) < 2:
        msg = f"All rows are in the one group {names[0]!r}; wanted two groups at least, to hold some out."
        raise GroupError(msg)
    return codes


def _told(trial: Trial) -> dict[str, Any]:
    shape = trial.chain.shape
    return {
        "norm": shape.norm,
        "exponent": shape.exponent,
        "metric": trial.chain.kind,
        "iteration": trial.iteration,
        "bandwidth": trial.bandwidth,
        "ridge": trial.ridge,
        "loss": trial.loss,
        "rows": trial.rows,
        "judged": trial.judged,
    }
