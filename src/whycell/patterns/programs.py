"""Gene programs: the directions that a model decides along, named by their genes and by the nearest gene texts.

An eigenvector of an AGOP gives every gene a weight; the genes of one sign rise and fall together for the model, against
those of the other. A program's place among gene texts is the weighted sum of its genes' vectors, each side for itself,
less the mean of all genes (what all texts share), and near it lie genes that the program itself may not hold.
"""

# k - program, d - gene

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from whycell.errors import UsageError

__all__ = ["gene_programs", "near_texts", "program_name"]


def gene_programs(
    directions: np.ndarray,
    names: Sequence[str],
    *,
    spectrum: np.ndarray | None = None,
    top: int = 10,
    vectors: np.ndarray | None = None,
    near: int = 5,
) -> pd.DataFrame:
    """The strongest genes of every direction, one row a program and side.

    Parameters
    ----------
    directions
        (k, d) unit eigenvectors, strongest first.
    names
        (d,) names of the genes.
    spectrum
        All eigenvalues, largest first; gives each program's share of the trace.
    top
        Genes named at most on each side; none that carries less than a hundredth of the program's squared weight.
    vectors
        (d, n_dims) text vectors of the genes, rows of zeros where there is none; ``None`` leaves ``near`` empty.
    near
        Genes named by text.

    Returns
    -------
    DataFrame
        ``program`` (1, 2, ...), ``share`` (of the trace), ``side`` (``+`` or ``-``), ``name``, ``genes``, ``weights``
        (tuples, strongest first), ``weight`` (part of the program's squared weight on this side), ``near`` (tuple).
    """
    names = np.asarray([str(name) for name in names], dtype=object)
    if directions.shape[1] != len(names):
        msg = f"Got {len(names)} names for directions over {directions.shape[1]} genes; one each is needed."
        raise UsageError(msg)
    total = np.nan if spectrum is None else max(float(np.sum(spectrum)), 1e-300)
    rows = []
    for k, direction in enumerate(directions):
        share = np.nan if spectrum is None else float(spectrum[k]) / total
        for side, signed in (("+", direction), ("-", -direction)):
            weight = np.maximum(signed, 0)
            order = np.argsort(-weight, kind="stable")[:top]
            kept = order[weight[order] ** 2 >= 0.01 * float((direction**2).sum())]
            if not len(kept):
                continue
            texts = () if vectors is None else near_texts(weight, vectors, names=names, without=kept, near=near)
            rows.append(
                {
                    "program": k + 1,
                    "share": share,
                    "side": side,
                    "name": program_name(names[kept]),
                    "genes": tuple(names[kept]),
                    "weights": tuple(float(v) for v in direction[kept]),
                    "weight": float((weight**2).sum()),
                    "near": texts,
                }
            )
    columns = ["program", "share", "side", "name", "genes", "weights", "weight", "near"]
    return pd.DataFrame(rows, columns=columns)


def program_name(genes: Sequence[str] | np.ndarray) -> str:
    """The first three genes, and how many more: ``CD3D, CD3E, IL7R +4``."""
    shown = [str(gene) for gene in genes[:3]]
    rest = len(genes) - len(shown)
    return ", ".join(shown) + (f" +{rest}" if rest else "")


def near_texts(
    weight: np.ndarray, vectors: np.ndarray, *, names: np.ndarray, without: np.ndarray, near: int = 5
) -> tuple[str, ...]:
    """Names of the genes whose texts lie nearest to those of weighted genes.

    Parameters
    ----------
    weight
        (d,) not negative.
    vectors
        (d, n_dims), zeros for no text.
    names
        (d,)
    without
        Positions not to name: the program's own genes.
    near
        How many.
    """
    has = np.abs(vectors).sum(axis=1) > 0
    if not (weight * has).any():
        return ()
    centred = np.where(has[:, None], vectors - vectors[has].mean(axis=0), 0)
    place = (weight**2) @ centred
    lengths = np.linalg.norm(centred, axis=1)
    closeness = centred @ place / np.where(lengths > 0, lengths, 1)
    closeness[~has] = -np.inf
    closeness[without] = -np.inf
    order = np.argsort(-closeness, kind="stable")[:near]
    return tuple(str(names[i]) for i in order if np.isfinite(closeness[i]))
