"""The same cells as other laboratories would see them: gaps, and genes measured a little better or worse.

A head that has met small panels and shifted genes in training is not surprised by them later.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from whycell.encode.cells import Encoder, Gaps
from whycell.models.laboratories import Laboratories

__all__ = ["chimeras", "draw_gaps", "gene_modules", "views"]

_PATTERNS = 48
_VIEW_GAPS = ((0.0, 0.0), (0.0, 0.5), (0.0, 0.5), (0.5, 0.97))
_TRAVELLED = 2  # the view in which cells are measured by another laboratory


def draw_gaps(
    measured: np.ndarray, *, share_hidden: tuple[float, float], shift: float, n_patterns: int, rng: np.random.Generator
) -> Gaps:
    """Random patterns of unmeasured genes, ``n_patterns`` for each study.

    Parameters
    ----------
    measured
        (n_studies, n_genes) bool; what a study did not measure is hidden in all its patterns.
    share_hidden
        The share of genes hidden is drawn from this range, pattern by pattern.
    shift
        Standard deviation of the log of the factor on each gene; 0 for none.
    n_patterns
        Patterns a study; study ``s`` owns rows ``s * n_patterns`` and on.
    rng
        Source of randomness.
    """
    n_studies, n_genes = measured.shape
    hidden = rng.uniform(*share_hidden, size=(n_studies * n_patterns, 1))
    seen = (rng.random((n_studies * n_patterns, n_genes)) >= hidden) & np.repeat(measured, n_patterns, axis=0)
    scale = np.exp(shift * rng.standard_normal(seen.shape)).astype(np.float32) if shift > 0 else None
    return Gaps(seen, scale)


def views(
    encoder: Encoder,
    values: sp.csr_matrix,
    study: np.ndarray,
    measured: np.ndarray,
    *,
    shift: float,
    laboratories: Laboratories | None,
    rng: np.random.Generator,
) -> np.ndarray:
    """Coordinates of every cell as measured, and through three kinds of gaps, once as another study would measure it.

    Returns
    -------
    (4, n_cells, n_directions) float32; the first view is the cells as they are.
    """
    columns = np.arange(values.shape[1], dtype=np.int32)
    out = np.empty((len(_VIEW_GAPS), values.shape[0], encoder.directions.shape[1]), dtype=np.float32)
    for v, share_hidden in enumerate(_VIEW_GAPS):
        as_is = share_hidden == (0.0, 0.0)
        n = 1 if as_is else _PATTERNS
        gaps = draw_gaps(measured, share_hidden=share_hidden, shift=0.0 if as_is else shift, n_patterns=n, rng=rng)
        pattern = study * n + rng.integers(n, size=len(study))
        if v == _TRAVELLED and laboratories is not None:
            gaps, pattern = laboratories.travel(gaps, study, n_patterns=n, rng=rng)
        out[v], _ = encoder.encode(values, columns, gaps=gaps, pattern=pattern)
    return out


def gene_modules(encoder: Encoder, *, n_modules: int = 40, rng: np.random.Generator) -> np.ndarray:
    """Genes grouped by their direction of variation (k-means on unit loadings): (n_genes,) int."""
    from sklearn.cluster import KMeans

    loadings = encoder.directions / (np.linalg.norm(encoder.directions, axis=1, keepdims=True) + 1e-9)
    n_modules = min(n_modules, len(np.unique(loadings, axis=0)))
    return np.asarray(KMeans(n_modules, n_init=1, random_state=int(rng.integers(2**31))).fit_predict(loadings))


def chimeras(
    encoder: Encoder,
    values: sp.csr_matrix,
    study: np.ndarray,
    measured: np.ndarray,
    kind: np.ndarray,
    *,
    n: int,
    modules: np.ndarray,
    share_hidden: tuple[float, float],
    rng: np.random.Generator,
) -> np.ndarray:
    """Cells that never were: some genes from one cell, the others from a cell of another kind.

    They have every programme of known cells and none of their order, and so stand in for what was never seen.

    Parameters
    ----------
    kind
        (n_cells,) int; partners are drawn from two kinds of one study, kinds equally likely.
    n
        How many.
    modules
        (n_genes,) int; the genes of one module are exchanged together.
    share_hidden
        As in ``draw_gaps``.

    Returns
    -------
    (n, n_directions) float32
    """
    n_genes = values.shape[1]
    columns = np.arange(n_genes, dtype=np.int32)
    first, second = _partners(study, kind, n, rng)
    taken = rng.uniform(0.2, 0.8, size=(_PATTERNS, 1))
    from_first = (rng.random((_PATTERNS, modules.max() + 1)) < taken)[:, modules]
    gaps = draw_gaps(measured, share_hidden=share_hidden, shift=0.0, n_patterns=_PATTERNS, rng=rng)
    both = np.tile(from_first, (len(measured), 1))
    pattern = study[first] * _PATTERNS + rng.integers(_PATTERNS, size=n)
    parts = [
        encoder.encode(values, columns, gaps=Gaps(gaps.seen & which), pattern=pattern, counted=gaps.seen, rows=rows)[0]
        for rows, which in ((first, both), (second, ~both))
    ]
    return parts[0] + parts[1]


def _partners(study: np.ndarray, kind: np.ndarray, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    present = np.unique(study)
    owner = rng.choice(present, size=n)
    for s in present:
        mine = np.flatnonzero(owner == s)
        groups = [np.flatnonzero((study == s) & (kind == k)) for k in np.unique(kind[study == s])]
        a = rng.integers(len(groups), size=len(mine))
        b = (a + rng.integers(1, max(len(groups), 2), size=len(mine))) % len(groups)
        sizes = np.array([len(group) for group in groups])
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        flat = np.concatenate(groups)
        first[mine] = flat[starts[a] + (rng.random(len(mine)) * sizes[a]).astype(np.int64)]
        second[mine] = flat[starts[b] + (rng.random(len(mine)) * sizes[b]).astype(np.int64)]
    return first, second
