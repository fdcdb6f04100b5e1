"""One training of everything: the model proper, and one model for each fold that calibrates it, side by side.

torch is imported where it is used: it takes seconds, and typing a file needs what is defined here and no torch.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from whycell.compute import Talk, n_threads
from whycell.encode.cells import Encoder, Gaps
from whycell.models.calibrate import Folds
from whycell.models.laboratories import Laboratories
from whycell.models.projection import balance, learn_encoder
from whycell.models.views import chimeras, draw_gaps, gene_modules, views

__all__ = ["Cells", "Learned", "Lesson", "Recipe", "learn", "novelty_lesson"]

_MOST_FOR_NOVELTY = 8_000
_KNOWN = 2_000
_ORTHONORMAL = 1e-3
_FIRST = 0.65  # share of the networks that one core trains while the other trains the rest and the doubters


@dataclass(frozen=True)
class Recipe:
    """The numbers of a training, all in one place; the defaults were chosen on donors and studies held out.

    Parameters
    ----------
    n_components
        Principal components.
    target
        Size to which a cell is scaled before the logarithm; 0 where the values are normalised already.
    shift
        Standard deviation of the log factor on each gene in simulated laboratories, used where studies differ.
    n_members
        Networks averaged.
    n_hidden, dropout, weight_decay, learning_rate, epochs, batch, max_steps
        Of the networks and their training.
    gaps
        Whether cells are also seen through gaps: genes may not be measured, numbers of a vector always are.
    doubts
        Whether networks are trained that tell real cells from chimeras.
    network
        ``"mlp"``, or ``"rfm"`` for a recursive feature machine (``models.rfm_head``); doubts are always networks.
    machine_rows
        Rows that teach a machine at most.
    """

    n_components: int = 50
    target: float = 1e4
    shift: float = 0.0
    n_members: int = 1
    n_hidden: int = 128
    dropout: float = 0.3
    weight_decay: float = 1e-2
    learning_rate: float = 2e-3
    epochs: float = 14
    batch: int = 256
    max_steps: int = 1_500
    gaps: bool = True
    doubts: bool = True
    network: str = "mlp"
    machine_rows: int = 3_000


@dataclass(frozen=True)
class Cells:
    """The training cells, reduced to the model's genes.

    Parameters
    ----------
    values
        (n_cells, n_genes) linear values.
    study, donor
        (n_cells,) int codes; rows of ``measured`` for the study.
    measured
        (n_studies, n_genes) bool.
    kind
        (n_cells,) int, row of ``meanings``.
    meanings
        (n_kinds, n_leaves) bool.
    """

    values: sp.csr_matrix
    study: np.ndarray
    donor: np.ndarray
    measured: np.ndarray
    kind: np.ndarray
    meanings: np.ndarray

    def rows(self, rows: np.ndarray) -> Cells:
        """Some of the cells; studies without cells stay in ``measured``."""
        present, study = np.unique(self.study[rows], return_inverse=True)
        return Cells(self.values[rows], study, self.donor[rows], self.measured[present], self.kind[rows], self.meanings)

    @property
    def leaves_taught(self) -> np.ndarray:
        """(n_leaves,) bool, leaves that some cell may be."""
        return np.asarray(self.meanings[np.unique(self.kind)].any(axis=0))


@dataclass(frozen=True)
class Learned:
    """One trained model, not yet calibrated.

    Parameters
    ----------
    encoder
        Scaled so that coordinates have a mean standard deviation of one.
    unit
        What the directions were divided by.
    heads
        Weights of the members.
    novelty_head
        Weights of the network that tells real cells from chimeras, or ``None``.
    known
        (n_known, n_directions) coordinates of some training cells.
    taught
        (n_leaves,) bool, leaves that some training cell may be.
    meanings_taught
        (n_taught, n_leaves) bool, what the labels of its training cells mean.
    """

    encoder: Encoder
    unit: float
    heads: list[dict[str, np.ndarray]]
    novelty_head: dict[str, np.ndarray] | None
    known: np.ndarray
    taught: np.ndarray
    meanings_taught: np.ndarray

    def encode(self, values: sp.csr_matrix, columns: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates (n, d) and facts (n, 3): sum, genes detected, squared distance outside the directions."""
        x, facts = self.encoder.encode(values, columns, gaps=Gaps(seen[None]))
        wide = x.astype(np.float64)
        inside = self.unit**2 * (wide**2).sum(axis=1) if self._metric is None else ((wide @ self._metric) * wide).sum(1)
        facts[:, 2] = np.maximum(facts[:, 2] - inside, 0.0)
        return x, facts

    @cached_property
    def _metric(self) -> np.ndarray | None:
        """What turns coordinates into the squared length of what they explain: ``(W'W)^-1``, or ``None`` where the
        directions are orthonormal but for the unit, as principal ones are and sums of text vectors are not."""
        wide = self.encoder.directions.astype(np.float64)
        gram = wide.T @ wide
        if np.abs(gram * self.unit**2 - np.eye(len(gram))).max(initial=0) < _ORTHONORMAL:
            return None
        return np.linalg.pinv(gram, rcond=1e-8, hermitian=True)

    def coverage(self, seen: np.ndarray) -> float:
        """Share of what the model reads that lies on the genes seen: loadings weighed by the mean values."""
        weight = (self.encoder.directions.astype(np.float64) ** 2).sum(axis=1) * (self.encoder.mean + 1e-3)
        return float(max(weight[seen].sum() / weight.sum(), 1e-3))


