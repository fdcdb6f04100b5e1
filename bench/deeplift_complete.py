"""Do contributions add up? Our residual on every architecture, and that of captum, shap and tangermeme.

Small untrained networks of every kind (those of ``tests/lenses/networks.py``), 32 examples with four references each,
three draws of weights. Inputs of networks over (4, length) are letters, the others normal. A residual is the difference
explained less the sum of the contributions, as a share of the standard deviation of the differences explained; the
largest over all examples is shown, of ours also the median. What a library refuses to do is shown as its error.

tangermeme explains networks over (4, length) alone. Softmax and sigmoid heads are explained by us at the logit, by the
others as they are: each is held to the sum that it aims at.
"""

from __future__ import annotations

import importlib.util
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from _harness import ROOT, report
from whycell.lenses import deeplift

_spec = importlib.util.spec_from_file_location("networks", ROOT / "tests" / "lenses" / "networks.py")
assert _spec is not None
assert _spec.loader is not None
networks: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(networks)

EXAMPLES, REFERENCES, DRAWS = 32, 4, 3
RULES = ("rescale", "reveal-cancel", "genomics")


def data(shape: tuple[int, ...], *, seed: int) -> tuple[Tensor, Tensor]:
    """Inputs (n, ...) and references (n, k, ...)."""
    random = torch.Generator().manual_seed(seed)
    both = (EXAMPLES, 1 + REFERENCES)
    if shape[0] == 4 and len(shape) == 2 and shape[1] > 20:
        letters = torch.randint(0, 4, (*both, shape[1]), generator=random)
        values = nn.functional.one_hot(letters, 4).transpose(-1, -2).double()
    else:
        values = torch.randn(*both, *shape, generator=random, dtype=torch.float64)
    return values[:, 0].contiguous(), values[:, 1:].contiguous()


class Column(nn.Module):
    """One output as (n, 1), which every library takes."""

    def __init__(self, net: nn.Module, column: int | None) -> None:
        super().__init__()
        self.net, self.column = net, column

    def forward(self, x: Tensor) -> Tensor:
        out = self.net(x)
        return out.reshape(len(x), 1) if self.column is None else out[:, self.column : self.column + 1]


def share(net: nn.Module, x: Tensor, reference: Tensor, values: np.ndarray) -> float:
    """Largest residual of another library's contributions (n, ...), as a share of the spread."""
    with torch.no_grad():
        y, y0 = net(x)[:, 0], net(reference.flatten(0, 1))[:, 0].view(len(x), -1).mean(1)
    difference = (y - y0).numpy()
    return float(np.abs(difference - values.reshape(len(x), -1).sum(1)).max() / difference.std())


def captum(net: nn.Module, x: Tensor, reference: Tensor) -> np.ndarray:
    """Each reference by itself, averaged."""
    from captum.attr import DeepLift

    found = [DeepLift(net).attribute(x, own, target=0).detach().numpy() for own in reference.unbind(1)]
    return np.mean(found, axis=0)


def shap(net: nn.Module, x: Tensor, reference: Tensor) -> np.ndarray:
    """One explainer for each example."""
    from shap import DeepExplainer

    each = [
        np.asarray(DeepExplainer(net, own).shap_values(row[None], check_additivity=False)).reshape(row.shape)
        for row, own in zip(x, reference, strict=True)
    ]
    return np.stack(each)


def tangermeme(net: nn.Module, x: Tensor, reference: Tensor) -> np.ndarray:
    """Multipliers times differences."""
    from tangermeme.deep_lift_shap import deep_lift_shap

    found = deep_lift_shap(net, x, references=reference, device="cpu", raw_outputs=True, warning_threshold=1e9)
    return (found.detach() * (x[:, None] - reference)).mean(1).numpy()


PEERS: dict[str, Callable[[nn.Module, Tensor, Tensor], np.ndarray]] = {
    "captum": captum,
    "shap": shap,
    "tangermeme": tangermeme,
}


def peer(name: str, net: nn.Module, x: Tensor, reference: Tensor) -> float | str:
    """Its residual, or what it says instead."""
    if name == "tangermeme" and not (x.ndim == 3 and x.shape[1] == 4 and x.shape[2] > 20):
        return "letters only"
    if name == "shap":
        x, reference = x[:8], reference[:8]  # it is slow, and its worst shows soon
    try:
        return float(f"{share(net, x, reference, PEERS[name](net, x, reference)):.2g}")
    except Exception as error:
        return type(error).__name__


def ours(name: str, seed: int) -> dict[str, list[float]]:
    """Residuals of all examples and rules in both precisions, and what the rest of the batch changes."""
    net, shape = networks.network(name, seed=seed)
    found: dict[str, list[float]] = {"float32": [], "float64": [], "batch": []}
    for kind in (torch.float32, torch.float64):
        net, (x, reference) = net.to(kind), (each.to(kind) for each in data(shape, seed=seed))
        column = chosen(net, x)
        for rule in RULES:
            scores = deeplift(net, x, reference=reference, target=column, rule=rule)
            spread = np.std(scores.output - scores.reference_output)
            found[str(kind).removeprefix("torch.")] += list(np.abs(scores.residual) / spread)
        alone = deeplift(net, x[5:6], reference=reference[5:6], target=column, rule=rule)
        found["batch"] = [float(np.abs(alone.values[0] - scores.values[5]).max() / np.abs(scores.values).max())]
    return found


def chosen(net: nn.Module, x: Tensor) -> int | None:
    """The second of several outputs."""
    with torch.no_grad():
        out = net(x[:2])
    return 1 if out.ndim == 2 and out.shape[1] > 1 else None


def main() -> None:
    """One row for each architecture."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    rows: dict[str, Any] = {}
    worst = {"median": 0.0, "largest": 0.0, "double": 0.0, "batch": 0.0}
    for name in networks.NETWORKS:
        draws = [ours(name, seed) for seed in range(DRAWS)]
        single, double, batch = ([v for draw in draws for v in draw[what]] for what in ("float32", "float64", "batch"))
        row = {"median": np.median(single), "largest": max(single), "double": max(double), "batch": max(batch)}
        worst = {what: max(worst[what], row[what]) for what in worst}
        net, shape = networks.network(name)
        x, reference = (each.float() for each in data(shape, seed=0))
        whole = Column(net, chosen(net, x)).eval()
        shown = {what: float(f"{value:.2g}") for what, value in row.items()}
        rows[name] = shown | {each: peer(each, whole, x, reference) for each in PEERS}
        print(name, rows[name], flush=True)
    limits = {
        "median residual in single precision, worst architecture, 1e-5": (1e5 * worst["median"], "<=", 1.0),
        "largest residual in single precision, 1e-4": (1e4 * worst["largest"], "<=", 1.0),
        "largest residual in double precision, 1e-10": (1e10 * worst["double"], "<=", 1.0),
        "largest change by what else is in the batch, double precision, 1e-10": (1e10 * worst["batch"], "<=", 1.0),
    }
    sys.exit(0 if report("deeplift_complete", {"architectures": rows}, limits=limits) else 1)


if __name__ == "__main__":
    main()
