"""From models that did not see a fold to numbers that make the final model honest: temperatures, threshold, novelty."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from whycell.models.calibrate import COVERAGES, Folds, choose_threshold, fit_temperature, temperature_at
from whycell.models.forward import ensemble_logits, softmax
from whycell.models.lessons import Cells, Learned
from whycell.models.novelty import NoveltyModel, evidence, standardise

__all__ = [
    "CAUTION",
    "MOST_A_LEVEL",
    "ONE_STUDY",
    "TWO_STUDIES_TEMPERATURE",
    "TWO_STUDIES_THRESHOLD",
    "Calibration",
    "HeldOut",
    "calibrate",
    "novelty_model",
    "predict_held_out",
    "truths_of",
]

#: What log-probabilities are divided by beyond their temperature where only random cells could be held out.
CAUTION = 1.25
#: Two studies are too few to choose a threshold and a temperature by; these stood best on three blood studies, each
#: left out in turn.
TWO_STUDIES_THRESHOLD = 0.92
TWO_STUDIES_TEMPERATURE = 0.6
#: What the probability of a term is multiplied by where there are several studies and only one of them taught it: no
#: other laboratory ever confirmed that the distinction holds outside that study.
ONE_STUDY = 0.85
#: Held-out cells that are seen through gaps of one size at most.
MOST_A_LEVEL = 4_000
_FEWEST_FOR_TEMPERATURE = 30


@dataclass(frozen=True)
class HeldOut:
    """What the fold models said of the cells they did not see.

    Parameters
    ----------
    rows
        (n_levels, m) cells, the same number a level.
    log_p
        (n_levels, m, n_leaves) log-probabilities.
    pattern
        (n_levels, m) int, which random panel each was seen through.
    coverage
        (n_levels,) mean share of what the model reads.
    evidence
        (n_levels, n_doubted, 3) evidence of novelty of known cells, from the folds that have a novelty head.
    others
        (n_views, n_levels, m, n_leaves) log-probabilities of the same cells through the same panels in further views.
    """

    rows: list[np.ndarray]
    log_p: list[np.ndarray]
    pattern: list[np.ndarray]
    coverage: np.ndarray
    evidence: list[np.ndarray]
    others: tuple[list[np.ndarray], ...] = ()


@dataclass(frozen=True)
class Calibration:
    """What the final model needs to answer honestly.

    Parameters
    ----------
    levels, temperatures
        (n_levels,) shares of what the model reads, and the temperature at each.
    trust
        (n_nodes,) factor on the probability of a node: below one where a single study of several taught it.
    thresholds
        (n_levels,) least confidence of a call.
    error, error_seen
        Share of calls off the true branch that was asked for, and the share seen on held-out cells.
    """

    levels: np.ndarray
    temperatures: np.ndarray
    trust: np.ndarray
    thresholds: np.ndarray
    error: float
    error_seen: float

    def probabilities(self, log_p: np.ndarray, *, coverage: float) -> np.ndarray:
        """(n_cells, n_leaves) float64, rows sum to one."""
        return softmax(log_p / temperature_at(coverage, self.levels, self.temperatures))

    @property
    def threshold(self) -> float:
        """Least confidence of a call where all the model reads is measured."""
        return float(self.thresholds[0])

    def threshold_at(self, coverage: float) -> float:
        """Least confidence of a call at a share of what the model reads, linear in its logarithm."""
        order = np.argsort(self.levels)
        return float(np.interp(np.log(coverage), np.log(self.levels[order]), self.thresholds[order]))

    def of_nodes(self, probabilities: np.ndarray, below: np.ndarray, *, trust: np.ndarray | None = None) -> np.ndarray:
        """(n_cells, n_nodes) confidence in each node: the sum over the leaves below it, times the trust in it.

        ``trust`` (n_cells, n_nodes) is that of each cell (``home.Homes``), the model's own where ``None``.
        """
        return np.asarray((probabilities @ below.T.astype(np.float64)) * (self.trust if trust is None else trust))


def predict_held_out(
    cells: Cells,
    folds: Folds,
    models: Mapping[int, Learned],
    *,
    rng: np.random.Generator,
    others: Sequence[Callable[[int, np.ndarray, np.ndarray], np.ndarray]] = (),
    most: int = MOST_A_LEVEL,
) -> HeldOut:
    """Ask each fold's model about the cells it did not see: as measured, and through ever larger gaps.

    Parameters
    ----------
    cells, folds, models
        Of the training; the models by the fold that each did not see.
    rng
        Of the gaps, and of the cells seen through them.
    others
        Further views: ``view(fold, rows, seen)`` gives the log-probabilities (m, n_leaves) of its model of that fold
        for these cells, where these genes (n_genes,) are measured.
    most
        Cells seen through gaps of one size at most.
    """
    columns = np.arange(cells.values.shape[1], dtype=np.int32)
    rows: list[list[np.ndarray]] = [[] for _ in COVERAGES]
    log_p: list[list[np.ndarray]] = [[] for _ in COVERAGES]
    pattern: list[list[np.ndarray]] = [[] for _ in COVERAGES]
    doubt: list[list[np.ndarray]] = [[] for _ in COVERAGES]
    share: list[list[float]] = [[] for _ in COVERAGES]
    further: list[list[list[np.ndarray]]] = [[[] for _ in COVERAGES] for _ in others]
    for k, model in models.items():
        for s in np.unique(cells.study[folds.fold == k]):
            mine = np.flatnonzero((folds.fold == k) & (cells.study == s))
            for level, coverage in enumerate(COVERAGES):
                some = mine if level == 0 else np.sort(rng.permutation(mine)[: most // len(models)])
                for part in np.array_split(some, 1 if level == 0 else 4):
                    if not len(part):
                        continue
                    seen = cells.measured[s] & (rng.random(cells.values.shape[1]) < coverage if level else True)
                    x, facts = model.encode(cells.values[part], columns, seen)
                    rows[level].append(part)
                    log_p[level].append(ensemble_logits(x, model.heads))
                    pattern[level].append(np.full(len(part), len(pattern[level])))
                    share[level].append(model.coverage(seen))
                    for kept, view in zip(further, others, strict=True):
                        kept[level].append(view(k, part, seen))
                    if model.novelty_head is not None:
                        known = cells.meanings[cells.kind[part]][:, model.taught].any(axis=1)
                        if known.any():
                            found = evidence(x[known], facts[known, 2], head=model.novelty_head, known=model.known)
                            doubt[level].append(found)
    return HeldOut(
        rows=[np.concatenate(r) for r in rows],
        log_p=[np.concatenate(p) for p in log_p],
        pattern=[np.concatenate(p) for p in pattern],
        coverage=np.array([np.mean(c) for c in share]),
        evidence=[np.concatenate(d) for d in doubt],
        others=tuple([np.concatenate(p) for p in view] for view in further),
    )


def truths_of(
    held: HeldOut, cells: Cells, folds: Folds, models: Mapping[int, Learned], *, below: np.ndarray
) -> list[np.ndarray]:
    """(n_levels, m, n_leaves) bool, what the label of each held-out cell means to the model that was asked about it.

    Parameters
    ----------
    held, cells, folds, models
        As ``calibrate`` takes them.
    below
        (n_nodes, n_leaves) bool.
    """
    meanings = {k: _testable(cells, model, below) for k, model in models.items()}
    return [
        np.stack([meanings[f][kind] for f, kind in zip(folds.fold[rows], cells.kind[rows], strict=True)])
        for rows in held.rows
    ]


def calibrate(
    held: HeldOut,
    cells: Cells,
    folds: Folds,
    models: Mapping[int, Learned],
    *,
    below: np.ndarray,
    on_branch: np.ndarray,
    information: np.ndarray,
    error: float,
) -> tuple[Calibration, np.ndarray]:
    """Temperatures and threshold.

    Parameters
    ----------
    below
        (n_nodes, n_leaves) bool.
    on_branch
        (n_kinds, n_nodes) bool, whether a call of the node is on the branch of a cell of this kind.
    information
        (n_nodes,).
    error
        Largest share of calls off the true branch.

    Returns
    -------
    calibration, and (n_cells, n_leaves) calibrated held-out probabilities (rows as in ``held.rows[0]``, sorted)
    """
    truths = truths_of(held, cells, folds, models, below=below)
    temperatures = _believed(
        np.array(
            [
                _temperature(log_p, truth, pattern if level else np.zeros_like(pattern))
                for level, (log_p, truth, pattern) in enumerate(zip(held.log_p, truths, held.pattern, strict=True))
            ]
        ),
        folds,
    )
    order = np.argsort(held.rows[0], kind="stable")
    probabilities = softmax(held.log_p[0][order] / temperatures[0])
    trust = _trust(cells, below)
    if folds.unit == "study" and folds.cautious:
        thresholds = np.full(len(held.coverage), TWO_STUDIES_THRESHOLD)
        return Calibration(held.coverage, temperatures, trust, thresholds, error, np.nan), probabilities
    fold_trust = {
        k: _callable_nodes(model, below) * _trust(cells.rows(np.flatnonzero(folds.fold != k)), below)
        for k, model in models.items()
    }
    chosen = []
    for level, truth in enumerate(truths):
        at, fold = held.rows[level], folds.fold[held.rows[level]]
        of_nodes = softmax(held.log_p[level] / temperatures[level]) @ below.T.astype(np.float64)
        of_nodes *= np.stack([fold_trust[f] for f in fold])
        # A cell of a branch that the fold never met can only be found novel; it says nothing of wrong branches.
        taught = np.stack([models[f].taught for f in fold])
        use = truth.any(axis=1) & (taught & ~truth).any(axis=1)
        chosen.append(
            choose_threshold(
                of_nodes[use],
                on_branch[cells.kind[at[use]]],
                folds.group[at[use]],
                information,
                error=error,
                margin=folds.unit != "study",
            )
        )
    # A smaller panel never earns a lower bar.
    thresholds = np.maximum.accumulate([threshold for threshold, _ in chosen])
    return Calibration(held.coverage, temperatures, trust, thresholds, error, chosen[0][1]), probabilities


def _temperature(log_p: np.ndarray, truth: np.ndarray, pattern: np.ndarray) -> float:
    """The temperature that suits four in five of the panels drawn: panels of one size differ, and which one a person
    brings is not known."""
    found = []
    for panel in np.unique(pattern):
        use = (pattern == panel) & truth.any(axis=1) & ~truth.all(axis=1)
        if use.sum() >= _FEWEST_FOR_TEMPERATURE:
            found.append(fit_temperature(log_p[use], truth[use]))
    return float(np.quantile(found, 0.8)) if found else 1.0


def _believed(temperatures: np.ndarray, folds: Folds) -> np.ndarray:
    """Temperatures as measured, but for the margins where too few groups were at hand."""
    temperatures = np.maximum(temperatures, 0.5)
    if folds.unit == "study" and folds.cautious:
        # Held out of two, a study is typed by a model of the other one alone: the level says little of the model of
        # both, but how it falls with coverage does.
        return np.asarray(temperatures / temperatures[0] * TWO_STUDIES_TEMPERATURE)
    return np.asarray(temperatures * (CAUTION if folds.cautious else 1.0))


def _trust(cells: Cells, below: np.ndarray) -> np.ndarray:
    """(n_nodes,) 1, or ``ONE_STUDY`` where there are several studies and at most one has a label within the node."""
    pairs = np.unique(np.column_stack([cells.study, cells.kind]), axis=0)
    studies = np.unique(cells.study)
    if len(studies) < 2:
        return np.ones(len(below))
    within = (cells.meanings[:, None, :] & ~below[None, :, :]).sum(axis=2) == 0  # (n_kinds, n_nodes)
    taught_by = sum(within[pairs[pairs[:, 0] == s, 1]].any(axis=0).astype(int) for s in studies)
    return np.where(np.asarray(taught_by) >= 2, 1.0, ONE_STUDY)


def _callable_nodes(model: Learned, below: np.ndarray) -> np.ndarray:
    """Nodes for which the fold's training labels speak: some label means nothing outside the node."""
    # Only labels of cells in the fold's training count: a leaf merely possible is not one that was taught.
    mine = model.meanings_taught
    return np.asarray([bool(((mine & ~node).sum(axis=1) == 0).any()) for node in below])


