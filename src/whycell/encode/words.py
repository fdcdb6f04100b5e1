"""Words among the genes: texts of a person's, and definitions of cell types, in the space of the gene vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from whycell.compute import Talk
from whycell.encode.gene_vectors import GeneVectors
from whycell.encode.service import Service, ServiceEncoder
from whycell.encode.text import TextEncoder, embed_texts, load_encoder
from whycell.errors import FormatError, UsageError
from whycell.knowledge.terms import Ontology, definitions_of

__all__ = ["definition_text", "definition_vectors", "text_encoder", "word_vectors"]


def text_encoder(
    vectors: GeneVectors,
    *,
    which: str = "",
    service_model: str = "",
    key_from: str = "OPENAI_API_KEY",
    device: str = "auto",
    threads: int = 0,
) -> TextEncoder:
    """The encoder that made the gene vectors.

    Parameters
    ----------
    vectors
        As ``read_gene_vectors`` gives them.
    which
        ``"minilm"``, a folder, or the address of a service; "" is the bundled encoder.
    service_model, key_from
        For a service: the model's name there, and the environment variable with the key.
    device, threads
        As ``load_encoder`` takes them.

    Raises
    ------
    UsageError
        Another encoder made the vectors: texts of two encoders cannot be compared.
    """
    encoder: TextEncoder
    if which.startswith(("https://", "http://")):
        encoder = ServiceEncoder(Service(which, key_from=key_from), service_model or vectors.encoder)
    else:
        precision = vectors.fingerprint.rpartition(":")[2]
        precision = precision if precision in ("float32", "bfloat16") else "float32"
        encoder = load_encoder(which or "minilm", precision=precision, device=device, threads=threads)
    if vectors.fingerprint and vectors.fingerprint != encoder.fingerprint:
        msg = (
            f"The gene vectors were made by {vectors.encoder or 'another encoder'}, and texts of {encoder.name} cannot "
            "be compared with them; name the encoder that made them with --encoder FOLDER|URL."
        )
        raise UsageError(msg)
    return encoder


def word_vectors(
    texts: Sequence[str],
    vectors: GeneVectors,
    *,
    encoder: TextEncoder,
    cache: Path | None = None,
    talk: Talk | None = None,
) -> np.ndarray:
    """(n, n_dims) float32 of length one: texts in the space of the gene vectors.

    Parameters
    ----------
    texts
        (n,) any texts.
    vectors, encoder
        Of the genes, and what made them.
    cache, talk
        As ``embed_texts`` takes them.
    """
    return vectors.words(embed_texts(texts, encoder, cache=cache, talk=talk))


def definition_text(term: str, *, release: str) -> str:
    """What the ontology says of a term: its name and definition; the name alone where it has none.

    Parameters
    ----------
    term
        Id of a term.
    release
        Of the ontology.
    """
    said = definitions_of(release).get(term)
    if said is None:
        msg = f"{term} is not a term of Cell Ontology release {release}."
        raise FormatError(msg)
    return f"{said['label']}: {said['description']}" if said.get("description") else str(said["label"])


def definition_vectors(
    ontology: Ontology,
    vectors: GeneVectors,
    *,
    encoder: TextEncoder,
    terms: Sequence[str] | None = None,
    cache: Path | None = None,
    talk: Talk | None = None,
) -> np.ndarray:
    """(n_terms, n_dims) float32 of length one: what the ontology says of each term, among the genes.

    Parameters
    ----------
    ontology
        A release.
    vectors, encoder, cache, talk
        As ``word_vectors`` takes them.
    terms
        Which; all live terms where ``None``.
    """
    wanted = [str(term) for term in (ontology.ids if terms is None else terms)]
    texts = [definition_text(term, release=ontology.release) for term in wanted]
    return word_vectors(texts, vectors, encoder=encoder, cache=cache, talk=talk)
