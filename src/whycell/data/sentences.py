"""How the doctor writes names and shares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

__all__ = ["examples", "percent"]


def examples(names: Sequence[Any] | NDArray[Any], n: int = 3) -> str:
    """``"a, b, c, …"``: the first ``n`` names."""
    return ", ".join(str(name) for name in names[:n]) + (", …" if len(names) > n else "")


def percent(share: float, digits: int = 1) -> str:
    """``"0.4 %"``."""
    return f"{100 * share:.{digits}f} %"
