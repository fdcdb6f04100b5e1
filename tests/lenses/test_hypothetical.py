"""Hypothetical contributions: right at the letter that stands there, and where the arithmetic is known."""

import numpy as np
import pytest
import torch
from torch import nn

from whycell.encode.sequences import dinucleotide_shuffle, one_hot
from whycell.errors import UsageError
from whycell.lenses.comparators import integrated_gradients
from whycell.lenses.inputs import deeplift
from whycell.lenses.letters import hypothetical

SEQUENCES = one_hot(["ACGTTGCAACGT", "GGGTATACCCAT", "TTGACGTCATTG"]).astype(np.float64)


def _network() -> nn.Module:
    torch.manual_seed(0)
    parts = (nn.Conv1d(4, 6, 3), nn.ReLU(), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(30, 8), nn.ReLU(), nn.Linear(8, 2))
    return nn.Sequential(*parts).double()


@pytest.mark.parametrize("rule", ["rescale", "reveal-cancel", "genomics", "integrated gradients"])
def test_at_the_letter_that_stands_there_it_is_the_contribution_of_the_position(rule: str) -> None:
    module, shuffles = _network(), dinucleotide_shuffle(SEQUENCES, 5, seed=0).astype(np.float64)
    found = hypothetical(module, SEQUENCES, reference=shuffles, target=1, rule=rule)
    if rule == "integrated gradients":
        plain = integrated_gradients(module, SEQUENCES, reference=shuffles, target=1)
    else:
        plain = deeplift(module, SEQUENCES, reference=shuffles, target=1, rule=rule)
    np.testing.assert_allclose((found.values * SEQUENCES).sum(axis=1), plain.values.sum(axis=1), atol=1e-10)
    np.testing.assert_allclose(found.residual, plain.residual, atol=1e-10)
    assert np.abs(found.values[SEQUENCES == 0]).max() > 1e-3


@pytest.mark.parametrize("rule", ["rescale", "reveal-cancel", "expected gradients"])
def test_letters_that_the_network_weighs_alike_add_nothing(rule: str) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(48, 1)).double()
    with torch.no_grad():
        module[1].weight[:] = torch.arange(12).repeat(4).double()
    background = np.array([0.3, 0.2, 0.2, 0.3])[:, None].repeat(12, axis=1)
    np.testing.assert_allclose(hypothetical(module, SEQUENCES, reference=background, rule=rule).values, 0, atol=1e-10)


def test_an_unknown_rule_or_axis_is_refused() -> None:
    with pytest.raises(UsageError, match="rule 'ism': wanted one of rescale"):
        hypothetical(_network(), SEQUENCES, reference=SEQUENCES, target=0, rule="ism")
    with pytest.raises(UsageError, match="simplex=4"):
        hypothetical(_network(), SEQUENCES, reference=SEQUENCES, target=0, simplex=4)


def test_reveal_cancel_reaches_an_activation_before_a_pool() -> None:
    """A relu and a pool may be computed as one step for speed, but not where the relu has another rule."""

    class Apart(nn.Module):
        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self.module = module

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            hidden = torch.relu(self.module[0](x))
            windows = hidden.unflatten(2, (5, 2))
            return self.module[3:](torch.maximum(windows[..., 0], windows[..., 1]))

    module, shuffles = _network(), dinucleotide_shuffle(SEQUENCES, 5, seed=0).astype(np.float64)
    found = {}
    for rule in ("rescale", "reveal-cancel", "genomics"):
        found[rule], apart = (
            deeplift(each, SEQUENCES, reference=shuffles, target=1, rule=rule).values
            for each in (module, Apart(module))
        )
        np.testing.assert_allclose(found[rule], apart, atol=1e-10)
    assert all(np.abs(found["reveal-cancel"] - found[other]).max() > 1e-3 for other in ("rescale", "genomics"))
