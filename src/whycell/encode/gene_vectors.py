"""Gene vectors: one unit vector a gene and facet, combined, cut short, and set beside their own controls."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from whycell.errors import FormatError, GeneError, UsageError

__all__ = ["GeneVectors", "principal_directions", "read_gene_vectors", "unit_rows", "write_gene_vectors"]

_KIND = "whycell.gene-vectors"
_GENES = 512


@dataclass(frozen=True)
class GeneVectors:
    """A vector for each gene.

    Parameters
    ----------
    genes
        (n,) Ensembl ids, sorted, unique.
    vectors
        (n, n_dims) float32, rows of length one.
    encoder
        What made them.
    facets
        The facets that went in.
    fingerprint
        Of the encoder; ``""`` where it is not known.
    projection
        (n_encoded, n_dims) what a text's own vector is multiplied by to lie in the same space; ``None`` where it does
        already.
    """

    genes: np.ndarray
    vectors: np.ndarray
    encoder: str
    facets: tuple[str, ...]
    fingerprint: str = ""
    projection: np.ndarray | None = None

    def matrix(self, genes: Sequence[str] | np.ndarray) -> np.ndarray:
        """(n_columns, n_dims) float32: the vector of each column's gene, zeros where it has none."""
        position = {gene: i for i, gene in enumerate(self.genes)}
        at = np.fromiter((position.get(str(gene), -1) for gene in genes), dtype=np.int64, count=len(genes))
        out = np.zeros((len(at), self.vectors.shape[1]), dtype=np.float32)
        out[at >= 0] = self.vectors[at[at >= 0]]
        return out

    def words(self, texts: np.ndarray) -> np.ndarray:
        """(n, n_dims) float32 of length one: texts (n, n_encoded), as the same encoder gives them, among the genes."""
        wide = self.vectors.shape[1] if self.projection is None else len(self.projection)
        if texts.shape[1] != wide:
            msg = f"The texts have {texts.shape[1]} dimensions, those of the genes had {wide}: two encoders made them."
            raise UsageError(msg)
        return unit_rows(texts if self.projection is None else texts @ self.projection)

    def truncated(self, n_dims: int) -> GeneVectors:
        """The first ``n_dims`` numbers, brought back to length one: for encoders trained to allow it (Matryoshka,
        Kusupati et al. 2022)."""
        _check(self.vectors, n_dims)
        return self._along(np.eye(self.vectors.shape[1], n_dims, dtype=np.float32))

    def projected(self, n_dims: int) -> GeneVectors:
        """The ``n_dims`` principal directions, brought back to length one: for any other encoder.

        The mean is not taken away, so that the common direction stays what it was; see
        ``genept.prepare_gene_matrix`` for that.
        """
        return self._along(principal_directions(self.vectors, n_dims))

    def _along(self, directions: np.ndarray) -> GeneVectors:
        projection = directions if self.projection is None else self.projection @ directions
        return replace(self, vectors=unit_rows(self.vectors @ directions), projection=projection)

    def permuted(self, *, seed: int = 0) -> GeneVectors:
        """The control in which every gene has the text of another."""
        order = np.random.default_rng(seed).permutation(len(self.genes))
        return replace(self, vectors=self.vectors[order])

    def random(self, *, seed: int = 0) -> GeneVectors:
        """The control without any text: Gaussian vectors of the same mean and spectrum, brought to length one."""
        rng = np.random.default_rng(seed)
        mean = self.vectors.mean(axis=0)
        _, sizes, directions = np.linalg.svd(self.vectors - mean, full_matrices=False)
        noise = rng.standard_normal((len(self.genes), len(sizes))).astype(np.float32)
        made = (noise * (sizes / np.sqrt(len(self.genes)))) @ directions + mean
        return replace(self, vectors=unit_rows(made))


def principal_directions(vectors: np.ndarray, n_dims: int) -> np.ndarray:
    """(n_encoded, n_dims) float32, orthonormal: the strongest directions of (n, n_encoded) vectors, none centred.

    Raises
    ------
    UsageError
        More dimensions were asked for than there are.
    """
    _check(vectors, n_dims)
    _, directions = np.linalg.eigh(vectors.astype(np.float64).T @ vectors)
    directions = directions[:, ::-1]
    # An eigenvector's sign is the library's whim: the largest entry is made positive.
    signs = np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(directions.shape[1])])
    return np.asarray((directions * signs)[:, :n_dims], dtype=np.float32)


