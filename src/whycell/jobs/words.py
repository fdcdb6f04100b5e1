"""Everything that meaning is looked up in: gene vectors, the encoder that made them, and the ontology's definitions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from whycell._keys import DEFAULT_KEY
from whycell.compute import Talk
from whycell.data.cells import open_cells
from whycell.data.fetch import cache_folder, is_remote, local_copy
from whycell.encode.gene_vectors import GeneVectors, read_gene_vectors
from whycell.encode.service import ServiceEncoder
from whycell.encode.text import TextEncoder, VectorCache
from whycell.encode.words import definition_text, definition_vectors, text_encoder, word_vectors
from whycell.errors import ModelError, UsageError
from whycell.jobs.explain_model import model_of
from whycell.jobs.models import find
from whycell.jobs.record import RUN_FILE
from whycell.knowledge.terms import Ontology, definitions_of
from whycell.knowledge.texts import gene_texts, read_gene_table
from whycell.models.store import read_card

__all__ = ["Words", "open_words", "vectors_at"]

_BESIDE = "gene_vectors.parquet"


@dataclass(frozen=True)
class Words:
    """Gene vectors and what texts need to lie among them.

    Parameters
    ----------
    vectors, encoder
        Of the genes, and what made them.
    ontology
        The release whose definitions are meant.
    nodes
        Terms that the model can call; ``None`` without a model.
    texts
        Ensembl id -> what is written of the gene.
    cache
        Folder of encoded texts; ``None`` is the user's own.
    about
        Where it all came from.
    """

    vectors: GeneVectors
    encoder: TextEncoder
    ontology: Ontology
    nodes: frozenset[str] | None = None
    texts: dict[str, str] = field(default_factory=dict)
    cache: Path | None = None
    about: dict[str, Any] = field(default_factory=dict)

    def of(self, texts: Sequence[str], *, talk: Talk | None = None) -> np.ndarray:
        """(n, n_dims) float32 of length one: any texts, among the genes."""
        return word_vectors(texts, self.vectors, encoder=self.encoder, cache=self.cache, talk=talk)

    def definitions(self, terms: Sequence[str] | None = None, *, talk: Talk | None = None) -> np.ndarray:
        """(n_terms, n_dims) float32 of length one: what the ontology says of terms; of all live ones where ``None``."""
        return definition_vectors(
            self.ontology, self.vectors, encoder=self.encoder, terms=terms, cache=self.cache, talk=talk
        )

    def unsent(self, texts: Sequence[str] = ()) -> int:
        """How many texts a service would be sent for a lookup, definitions included; 0 for an encoder at hand."""
        if not isinstance(self.encoder, ServiceEncoder):
            return 0
        told = [definition_text(str(term), release=self.ontology.release) for term in self.ontology.ids]
        with closing(VectorCache(self.cache or cache_folder())) as store:
            keys = [store.key(self.encoder.fingerprint, text) for text in dict.fromkeys([*told, *texts])]
            return len(keys) - len(store.get(keys))

    def definition(self, term: str) -> str:
        """What the ontology says of a term; empty for what is no term, or has no definition."""
        return str(definitions_of(self.ontology.release).get(term, {}).get("description", ""))


def open_words(
    gene_vectors: str | Path | None = None,
    *,
    model: str | Path | None = None,
    typed: Any = None,
    genes: str | Path | None = None,
    facets: Sequence[str] = (),
    encoder: str = "",
    service_model: str = "",
    key_from: str = "OPENAI_API_KEY",
    key: str = DEFAULT_KEY,
    release: str | None = None,
    cache: Path | None = None,
    threads: int = 0,
) -> Words:
    """Read gene vectors, find their encoder, and take the ontology's release from the model.

    Parameters
    ----------
    gene_vectors
        What ``whycell genes embed`` wrote: a path, ``https://`` or ``hf://owner/name/file``; without it those that the
        model carries or names.
    model
        Folder, name or address of a model.
    typed
        A file that ``annotate`` wrote: its model is taken where none is named.
    genes
        The table of ``whycell genes build``, for what is written of each gene; without it ``genes.parquet`` beside the
        vectors, where there is one.
    facets
        Kinds of text; all where empty.
    encoder, service_model, key_from
        What made the vectors, where it is not the bundled encoder; see ``encode.words.text_encoder``.
    key
        Under which ``annotate`` wrote.
    release
        Of the ontology; the model's, else the newest, where ``None``.
    cache
        Of encoded texts; ``None`` is the user's own.
    threads
        Cores.

    Raises
    ------
    UsageError
        No vectors, or an encoder that did not make them.
    """
    folder = find(model) if model is not None else _model_of(typed, key)
    card = read_card(folder) if folder is not None else None
    vectors, source = vectors_at(gene_vectors, folder, facets=facets)
    ontology = Ontology.load(release or (card["ontology"]["release"] if card else None))
    about = {"encoder": vectors.encoder, "gene_vectors": source, "ontology_release": ontology.release}
    return Words(
        vectors,
        text_encoder(vectors, which=encoder, service_model=service_model, key_from=key_from, threads=threads),
        ontology,
        frozenset(str(node) for node in card["space"]["nodes"]) if card else None,
        _written(genes, source, facets),
        cache,
        about | ({"model": folder.name} if folder is not None else {}),
    )


def vectors_at(
    gene_vectors: str | Path | None, folder: Path | None = None, *, facets: Sequence[str] = ()
) -> tuple[GeneVectors, str]:
    """Gene vectors from an address or path or, without one, those that a model's folder carries or names.

    Parameters
    ----------
    gene_vectors
        Path, ``https://`` or ``hf://owner/name/file``.
    folder
        Of a model.
    facets
        Kinds of text; all where empty.

    Returns
    -------
    The vectors, and where they came from

    Raises
    ------
    UsageError
        There are none.
    """
    source, digest = gene_vectors, None
    if source is None and folder is not None:
        source, digest = _vectors_of(folder)
    if source is None:
        whose = f"the model {folder.name!r} names none" if folder is not None else "no model was named either"
        msg = (
            f"Gene vectors are needed, and {whose}: give --gene-vectors FILE (`whycell genes embed` makes it; "
            "https:// and hf:// are fetched)."
        )
        raise UsageError(msg)
    return read_gene_vectors(local_copy(source, sha256=digest), facets=facets), str(source)


def _vectors_of(folder: Path) -> tuple[str | Path | None, str | None]:
    """The vectors in a model's folder, or those it was trained with, found by their fingerprint in its record."""
    if (folder / _BESIDE).is_file():
        return folder / _BESIDE, None
    wanted = read_card(folder).get("representation", {}).get("gene_vectors", "")
    try:
        inputs = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))["inputs"]
    except (OSError, ValueError, KeyError):
        inputs = {}
    found = next((path for path, fingerprint in inputs.items() if wanted and fingerprint == wanted), None)
    return found, str(wanted).removeprefix("sha256:") if found else None


def _model_of(typed: Any, key: str) -> Path | None:
    if typed is None:
        return None
    with open_cells(typed) as cells:
        try:
            return model_of(cells, None, key=key, talk=Talk())[2]
        except ModelError:
            return None  # never typed, or its model has moved: vectors may be given without it


def _written(genes: str | Path | None, vectors: str, facets: Sequence[str]) -> dict[str, str]:
    if genes is None and not is_remote(vectors):
        beside = Path(vectors).with_name("genes.parquet")
        genes = beside if beside.is_file() else None
    if genes is None:
        return {}
    table = read_gene_table(local_copy(genes))
    own = [facet for facet in facets if facet in ("name", "summary")]
    texts = gene_texts(table, facets=own).drop_duplicates("gene_id", keep="last").set_index("gene_id")["text"].to_dict()
    pairs = zip(table["gene_id"], table["ensembl_ids"], strict=True)
    return {str(id_): str(texts[gene]) for gene, ids in pairs if gene in texts for id_ in ids}
