"""What a whole-knockout screen reads, brought to the same lines: effects, expression, mutations, lineage, loci."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from whycell.compute import Talk
from whycell.data.depmap import LineTable, read_line_table, read_lineages, read_positions, shared_lines
from whycell.errors import DataError

__all__ = ["Lines", "own_features", "read_lines", "standardised"]

#: A mutation in fewer lines teaches nothing; a knockout measured in fewer lines is left out.
_FEWEST_MUTATED = 5
_FEWEST_MEASURED = 0.8
#: Genes as near as this share copy-number changes with the knocked-out one.
NEAR = 5_000_000


@dataclass(frozen=True)
class Lines:
    """One row a cell line in everything.

    Parameters
    ----------
    effects, knockouts
        (n, c) float32, NaN where not measured, and the gene of each column.
    features, genes, kind
        (n, d) float32: every column centred (within lineages where given) and scaled, every row to length one; the
        gene of each column; 0 for expression, 1 for mutation.
    lineage, lineages
        (n,) codes or None, and their names.
    dropped
        What was left out, by reason.
    """

    lines: np.ndarray
    effects: np.ndarray
    knockouts: np.ndarray
    features: np.ndarray
    genes: np.ndarray
    kind: np.ndarray
    lineage: np.ndarray | None
    lineages: np.ndarray
    dropped: dict[str, int]


def read_lines(
    dependency: Path, *, expression: Path | None, mutations: Sequence[Path], lineage: Path | None, talk: Talk
) -> Lines:
    """Read the tables and keep the lines that all of them hold.

    Parameters
    ----------
    dependency
        Effects of knockouts, lines x genes; below 0 is harm.
    expression, mutations
        Features, lines x genes; a gene is mutated in a line where any table of mutations is above 0.
    lineage
        Table of lines with a column ``OncotreeLineage`` or ``lineage``.

    Raises
    ------
    DataError
        No features, or too few lines in common.
    """
    if expression is None and not mutations:
        msg = "got effects of knockouts and no features of the lines; wanted expression, mutations or both."
        raise DataError(msg)
    tables = {"dependency": read_line_table(dependency)}
    if expression is not None:
        tables["expression"] = read_line_table(expression)
    tables |= {f"mutations {i + 1}": read_line_table(path) for i, path in enumerate(mutations)}
    lines = shared_lines(tables)
    names = None if lineage is None else read_lineages(lineage, lines)
    lineages, codes = (np.empty(0, str), None) if names is None else np.unique(names, return_inverse=True)
    dropped = {f"{name}: {why}": n for name, t in tables.items() for why, n in t.dropped.items() if n}
    blocks = []
    if expression is not None:
        blocks.append((tables["expression"].symbols, tables["expression"].rows(lines), 0))
    if mutations:
        symbols, hit = _mutated([tables[f"mutations {i + 1}"] for i in range(len(mutations))], lines)
        rare = hit.sum(axis=0) < _FEWEST_MUTATED
        dropped[f"genes mutated in fewer than {_FEWEST_MUTATED} lines"] = int(rare.sum())
        blocks.append((symbols[~rare], hit[:, ~rare], 1))
    features = np.hstack([values for _, values, _ in blocks])
    genes = np.concatenate([symbols for symbols, _, _ in blocks])
    kind = np.concatenate([np.full(len(symbols), code) for symbols, _, code in blocks])
    features, constant = standardised(features, codes)
    dropped["features that do not vary"] = int(constant.sum())
    effects, knockouts = tables["dependency"].rows(lines), tables["dependency"].symbols
    usable = (np.isfinite(effects).mean(axis=0) >= _FEWEST_MEASURED) & (np.nanstd(effects, axis=0) > 0)
    dropped["knockouts measured in too few lines, or that do not vary"] = int((~usable).sum())
    talk.note(f"{len(lines):,} lines, {usable.sum():,} knockouts, {(~constant).sum():,} features")
    return Lines(
        lines,
        effects[:, usable],
        knockouts[usable],
        features,
        genes[~constant],
        kind[~constant],
        codes,
        lineages,
        {why: n for why, n in dropped.items() if n},
    )


def _mutated(tables: list[LineTable], lines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Genes, and (n, k) 1 where any table says that the gene is mutated in the line."""
    symbols = np.unique(np.concatenate([t.symbols for t in tables]))
    hit = np.zeros((len(lines), len(symbols)), dtype=np.float32)
    for table in tables:
        at = np.searchsorted(symbols, table.symbols)
        hit[:, at] = np.maximum(hit[:, at], np.nan_to_num(table.rows(lines)) > 0)
    return symbols, hit


def standardised(values: np.ndarray, lineage: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Columns centred (within lineages) and scaled, rows to length one; and (d,) which columns do not vary, left out.

    Parameters
    ----------
    values
        (n, d) features; NaN, not measured, becomes the column's mean.
    lineage
        (n,) codes, or None.

    Features are not what is predicted: using all lines' means of them tells nothing of held-out effects.
    """
    values = np.where(np.isfinite(values), values, np.nanmean(np.where(np.isfinite(values), values, np.nan), axis=0))
    values = np.nan_to_num(values).astype(np.float32)
    raw = values.std(axis=0)
    values = values - values.mean(axis=0)
    if lineage is not None:
        member = np.zeros((int(lineage.max()) + 1, len(values)), dtype=np.float32)
        member[lineage, np.arange(len(values))] = 1
        values = values - ((member @ values) / np.maximum(member.sum(axis=1, keepdims=True), 1))[lineage]
    spread = values.std(axis=0)
    constant = spread <= 1e-6 * np.maximum(raw, 1e-30)
    values = values[:, ~constant] / spread[~constant]
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)), constant


def own_features(lines: Lines, chosen: np.ndarray, *, positions: Path | None) -> tuple[list[np.ndarray], str]:
    """Positions of the features at the own locus of each chosen knockout, and how that was told.

    Parameters
    ----------
    lines
        What was read.
    chosen
        (k,) positions of knockouts.
    positions
        Table of ``gene, chromosome, start``: genes within five million bases count. Without it only the gene itself.
    """
    own = [np.flatnonzero(lines.genes == gene) for gene in lines.knockouts[chosen]]
    if positions is None:
        return own, "by name only: no positions of genes were given"
    known = read_positions(positions)
    chromosome = np.array([known.get(g, ("", np.nan))[0] for g in lines.genes])
    start = np.array([known.get(g, ("", np.nan))[1] for g in lines.genes])
    placed = 0
    for k, gene in enumerate(lines.knockouts[chosen]):
        if gene in known:
            placed += 1
            where, at = known[gene]
            own[k] = np.union1d(own[k], np.flatnonzero((chromosome == where) & (np.abs(start - at) <= NEAR)))
    return own, f"by position, within 5 Mb, for {placed} of {len(chosen)} knockouts; by name for the others"
