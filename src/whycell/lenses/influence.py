"""What one more sample would have done: gradients of samples against gradients of targets, through the curvature.

    tau(t, i) = phi_t^T (Phi^T W Phi + lambda I)^-1 phi_i

with ``W`` the curvature of each sample's loss. Where the samples are fewer than the numbers in a gradient the same is
reckoned among samples, from inner products alone (the push-through identity), and nothing is projected:

    tau = C W^1/2 (W^1/2 K W^1/2 + lambda I)^-1 W^-1/2,   K = Phi Phi^T,   C = Phi_targets Phi^T
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from whycell.lenses.gradients import Factors
from whycell.lenses.projections import Projection

__all__ = ["Gradients", "Influence"]

_SMALL_RIDGE = 1e-2  # below this share of the mean diagonal float32 loses the solution


@dataclass(frozen=True)
class Gradients:
    """Gradients of training samples and of targets at one checkpoint: as factors, or as vectors.

    Parameters
    ----------
    train, targets
        ``Factors``, or (n, p) vectors of one length, projected or not.
    """

    train: Factors | torch.Tensor
    targets: Factors | torch.Tensor

    def dot(self) -> torch.Tensor:
        """(n_targets, n_train) inner products of targets with training samples."""
        return _inner(self.targets, self.train)

    def projected(self, projection: Projection) -> Gradients:
        """The same, kept in fewer numbers."""
        return Gradients(_project(self.train, projection), _project(self.targets, projection))


class Influence:
    """The solution for any ridge, at one checkpoint.

    Parameters
    ----------
    gradients
        Of this checkpoint.
    curvature
        (n_train,) second derivative of each sample's loss by its output; not negative.
    """

    def __init__(self, gradients: Gradients, curvature: torch.Tensor) -> None:
        # A sample without any curvature would be divided by zero; a ten-thousandth of the mean is none to speak of.
        weight = curvature.clamp_min(float(curvature.mean()) * 1e-4 + 1e-12)
        self.root = weight.sqrt()
        train, targets = gradients.train, gradients.targets
        self.among_samples = isinstance(train, Factors) or len(train) <= train.shape[1]
        if self.among_samples:
            kernel = _inner(train, train)
            diagonal = kernel.diagonal().clone()
            self.matrix = kernel * self.root[:, None] * self.root
            self.right = gradients.dot() * self.root
        else:
            self.train = torch.as_tensor(train)
            diagonal = (self.train**2).sum(dim=1)
            scaled = self.train * self.root[:, None]
            self.matrix = scaled.T @ scaled
            self.right = torch.as_tensor(targets)
        #: What a ridge of one adds to the diagonal: the mean of what is there, a sample.
        self.unit = float(diagonal.mean() * weight.mean())

    def at(self, ridge: float) -> torch.Tensor:
        """(n_targets, n_train) influences; ``ridge`` in units of the mean sample."""
        matrix, right = self.matrix, self.right
        if ridge < _SMALL_RIDGE:
            matrix, right = matrix.double(), right.double()
        matrix = matrix.clone()
        matrix.diagonal().add_(ridge * self.unit)
        solved = torch.cholesky_solve(right.T, torch.linalg.cholesky(matrix)).T.to(self.root.dtype)
        return solved / self.root if self.among_samples else solved @ self.train.T


def _inner(left: Factors | torch.Tensor, right: Factors | torch.Tensor) -> torch.Tensor:
    if isinstance(left, Factors) and isinstance(right, Factors):
        return left.kernel(right)
    return torch.as_tensor(left) @ torch.as_tensor(right).T


def _project(gradients: Factors | torch.Tensor, projection: Projection) -> torch.Tensor:
    return projection.factors(gradients) if isinstance(gradients, Factors) else projection.dense(gradients)
