"""Who is held out of a corpus: whole studies where there are many, else whole donors, else cells by a hash.

Chosen once, from the sample that the encoder is fitted on, so that neither the directions nor the network ever meet
the groups on which a model is stopped and calibrated. A group that alone holds a label is never held out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from whycell.corpus.shuffle import keys_of

__all__ = ["HeldOutGroups", "choose_held_out", "group_names"]

_ENOUGH_STUDIES = 8
_FEWEST_GROUPS = 3
_SHARE = 0.12
_ONE_IN = 10
_FEWEST_CELLS = 20


@dataclass(frozen=True)
class HeldOutGroups:
    """What training does not see.

    Parameters
    ----------
    unit
        ``"study"``, ``"donor"`` or ``"cell"``.
    groups
        Names: of studies, or ``study / donor``; none where single cells are held out.
    seed
        Of the hash that holds out one cell in ten, where ``unit`` is ``"cell"``.
    """

    unit: str
    groups: Sequence[str] = ()
    seed: int = 0

    def mask(self, cells: pd.DataFrame) -> np.ndarray:
        """(n,) bool, whether each cell is held out.

        Parameters
        ----------
        cells
            One row a cell; ``study``, ``donor``, and where single cells are held out ``address`` and ``row``.
        """
        if self.unit != "cell":
            return np.asarray(pd.Series(group_names(cells, self.unit)).isin(self.groups))
        out = np.zeros(len(cells), dtype=bool)
        address = cells["address"].astype(str).to_numpy()
        for name in np.unique(address):
            mine = address == name
            rows = cells["row"].to_numpy()[mine]
            out[mine] = keys_of(str(name), rows, seed=self.seed + 1) % np.uint64(_ONE_IN) == 0
        return out

    def plain(self) -> dict[str, object]:
        """For JSON."""
        return {"unit": self.unit, "groups": list(self.groups), "seed": self.seed}


def group_names(cells: pd.DataFrame, unit: str) -> np.ndarray:
    """(n,) text: the study of each cell, or ``study / donor``."""
    study = cells["study"].astype(str)
    return np.asarray(study if unit == "study" else study + " / " + cells["donor"].astype(str), dtype=object)


def choose_held_out(cells: pd.DataFrame, *, seed: int) -> HeldOutGroups:
    """Choose about an eighth of the cells.

    Parameters
    ----------
    cells
        One row a cell of the sample: ``label, label_id, donor, study``.
    seed
        Of the choice.
    """
    rng = np.random.default_rng([seed, 2])
    for unit, fewest in (("study", _ENOUGH_STUDIES), ("donor", _FEWEST_GROUPS)):
        names = group_names(cells, unit)
        chosen = _choose(cells, names, rng) if len(np.unique(names)) >= fewest else []
        if chosen:
            return HeldOutGroups(unit, chosen, seed)
    return HeldOutGroups("cell", (), seed)


def _choose(cells: pd.DataFrame, names: np.ndarray, rng: np.random.Generator) -> list[str]:
    """Groups in random order, as long as every label keeps a group to learn from, until there are cells enough."""
    label = cells["label_id"].astype(str).where(cells["label_id"].astype(str) != "", cells["label"].astype(str))
    table = pd.crosstab(pd.Series(names, name="group"), pd.Series(label.to_numpy(), name="label"))
    left = (table > 0).sum(axis=0)
    sizes = table.sum(axis=1)
    chosen: list[str] = []
    for name in rng.permutation(table.index.to_numpy(dtype=object)):
        mine = table.loc[name] > 0
        enough = sizes[chosen].sum() >= _SHARE * len(cells) and len(chosen) >= 2
        if enough or len(chosen) >= len(table) // 3 or sizes[name] > len(cells) / 3:
            continue
        if sizes[name] >= _FEWEST_CELLS and (left[mine] >= 2).all():
            chosen.append(str(name))
            left = left - mine
    return sorted(chosen)
