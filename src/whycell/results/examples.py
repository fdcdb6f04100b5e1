"""Answer of ``explain --lens examples``: the training cells, donors and studies for a call, and those against."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

__all__ = ["ExampleEvidence", "Teaching"]


@dataclass(frozen=True)
class Teaching:
    """What taught one call, or the calls of one type.

    Parameters
    ----------
    name
        Of the cell, or of the type.
    call, call_term_id, confidence
        What was called, and how sure the model is (the mean, of many cells).
    n_cells
        Cells explained together; 1 for a single one.
    supporters, opponents
        Training cells, strongest first: ``cell, label, donor, study, score, share``. The score is how much of the
        log-odds of the call the cell's presence adds, to first order; the share is of all support, or all opposition.
    donors, studies, labels
        One row each: ``donor`` (``study``, ``label``), ``cells, support, opposition, net, share``, largest support
        first; the share is of all support.
    n_supporting, n_opposing
        Training cells that speak for and against.
    donors_effective
        Donors that would carry as much if all carried alike: one over the sum of squared shares.
    warnings
        Sentences: that it rests on one donor, or on one study.
    """

    name: str
    call: str
    call_term_id: str
    confidence: float
    n_cells: int
    supporters: pd.DataFrame
    opponents: pd.DataFrame
    donors: pd.DataFrame
    studies: pd.DataFrame
    labels: pd.DataFrame
    n_supporting: int
    n_opposing: int
    donors_effective: float
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class ExampleEvidence:
    """The answer for all that was asked.

    Parameters
    ----------
    targets
        One a cell or type.
    of_types
        Whether the targets are types.
    quality
        How well scores foretell retraining, as found when the model was trained: ``lds``, ``lds_gradient_dot``,
        ``slope``; ``cells`` kept and ``of`` how many.
    card, provenance
        The model's card, and plain values on how this was made.
    """

    targets: tuple[Teaching, ...]
    of_types: bool
    quality: dict[str, Any]
    card: dict[str, Any]
    provenance: dict[str, Any] = field(default_factory=dict)

    def frame(self) -> pd.DataFrame:
        """For one target what ``long_frame`` holds; for several one row each: ``type, cells, first_donor,
        first_donor_share, donors_effective, first_study, first_study_share, first_label, warning``."""
        if len(self.targets) == 1:
            return self.long_frame().drop(columns="of")
        return self.overview()

    def overview(self) -> pd.DataFrame:
        """One row a target."""
        rows = []
        for each in self.targets:
            row: dict[str, Any] = {"type": each.name, "cells": each.n_cells}
            for what, table in (("donor", each.donors), ("study", each.studies), ("label", each.labels)):
                row[f"first_{what}"] = str(table[what].iat[0]) if len(table) else ""
                row[f"first_{what}_share"] = (
                    float(table["share"].to_numpy(dtype=float)[0]) if len(table) else float("nan")
                )
            row |= {"donors_effective": each.donors_effective, "warning": " ".join(each.warnings)}
            rows.append(row)
        return pd.DataFrame(rows)

    def long_frame(self) -> pd.DataFrame:
        """One row a training cell, donor, study or label: ``of, what, side, rank, name, label, donor, study, score,
        share``."""
        parts = []
        for each in self.targets:
            for side, cells in (("for", each.supporters), ("against", each.opponents)):
                part = cells.rename(columns={"cell": "name"}).assign(of=each.name, what="cell", side=side)
                parts.append(part.assign(rank=range(1, len(cells) + 1)))
            for what, table in (("donor", each.donors), ("study", each.studies), ("label", each.labels)):
                part = pd.DataFrame({"name": table[what].astype(str), "score": table["net"], "share": table["share"]})
                parts.append(part.assign(of=each.name, what=what, side="net", rank=range(1, len(table) + 1)))
        columns = ["of", "what", "side", "rank", "name", "label", "donor", "study", "score", "share"]
        found = pd.concat([part for part in parts if len(part)], ignore_index=True) if parts else pd.DataFrame()
        return found.reindex(columns=columns).fillna({"label": "", "donor": "", "study": ""})

    def summary(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "targets": [
                {
                    "name": each.name,
                    "call": each.call,
                    "call_term_id": each.call_term_id,
                    "confidence": each.confidence,
                    "cells": each.n_cells,
                    "supporting": each.n_supporting,
                    "opposing": each.n_opposing,
                    "donors_effective": each.donors_effective,
                    "warnings": list(each.warnings),
                    "supporters": each.supporters.to_dict("records"),
                    "opponents": each.opponents.to_dict("records"),
                    "donors": each.donors.to_dict("records"),
                    "studies": each.studies.to_dict("records"),
                    "labels": each.labels.to_dict("records"),
                }
                for each in self.targets
            ],
            "quality": dict(self.quality),
            "provenance": dict(self.provenance),
        }
