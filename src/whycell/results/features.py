"""Which features: the average gradient outer product of a predictor, its importances with errors, and its programs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from whycell.errors import UsageError

__all__ = ["Agop", "Ansatz", "Importance", "TypeFeatures"]


@dataclass(frozen=True)
class Agop:
    """Average gradient outer product: mean over points of Σ_c ∇f_c ∇f_c', in squared outputs per squared input.

    Parameters
    ----------
    matrix
        (d, d), or (d,) where only the diagonal was asked for.
    n
        Points that the mean is over: examples, times positions where a layer slides over its input.
    per_target
        (c, d) the diagonal of each output's own, or ``None``.
    mean
        (c, d) mean gradient of each output: which way it goes, where the diagonal says how much.
    names
        (d,) names of the inputs.
    target_names
        (c,) names of the outputs.
    shape
        Shape of one input: ``(d,)``, or for patches ``(channels, height, width)`` and the like.
    centred
        Whether the mean gradients were taken off.
    how
        How the gradients were got, in words.
    """

    matrix: np.ndarray
    n: int
    per_target: np.ndarray | None
    mean: np.ndarray
    names: np.ndarray
    target_names: np.ndarray
    shape: tuple[int, ...]
    centred: bool = False
    how: str = ""

    @property
    def is_diagonal(self) -> bool:
        """Whether the diagonal is all there is."""
        return self.matrix.ndim == 1

    @property
    def diagonal(self) -> np.ndarray:
        """(d,) mean squared slope along each input, summed over outputs."""
        return self.matrix if self.is_diagonal else np.diagonal(self.matrix).copy()

    def scores(self) -> np.ndarray:
        """(d,) share of each input in the trace; sums to one, or all nought where nothing matters."""
        diagonal = np.maximum(self.diagonal, 0)
        total = diagonal.sum()
        return np.asarray(diagonal / total) if total > 0 else np.zeros_like(diagonal)

    def spectrum(self) -> np.ndarray:
        """(d,) eigenvalues, largest first."""
        return np.asarray(np.maximum(np.linalg.eigvalsh(self._whole())[::-1], 0))

    def directions(self, k: int = 5) -> np.ndarray:
        """(k, d) unit eigenvectors of the largest eigenvalues, largest first; the entry of most weight is positive.

        Parameters
        ----------
        k
            How many.
        """
        _, vectors = np.linalg.eigh(self._whole())
        rows = vectors[:, ::-1][:, :k].T
        strongest = np.abs(rows).argmax(axis=1)
        signs = np.where(rows[np.arange(len(rows)), strongest] < 0, -1.0, 1.0)
        return np.ascontiguousarray(rows * signs[:, None])

    def participation(self) -> float:
        """Number of directions that share the trace as if evenly: (Σλ)² / Σλ², 1 to d; inputs, of a diagonal."""
        squares = float((self.matrix**2).sum())  # of a matrix the squared Frobenius norm, which is Σλ²
        return float(self.diagonal.sum()) ** 2 / squares if squares > 0 else 0.0

    def frame(self) -> pd.DataFrame:
        """One row an input, strongest first: ``feature, score, diagonal, slope`` (mean gradient, for one output)."""
        table = pd.DataFrame({"feature": self.names, "score": self.scores(), "diagonal": self.diagonal})
        if len(self.mean) == 1:
            table["slope"] = self.mean[0]
        return table.sort_values("score", ascending=False, kind="stable").reset_index(drop=True)

    def _whole(self) -> np.ndarray:
        if self.is_diagonal:
            msg = "Only the diagonal of this AGOP was kept; ask for it without diagonal=True to get directions."
            raise UsageError(msg)
        return self.matrix


@dataclass(frozen=True)
class Importance:
    """Importances with their errors, what chance gives, and directions with their stability.

    Parameters
    ----------
    table
        One row a feature, strongest first: ``feature, score`` (share of the diagonal), ``standard_error, lower, upper``
        (95 %, of the score), ``p_value`` (family-wise: share of permutations whose largest score is as large), ``null``
        (mean score under permutation). Columns of what was not asked for are NaN.
    directions
        (k, d) top eigenvectors, or ``None`` where only the diagonal is at hand.
    stability
        One row a number of directions 1..k: ``directions, angle`` (median over resamples of the largest principal angle
        between the space of the first so many and that of a resample, in radians), ``angle_90``, ``chance`` (the median
        for random spaces).
    null_maxima
        (draws,) largest score of each permutation; empty where there was none.
    notes
        How each part was got, in sentences: what a reader must know to trust it.
    provenance
        Plain values: groups, draws, seed.
    """

    table: pd.DataFrame
    directions: np.ndarray | None
    stability: pd.DataFrame
    null_maxima: np.ndarray
    notes: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Ansatz:
    """Whether the weights of a network's layers look like the AGOP of what they read.

    Parameters
    ----------
    table
        One row a layer, state (``trained``, ``initial``, ``random labels``) and power s of the AGOP (1 and 1/2):
        ``layer, state, power, cosine, pearson, diagonal_rank`` (Spearman, of the diagonals), ``angle_mean, angle_max``
        (principal angles between the spaces of the ``top`` first eigenvectors, in radians), ``norm`` (of the weights,
        over that of a layer with fresh weights), ``n_inputs``, ``trivial``: the outputs are linear in this layer, so
        that the two agree whatever was learned.
    exponents
        One row a layer and state: ``layer, state, exponent, cosine``, the power from .05 to 2 at which the cosine is
        largest.
    notes
        What was compared, and what was not, in sentences.
    """

    table: pd.DataFrame
    exponents: pd.DataFrame
    notes: tuple[str, ...] = ()

    def gain(self, *, power: float = 0.5, measure: str = "pearson") -> pd.DataFrame:
        """One row a layer: the measure when trained, at the start and under random labels, side by side.

        Parameters
        ----------
        power
            1 or 1/2.
        measure
            A column of ``table``.
        """
        kept = self.table[(self.table["power"] == power) & ~self.table["trivial"]]
        wide = kept.pivot_table(index="layer", columns="state", values=measure, sort=False)
        return wide.reindex(columns=[s for s in ("trained", "initial", "random labels") if s in wide])


@dataclass(frozen=True)
class TypeFeatures:
    """Along which genes a typer decides each type: a gene x gene matrix a type, kept in its few directions.

    ``M_t = S D A_t D' S`` with D the model's directions, S the spread of every gene among the cells, and A_t the mean
    outer product of the slopes of the log-odds of type t over its cells: squared log-odds per standard deviation of
    each of two genes.

    Parameters
    ----------
    types
        One row a type: ``type, term_id, cells, donors, total`` (trace of M_t), ``participation`` (directions that share
        it as if evenly), ``kept`` (share of the trace on the ``top`` genes).
    genes
        One row a gene of the model: ``id, symbol, measured, deviation`` (S).
    directions
        (g, d) float32 D, zeros where not measured.
    inner
        (n_types, d, d) A_t.
    slopes
        (n_types, d) mean slope by coordinate: which way the genes pull.
    standard_error
        (n_types, g) of the scores, by jackknife over donors with the model held fixed; NaN below two donors.
    stability
        One row a type and number of directions: ``type, directions, angle, angle_90, chance``, as ``Importance``'s.
    programs
        One row a type, program and side: ``type`` and the columns of ``patterns.gene_programs``.
    top
        Genes kept of every type where matrices are written out.
    card, provenance
        The model's card, and plain values on how this was made.
    """

    types: pd.DataFrame
    genes: pd.DataFrame
    directions: np.ndarray
    inner: np.ndarray
    slopes: np.ndarray
    standard_error: np.ndarray
    stability: pd.DataFrame
    programs: pd.DataFrame
    top: int
    card: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    def diagonal(self) -> np.ndarray:
        """(n_types, g) diagonals of the matrices."""
        rows = [self._diagonal(t) for t in range(len(self.inner))]
        return np.stack(rows) if rows else np.zeros((0, len(self.genes)))

    def scores(self) -> np.ndarray:
        """(n_types, g) share of each gene in the trace."""
        diagonal = np.maximum(self.diagonal(), 0)
        return np.asarray(diagonal / np.maximum(diagonal.sum(axis=1, keepdims=True), 1e-300))

    def pulls(self) -> np.ndarray:
        """(n_types, g) mean change of the type's log-odds by one standard deviation more of each gene."""
        return np.asarray((self._spread() * self.directions.astype(np.float64) @ self.slopes.T).T)

    def matrix(self, t: int, genes: np.ndarray) -> np.ndarray:
        """(m, m) part of the matrix of type ``t`` on some genes (positions), exact."""
        wide = (self._spread() * self.directions.astype(np.float64))[genes]
        return np.asarray(wide @ self.inner[t] @ wide.T)

    def top_genes(self, t: int) -> np.ndarray:
        """Positions of the ``top`` genes of type ``t`` by score, strongest first."""
        score = self._diagonal(t)
        order = np.argsort(-score, kind="stable")[: self.top]
        return np.asarray(order[score[order] > 0])

    def frame(self, *, top: int | None = None) -> pd.DataFrame:
        """One row a type and gene: ``type, term_id, rank, gene, gene_id, score, standard_error, pull``.

        Parameters
        ----------
        top
            Genes of every type; those kept where ``None``.
        """
        score, pull = self.scores(), self.pulls()
        rows = []
        for t, (name, term_id) in enumerate(zip(self.types["type"], self.types["term_id"], strict=True)):
            for rank, g in enumerate(self.top_genes(t)[:top], start=1):
                gene = (self.genes["symbol"].iat[g], self.genes["id"].iat[g])
                numbers = (float(score[t, g]), float(self.standard_error[t, g]), float(pull[t, g]))
                rows.append((name, term_id, rank, *gene, *numbers))
        columns = ["type", "term_id", "rank", "gene", "gene_id", "score", "standard_error", "pull"]
        return pd.DataFrame(rows, columns=columns)

    def _diagonal(self, t: int) -> np.ndarray:
        wide = self._spread() * self.directions.astype(np.float64)
        return np.asarray(((wide @ self.inner[t]) * wide).sum(axis=1))

    def _spread(self) -> np.ndarray:
        return self.genes["deviation"].to_numpy(dtype=np.float64)[:, None]
