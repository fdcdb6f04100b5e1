"""Further views of a cell beside the genes that a model reads, and how what they say is put together.

    log p(leaf | cell) = sum_v w_v log p_v(leaf | cell) + constant          (a logarithmic opinion pool)

Every view is one trained model, whatever it sees: genes along their own directions, genes through the vectors of their
texts, a sentence of the cell's genes through a text encoder, or an embedding that the file brings along. A vector is
read like the genes of a cell that all are measured, so that all views learn and answer by the same code. The weights
are learned on donors, or studies, that no view was trained on (``models.ensemble.pool_weights``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from threading import Lock
from typing import Any

import numpy as np
import scipy.sparse as sp

from whycell.encode.genept import cell_sentences
from whycell.encode.text import TextEncoder, embed_texts, load_encoder
from whycell.errors import FormatError, ModelError
from whycell.knowledge.genes import symbol_of
from whycell.models.forward import ensemble_logits, softmax
from whycell.models.lessons import Learned

__all__ = [
    "OBSM",
    "Pool",
    "Sentences",
    "View",
    "as_values",
    "check_width",
    "disagreement_of",
    "encoder_named",
    "in_view",
    "plain",
]

#: What the name of a view begins with that the file brings along, before its key.
OBSM = "obsm:"
_ONE_AT_A_TIME = Lock()


@dataclass(frozen=True)
class Sentences:
    """A cell as its genes by falling expression, read by a text encoder (GenePT-s).

    Parameters
    ----------
    encoder
        What ``encode.text.load_encoder`` calls it.
    fingerprint
        Of that encoder: another one's vectors would mean something else.
    ids
        (n_genes,) of the model; symbols are written, and ids settle ties.
    most
        Genes that a sentence names at most.
    """

    encoder: str
    fingerprint: str
    ids: tuple[str, ...]
    most: int = 100

    def vectors(self, values: sp.csr_matrix, columns: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """(n_cells, n_dims) float32, rows of length one; from the user's cache where a sentence was met before.

        Raises
        ------
        ModelError
            The encoder on this machine is another one.
        """
        encoder = encoder_named(self.encoder)
        if encoder.fingerprint != self.fingerprint:
            msg = (
                f"The model reads sentences through the encoder {self.encoder!r} ({self.fingerprint[:12]}...), and "
                f"here that name is another one ({encoder.fingerprint[:12]}...): install the one it was trained with, "
                "or train anew."
            )
            raise ModelError(msg)
        sentences = cell_sentences(self._own(values, columns, seen), self._symbols, ids=self.ids, most=self.most)
        with _ONE_AT_A_TIME:  # blocks are typed side by side; the encoder uses all cores for one
            return embed_texts(sentences, encoder)

    def _own(self, values: sp.csr_matrix, columns: np.ndarray, seen: np.ndarray) -> sp.csr_matrix:
        held = np.flatnonzero((columns >= 0) & seen[np.maximum(columns, 0)])
        place = sp.csr_matrix(
            (np.ones(len(held), dtype=np.float32), (held, columns[held])), shape=(values.shape[1], len(self.ids))
        )
        return sp.csr_matrix(values @ place)

    @property
    def _symbols(self) -> list[str]:
        return _symbols_of(self.ids)


@dataclass(frozen=True)
class View:
    """One further view.

    Parameters
    ----------
    name
        ``"genept-w"``, ``"genept-s"``, ``"expression"`` or ``"obsm:KEY"``.
    learned
        Its model: of the genes, or of the numbers of a vector.
    sentences
        What makes the vectors of ``"genept-s"``.
    """

    name: str
    learned: Learned
    sentences: Sentences | None = None

    @property
    def key(self) -> str | None:
        """The key of ``obsm`` that it needs."""
        return self.name.removeprefix(OBSM) if self.name.startswith(OBSM) else None

    @property
    def of_genes(self) -> bool:
        """Whether its coordinates are sums over genes."""
        return self.sentences is None and self.key is None

    def coordinates(
        self, values: sp.csr_matrix, columns: np.ndarray, seen: np.ndarray, obsm: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        """(n_cells, n_directions) float32.

        Parameters
        ----------
        values, columns, seen
            (n_cells, n_columns) linear values, the model's gene of each column, and (n_genes,) which are measured.
        obsm
            (n_cells, width) vectors by key.

        Raises
        ------
        FormatError
            The vectors needed are not given, or have another width.
        """
        if self.of_genes:
            return self.learned.encode(values, columns, seen)[0]
        if self.sentences is not None:
            return in_view(self.learned, self.sentences.vectors(values, columns, seen))
        return in_view(self.learned, self._checked(obsm))

    def _checked(self, obsm: Mapping[str, np.ndarray]) -> np.ndarray:
        check_width(str(self.key), len(self.learned.encoder.mean), {key: v.shape[1] for key, v in obsm.items()})
        vectors = obsm[str(self.key)]
        if not np.isfinite(vectors).all():
            msg = f"obsm[{self.key!r}] holds NaN or infinite numbers: leave out the cells that could not be embedded."
            raise FormatError(msg)
        return vectors


@dataclass(frozen=True)
class Pool:
    """How the views of a model are put together.

    Parameters
    ----------
    names
        Of all views; the first is the one that the model's genes, map, novelty and homes are of.
    weights
        (n_views,) not negative; 0 leaves a view out of the calls.
    temperatures
        (n_views,) by which each view's own log-probabilities are divided where views are set against one another.
    views
        All but the first.
    """

    names: tuple[str, ...]
    weights: np.ndarray
    temperatures: np.ndarray
    views: tuple[View, ...] = field(default=())

    @property
    def obsm_keys(self) -> tuple[str, ...]:
        """Keys of ``obsm`` that a file must hold."""
        return tuple(view.key for view in self.views if view.key is not None)

    def check(self, widths: Mapping[str, int]) -> None:
        """Refuse a file whose obsm, of these ``widths`` by key, is not what the views need."""
        for view in self.views:
            if view.key is not None:
                check_width(view.key, len(view.learned.encoder.mean), widths)

    def log_p(self, first: np.ndarray, coordinates: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Pooled log-probabilities (n_cells, n_leaves), up to a constant a cell, and (n_cells,) disagreement, 0..1.

        Parameters
        ----------
        first
            (n_cells, n_leaves) log-probabilities of the first view.
        coordinates
            (n_cells, n_directions) of each of the others, in order.
        """
        every = [first, *(ensemble_logits(x, v.learned.heads) for x, v in zip(coordinates, self.views, strict=True))]
        pooled = sum(np.float32(w) * log_p for w, log_p in zip(self.weights, every, strict=True))
        used = [log_p / t for w, log_p, t in zip(self.weights, every, self.temperatures, strict=True) if w > 0]
        return np.asarray(pooled, dtype=np.float32), disagreement_of(np.stack([softmax(log_p) for log_p in used]))


