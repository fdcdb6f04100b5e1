"""The parameters of a network on DNA: what suits each kind, and what cannot be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whycell.errors import UsageError
from whycell.models.nets.dna import NETWORKS
from whycell.models.nets.profile import PROFILE_NETWORKS
from whycell.models.sequence_losses import KINDS

__all__ = ["SUITS", "check_parameters", "networks_of", "settled"]

#: What each kind takes where a parameter is ``None``.
SUITS: dict[str, dict[str, float]] = {
    "class": {
        "width": 11,
        "layers": 2,
        "epochs": 16,
        "most_steps": 2500,
        "batch": 128,
        "learning_rate": 5e-3,
        "weight_decay": 0.3,
    },
    "counts": {"width": 11, "layers": 2, "epochs": 12, "batch": 128, "learning_rate": 5e-3, "weight_decay": 1e-2},
    "profile": {"width": 19, "layers": 6, "epochs": 12, "batch": 64, "learning_rate": 2e-3, "weight_decay": 1e-2},
}
#: The least that a whole number may be.
_WHOLE = {"channels": 1, "width": 1, "layers": 0, "epochs": 1, "least_steps": 0, "batch": 1, "seed": 0}


def networks_of(kind: str) -> Mapping[str, Any]:
    """The networks that a ``kind`` may have, by name."""
    return PROFILE_NETWORKS if kind == "profile" else NETWORKS


def settled(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """``parameters`` with what is ``None`` filled in as suits their kind."""
    suits = SUITS[parameters["kind"]]
    return {name: suits[name] if value is None and name in suits else value for name, value in parameters.items()}


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Raise ``UsageError`` for the first of ``parameters`` that cannot be."""
    kind = parameters["kind"]
    if kind not in KINDS:
        msg = f"kind is {kind!r}; wanted one of: {', '.join(KINDS)}."
        raise UsageError(msg)
    networks = networks_of(kind)
    if parameters["network"] not in networks:
        msg = f"network is {parameters['network']!r}; wanted, for kind {kind}, one of: {', '.join(networks)}."
        raise UsageError(msg)
    given = settled(parameters)
    for name, least in _WHOLE.items():
        if not isinstance(given[name], int) or given[name] < least:
            msg = f"{name} is {given[name]!r}; wanted a whole number, {least} or more."
            raise UsageError(msg)
    if given["width"] % 2 == 0:
        msg = f"width is {given['width']}; wanted an odd number, so that a motif detector has a middle."
        raise UsageError(msg)
    patience = given["patience"]
    for name, right, wanted in (
        ("dropout", 0 <= given["dropout"] < 1, "0 to below 1"),
        ("learning_rate", given["learning_rate"] > 0, "a number above 0"),
        ("weight_decay", given["weight_decay"] >= 0, "0 or more"),
        ("counts_weight", given["counts_weight"] >= 0, "0 or more"),
        ("most_steps", given["most_steps"] is None or given["most_steps"] >= 0, "0 or more, or None"),
        ("patience", patience is None or patience >= 1, "1 pass or more, or None"),
    ):
        if not right:
            msg = f"{name} is {given[name]!r}; wanted {wanted}."
            raise UsageError(msg)
