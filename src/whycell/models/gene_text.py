"""Cells typed by what is written of their genes: GenePT embeddings under an ordinary head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from whycell.encode.gene_vectors import GeneVectors, read_gene_vectors
from whycell.encode.genept import cell_sentences, discriminating_weights, genept_w, idf_weights, prepare_gene_matrix
from whycell.encode.text import TextEncoder, embed_texts, load_encoder
from whycell.errors import UsageError
from whycell.knowledge.genes import symbol_of
from whycell.models.baselines import EstimatorBaseline
from whycell.models.neighbours import CosineNeighbours

__all__ = ["CONTROLS", "HEADS", "GenePTS", "GenePTW"]

HEADS = ("logistic", "knn", "random_forest", "lightgbm")
#: What may stand in the place of the texts, to see what they contribute.
CONTROLS = ("none", "random", "permuted")


class _OnText(EstimatorBaseline):
    """What both embeddings share: the head."""

    def __init__(
        self,
        *,
        head: str = "logistic",
        C: float = 100.0,
        neighbours: int = 15,
        search: str = "auto",
        threshold: float = 0.95,
        seed: int = 0,
        threads: int = 1,
    ) -> None:
        super().__init__(threshold=threshold, seed=seed, threads=threads)
        if head not in HEADS:
            msg = f"head is {head!r}; one of {', '.join(HEADS)} is needed."
            raise UsageError(msg)
        self.head, self.C, self.neighbours, self.search = head, C, neighbours, search

    def _estimator(self) -> Any:
        if self.head == "knn":
            return CosineNeighbours(
                neighbours=self.neighbours, search=self.search, seed=self.seed, threads=self.threads
            )
        if self.head == "random_forest":
            from sklearn.ensemble import RandomForestClassifier

            return RandomForestClassifier(300, random_state=self.seed, n_jobs=self.threads)
        if self.head == "lightgbm":
            from lightgbm import LGBMClassifier

            return LGBMClassifier(n_estimators=100, random_state=self.seed, n_jobs=self.threads, verbose=-1)
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        # Rows of length one lie close together: one scale for all dimensions, so that the penalty means the same.
        return make_pipeline(StandardScaler(with_std=False), _Scale(), LogisticRegression(C=self.C / 100, max_iter=300))


class _Scale:
    """Divides by one number, the mean standard deviation in training."""

    def fit(self, X: np.ndarray, y: object = None) -> _Scale:
        self.unit_ = float(np.sqrt((X**2).mean())) or 1.0
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        return X / self.unit_

    def fit_transform(self, X: np.ndarray, y: object = None) -> np.ndarray:
        return self.fit(X).transform(X)


class GenePTW(_OnText):
    """A cell as the weighted sum of its genes' vectors.

    Parameters
    ----------
    vectors
        What ``whycell genes embed`` wrote, or `GeneVectors`.
    facets
        Which facets of it; all where empty.
    dims
        Numbers that a vector keeps; ``None`` is all.
    normalise, centre
        See ``encode.genept``.
    weighting
        ``"none"``, ``"idf"``, or ``"labels"``: how well a gene tells the training labels apart.
    control
        ``"none"``, or what replaces the texts: ``"random"`` vectors of the same spectrum, or texts ``"permuted"``.
    head, C, neighbours, search
        What decides on the embedding: one of :data:`HEADS`; how neighbours are searched, see `CosineNeighbours`.
    threshold, seed, threads
        As every baseline takes them.
    """

    name = "genept-w"

    def __init__(
        self,
        *,
        vectors: str | Path | GeneVectors,
        facets: tuple[str, ...] = (),
        dims: int | None = None,
        normalise: str = "log1p-cp10k",
        centre: str = "mean",
        weighting: str = "none",
        control: str = "none",
        head: str = "logistic",
        C: float = 100.0,
        neighbours: int = 15,
        search: str = "auto",
        threshold: float = 0.95,
        seed: int = 0,
        threads: int = 1,
    ) -> None:
        super().__init__(
            head=head, C=C, neighbours=neighbours, search=search, threshold=threshold, seed=seed, threads=threads
        )
        if control not in CONTROLS or weighting not in ("none", "idf", "labels"):
            msg = (
                f"Got control {control!r} and weighting {weighting!r}; wanted {', '.join(CONTROLS)}; none, idf, labels."
            )
            raise UsageError(msg)
        held = vectors if isinstance(vectors, GeneVectors) else read_gene_vectors(vectors, facets=facets)
        held = held.projected(dims) if dims is not None else held
        if control != "none":
            held = held.random(seed=seed) if control == "random" else held.permuted(seed=seed)
        self.vectors, self.normalise, self.centre, self.weighting = held, normalise, centre, weighting

    def _first_seen(self, X: sparse.csr_matrix, genes: np.ndarray, codes: np.ndarray) -> Any:
        weights = None
        if self.weighting == "idf":
            weights = idf_weights(self._aligned(X, genes))
        elif self.weighting == "labels":
            weights = discriminating_weights(super()._normalised(X, genes), codes)
        self._matrix = prepare_gene_matrix(self.vectors.matrix(self.genes_), centre=self.centre, weights=weights)
        return self._normalised(X, genes)

    def _normalised(self, X: sparse.csr_matrix, genes: np.ndarray) -> Any:
        counts = self._aligned(X, genes)
        return genept_w(counts, self._matrix, normalise=self.normalise, threads=self.threads)[0]


class GenePTS(_OnText):
    """A cell as a sentence of its genes by falling expression, read by a text encoder.

    Parameters
    ----------
    encoder
        A name or folder for ``encode.text.load_encoder``, or a ``TextEncoder``.
    most
        Genes that a sentence names at most.
    cache
        Folder of the cache of vectors.
    head, C, neighbours, search
        What decides on the embedding: one of :data:`HEADS`; how neighbours are searched, see `CosineNeighbours`.
    threshold, seed, threads
        As every baseline takes them.
    """

    name = "genept-s"

    def __init__(
        self,
        *,
        encoder: str | TextEncoder = "minilm",
        most: int = 100,
        cache: Path | None = None,
        head: str = "logistic",
        C: float = 100.0,
        neighbours: int = 15,
        search: str = "auto",
        threshold: float = 0.95,
        seed: int = 0,
        threads: int = 1,
    ) -> None:
        super().__init__(
            head=head, C=C, neighbours=neighbours, search=search, threshold=threshold, seed=seed, threads=threads
        )
        self.encoder: Any = encoder
        if isinstance(encoder, str):
            self.encoder = load_encoder(encoder, precision="bfloat16", threads=threads)
        self.most, self.cache = most, cache

    def _normalised(self, X: sparse.csr_matrix, genes: np.ndarray) -> Any:
        counts = self._aligned(X, genes)
        ids = [str(gene) for gene in self.genes_]
        sentences = cell_sentences(counts, symbol_of(ids), ids=ids, most=self.most)
        return embed_texts(sentences, self.encoder, cache=self.cache)