def disagreement_of(p: np.ndarray) -> np.ndarray:
    """(n_cells,) Jensen-Shannon divergence of (n_views, n_cells, n_leaves) probabilities, 0 to 1 (log base: views)."""
    if len(p) < 2:
        return np.zeros(p.shape[1])
    mean = p.mean(axis=0)
    whole, own = (-(q * np.log(np.maximum(q, 1e-12))).sum(axis=-1) for q in (mean, p))
    return np.asarray(np.clip((whole - own.mean(axis=0)) / np.log(len(p)), 0.0, 1.0))


def in_view(learned: Learned, vectors: np.ndarray) -> np.ndarray:
    """(n_cells, n_directions) coordinates of vectors (n_cells, width) in a model of such vectors."""
    width = vectors.shape[1]
    seen = np.ones(width, dtype=bool)
    return learned.encode(as_values(vectors), np.arange(width, dtype=np.int32), seen)[0]


def as_values(vectors: np.ndarray) -> sp.csr_matrix:
    """Vectors as the typer takes cells: (n_cells, width) float32, a number a gene."""
    return sp.csr_matrix(np.asarray(vectors, dtype=np.float32))


def check_width(key: str, width: int, held: Mapping[str, int]) -> None:
    """Refuse a file without the vectors that a model needs.

    Parameters
    ----------
    key, width
        What the model was trained on.
    held
        Width of each entry of the file's ``obsm``.

    Raises
    ------
    FormatError
        The key is absent, or its vectors have another width.
    """
    if key not in held:
        there = ", ".join(held) or "nothing"
        msg = f"The model reads obsm[{key!r}] ({width} numbers a cell), and the file's obsm holds {there}: add it."
        raise FormatError(msg)
    if held[key] != width:
        msg = (
            f"obsm[{key!r}] has {held[key]} numbers a cell, and the model was trained on {width}: embed the cells with "
            "the model and settings that the reference was embedded with."
        )
        raise FormatError(msg)


@cache
def encoder_named(which: str) -> TextEncoder:
    """The text encoder of that name or folder, loaded once; float32, so that a sentence's vector is the same again."""
    return load_encoder(which, precision="float32")


@cache
def _symbols_of(ids: tuple[str, ...]) -> list[str]:
    return [str(symbol) for symbol in symbol_of(list(ids))]


def plain(pool: Pool) -> dict[str, Any]:
    """What of a pool is not a tensor, as plain values for a card."""
    return {
        "names": list(pool.names),
        "weights": [float(w) for w in pool.weights],
        "temperatures": [float(t) for t in pool.temperatures],
        "views": [
            {
                "name": view.name,
                "unit": float(view.learned.unit),
                "target": float(view.learned.encoder.target),
                "members": len(view.learned.heads),
                "sentences": None
                if view.sentences is None
                else {
                    "encoder": view.sentences.encoder,
                    "fingerprint": view.sentences.fingerprint,
                    "most": view.sentences.most,
                },
            }
            for view in pool.views
        ],
    }
