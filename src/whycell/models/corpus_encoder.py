"""What turns the counts of a corpus into vectors while they are read: fitted on a sample before the pass begins.

The sample is kept beside the directions. Training reads a hundred million vectors, but what a finished model must know
of counts (gaps in the panel, chimeras, usual sums, genes it does not read) is learned from some thousands of cells.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors
from threadpoolctl import threadpool_limits

from whycell.corpus.store import COLUMNS
from whycell.data.values import ValueKind, judge_values, to_linear
from whycell.data.whole import card_digest, write_whole
from whycell.encode.cells import Encoder, Gaps, align_genes
from whycell.encode.gene_vectors import GeneVectors, read_gene_vectors
from whycell.encode.genept import prepare_gene_matrix
from whycell.errors import DataError, ExpressionError, GeneError, ModelError, UsageError
from whycell.knowledge.genes import resolve_genes
from whycell.models.held_out import HeldOutGroups, choose_held_out
from whycell.models.outside import OtherGenes
from whycell.models.projection import balance, choose_genes, learn_encoder

__all__ = ["REPRESENTATIONS", "CorpusEncoder", "Sample", "corpus_encoder", "load_corpus_encoder"]

#: How a cell becomes a vector.
REPRESENTATIONS = {
    "expression": "principal directions of the normalised expression",
    "genept-w": "sums of the text vectors of the genes, weighted by expression, along the directions that vary most",
}
_KIND, _FORMAT = "whycell.corpus-encoder", 1
_TENSORS, _CARD = "encoder.safetensors", "encoder.json"
_TARGET = 1e4
_FEWEST, _WIDEST = 50, 256
_JUDGED = 200


@dataclass(frozen=True)
class Sample:
    """Some cells of the corpus, with their counts on the model's genes.

    Parameters
    ----------
    values
        (n_cells, n_genes) linear values.
    cells
        One row a cell, the columns of ``corpus.store.COLUMNS``.
    studies
        (n_studies,) names.
    measured
        (n_studies, n_genes) bool.
    """

    values: sp.csr_matrix
    cells: pd.DataFrame
    studies: np.ndarray
    measured: np.ndarray


@dataclass(frozen=True)
class CorpusEncoder:
    """Counts to vectors, and what it was fitted on.

    Parameters
    ----------
    genes
        (n_genes,) the genes it reads.
    encoder
        Scaled so that coordinates have a mean standard deviation of one.
    unit
        What the directions were divided by.
    other
        The genes that it does not read.
    sample
        The cells that it was fitted on, and those held out.
    held_out
        Donors or studies that took no part in the fit, and take none in training.
    representation
        One of `REPRESENTATIONS`.
    about
        More of the card: the gene vectors used, the seed.
    """

    genes: np.ndarray
    encoder: Encoder
    unit: float
    other: OtherGenes
    sample: Sample
    held_out: HeldOutGroups
    representation: str
    about: dict[str, Any]
    _met: dict[int, tuple[Any, np.ndarray, ValueKind]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def n_dimensions(self) -> int:
        """Numbers of a vector."""
        return int(self.encoder.directions.shape[1])

    @property
    def digest(self) -> str:
        """What identifies the encoder: the digest over its card, which covers its numbers."""
        return str(self.about["sha256"])

    def encode(self, values: sp.csr_matrix, genes: pd.DataFrame) -> np.ndarray:
        """Vectors of cells.

        Parameters
        ----------
        values
            (n_cells, n_columns) counts, or a logarithm of counts that can be undone; judged once a ``genes``.
        genes
            (n_columns) rows with ``gene_id`` and ``symbol``; the same object for all blocks of one file.

        Returns
        -------
        (n_cells, n_dimensions) float32
        """
        values = sp.csr_matrix(values, dtype=np.float32)
        if id(genes) not in self._met:
            columns = align_genes(_gene_ids(genes), self.genes)
            if not (columns >= 0).any():
                msg = (
                    f"None of the encoder's {len(self.genes)} genes is among {len(genes)}, such as "
                    f"{', '.join(genes['gene_id'].astype(str)[:3])}; files of one species are needed."
                )
                raise GeneError(msg)
            self._met[id(genes)] = (genes, columns, judge_values(values[:_JUDGED]))
        _, columns, kind = self._met[id(genes)]
        seen = np.zeros(len(self.genes), dtype=bool)
        seen[columns[columns >= 0]] = True
        linear = values if kind.kind == "empty" else to_linear(values, kind)
        return self.encoder.encode(linear, columns, gaps=Gaps(seen[None]))[0]

    def save(self, folder: Path) -> Path:
        """Write to a folder; the same encoder gives the same bytes.

        Parameters
        ----------
        folder
            Where to; made if need be.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / _TENSORS, save_tensors(_tensors(self)))
        write_whole(folder / _CARD, json.dumps(self.about, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
        return folder


def corpus_encoder(
    sample_counts: sp.csr_matrix,
    genes: pd.DataFrame,
    *,
    cells: pd.DataFrame,
    representation: str = "expression",
    gene_vectors: Path | GeneVectors | None = None,
    measured: Mapping[str, np.ndarray] | None = None,
    n_genes: int = 3000,
    n_dimensions: int | None = None,
    seed: int = 0,
) -> CorpusEncoder:
    """Fit an encoder on a sample of a plan's cells.

    Parameters
    ----------
    sample_counts
        (n_cells, n_genes) counts, or logarithms that can be undone, over the union of the files' genes; some
        thousands of cells, from as many donors and studies as can be had.
    genes
        (n_genes) rows with ``gene_id`` (Ensembl; resolved from ``symbol`` where empty) and ``symbol``.
    cells
        One row a cell of the sample, the columns of ``corpus.store.COLUMNS``.
    representation
        One of `REPRESENTATIONS`.
    gene_vectors
        For ``"genept-w"``: what ``whycell genes embed`` wrote.
    measured
        By study the (n_genes,) bool genes that its files measure; those detected in the sample where ``None``.
    n_genes
        Genes read at most: those that vary most.
    n_dimensions
        Numbers of a vector; four for each label, between 50 and 256, where ``None``.
    seed
        Of directions and of what is held out.

    Returns
    -------
    CorpusEncoder

    Raises
    ------
    DataError
        Where lengths or columns disagree.
    """
    values, ids = _checked(sample_counts, genes, cells)
    studies, study = np.unique(cells["study"].astype(str), return_inverse=True)
    seen = _measured(values, studies, study, genes, measured)
    known = ids != ""
    values, ids, seen = values[:, known], ids[known], seen[:, known]
    held_out = choose_held_out(cells, seed=seed)
    taught = ~held_out.mask(cells)
    donor = np.unique(cells["study"].astype(str) + " / " + cells["donor"].astype(str), return_inverse=True)[1]
    label = np.unique(cells["label_id"].where(cells["label_id"] != "", cells["label"]).astype(str), return_inverse=True)
    vectors = _gene_vectors(representation, gene_vectors)
    texts = None if vectors is None else vectors.matrix(ids)
    if texts is not None:  # a gene without a text adds nothing to a sum of texts
        described = np.abs(texts).sum(axis=1) > 0
        kept = np.flatnonzero(described)[
            choose_genes(
                values[taught][:, described], study[taught], seen[:, described], n_genes=n_genes, target=_TARGET
            )
        ]
        texts = prepare_gene_matrix(texts[kept], centre="mean")
    else:
        kept = choose_genes(values[taught], study[taught], seen, n_genes=n_genes, target=_TARGET)
    width = n_dimensions or int(np.clip(4 * len(label[0]), _FEWEST, _WIDEST))
    with threadpool_limits(1):  # the same sums on any number of cores
        encoder, unit = _fit(
            values[taught][:, kept],
            study[taught],
            seen[:, kept],
            donor[taught],
            label[1][taught],
            width=width,
            texts=texts,
            seed=seed,
        )
        other = OtherGenes.learn(values[taught], ids, kept, study[taught], seen)
    sample = Sample(
        values[:, kept], cells.loc[:, list(COLUMNS)].reset_index(drop=True), studies.astype(object), seen[:, kept]
    )
    about = {
        "representation": representation,
        "gene_vectors": {"encoder": vectors.encoder, "facets": list(vectors.facets)} if vectors is not None else None,
        "seed": seed,
        "sampled_cells": len(cells),
    }
    made = CorpusEncoder(ids[kept], encoder, unit, other, sample, held_out, representation, about)
    about.update(_card(made))
    return made


def load_corpus_encoder(folder: Path) -> CorpusEncoder:
    """Read a saved encoder; refuses a folder that is truncated, edited or not ours."""
    folder = Path(folder)
    try:
        about = json.loads((folder / _CARD).read_text(encoding="utf-8"))
        raw = (folder / _TENSORS).read_bytes()
        ours = about["kind"] == _KIND and about["format"] == _FORMAT and about["sha256"] == card_digest(about)
    except (OSError, ValueError, KeyError, TypeError):
        about, raw, ours = {}, b"", False
    if not ours or hashlib.sha256(raw).hexdigest() != about["tensors_sha256"]:
        msg = (
            f"{folder} is not an encoder that `whycell corpus gather` wrote, or was cut short or edited; gather again."
        )
        raise ModelError(msg)
    held = load_tensors(raw)
    values = sp.csr_matrix(
        (held["sample.data"], held["sample.indices"], held["sample.indptr"]),
        shape=(len(held["sample.indptr"]) - 1, len(about["genes"])),
    )
    texts = {name: np.asarray(about["sample"][name], dtype=object)[held[f"sample.{name}"]] for name in COLUMNS[:-1]}
    return CorpusEncoder(
        genes=np.array(about["genes"], dtype=object),
        encoder=Encoder(held["mean"], held["share"], held["directions"], about["target"]),
        unit=about["unit"],
        other=OtherGenes(
            genes=np.array(about["other_genes"], dtype=object),
            share=held["other.share"],
            model_share=held["other.model_share"],
            centre=about["other_centre"],
            width=about["other_width"],
        ),
        sample=Sample(
            values,
            pd.DataFrame({**texts, "row": held["sample.row"]}),
            np.array(about["studies"], dtype=object),
            held["measured"],
        ),
        held_out=HeldOutGroups(**about["held_out"]),
        representation=about["representation"],
        about=about,
    )


def _gene_ids(genes: pd.DataFrame) -> np.ndarray:
    """(n,) stable Ensembl id of each gene: its id, and where it has none that is known, that of its symbol."""
    found = resolve_genes(genes["gene_id"].astype(str))
    if "symbol" in genes:
        named = resolve_genes(genes["symbol"].astype(str), species=found.species if (found.ids != "").any() else None)
        found = found.filled_from(named) if named.species == found.species else named
    ids = found.ids.astype(object)
    first = ~pd.Series(ids).duplicated().to_numpy()
    return np.where(first, ids, "")


def _checked(counts: sp.csr_matrix, genes: pd.DataFrame, cells: pd.DataFrame) -> tuple[sp.csr_matrix, np.ndarray]:
    missing = [name for name in COLUMNS if name not in cells]
    if missing or counts.shape != (len(cells), len(genes)):
        msg = (
            f"A sample of shape {counts.shape} came with {len(genes)} genes and {len(cells)} cells without "
            f"{missing or 'nothing'}; one row a cell with {', '.join(COLUMNS)} is needed."
        )
        raise DataError(msg)
    values = sp.csr_matrix(counts, dtype=np.float32)
    values.sum_duplicates()
    address = cells["address"].astype(str).to_numpy()
    parts, rows = [], []
    for name in np.unique(address):  # each file holds values of its own kind
        rows.append(np.flatnonzero(address == name))
        part = values[rows[-1]]
        kind = judge_values(part[:_JUDGED])
        parts.append(part if kind.kind == "empty" else to_linear(part, kind))
    values = sp.vstack(parts, format="csr")[np.argsort(np.concatenate(rows))]
    if not values.nnz:
        msg = "The sample of the corpus holds zeros only; an expression matrix is needed."
        raise ExpressionError(msg)
    values.sort_indices()
    return values, _gene_ids(genes)


def _measured(
    values: sp.csr_matrix,
    studies: np.ndarray,
    study: np.ndarray,
    genes: pd.DataFrame,
    measured: Mapping[str, np.ndarray] | None,
) -> np.ndarray:
    if measured is not None:
        return np.stack([np.asarray(measured[name], dtype=bool) for name in studies])
    return np.stack([np.bincount(values[study == s].indices, minlength=len(genes)) > 0 for s in range(len(studies))])


def _gene_vectors(representation: str, vectors: Path | GeneVectors | None) -> GeneVectors | None:
    if representation not in REPRESENTATIONS or (representation == "genept-w") != (vectors is not None):
        msg = (
            f"Got representation {representation!r} {'with' if vectors is not None else 'without'} gene vectors; "
            "wanted 'expression' without, or 'genept-w' with --gene-vectors (`whycell genes embed` makes them)."
        )
        raise UsageError(msg)
    if vectors is None or isinstance(vectors, GeneVectors):
        return vectors
    return read_gene_vectors(vectors)


def _fit(
    values: sp.csr_matrix,
    study: np.ndarray,
    measured: np.ndarray,
    donor: np.ndarray,
    kind: np.ndarray,
    *,
    width: int,
    texts: np.ndarray | None,
    seed: int,
) -> tuple[Encoder, float]:
    present, study = np.unique(study, return_inverse=True)
    encoder = learn_encoder(
        values,
        study,
        measured[present],
        kind=kind,
        weights=balance(study, donor, kind),
        n_components=width,
        target=_TARGET,
        rng=np.random.default_rng([seed, 1]),
        texts=texts,
    )
    columns = np.arange(values.shape[1], dtype=np.int32)
    x, _ = encoder.encode(values, columns, gaps=Gaps(measured[present]), pattern=study)
    unit = float(x.std(axis=0).mean()) or 1.0
    scaled = np.ascontiguousarray(encoder.directions / np.float32(unit))
    return Encoder(encoder.mean, encoder.share, scaled, encoder.target), unit


def _coded_sample(sample: Sample) -> tuple[dict[str, list[str]], dict[str, np.ndarray]]:
    names, codes = {}, {}
    for column in COLUMNS[:-1]:
        values, at = np.unique(sample.cells[column].astype(str), return_inverse=True)
        names[column], codes[f"sample.{column}"] = [str(value) for value in values], at.astype(np.int32)
    return names, codes


def _tensors(made: CorpusEncoder) -> dict[str, np.ndarray]:
    values = made.sample.values
    tensors = {
        "mean": made.encoder.mean,
        "share": made.encoder.share,
        "directions": made.encoder.directions,
        "other.share": made.other.share,
        "other.model_share": made.other.model_share,
        "measured": made.sample.measured,
        "sample.data": values.data.astype(np.float32),
        "sample.indices": values.indices.astype(np.int32),
        "sample.indptr": values.indptr.astype(np.int64),
        "sample.row": made.sample.cells["row"].to_numpy(dtype=np.int64),
        **_coded_sample(made.sample)[1],
    }
    return {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}


def _card(made: CorpusEncoder) -> dict[str, Any]:
    card = {
        **made.about,
        "kind": _KIND,
        "format": _FORMAT,
        "genes": [str(gene) for gene in made.genes],
        "other_genes": [str(gene) for gene in made.other.genes],
        "studies": [str(study) for study in made.sample.studies],
        "sample": _coded_sample(made.sample)[0],
        "held_out": made.held_out.plain(),
        "target": float(made.encoder.target),
        "unit": made.unit,
        "other_centre": made.other.centre,
        "other_width": made.other.width,
        "n_dimensions": made.n_dimensions,
        "tensors_sha256": hashlib.sha256(save_tensors(_tensors(made))).hexdigest(),
    }
    return {**card, "sha256": card_digest(card)}