def _check(vectors: np.ndarray, n_dims: int) -> None:
    if not 1 <= n_dims <= vectors.shape[1]:
        msg = f"{n_dims} dimensions were asked for; the vectors have {vectors.shape[1]}."
        raise UsageError(msg)


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """float32, each row divided by its length; rows of zeros stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), dtype=np.float32)


def write_gene_vectors(
    path: Path,
    *,
    gene_ids: Sequence[str],
    ensembl_ids: Sequence[Sequence[str]],
    facets: Sequence[str],
    vectors: np.ndarray,
    about: Mapping[str, str],
    projection: np.ndarray | None = None,
) -> None:
    """Write vectors as Parquet, one row a gene and facet.

    Parameters
    ----------
    gene_ids, ensembl_ids, facets
        (n,) whose vector it is, the Ensembl ids of that gene, and which text of it.
    vectors
        (n, n_dims) float32.
    about
        How they were made: ``encoder``, ``fingerprint``, ``texts``, ... kept as the file's metadata.
    projection
        (n_encoded, n_dims) what the encoder's vectors were multiplied by; kept beside ``about``, so that other texts
        can be brought among the genes.
    """
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).ravel())
    table = pa.table(
        {
            "gene_id": pa.array(list(gene_ids)),
            "ensembl_ids": pa.array([list(ids) for ids in ensembl_ids], type=pa.list_(pa.string())),
            "facet": pa.array(list(facets)).dictionary_encode(),
            "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
        }
    )
    metadata = {"kind": _KIND, **about}
    if projection is not None:
        packed = np.ascontiguousarray(projection, dtype="<f4")
        metadata |= {"projection": base64.b64encode(packed.tobytes()).decode(), "encoded_dims": str(len(packed))}
    told = {k.encode(): str(v).encode() for k, v in metadata.items()}
    # No dictionary of the numbers: they never repeat, and looking each up took most of the time of reading.
    pq.write_table(table.replace_schema_metadata(told), path, use_dictionary=["facet"])


def read_gene_vectors(path: str | Path, *, facets: Sequence[str] = ()) -> GeneVectors:
    """Read vectors and combine facets: the mean of a gene's facets, brought back to length one.

    Parameters
    ----------
    path
        What ``write_gene_vectors`` wrote.
    facets
        Which to combine; all where empty. A gene that lacks one is described by the others.

    Returns
    -------
    GeneVectors keyed by Ensembl id; where two genes share an id, the mean of both

    Raises
    ------
    FormatError
        The file is not there, or is something else.
    GeneError
        A facet that it does not hold.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        msg = f"{path} cannot be read as gene vectors ({error}); `whycell genes embed` makes them."
        raise FormatError(msg) from None
    about = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items() if not k.startswith(b"ARROW")}
    if about.get("kind") != _KIND:
        msg = f"{path} holds {', '.join(table.column_names[:4])}, not gene vectors; `whycell genes embed` makes them."
        raise FormatError(msg)
    facet = pc.dictionary_encode(table["facet"]).combine_chunks()
    held = np.asarray(facet.dictionary.to_pylist(), dtype=str)[facet.indices.to_numpy(zero_copy_only=False)]
    present = list(dict.fromkeys(held))
    absent = [facet for facet in facets if facet not in present]
    if absent:
        msg = f"{path} holds no facet {', '.join(absent)}; it holds {', '.join(present)}."
        raise GeneError(msg)
    chosen = tuple(facets) or tuple(present)
    use = np.isin(held, chosen)
    column = table["vector"].combine_chunks()
    flat = column.flatten().to_numpy(zero_copy_only=False).reshape(len(table), -1)[use]
    lists = table["ensembl_ids"].filter(pa.array(use)).combine_chunks()
    row_of = np.repeat(np.arange(len(lists)), pc.list_value_length(lists).to_numpy(zero_copy_only=False))
    genes, at = np.unique(np.asarray(lists.flatten().to_pylist(), dtype=str), return_inverse=True)
    return GeneVectors(
        genes.astype(object),
        _unit_sums(flat, row_of, at),
        about.get("encoder", ""),
        chosen,
        about.get("fingerprint", ""),
        _projection(about, flat.shape[1]),
    )


def _unit_sums(flat: np.ndarray, row_of: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Sums of the rows ``row_of`` by gene ``at`` (n,), brought to length one; a few genes at a time, for the cache."""
    rows = row_of[np.argsort(at, kind="stable")]
    counts = np.bincount(at)
    beyond = np.concatenate([[0], np.cumsum(counts)])
    out = np.empty((len(counts), flat.shape[1]), dtype=np.float32)
    for first in range(0, len(counts), _GENES):
        last = min(first + _GENES, len(counts))
        low, high = beyond[first], beyond[last]
        sums = flat[rows[low:high]].astype(np.float64)
        if (counts[first:last] > 1).any():
            sums = np.add.reduceat(sums, beyond[first:last] - low, axis=0)
        out[first:last] = unit_rows(sums)
    return out


def _projection(about: Mapping[str, str], n_dims: int) -> np.ndarray | None:
    if "projection" not in about:
        return None
    packed = np.frombuffer(base64.b64decode(about["projection"]), dtype="<f4")
    return packed.reshape(int(about["encoded_dims"]), n_dims)
