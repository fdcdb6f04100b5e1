"""Recursive feature machines: kernel machines that learn, in closed form, which directions of their input matter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from whycell.models.rfm.estimator import (
        RecursiveFeatureMachine,
        RecursiveFeatureMachineClassifier,
        RecursiveFeatureMachineRegressor,
    )

__all__ = ["RecursiveFeatureMachine", "RecursiveFeatureMachineClassifier", "RecursiveFeatureMachineRegressor"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        msg = f"module 'whycell.models.rfm' has no attribute {name!r}; it offers {', '.join(__all__)}"
        raise AttributeError(msg)
    from whycell.models.rfm import estimator

    return getattr(estimator, name)
