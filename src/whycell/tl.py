"""Tools: take an AnnData, run a job, write the answer into it under a key."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from whycell._keys import DEFAULT_KEY

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["annotate"]


def annotate(
    adata: AnnData,
    *,
    model: str | Path | None = None,
    key_added: str = DEFAULT_KEY,
    cluster: str | None = None,
    donor: str | None = None,
    seed: int = 0,
    threads: int = 0,
    device: str = "auto",
    force: bool = False,
) -> None:
    """Type the cells of ``adata``, in place.

    The same as ``whycell annotate`` on a file. The matrix may hold raw counts or logarithms, in ``X``, ``raw`` or a
    layer; the genes may be symbols or Ensembl ids; both are found by looking at the values.

    Parameters
    ----------
    adata
        Cells x genes.
    model
        Folder of a trained model, or the name of a built-in one; ``None`` is the built-in model of human blood.
    key_added
        First part of the names of the columns written.
    cluster
        Column of ``obs`` that holds clusters; adds one agreed call per cluster.
    donor
        Column of ``obs`` that says which donor a cell came from.
    seed
        Start of every random choice.
    threads
        Processor cores to use; 0 means all.
    device
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    force
        Overwrite the columns of an earlier run with the same ``key_added``.

    Returns
    -------
    Nothing; writes into ``adata`` (K stands for ``key_added``):

    ``obs[K]``, ``obs[K--cell_ontology_term_id]``, ``obs[K--cell_ontology_term]``
        The call, its Cell Ontology id and that term's name; categorical.
    ``obs[K_confidence]``
        Calibrated probability that the call is right, float32.
    ``obs[K_leaf]``, ``obs[K_leaf_term_id]``, ``obs[K_leaf_confidence]``
        The most likely trained class, however unsure.
    ``obs[K_runner_up]``, ``obs[K_novelty]``, ``obs[K_flag]``
        The second best class, the novelty score, and words of ``whycell._keys.FLAGS`` joined by ``;``.
    ``uns[K]``
        Where it came from.

    Raises
    ------
    whycell.errors.DataError
        The values or the genes cannot be used.
    whycell.errors.ModelError
        The model's folder is damaged or foreign.
    whycell.errors.OutputError
        The columns are there already and ``force`` is false.
    """
    from whycell.jobs.annotate import annotate as job

    job(
        adata,
        model=None if model is None else str(model),
        inplace=True,
        key=key_added,
        cluster=cluster,
        donor=donor,
        seed=seed,
        threads=threads,
        device=device,
        force=force,
    )
