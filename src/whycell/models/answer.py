"""From coordinates to answers: everything a saved model does, in numpy, block by block.

The answer of a cell depends on that cell alone, down to the last bit: blocks are padded to one fixed size before any
matrix product, so that neither the size of a chunk nor the number of threads can change how sums are rounded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp

from whycell._keys import UNKNOWN
from whycell.encode.cells import align_genes
from whycell.models.calibrate import pick_nodes
from whycell.models.forward import ensemble_logits
from whycell.models.leaves import LeafSpace
from whycell.models.lessons import Cells, Learned
from whycell.models.novelty import NoveltyModel
from whycell.models.outside import FOREIGN, OtherGenes
from whycell.models.tested import Calibration

__all__ = ["BLOCK", "Answer", "Answerer", "Norms"]

#: Cells in every matrix product.
BLOCK = 1024
_NOVEL = 0.5
_LOW_OVERLAP = 0.3


@dataclass(frozen=True)
class Norms:
    """What is usual among the training cells, per study where panels differ.

    Parameters
    ----------
    low_sum, low_genes
        1st percentile of the sum over, and of the number detected among, the model's genes (all studies alike, each
        brought to the whole panel by its share).
    high_sum
        (n_leaves,) 90th percentile of the sum among the cells of each leaf; NaN where there are none.
    counts
        Whether the training values were counts, so that sums mean depth.
    """

    low_sum: float
    low_genes: float
    high_sum: np.ndarray
    counts: bool

    @classmethod
    def of(cls, learned: Learned, cells: Cells, space: LeafSpace) -> Norms:
        """Read off the training cells."""
        share = cells.measured @ learned.encoder.share
        sums = np.asarray(cells.values.sum(axis=1), dtype=np.float64).ravel() / share[cells.study]
        detected = np.diff(cells.values.indptr) / cells.measured.mean(axis=1)[cells.study]
        high = np.full(space.n_leaves, np.nan)
        for leaf in range(space.n_leaves):
            mine = cells.meanings[cells.kind][:, leaf]
            if mine.any():
                high[leaf] = np.quantile(sums[mine], 0.9)
        return cls(float(np.quantile(sums, 0.01)), float(np.quantile(detected, 0.01)), high, learned.encoder.target > 0)


@dataclass(frozen=True)
class Answer:
    """Answers for some cells.

    Parameters
    ----------
    space
        The leaves and nodes.
    probabilities
        (n_cells, n_leaves) calibrated.
    node, confidence
        (n_cells,) row in ``space.nodes`` of the call, -1 for unknown, and its probability.
    novelty
        (n_cells,) 0..1, above 0.5 is flagged.
    flag
        (n_cells,) words joined by ";".
    coordinates
        (n_cells, n_directions) float32.
    """

    space: LeafSpace
    probabilities: np.ndarray
    node: np.ndarray
    confidence: np.ndarray
    novelty: np.ndarray
    flag: np.ndarray
    coordinates: np.ndarray

    def frame(self) -> pd.DataFrame:
        """One row a cell; the columns of ``results.Annotation.calls``."""
        space = self.space
        order = np.argsort(-self.probabilities, axis=1, kind="stable")
        rows = np.arange(len(order))
        own = np.array([term if not term.startswith("label:") else "" for term in space.nodes], dtype=object)
        made = self.node >= 0
        at = np.maximum(self.node, 0)
        return pd.DataFrame(
            {
                "call": np.where(made, space.node_names[at], UNKNOWN),
                "call_term_id": np.where(made, own[at], ""),
                "confidence": self.confidence.astype(np.float32),
                "leaf": space.leaf_names[order[:, 0]],
                "leaf_term_id": space.term_ids[order[:, 0]],
                "leaf_confidence": self.probabilities[rows, order[:, 0]].astype(np.float32),
                "runner_up": space.leaf_names[order[:, min(1, order.shape[1] - 1)]],
                "novelty": self.novelty.astype(np.float32),
                "flag": self.flag,
            }
        )


@dataclass(frozen=True)
class Answerer:
    """A trained, calibrated model, without the means to train.

    Parameters
    ----------
    genes
        (n_genes,) ids.
    space, learned, calibration, novelty, norms, other
        Its parts.
    """

    genes: np.ndarray
    space: LeafSpace
    learned: Learned
    calibration: Calibration
    novelty: NoveltyModel
    norms: Norms
    other: OtherGenes

    def align(self, names: np.ndarray) -> np.ndarray:
        """(n_columns,) int32: the model's gene of each column, -1 for a gene never met, below that for one it does
        not read."""
        return self.other.align(names, align_genes(names, self.genes))

    def answer(self, values: sp.csr_matrix, columns: np.ndarray, *, depth: bool | None = None) -> Answer:
        """Type cells.

        Parameters
        ----------
        values
            (n_cells, n_columns) linear values.
        columns
            (n_columns,) int32, as ``align`` gives them.
        depth
            Whether sums of the values are counts, so that shallow cells can be flagged; ``None`` takes the training's
            word.
        """
        seen = np.zeros(len(self.genes), dtype=bool)
        seen[columns[columns >= 0]] = True
        coverage = self.learned.coverage(seen)
        parts = [
            self._block(values[start : start + BLOCK], columns, seen, coverage, depth=depth)
            for start in range(0, max(values.shape[0], 1), BLOCK)
        ]
        joined = [np.concatenate(part) for part in zip(*parts, strict=True)]
        return Answer(self.space, *joined)

    def _block(
        self, values: sp.csr_matrix, columns: np.ndarray, seen: np.ndarray, coverage: float, *, depth: bool | None
    ) -> tuple[np.ndarray, ...]:
        n = values.shape[0]
        x, facts = self.learned.encode(values, columns, seen)
        padded = np.zeros((BLOCK, x.shape[1]), dtype=np.float32)
        padded[:n] = x
        log_p = ensemble_logits(padded, self.learned.heads)
        probabilities = self.calibration.probabilities(log_p, coverage=coverage)
        of_nodes = self.calibration.of_nodes(probabilities, self.space.below)
        node = pick_nodes(of_nodes, self.space.information, self.calibration.threshold_at(coverage))
        rest = np.zeros(BLOCK)
        rest[:n] = facts[:, 2]
        far = np.zeros(BLOCK)
        far[:n] = self.other.far(values, columns, facts[:, 0])
        novelty = self.novelty.score(padded, rest, far, coverage=coverage)
        # Cells of another tissue get no call: whatever branch they resemble, they are not on it.
        node = np.where(far > FOREIGN, -1, node)
        probabilities, of_nodes, node, novelty = probabilities[:n], of_nodes[:n], node[:n], novelty[:n]
        confidence = np.where(
            node >= 0, of_nodes[np.arange(n), np.maximum(node, 0)], probabilities.max(axis=1, initial=0)
        )
        flag = self._flags(probabilities, facts, novelty, seen, coverage, depth=depth)
        return probabilities, node, np.minimum(confidence, 1.0), novelty, flag, x

    def _flags(
        self,
        probabilities: np.ndarray,
        facts: np.ndarray,
        novelty: np.ndarray,
        seen: np.ndarray,
        coverage: float,
        *,
        depth: bool | None,
    ) -> np.ndarray:
        norms = self.norms
        share = float(self.learned.encoder.share[seen].sum())
        sums = facts[:, 0] / max(share, 1e-9)
        is_depth = norms.counts if depth is None else depth and norms.counts
        top = np.argsort(-probabilities, axis=1, kind="stable")[:, :2]
        rows = np.arange(len(top))
        words = {"few_genes": facts[:, 1] / max(seen.mean(), 1e-9) < norms.low_genes}
        if is_depth:
            words["low_counts"] = sums < norms.low_sum
            second = top[:, -1]
            limit = np.fmax(norms.high_sum[top[:, 0]], norms.high_sum[second])
            words["possible_doublet"] = (probabilities[rows, second] > 0.2) & (sums > limit) & (novelty > 0.2)
        words["novel"] = novelty > _NOVEL
        words["low_overlap"] = np.full(len(rows), coverage < _LOW_OVERLAP)
        out = np.full(len(rows), "", dtype=object)
        for word, where in sorted(words.items()):
            out[where] = [f"{old};{word}" if old else word for old in out[where]]
        return out