@dataclass(frozen=True)
class Lesson:
    """What one member learns from.

    Parameters
    ----------
    views
        (n_views, n_cells, n_inputs) float32, the same cells seen through different gaps; each draw takes one.
    meaning
        (n_cells,) int, row of ``meanings``.
    meanings
        (n_meanings, n_outputs) bool, the outputs that a label may stand for.
    weights
        (n_cells,) weight of each cell.
    """

    views: np.ndarray
    meaning: np.ndarray
    meanings: np.ndarray
    weights: np.ndarray


def learn(
    cells: Cells,
    folds: Folds,
    recipe: Recipe,
    *,
    seed: int,
    texts: np.ndarray | None = None,
    device: str = "cpu",
    talk: Talk | None = None,
) -> tuple[Learned, dict[int, Learned]]:
    """Train on all cells, and once more without each fold.

    Parameters
    ----------
    cells, folds, recipe
        What to learn from, what is held out together, and how.
    seed
        Fixes every draw.
    texts
        (n_genes, n_dims) vectors of the genes' texts that cells are seen through; ``None`` sees every gene.
    device
        ``"cpu"`` or ``"cuda"``.
    talk
        Told of progress.

    Returns
    -------
    The model, and by fold the model that did not see it. The first fold, of studies the first two, has a novelty head
    where the recipe asks for doubts.
    """
    talk = talk or Talk()
    numbers = [int(k) for k in np.unique(folds.fold)]
    rngs = [np.random.default_rng([seed, i]) for i in range(len(numbers) + 1)]

    def begin(i: int) -> tuple[Cells, Encoder, float, np.ndarray]:
        group = cells.rows(np.flatnonzero(folds.fold != numbers[i - 1])) if i else cells
        return group, *_prepare(group, recipe, rngs[i], texts)

    def draw(i: int) -> tuple[np.ndarray, Lesson | None]:
        group, encoder, _, _ = prepared[i]
        if not recipe.gaps:
            columns = np.arange(group.values.shape[1], dtype=np.int32)
            return encoder.encode(group.values, columns, gaps=Gaps(group.measured), pattern=group.study)[0][None], None
        laboratories = None
        if recipe.target > 0 and len(group.measured) > 1:
            laboratories = Laboratories.compare(group.values, group.study, group.measured, group.meanings, group.kind)
        seen = views(
            encoder,
            group.values,
            group.study,
            group.measured,
            shift=recipe.shift,
            laboratories=laboratories,
            rng=rngs[i],
        )
        return seen, novelty_lesson(group, encoder, rngs[i]) if i in wanting else None

    # Two studies are unlike; the folds of donors are alike, and one tells what the evidence of known cells looks like.
    wanting = list(range(len(rngs)))[: (3 if folds.unit == "study" else 2) if recipe.doubts else 0]
    # One core a group, two groups at a time: BLAS on two cores is slower at matrices this narrow, some of it a hundred
    # times, and the sums are then the same on any number of cores.
    with threadpool_limits(1), ThreadPoolExecutor(min(2, n_threads())) as pool:
        prepared = list(pool.map(begin, range(len(rngs))))
        width = min(encoder.directions.shape[1] for _, encoder, _, _ in prepared)
        prepared = [(group, _narrow(encoder, width), unit, w) for group, encoder, unit, w in prepared]
        drawn = list(pool.map(draw, range(len(rngs))))
    lessons = []
    for (group, _, _, weights), (seen, _) in zip(prepared, drawn, strict=True):
        lessons += [Lesson(seen, group.kind, group.meanings, weights)] * recipe.n_members
    doubts = [lesson for _, lesson in drawn if lesson is not None]
    brief = replace(recipe, epochs=6.0, batch=2 * recipe.batch, network="mlp")
    # Two trainings of small tensors, one core each: torch on two cores would spend its time handing work over. The
    # doubters are about a quarter of the work.
    cut = max(1, round(_FIRST * len(lessons)))
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(_train, lessons[:cut], recipe, seed=seed, device=device, talk=talk)
        second = pool.submit(_train, lessons[cut:], recipe, seed=seed + 2, device=device, talk=Talk())
        doubting = pool.submit(_train, doubts, brief, seed=seed + 1, device=device, talk=Talk())
        heads = first.result() + second.result()
        doubters = dict(zip(wanting, doubting.result(), strict=True))
    learned = []
    for i, (group, encoder, unit, _) in enumerate(prepared):
        own = heads[i * recipe.n_members : (i + 1) * recipe.n_members]
        taught = group.leaves_taught
        for head in own:
            head["bias"] = np.where(taught, head["bias"], np.float32(-1e4)).astype(np.float32)
        known = lessons[i * recipe.n_members].views[0]
        some = np.sort(rngs[i].permutation(len(known))[:_KNOWN])
        learned.append(
            Learned(
                encoder, unit, own, doubters.get(i), known[some].copy(), taught, group.meanings[np.unique(group.kind)]
            )
        )
    return learned[0], dict(zip(numbers, learned[1:], strict=True))


