"""From coordinates to answers: everything a saved model does, in numpy, block by block.

The answer of a cell depends on that cell alone, down to the last bit: blocks are padded to one fixed size before any
matrix product, so that neither the size of a chunk nor the number of threads can change how sums are rounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp

from whycell._keys import UNKNOWN
from whycell.encode.cells import align_genes
from whycell.models.calibrate import pick_nodes
from whycell.models.forward import ensemble_logits
from whycell.models.home import Homes
from whycell.models.leaves import LeafSpace
from whycell.models.lessons import Cells, Learned
from whycell.models.novelty import NoveltyModel
from whycell.models.outside import FOREIGN, OtherGenes
from whycell.models.pooled import Pool
from whycell.models.tested import Calibration

__all__ = ["BLOCK", "Answer", "Answerer", "Norms", "top_two"]

#: Cells in every matrix product.
BLOCK = 256
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
    disagreement
        (n_cells,) 0..1, how far the views of a pool lie apart; ``None`` where there is one view.
    """

    space: LeafSpace
    probabilities: np.ndarray
    node: np.ndarray
    confidence: np.ndarray
    novelty: np.ndarray
    flag: np.ndarray
    coordinates: np.ndarray
    disagreement: np.ndarray | None = None

    def frame(self) -> pd.DataFrame:
        """One row a cell; the columns of ``results.Annotation.calls``."""
        space = self.space
        first, second = top_two(self.probabilities)
        rows = np.arange(len(first))
        own = np.array([term if not term.startswith("label:") else "" for term in space.nodes], dtype=object)
        made = self.node >= 0
        at = np.maximum(self.node, 0)
        apart = {} if self.disagreement is None else {"disagreement": self.disagreement.astype(np.float32)}
        return pd.DataFrame(
            {
                "call": np.where(made, space.node_names[at], UNKNOWN),
                "call_term_id": np.where(made, own[at], ""),
                "confidence": self.confidence.astype(np.float32),
                "leaf": space.leaf_names[first],
                "leaf_term_id": space.term_ids[first],
                "leaf_confidence": self.probabilities[rows, first].astype(np.float32),
                "runner_up": space.leaf_names[second],
                "novelty": self.novelty.astype(np.float32),
                "flag": self.flag,
                **apart,
            }
        )


@dataclass(frozen=True)
class Answerer:
    """A trained, calibrated model, without the means to train.

    Parameters
    ----------
    genes
        (n_genes,) ids.
    space, learned, calibration, novelty, norms, other, homes
        Its parts.
    pool
        Further views of a cell and how they are weighed, where ``learned`` is not all.
    """

    genes: np.ndarray
    space: LeafSpace
    learned: Learned
    calibration: Calibration
    novelty: NoveltyModel
    norms: Norms
    other: OtherGenes
    homes: Homes
    pool: Pool | None = None

    @property
    def obsm_keys(self) -> tuple[str, ...]:
        """Keys of ``obsm`` that a file must hold."""
        return () if self.pool is None else self.pool.obsm_keys

    def align(self, names: np.ndarray) -> np.ndarray:
        """(n_columns,) int32: the model's gene of each column, -1 for a gene never met, below that for one it does
        not read."""
        return self.other.align(names, align_genes(names, self.genes))

    def answer(
        self,
        values: sp.csr_matrix,
        columns: np.ndarray,
        *,
        depth: bool | None = None,
        obsm: Mapping[str, np.ndarray] | None = None,
    ) -> Answer:
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
        obsm
            (n_cells, width) vectors by key, for the views that read them.
        """
        seen = np.zeros(len(self.genes), dtype=bool)
        seen[columns[columns >= 0]] = True
        coverage = self.learned.coverage(seen)
        x, facts = self.learned.encode(values, columns, seen)
        far = self.other.far(values, columns, facts[:, 0])
        views = [] if self.pool is None else self.pool.views
        others = [view.coordinates(values, columns, seen, obsm or {}) for view in views]
        parts = []
        for start in range(0, max(len(x), 1), BLOCK):
            part = slice(start, start + BLOCK)
            parts.append(self._block(x[part], facts[part, 2], far[part], seen, [other[part] for other in others]))
        probabilities, node, confidence, novelty, apart = (np.concatenate(part) for part in zip(*parts, strict=True))
        flag = self._flags(probabilities, facts, novelty, seen, coverage, depth=depth)
        return Answer(
            self.space, probabilities, node, confidence, novelty, flag, x, None if self.pool is None else apart
        )

    def _block(
        self, x: np.ndarray, outside: np.ndarray, far: np.ndarray, seen: np.ndarray, others: list[np.ndarray]
    ) -> tuple[np.ndarray, ...]:
        n, coverage = len(x), self.learned.coverage(seen)
        padded = _padded(x)
        rest, distant = np.zeros(BLOCK), np.zeros(BLOCK)
        rest[:n], distant[:n] = outside, far
        log_p, apart = ensemble_logits(padded, self.learned.heads), np.zeros(BLOCK)
        if self.pool is not None:
            log_p, apart = self.pool.log_p(log_p, [_padded(other) for other in others])
        probabilities = self.calibration.probabilities(log_p, coverage=coverage)
        trust = self.homes.trust_in(padded, seen, self.calibration.trust)
        of_nodes = self.calibration.of_nodes(probabilities, self.space.below, trust=trust)
        node = pick_nodes(of_nodes, self.space.information, self.calibration.threshold_at(coverage))
        # Cells of another tissue get no call: whatever branch they resemble, they are not on it.
        node = np.where(distant > FOREIGN, -1, node)
        novelty = self.novelty.score(padded, rest, distant, coverage=coverage)
        chosen = of_nodes[np.arange(BLOCK), np.maximum(node, 0)]
        confidence = np.minimum(np.where(node >= 0, chosen, probabilities.max(axis=1, initial=0)), 1.0)
        return probabilities[:n], node[:n], confidence[:n], novelty[:n], apart[:n]

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
        first, second = top_two(probabilities)
        rows = np.arange(len(first))
        words = {"few_genes": facts[:, 1] / max(seen.mean(), 1e-9) < norms.low_genes}
        if is_depth:
            words["low_counts"] = sums < norms.low_sum
            limit = np.fmax(norms.high_sum[first], norms.high_sum[second])
            words["possible_doublet"] = (probabilities[rows, second] > 0.2) & (sums > limit) & (novelty > 0.2)
        words["novel"] = novelty > _NOVEL
        words["low_overlap"] = np.full(len(rows), coverage < _LOW_OVERLAP)
        out = np.full(len(rows), "", dtype=object)
        for word, where in sorted(words.items()):
            out[where] = [f"{old};{word}" if old else word for old in out[where]]
        return out


def _padded(x: np.ndarray) -> np.ndarray:
    out = np.zeros((BLOCK, x.shape[1]), dtype=np.float32)
    out[: len(x)] = x
    return out


def top_two(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n_cells,) the most and the next most probable leaf; ties to the first, and twice the same where there is one."""
    first = probabilities.argmax(axis=1)
    if probabilities.shape[1] == 1:
        return first, first
    rest = probabilities.copy()
    rest[np.arange(len(rest)), first] = -1.0
    return first, rest.argmax(axis=1)
