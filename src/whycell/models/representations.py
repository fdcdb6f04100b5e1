"""What a model sees of a cell: its genes, the texts on its genes, vectors that came with it; one of them, or a pool."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from whycell.compute import Talk
from whycell.encode.gene_vectors import GeneVectors, read_gene_vectors
from whycell.encode.genept import prepare_gene_matrix
from whycell.errors import DataError, GeneError, UsageError
from whycell.models.calibrate import Folds, fit_temperature
from whycell.models.ensemble import pool, pool_weights
from whycell.models.forward import ensemble_logits, softmax
from whycell.models.lessons import Cells, Learned, Recipe, learn
from whycell.models.pooled import OBSM, Pool, Sentences, View, as_values, encoder_named, in_view
from whycell.models.tested import MOST_A_LEVEL, HeldOut, truths_of

__all__ = ["REPRESENTATIONS", "SILENT", "Lookout", "Sources", "most_held_out", "names_of", "pool_of"]

#: By name, what a model can be asked to see.
REPRESENTATIONS = ("expression", "genept-w", "genept-s", "ensemble")
#: Views that a representation trains for novelty and for checking files, and that have no say in its calls.
SILENT = {"genept-s": ("expression",)}
_ENOUGH_SENTENCES = 400
_FEWEST_DESCRIBED = 10
_STEPS, _RATE_OF_VECTORS = 300, 5e-3
#: Nats a held-out cell by which a view must make the labels more probable to have a say.
_HELPS = 1e-3


def names_of(representation: str, views: Sequence[str] = (), *, described: bool = True) -> tuple[str, ...]:
    """The views of a model by name; the first is of the genes.

    Parameters
    ----------
    representation
        One of :data:`REPRESENTATIONS`.
    views
        Further ones: ``"genept-w"``, ``"genept-s"``, ``"obsm:KEY"``.
    described
        Whether there are gene vectors: an ensemble without them is one of expression and ``views``.

    Raises
    ------
    UsageError
        There is no such representation or view, or an ensemble of one.
    """
    if representation not in REPRESENTATIONS:
        msg = f"representation is {representation!r}; one of {', '.join(REPRESENTATIONS)} is needed."
        raise UsageError(msg)
    strange = [v for v in views if v not in REPRESENTATIONS[:3] and not (v.startswith(OBSM) and v != OBSM)]
    if strange:
        msg = f"There is no view {strange[0]!r}; there are genept-w, genept-s, and obsm:KEY for what a file brings."
        raise UsageError(msg)
    own = {
        "expression": ("expression",),
        "genept-w": ("genept-w",),
        "genept-s": ("expression", "genept-s"),
        "ensemble": ("expression", "genept-w") if described else ("expression",),
    }[representation]
    names = tuple(dict.fromkeys((*own, *views)))
    if representation == "ensemble" and len(names) < 2:
        msg = "An ensemble pools at least two views: give --gene-vectors, or --view obsm:KEY."
        raise UsageError(msg)
    return names


@dataclass(frozen=True)
class Sources:
    """What the views of a training are made from.

    Parameters
    ----------
    names
        Of the views, the first of the genes.
    silent
        Views that take no part in the calls.
    texts
        (n_genes, n_dims) vectors of the genes' texts, prepared; ``None`` where no view needs them.
    sentences
        What makes the vectors of ``"genept-s"``.
    vectors
        (n_cells, width) of each view of vectors, by its name.
    about
        What a card says of all this.
    """

    names: tuple[str, ...]
    silent: tuple[str, ...] = ()
    texts: np.ndarray | None = None
    sentences: Sentences | None = None
    vectors: Mapping[str, np.ndarray] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def gather(
        cls,
        representation: str,
        cells: Cells,
        *,
        genes: np.ndarray,
        views: Sequence[str] = (),
        gene_vectors: str | Path | GeneVectors | None = None,
        text_encoder: str = "minilm",
        obsm: Mapping[str, np.ndarray] | None = None,
    ) -> Sources:
        """Read what the views need; every sentence of ``"genept-s"`` is encoded here, or taken from the cache.

        Parameters
        ----------
        representation, views
            See :func:`names_of`.
        cells, genes
            The training cells, and the (n_genes,) ids that the model reads.
        gene_vectors
            For ``"genept-w"``: a file that ``whycell genes embed`` wrote, or what was read from one.
        text_encoder
            For ``"genept-s"``: a name or folder for ``encode.text.load_encoder``.
        obsm
            (n_cells, width) vectors by key.
        """
        names = names_of(representation, views, described=gene_vectors is not None)
        texts, sentences, about = None, None, {}
        if "genept-w" in names:
            texts, about["texts"] = _texts(gene_vectors, genes)
        vectors: dict[str, np.ndarray] = {}
        if "genept-s" in names:
            sentences = Sentences(text_encoder, encoder_named(text_encoder).fingerprint, tuple(map(str, genes)))
            everything = np.arange(len(genes), dtype=np.int32)
            vectors["genept-s"] = sentences.vectors(cells.values, everything, np.ones(len(genes), dtype=bool))
            about["sentences"] = {"encoder": text_encoder, "fingerprint": sentences.fingerprint, "most": sentences.most}
        for name in names:
            if name.startswith(OBSM):
                vectors[name] = _given(obsm or {}, name.removeprefix(OBSM), len(cells.kind))
        return cls(names, SILENT.get(representation, ()), texts, sentences, vectors, about)


@dataclass(frozen=True)
class Lookout:
    """One further view in training: its model, and by fold the models that did not see it.

    Parameters
    ----------
    name
        Of the view.
    learned, without
        The model, and the models by fold.
    ask
        ``ask(fold, rows, seen)``, as ``tested.predict_held_out`` asks further views.
    """

    name: str
    learned: Learned
    without: Mapping[int, Learned]
    ask: Callable[[int, np.ndarray, np.ndarray], np.ndarray]

    @classmethod
    def train(
        cls,
        name: str,
        sources: Sources,
        cells: Cells,
        folds: Folds,
        recipe: Recipe,
        *,
        seed: int,
        device: str = "cpu",
        talk: Talk | None = None,
    ) -> Lookout:
        """Learn one view.

        Parameters
        ----------
        name, sources
            Which, and what it is made of.
        cells, folds, recipe
            As ``lessons.learn`` takes them.
        seed, device, talk
            Of the training.
        """
        columns = np.arange(cells.values.shape[1], dtype=np.int32)
        if name not in sources.vectors:
            texts = sources.texts if name == "genept-w" else None
            brief = replace(recipe, doubts=False)
            learned, without = learn(cells, folds, brief, seed=seed, texts=texts, device=device, talk=talk)

            def of_genes(fold: int, rows: np.ndarray, seen: np.ndarray) -> np.ndarray:
                x, _ = without[fold].encode(cells.values[rows], columns, seen)
                return ensemble_logits(x, without[fold].heads)

            return cls(name, learned, without, of_genes)
        vectors = sources.vectors[name]
        whole = np.ones((len(cells.measured), vectors.shape[1]), dtype=bool)
        same = Cells(as_values(vectors), cells.study, cells.donor, whole, cells.kind, cells.meanings)
        steps = max(recipe.epochs, _STEPS * recipe.batch / len(cells.kind))  # few numbers take no fewer to be learned
        plain = replace(
            recipe, target=0.0, shift=0.0, gaps=False, doubts=False, epochs=steps, learning_rate=_RATE_OF_VECTORS
        )
        learned, without = learn(same, folds, plain, seed=seed, device=device, talk=talk)

        def of_vectors(fold: int, rows: np.ndarray, seen: np.ndarray) -> np.ndarray:
            some = vectors[rows]
            as_measured = (seen == cells.measured[cells.study[rows[0]]]).all()
            if name == "genept-s" and sources.sentences is not None and not as_measured:
                some = sources.sentences.vectors(cells.values[rows], columns, seen)
            return ensemble_logits(in_view(without[fold], some), without[fold].heads)

        return cls(name, learned, without, of_vectors)


def pool_of(
    sources: Sources,
    lookouts: Sequence[Lookout],
    *,
    held: HeldOut,
    cells: Cells,
    folds: Folds,
    models: Mapping[int, Learned],
    below: np.ndarray,
) -> tuple[Pool, HeldOut, list[dict[str, Any]]]:
    """The weights of the views, from what each said of cells that it did not see.

    Parameters
    ----------
    sources, lookouts
        The views, and those beside the first.
    held
        What the first said, with ``others``.
    cells, folds, models
        Of the training; the models of the first view by fold.
    below
        (n_nodes, n_leaves) bool.

    Returns
    -------
    The pool, of the views that help; the held-out answers with the pooled log-probabilities
    in the place of the first view's; and for a card one row a view: its name, weight and log-loss, beside the pool's.
    """
    truth = truths_of(held, cells, folds, models, below=below)[0]
    use = np.asarray(truth.any(axis=1) & ~truth.all(axis=1))
    every = [held.log_p[0], *(levels[0] for levels in held.others)]
    temperatures = np.array([fit_temperature(log_p[use], truth[use]) if use.any() else 1.0 for log_p in every])
    weights = _weights(sources, every, truth, use, folds.group[held.rows[0]])
    levels = [
        np.asarray(sum(np.float32(w) * p for w, p in zip(weights, parts, strict=True)), dtype=np.float32)
        for parts in zip(held.log_p, *held.others, strict=True)
    ]
    rows = [
        {"name": name, "weight": float(w), "temperature": float(t), "held_out_log_loss": _loss(log_p / t, truth, use)}
        for name, w, log_p, t in zip(sources.names, weights, every, temperatures, strict=True)
    ]
    own = fit_temperature(levels[0][use], truth[use]) if use.any() else 1.0
    together = {"name": "pooled", "weight": 1.0, "temperature": own}
    rows.append({**together, "held_out_log_loss": _loss(levels[0] / own, truth, use)})
    # What counts for nothing is not kept: no file need bring it, and no sentence be read for it.
    kept = [0, *(i for i in range(1, len(every)) if weights[i] > 0)]
    views = tuple(
        View(one.name, one.learned, sources.sentences if one.name == "genept-s" else None)
        for one in (lookouts[i - 1] for i in kept[1:])
    )
    found = Pool(tuple(sources.names[i] for i in kept), weights[kept], temperatures[kept], views)
    return found, replace(held, log_p=levels, others=()), rows


def most_held_out(sources: Sources) -> int:
    """Cells seen through gaps of one size at most: sentences are slow to read."""
    return _ENOUGH_SENTENCES if "genept-s" in sources.names else MOST_A_LEVEL


def _weights(
    sources: Sources, every: Sequence[np.ndarray], truth: np.ndarray, use: np.ndarray, group: np.ndarray
) -> np.ndarray:
    """(n_views,) that sum to one; 0 for a silent view, and for one without which held-out cells are as probable."""
    speaking = [i for i, name in enumerate(sources.names) if name not in sources.silent]
    _, codes, counts = np.unique(group[use], return_inverse=True, return_counts=True)
    cell_weights = 1.0 / counts[codes]

    def fitted(views: list[int]) -> tuple[np.ndarray, float]:
        some = np.stack([every[i][use] for i in views])
        found = pool_weights(some, truth[use], cell_weights=cell_weights)
        right = (pool(some, found) * truth[use]).sum(axis=1)
        return found, float(-np.average(np.log(np.maximum(right, 1e-12)), weights=cell_weights))

    found, loss = fitted(speaking) if use.any() else (np.ones(len(speaking)), 0.0)
    while len(speaking) > 1 and use.any():
        tried = [[i for i in speaking if i != out] for out in speaking]
        fits = [fitted(views) for views in tried]
        best = int(np.argmin([worse for _, worse in fits]))
        if fits[best][1] > loss + _HELPS:
            break
        speaking, found = tried[best], fits[best][0]
    out = np.zeros(len(every))
    # How sure the pool is, is the temperature's to say, as for any other model.
    out[speaking] = found / found.sum() if found.sum() > 0 else 1.0 / len(speaking)
    return out


def _loss(log_p: np.ndarray, truth: np.ndarray, use: np.ndarray) -> float | None:
    if not use.any():
        return None
    right = (softmax(log_p[use]) * truth[use]).sum(axis=1)
    return float(-np.log(np.maximum(right, 1e-12)).mean())


def _texts(vectors: str | Path | GeneVectors | None, genes: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    if vectors is None:
        msg = (
            "genept-w needs vectors of the genes' texts: give --gene-vectors, a file that `whycell genes embed` wrote."
        )
        raise UsageError(msg)
    held = vectors if isinstance(vectors, GeneVectors) else read_gene_vectors(vectors)
    matrix = held.matrix(genes)
    described = int((np.abs(matrix).sum(axis=1) > 0).sum())
    if described < min(_FEWEST_DESCRIBED, len(genes)):
        msg = (
            f"{described} of the model's {len(genes)} genes have a vector ({', '.join(map(str, genes[:3]))}, ... "
            f"against {', '.join(map(str, held.genes[:3]))}, ...): they are of another species, or under other ids."
        )
        raise GeneError(msg)
    about = {
        "encoder": held.encoder,
        "facets": [str(facet) for facet in held.facets],
        "dims": int(held.vectors.shape[1]),
        "genes_described": described,
        "genes": len(genes),
    }
    return prepare_gene_matrix(matrix, centre="mean"), about


def _given(obsm: Mapping[str, np.ndarray], key: str, n_cells: int) -> np.ndarray:
    if key not in obsm:
        msg = f"The view obsm:{key} needs obsm[{key!r}] of every reference; given: {', '.join(obsm) or 'nothing'}."
        raise DataError(msg)
    vectors = np.asarray(obsm[key], dtype=np.float32)
    if vectors.ndim != 2 or len(vectors) != n_cells or not np.isfinite(vectors).all():
        msg = f"obsm[{key!r}] is {vectors.shape}, wanted finite numbers for {n_cells} cells, one row each."
        raise DataError(msg)
    return vectors
