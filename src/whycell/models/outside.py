"""Counts on genes that the model does not read: little in cells of the tissue it knows, much in cells of another.

The model reads the genes that vary among its training cells. A liver cell spends its counts on genes that those cells
hardly use; seen through the model's genes alone it would only look shallow. So the share of a cell's counts that falls
on the model's genes is compared with what is usual for the genes that the file measures:

    s = log( inside / (inside + outside) ) - log( usual inside / (usual inside + usual outside) )
    z = (s - centre) / width
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from whycell.encode.cells import align_genes, gene_shares

__all__ = ["FOREIGN", "OtherGenes"]

#: Standard deviations below the usual share at which a cell is foreign, and no call is made.
FOREIGN = 6.0
_NARROWEST = 0.1
_NEARLY_ALL = 0.97


@dataclass(frozen=True)
class OtherGenes:
    """The genes measured in training that the model does not read.

    Parameters
    ----------
    genes
        (n_other,) ids.
    share
        (n_other,) usual share of a cell's counts, where those of the model's genes and these sum to one.
    model_share
        (n_genes,) the same of the model's genes.
    centre, width
        Mean and standard deviation of s among training cells.
    """

    genes: np.ndarray
    share: np.ndarray
    model_share: np.ndarray
    centre: float
    width: float

    @classmethod
    def learn(
        cls, values: sp.csr_matrix, genes: np.ndarray, kept: np.ndarray, study: np.ndarray, measured: np.ndarray
    ) -> OtherGenes:
        """Read off the training cells, all genes.

        Parameters
        ----------
        values, genes
            (n_cells, n_all) linear values, and the ids.
        kept
            Positions of the model's genes.
        study, measured
            (n_cells,) int, and (n_studies, n_all) bool.
        """
        share = gene_shares(values, study, measured) if len(kept) < values.shape[1] else np.ones(values.shape[1])
        inside = np.zeros(values.shape[1], dtype=bool)
        inside[kept] = True
        usual = (measured[:, inside] @ share[inside]) / np.maximum(measured @ share, 1e-12)
        totals = np.asarray(values.sum(axis=1), dtype=np.float64).ravel()
        own = np.asarray(values @ inside.astype(np.float32), dtype=np.float64).ravel()
        tells = (usual[study] < _NEARLY_ALL) & (totals > 0) & (own > 0)
        s = np.log(own[tells] / totals[tells]) - np.log(usual[study][tells])
        return cls(
            genes=np.asarray(genes, dtype=object)[~inside],
            share=share[~inside].astype(np.float32),
            model_share=share[inside].astype(np.float32),
            centre=float(s.mean()) if len(s) else 0.0,
            width=float(max(s.std(), _NARROWEST)) if len(s) else 1.0,
        )

    def align(self, names: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """``columns`` with -2 - k where a column is not the model's gene but the k-th of these."""
        at = align_genes(names, self.genes)
        return np.where((columns < 0) & (at >= 0), -2 - at, columns).astype(np.int32)

    def far(self, values: sp.csr_matrix, columns: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """Standard deviations by which a cell's share on the model's genes lies below the usual.

        Parameters
        ----------
        values
            (n_cells, n_columns) linear values.
        columns
            (n_columns,) as ``align`` gives them.
        inside
            (n_cells,) sums over the model's genes.

        Returns
        -------
        (n_cells,) 0 where the file measures hardly more than the model reads
        """
        other = columns <= -2
        usual_outside = float(self.share[np.unique(-2 - columns[other])].sum())
        usual_inside = float(self.model_share[np.unique(columns[columns >= 0])].sum())
        usual = usual_inside / max(usual_inside + usual_outside, 1e-12)
        if usual >= _NEARLY_ALL:
            return np.zeros(len(inside))
        outside = np.asarray(values @ other.astype(np.float32), dtype=np.float64)
        total = inside + outside
        share = np.divide(inside, total, out=np.ones_like(total), where=total > 0)
        s = np.log(np.maximum(share, 1e-4)) - np.log(usual)
        return np.asarray((self.centre - s) / self.width)
