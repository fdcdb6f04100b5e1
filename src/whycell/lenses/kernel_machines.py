"""Kernel machines as data: centres, coefficients and a kernel; and scikit-learn's, read as such."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from whycell.lenses.agop_kernels import kernel_matrix, kernel_outer_products
from whycell.lenses.outer_products import OuterProducts

__all__ = ["KernelMachine", "as_kernel_machine"]


@dataclass(frozen=True)
class KernelMachine:
    """``f(x) = K(x, centres) coefficients + intercept``.

    A model of ours that is one says so by a method ``kernel_machine()``; the lens then uses the closed form.

    Parameters
    ----------
    centres, coefficients
        (m, d) and (m, c).
    kernel, bandwidth, metric, factor, norm, exponent
        As in ``agop_kernels.kernel_matrix``.
    intercept
        (c,) or one number.
    """

    centres: np.ndarray
    coefficients: np.ndarray
    kernel: str = "laplace"
    bandwidth: float = 1.0
    metric: np.ndarray | None = None
    factor: np.ndarray | None = None
    norm: float = 2.0
    exponent: float = 1.0
    intercept: np.ndarray | float = 0.0

    def __call__(self, X: np.ndarray) -> np.ndarray:
        """(n, c) outputs."""
        return np.asarray(kernel_matrix(X, self.centres, **self._shape()) @ self.coefficients + self.intercept)

    def outer_products(self, X: np.ndarray, *, weights: Any = None, diagonal: bool = False) -> OuterProducts:
        """Sums over the points of the outer products of their gradients, in closed form."""
        return kernel_outer_products(
            X, self.centres, self.coefficients, **self._shape(), weights=weights, diagonal=diagonal
        )

    def _shape(self) -> dict[str, Any]:
        return {
            "kernel": self.kernel,
            "bandwidth": self.bandwidth,
            "metric": self.metric,
            "factor": self.factor,
            "norm": self.norm,
            "exponent": self.exponent,
        }


def as_kernel_machine(model: Any) -> KernelMachine | None:
    """The machine that a model is, or ``None``.

    Parameters
    ----------
    model
        A :class:`KernelMachine`, anything with a method ``kernel_machine()``, or scikit-learn's ``KernelRidge`` and
        ``SVR`` with a fixed width of an ``rbf`` or ``laplacian`` kernel.
    """
    if isinstance(model, KernelMachine):
        return model
    if callable(getattr(model, "kernel_machine", None)):
        found = model.kernel_machine()
        return found if isinstance(found, KernelMachine) else None
    kind = type(model)
    if kind.__module__.startswith("sklearn.kernel_ridge") and hasattr(model, "dual_coef_"):
        gamma = model.gamma if model.gamma is not None else 1.0 / np.shape(model.X_fit_)[1]
        return _of_sklearn(model.kernel, gamma, model.X_fit_, np.asarray(model.dual_coef_), 0.0)
    if kind.__name__ in ("SVR", "NuSVR") and hasattr(model, "support_vectors_"):
        return _of_sklearn(model.kernel, model._gamma, model.support_vectors_, model.dual_coef_.T, model.intercept_)
    return None


def _of_sklearn(kernel: Any, gamma: float, centres: Any, coefficients: Any, intercept: Any) -> KernelMachine | None:
    if kernel not in ("rbf", "laplacian") or not isinstance(centres, np.ndarray):
        return None
    coefficients = np.asarray(coefficients, dtype=np.float64)
    coefficients = coefficients[:, None] if coefficients.ndim == 1 else coefficients
    centres = np.asarray(centres, dtype=np.float64)
    if kernel == "rbf":
        bandwidth = float((2 * gamma) ** -0.5)
        return KernelMachine(centres, coefficients, "gaussian", bandwidth, intercept=intercept)
    width = float(1 / gamma)  # scikit-learn's laplacian has the distance of city blocks
    return KernelMachine(centres, coefficients, "generalised", width, norm=1.0, exponent=1.0, intercept=intercept)
