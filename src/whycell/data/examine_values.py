"""Which matrix of a file to read, and what its numbers are: the part of the doctor that looks at values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from whycell.data.blocks import Cells, MatrixInfo
from whycell.data.values import ValueKind, judge_values
from whycell.results import Finding

__all__ = ["Look", "choose_matrix", "examine_values", "look", "matrix_rank"]

_FULL = 5_000_000  # stored values up to which the whole matrix is read (0.2 s) instead of a sample
_SAMPLE = 2000
_GLANCE = 400  # cells of every matrix on which the choice is made
_KIND_RANK = {"counts": 0, "log1p_cp10k": 1, "log1p": 1, "cpm": 1, "log2": 2, "double_log": 3}
_PARTIAL = ("spliced", "unspliced", "ambiguous", "mature", "nascent")  # counts of part of the molecules


@dataclass(frozen=True)
class Look:
    """What was seen of one matrix.

    Parameters
    ----------
    where
        Its key.
    values
        The rows looked at.
    rows
        (n_seen,) their positions in the file.
    whole
        Whether these are all cells.
    kind
        The judgement.
    """

    where: str
    values: sp.csr_matrix
    rows: NDArray[np.int64]
    whole: bool
    kind: ValueKind

    @property
    def seen(self) -> str:
        """``"all 700 cells"`` or ``"the 2,000 cells looked at"``."""
        n = self.values.shape[0]
        return f"all {n:,} cells" if self.whole else f"the {n:,} cells looked at"

    @property
    def out_of(self) -> str:
        """The same after "5 of": ``"700 cells"``."""
        return self.seen.removeprefix("all ")

    def empty_rows(self) -> NDArray[np.int64]:
        """Positions of the cells without any count."""
        empty: NDArray[np.int64] = self.rows[np.diff(self.values.indptr) == 0]
        return empty

    def zero_genes(self) -> NDArray[np.int64]:
        """Positions of the genes that are zero in every cell seen."""
        used = np.bincount(self.values.indices, minlength=self.values.shape[1])
        return np.flatnonzero(used == 0)


def look(cells: Cells, where: str, *, glance: bool = False) -> Look:
    """Read a small matrix whole, or a sample of a large one, and judge it.

    Parameters
    ----------
    cells
        The open file.
    where
        Key of the matrix.
    glance
        Read few cells whatever the size: enough to choose between matrices.
    """
    info = cells.matrices[where]
    stored = info.nnz if info.nnz is not None else info.shape[0] * info.shape[1]
    n = _GLANCE if glance else cells.n_cells if stored <= _FULL else _SAMPLE
    rows = cells.sample_rows(n)
    values = cells.read_rows(where, rows)
    return Look(where, values, rows, rows.size == cells.n_cells, judge_values(values))


def choose_matrix(cells: Cells) -> tuple[Look, dict[str, ValueKind]]:
    """The best matrix to read, looked at closely, and the judgement of every other one.

    Raw counts before normalised ones before logarithms, whatever their place: undoing a transform loses a little. A
    matrix with less than half the genes of another usable one stands back (X cut to variable genes, raw whole). Where
    none is usable, ``X``. The file must have a matrix.
    """
    glances = {where: look(cells, where, glance=True) for where in cells.matrices}
    kinds = {where: glance.kind for where, glance in glances.items()}
    usable = [where for where, kind in kinds.items() if kind.usable]
    widest = max((cells.matrices[where].shape[1] for where in usable), default=0)
    for where in sorted(usable, key=lambda where: matrix_rank(cells.matrices[where], kinds[where], widest=widest)):
        close = _closer(cells, glances[where])
        kinds[where] = close.kind
        if close.kind.usable:
            return close, kinds
    return _closer(cells, glances["X" if "X" in glances else next(iter(glances))]), kinds


def _closer(cells: Cells, glance: Look) -> Look:
    """A second look with more cells; not at a large matrix by columns, where any cell costs reading all of it."""
    info = cells.matrices[glance.where]
    by_columns = info.encoding == "csc" and (info.nnz or 0) > _FULL
    return glance if glance.whole or by_columns else look(cells, glance.where)


def examine_values(chosen: Look, kinds: dict[str, ValueKind]) -> list[Finding]:
    """Findings on the chosen matrix, and on ``X`` where that is another."""
    if not chosen.kind.usable:
        return [_refusal(chosen, kinds)]
    findings = [_welcome(chosen)]
    if chosen.kind.kind == "counts" and chosen.values.data.max() == 1:
        message = (
            f"No value of {chosen.where} is larger than 1, in {chosen.seen}: this looks like presence, not counts."
        )
        cure = "Give the counts from before they were made binary; calls on these are less sure than they say."
        findings.append(Finding("binary_values", "warning", message, cure))
    first = kinds.get("X")
    if chosen.where != "X" and first is not None:
        code = first.kind if first.kind in _OTHER else "other_matrix_used"
        message = f"X holds {first.name}; {chosen.where} holds {chosen.kind.name} and is used instead."
        findings.append(Finding(code, "info", message, "Nothing to do.", mended=True))
    return findings


#: kind -> (code, level, what is done about it)
_WELCOME = {
    "counts": ("raw_counts", "info", "", False),
    "log1p_cp10k": ("log1p", "info", "Undone while reading; nothing to do.", True),
    "log1p": ("log1p", "info", "Undone while reading; nothing to do.", True),
    "log2": ("log2", "info", "Undone while reading; nothing to do.", True),
    "cpm": ("cpm", "info", "Not logged, only normalised, so read as it is; nothing to do.", True),
    "double_log": (
        "double_log",
        "warning",
        "Both logarithms are undone while reading. Other tools will not: look for a second call of log1p.",
        True,
    ),
}

_BACK = "adata.X = adata.layers['counts']  (or: adata = adata.raw.to_adata())"

#: kind -> (code, cure)
_OTHER = {
    "scaled": (
        "scaled",
        "Scaling cannot be undone: the mean of every gene is gone. Give the values from before it, best raw counts: "
        f"{_BACK}.",
    ),
    "negative": (
        "negative_values",
        "Expression is never negative; a batch correction or a subtraction makes it so. Give the values from before "
        f"that step: {_BACK}.",
    ),
    "not_finite": (
        "not_finite",
        "Give the values from before the step that made them (a division by an empty cell, a join of files with "
        "different genes); whycell does not guess what they were. If a missing value means zero: "
        "adata.X = numpy.nan_to_num(adata.X, posinf=0).",
    ),
    "empty": ("no_values", f"Give a matrix with counts: {_BACK}."),
    "unknown": ("unknown_values", f"Give raw counts, or log1p of normalised counts: {_BACK}."),
}


def _welcome(chosen: Look) -> Finding:
    kind = chosen.kind
    if kind.guess:
        message = (
            f"{chosen.where} holds neither whole numbers nor a logarithm; these look like corrected counts: "
            f"{kind.reason}."
        )
        cure = "Read as they are, which is right for corrected counts. If they are something else, give raw counts."
        return Finding("corrected_counts", "warning", message, cure)
    code, level, cure, mended = _WELCOME[kind.kind]
    message = f"{chosen.where} holds {kind.name}: {kind.reason}."
    return Finding(code, level, message, cure, mended)


def _refusal(chosen: Look, kinds: dict[str, ValueKind]) -> Finding:
    code, cure = _OTHER[chosen.kind.kind]
    where = ""
    if chosen.kind.kind in ("negative", "not_finite"):
        where = f" {_examples(chosen)}"
    others = [key for key in kinds if key != chosen.where]
    rest = f" Neither {_or(others)} can be used instead." if len(others) > 1 else ""
    rest = rest or (f" {others[0]} cannot be used instead: it holds {kinds[others[0]].name}." if others else "")
    message = f"{chosen.where} holds {chosen.kind.name}: {chosen.kind.reason}.{where}{rest}"
    return Finding(code, "error", message, cure)


def _examples(chosen: Look) -> str:
    data = chosen.values.data
    bad = ~np.isfinite(data) | (data < 0)
    rows = chosen.rows[np.unique(np.searchsorted(chosen.values.indptr, np.flatnonzero(bad), side="right") - 1)]
    shown = ", ".join(str(row) for row in rows[:3]) + (", …" if rows.size > 3 else "")
    return f"They are in {rows.size:,} of {chosen.out_of}, row(s) {shown} counting from 0."


def _or(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} nor {names[-1]}"


def matrix_rank(info: MatrixInfo, kind: ValueKind, *, widest: int) -> tuple[Any, ...]:
    """What to sort usable matrices by, the best first.

    Parameters
    ----------
    info
        The matrix.
    kind
        What it holds.
    widest
        Genes of the widest usable matrix of the file.
    """
    name = info.where.rsplit("/", maxsplit=1)[-1].lower()
    place = {"X": 0, "layers/counts": 1, "raw/X": 2}.get(info.where, 3)
    narrow = info.shape[1] * 2 < widest
    return (narrow, name in _PARTIAL, _KIND_RANK[kind.kind], -info.shape[1], place, info.where)