def _train(lessons: list[Lesson], recipe: Recipe, *, seed: int, device: str, talk: Talk) -> list[dict[str, np.ndarray]]:
    if not lessons:
        return []
    if recipe.network == "rfm":
        from whycell.models.rfm_head import fit_machines

        return fit_machines(lessons, most=recipe.machine_rows, seed=seed)
    from whycell.models.fit import train_heads

    return train_heads(
        lessons,
        n_hidden=recipe.n_hidden,
        dropout=recipe.dropout,
        weight_decay=recipe.weight_decay,
        learning_rate=recipe.learning_rate,
        epochs=recipe.epochs,
        batch=recipe.batch,
        max_steps=recipe.max_steps,
        seed=seed,
        device=device,
        talk=talk,
    )


def _prepare(
    cells: Cells, recipe: Recipe, rng: np.random.Generator, texts: np.ndarray | None
) -> tuple[Encoder, float, np.ndarray]:
    weights = balance(cells.study, cells.donor, cells.kind)
    encoder = learn_encoder(
        cells.values,
        cells.study,
        cells.measured,
        kind=cells.kind,
        weights=weights,
        n_components=recipe.n_components,
        target=recipe.target,
        rng=rng,
        texts=texts,
    )
    columns = np.arange(cells.values.shape[1], dtype=np.int32)
    x, _ = encoder.encode(cells.values, columns, gaps=Gaps(cells.measured), pattern=cells.study)
    unit = float(x.std(axis=0).mean()) or 1.0
    scaled = Encoder(encoder.mean, encoder.share, (encoder.directions / np.float32(unit)), encoder.target)
    return scaled, unit, weights


def _narrow(encoder: Encoder, width: int) -> Encoder:
    return Encoder(encoder.mean, encoder.share, np.ascontiguousarray(encoder.directions[:, :width]), encoder.target)


def novelty_lesson(cells: Cells, encoder: Encoder, rng: np.random.Generator) -> Lesson:
    """Real cells against chimeras, as they are and through gaps."""
    n_cells = cells.values.shape[0]
    some = cells.rows(np.sort(rng.permutation(n_cells)[:_MOST_FOR_NOVELTY])) if n_cells > _MOST_FOR_NOVELTY else cells
    n = some.values.shape[0]
    columns = np.arange(some.values.shape[1], dtype=np.int32)
    modules = gene_modules(encoder, rng=rng)
    both = []
    for share_hidden in ((0.0, 0.0), (0.0, 0.0), (0.0, 0.9)):
        gaps = draw_gaps(some.measured, share_hidden=share_hidden, shift=0.0, n_patterns=48, rng=rng)
        real, _ = encoder.encode(some.values, columns, gaps=gaps, pattern=some.study * 48 + rng.integers(48, size=n))
        made = [
            chimeras(
                encoder,
                some.values,
                some.study,
                some.measured,
                some.kind,
                n=n,
                modules=by,
                share_hidden=share_hidden,
                rng=rng,
            )
            for by in (np.arange(len(modules)), modules)
        ]
        both.append(np.concatenate([real, *made]))
    meaning = np.repeat([0, 1], [n, 2 * n])
    return Lesson(np.stack(both), meaning, np.eye(2, dtype=bool), np.ones(3 * n))