def _testable(cells: Cells, model: Learned, below: np.ndarray) -> np.ndarray:
    """(n_kinds, n_leaves) what each label means to a fold's model: the smallest node above it that the fold knows.

    A label finer than anything in the fold's training is judged at the level the fold can speak of; one of a branch the
    fold never met is left out (an empty row).
    """
    taught_nodes = below[_callable_nodes(model, below)]
    out = np.zeros_like(cells.meanings)
    for i, meaning in enumerate(cells.meanings):
        covering = taught_nodes[(taught_nodes | ~meaning).all(axis=1)]
        if len(covering):
            smallest = covering[np.argmin(covering.sum(axis=1))] & model.taught
            out[i] = smallest if smallest.any() else False
    return out


def novelty_model(held: HeldOut, learned: Learned) -> NoveltyModel:
    """Standardise the evidence of the final model on held-out cells of known types."""
    centre = np.stack([e.mean(axis=0) for e in held.evidence])
    width = np.stack([e.std(axis=0) for e in held.evidence])
    scores = [standardise(e, c, w) for e, c, w in zip(held.evidence, centre, width, strict=True)]
    return NoveltyModel(
        head=learned.novelty_head or {},
        known=learned.known,
        levels=held.coverage,
        centre=centre,
        width=width,
        q50=np.array([np.quantile(s, 0.5) for s in scores]),
        q99=np.array([np.quantile(s, 0.99) for s in scores]),
    )
