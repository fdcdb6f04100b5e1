"""An explanation in words: one sentence or two a cell, and the genes that a person may check."""

from __future__ import annotations

import numpy as np
import pandas as pd

from whycell.results import TopGenes

__all__ = ["evidence_of", "rationales"]

_NAMED_FOR, _NAMED_AGAINST = 5, 3
_LITTLE = 0.02  # log-odds under which a gene is not worth a word


def rationales(
    cells: pd.DataFrame, speaking_for: TopGenes, speaking_against: TopGenes, symbols: np.ndarray
) -> list[str]:
    """Why, in plain text.

    Parameters
    ----------
    cells
        Columns of ``results.Explanation.cells``.
    speaking_for, speaking_against
        The strongest genes of each cell.
    symbols
        (g,) names of the model's genes.

    Returns
    -------
    One text a cell.
    """
    found = []
    columns = ("explained", "against", "log_odds", "reference_log_odds", "reference", "note")
    for i, (explained, against, here, there, reference, note) in enumerate(
        zip(*(cells[name] for name in columns), strict=True)
    ):
        text = f"{explained} rather than {against}: log-odds {here:+.1f}, where {reference} has {there:+.1f}."
        for word, top, most in (("For", speaking_for, _NAMED_FOR), ("Against", speaking_against, _NAMED_AGAINST)):
            named = _named(top, i, symbols, most)
            text += f" {word}: {named}." if named else ""
        found.append(f"{text} {note[:1].upper()}{note[1:]}." if note else text)
    return found


def evidence_of(speaking_for: TopGenes, symbols: np.ndarray) -> list[str]:
    """Genes that speak for the type by being expressed, comma-separated; absent genes are no evidence one can see.

    Parameters
    ----------
    speaking_for
        The strongest genes of each cell.
    symbols
        (g,) names of the model's genes.
    """
    shown = (speaking_for.gene >= 0) & (speaking_for.expression > speaking_for.reference)
    return [", ".join(symbols[genes[keep]]) for genes, keep in zip(speaking_for.gene, shown, strict=True)]


def _named(top: TopGenes, row: int, symbols: np.ndarray, most: int) -> str:
    words = []
    for t in range(min(most, top.gene.shape[1])):
        gene, value = top.gene[row, t], top.contribution[row, t]
        if gene < 0 or abs(value) < _LITTLE:
            break
        expressed, usual = top.expression[row, t], top.reference[row, t]
        how = "" if expressed > usual else "no " if expressed == 0 else "little "
        words.append(f"{how}{symbols[gene]} {value:+.2f}")
    return ", ".join(words)
