"""What the explanations of a type's cells say together, gathered block by block."""

# t - type, s - donor, g - gene of the model

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from whycell._keys import UNKNOWN
from whycell.models.leaves import LeafSpace
from whycell.results import TypeGenes

__all__ = ["TypeTally"]

_TOP = 10
_FEWEST_OF_A_DONOR = 5


@dataclass
class TypeTally:
    """Sums of contributions by call and donor.

    Parameters
    ----------
    space
        Names the calls.
    """

    space: LeafSpace
    cells: dict[tuple[int, int], int] = field(default_factory=dict)
    sums: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)
    tops: dict[int, np.ndarray] = field(default_factory=dict)

    def add(self, groups: Sequence[tuple[tuple[int, int], int, np.ndarray, np.ndarray]]) -> None:
        """Add the ``groups`` of one block, as ``explain_stream.Part`` has them."""
        for (node, donor), n, sums, tops in groups:
            key = (node, donor)
            self.cells[key] = self.cells.get(key, 0) + n
            self.sums[key] = self.sums[key] + sums if key in self.sums else sums
            self.tops[node] = self.tops[node] + tops if node in self.tops else tops

    def found(self, markers: pd.DataFrame, genes: np.ndarray, *, measured: np.ndarray, has_donors: bool) -> TypeGenes:
        """The answer by type, most cells first and unknown last.

        Parameters
        ----------
        markers
            Known ones: ``type, gene, sign``.
        genes
            (g,) ids of the model's genes.
        measured
            (g,) bool.
        has_donors
            Whether the donors' numbers mean anything.
        """
        nodes = sorted({node for node, _ in self.cells}, key=lambda node: (node < 0, -self._size(node), node))
        place = {str(gene): i for i, gene in enumerate(genes)}
        marker = np.zeros((len(nodes), len(genes)), dtype=np.int8)
        means, shares, signs, rows = [], [], [], []
        for t, node in enumerate(nodes):
            name = str(self.space.node_names[node]) if node >= 0 else UNKNOWN
            mine = markers[(markers["type"] == name) & markers["gene"].isin(place)]
            for gene, sign in zip(mine["gene"], mine["sign"], strict=True):
                marker[t, place[gene]] = sign
            mean, by_donor = self._means(node)
            means.append(mean)
            shares.append(self.tops[node] / self._size(node))
            agree = has_donors and len(by_donor) >= 2
            signs.append((np.sign(by_donor) == np.sign(mean)).mean(axis=0) if agree else np.ones(len(mean)))
            known = (marker[t] > 0) & measured
            strongest = np.argsort(-mean, kind="stable")[:_TOP]
            rows.append(
                {
                    "type": name,
                    "term_id": self._term(node),
                    "cells": self._size(node),
                    "donors": len(by_donor) if has_donors else 0,
                    "donor_agreement": _agreement(by_donor) if agree else float("nan"),
                    "markers": int(known.sum()),
                    "markers_for": int((known & (mean > 0)).sum()),
                    "markers_in_top": int(known[strongest].sum()),
                }
            )
        shape = (len(nodes), len(genes))
        return TypeGenes(
            types=pd.DataFrame(rows),
            mean=np.array(means, dtype=np.float32).reshape(shape),
            share=np.array(shares, dtype=np.float32).reshape(shape),
            same_sign=np.array(signs, dtype=np.float32).reshape(shape),
            marker=marker,
        )

    def _size(self, node: int) -> int:
        return sum(n for (other, _), n in self.cells.items() if other == node)

    def _term(self, node: int) -> str:
        id_ = str(self.space.nodes[node]) if node >= 0 else ""
        return "" if id_.startswith("label:") else id_

    def _means(self, node: int) -> tuple[np.ndarray, np.ndarray]:
        """(g,) over all cells, and (s, g) over those of each donor that has enough."""
        keys = sorted(key for key in self.cells if key[0] == node)
        total = np.sum([self.sums[key] for key in keys], axis=0) / self._size(node)
        own = [self.sums[key] / self.cells[key] for key in keys if self.cells[key] >= _FEWEST_OF_A_DONOR]
        return total, np.array(own).reshape(len(own), len(total))


def _agreement(by_donor: np.ndarray) -> float:
    """Mean correlation of two donors' mean contributions."""
    held = by_donor[:, (by_donor != 0).any(axis=0)]
    if held.shape[1] < 3:
        return float("nan")
    r = np.corrcoef(held)
    return float(np.nanmean(r[np.triu_indices(len(r), 1)]))
