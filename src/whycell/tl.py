"""Tools: take an AnnData, run a job, write the answer into it under a key."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from whycell._keys import DEFAULT_KEY

if TYPE_CHECKING:
    from anndata import AnnData

    from whycell.results import Audit, ExampleEvidence, Explanation, TypeFeatures

__all__ = ["annotate", "audit", "explain", "explain_examples", "features"]


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
    ``obs[K_disagreement]``
        Only from a model of several views: how far they lie apart, 0 to 1.
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


def audit(
    adata: AnnData,
    *,
    label: str,
    donor: str | None = None,
    study: str | None = None,
    label_map: str | Path | None = None,
    key_added: str = "audit",
    at_most: float = 0.1,
    n_models: int = 60,
    seed: int = 0,
    threads: int = 0,
    force: bool = False,
) -> Audit:
    """Look for cells of ``adata`` that are mislabelled, copied or out of place.

    The same as ``whycell audit`` on a file.

    Parameters
    ----------
    adata
        Cells x genes.
    label
        Column of ``obs`` with the labels to audit.
    donor, study
        Columns of ``obs``.
    label_map
        TSV of label and Cell Ontology id.
    key_added
        First part of the names of the columns written.
    at_most
        Expected share of rightly labelled cells among those flagged as mislabelled.
    n_models
        Models in each of three rounds.
    seed
        Start of every random choice.
    threads
        Processor cores to use; 0 means all.
    force
        Overwrite the columns of an earlier audit with the same ``key_added``.

    Returns
    -------
    Audit
        Frozen, plain tables: ``.suspects`` with the evidence, ``.samples``, counts by label and donor. Also writes into
        ``adata`` (K stands for ``key_added``):

    ``obs[K_score]``
        Probability that the label is wrong, float32; missing for cells that were not audited.
    ``obs[K_flag]``
        ``mislabelled``, ``duplicate``, ``out_of_place`` joined by ``;``, or empty.
    ``obs[K_suggested]``
        The class that explains the cell best, where it is flagged as mislabelled.

    Raises
    ------
    whycell.errors.DataError
        The values, genes or labels cannot be used.
    whycell.errors.OutputError
        The columns are there already and ``force`` is false.
    """
    import numpy as np

    from whycell.errors import OutputError
    from whycell.jobs.audit import audit as job

    columns = [f"{key_added}_{name}" for name in ("score", "flag", "suggested")]
    there = [name for name in columns if name in adata.obs]
    if there and not force:
        msg = f"obs has {there[0]!r} already; choose another key_added, or replace it with force=True."
        raise OutputError(msg)
    result = job(
        [adata],
        label=label,
        donor=donor,
        study=study,
        label_map=None if label_map is None else Path(label_map),
        at_most=at_most,
        n_models=n_models,
        seed=seed,
        threads=threads,
    )
    rows = result.samples["row"].to_numpy()
    for name, column in zip(("score", "flag", "suggested"), columns, strict=True):
        values = np.full(adata.n_obs, np.nan, dtype=np.float32) if name == "score" else np.full(adata.n_obs, "", object)
        values[rows] = result.samples[name].to_numpy()
        adata.obs[column] = values
    return result


def explain(
    adata: AnnData,
    *,
    model: str | Path | None = None,
    key_added: str = DEFAULT_KEY,
    cell: str | None = None,
    of_type: str | None = None,
    against: str = "runner-up",
    reference: str = "against",
    method: str = "rescale",
    top: int = 10,
    markers: str | Path | None = None,
    donor: str | None = None,
    n_checked: int = 120,
    seed: int = 0,
    threads: int = 0,
    force: bool = False,
) -> Explanation:
    """Say which genes made the model type the cells of ``adata`` as it did; writes in place.

    The same as ``whycell explain`` on a file. Contributions are in log-odds of the call against its alternative, and
    those of all genes of a cell add up to the difference between the cell and what it is compared with.

    Parameters
    ----------
    adata
        Cells that :func:`annotate` has typed; with ``model``, any cells.
    model
        Folder of a trained model, or the name of a built-in one; ``None`` is the one recorded by :func:`annotate`.
    key_added
        The ``key_added`` of that run; first part of the names of what is written.
    cell, of_type
        Explain one cell, by its name, or the cells called this type or something below it; all cells by default.
    against
        ``"runner-up"``, ``"sibling"``, ``"rest"``, or a type: what the call is weighed against.
    reference
        What a cell is compared with: the mean of sure cells of the alternative (``"against"``), of all other cells
        (``"others"``), both of the same donor where known, of the training cells (``"training"``), or ``"zeros"``.
    method
        Rule of DeepLIFT: ``"rescale"`` or ``"reveal-cancel"``.
    top
        Genes kept of every cell, for and against each.
    markers
        File of known markers of your own: term, tab, gene; one a line.
    donor
        Column of ``obs`` that says which donor a cell came from; ``donor_id`` or ``donor`` where there is one.
    n_checked
        Cells on which the explanation is put to the test; 0 for none.
    seed
        Start of every random choice.
    threads
        Processor cores to use; 0 means all.
    force
        Overwrite what an earlier run wrote with the same ``key_added``.

    Returns
    -------
    Explanation
        Frozen, plain arrays: ``.frame()`` has a row a cell and gene, ``.type_frame()`` a row a type and gene, and
        ``.checks`` how the explanation fared. Writes into ``adata`` (K stands for ``key_added``):

    ``obs[K--rationale]``, ``obs[K--marker_gene_evidence]``
        Why, in words, and the expressed genes that speak for the call, comma-separated; fields of the cell-annotation
        schema. Empty for cells not explained.
    ``layers[K_contributions]``
        Sparse: the contributions kept.
    ``varm[K_contributions]``
        Mean contributions by type, in the order of ``uns[K_explanation]["types"]``.
    ``uns[K_explanation]``
        How it was made.

    Raises
    ------
    whycell.errors.ModelError
        No model is recorded, or the one recorded is not to be found.
    whycell.errors.UsageError
        There is no such cell, type, reference or rule.
    whycell.errors.OutputError
        An explanation is there already and ``force`` is false.
    """
    from whycell.jobs.explain import explain as job

    return job(
        adata,
        model=None if model is None else str(model),
        inplace=True,
        key=key_added,
        cell=cell,
        of_type=of_type,
        against=against,
        reference=reference,
        method=method,
        top=top,
        layer=True,
        markers=None if markers is None else Path(markers),
        donor=donor,
        n_checked=n_checked,
        seed=seed,
        threads=threads,
        force=force,
    )


def explain_examples(
    adata: AnnData,
    *,
    model: str | Path | None = None,
    key: str = DEFAULT_KEY,
    cell: str | None = None,
    of_type: str | None = None,
    top: int = 10,
    seed: int = 0,
    threads: int = 0,
) -> ExampleEvidence:
    """Say which training cells, donors and studies taught the calls of ``adata``; writes nothing into it.

    The same as ``whycell explain --lens examples`` on a file.

    Parameters
    ----------
    adata
        Cells x genes, typed by ``tl.annotate``.
    model
        Folder of a trained model, or a name; ``None`` is the one recorded in ``uns``.
    key
        The ``key_added`` of ``tl.annotate``.
    cell
        Name of one cell to explain.
    of_type
        Explain the cells called this, or something below it, together; every type where neither is given.
    top
        Training cells named, for and against each.
    seed
        Start of every random choice.
    threads
        Processor cores to use; 0 means all.

    Returns
    -------
    ExampleEvidence
        Frozen, plain tables: ``.frame()``, ``.overview()``, and ``.targets`` with supporters, opponents and the sums by
        donor, study and label of each cell or type.

    Raises
    ------
    whycell.errors.ModelError
        The model is not to be found, or keeps no training cells.
    whycell.errors.UsageError
        There is no such cell or type.
    """
    from whycell.jobs.explain_examples import explain_examples as job

    return job(
        adata,
        model=None if model is None else str(model),
        key=key,
        cell=cell,
        of_type=of_type,
        top=top,
        seed=seed,
        threads=threads,
    )


def features(
    adata: AnnData,
    *,
    model: str | Path | None = None,
    key_added: str = DEFAULT_KEY,
    of_type: str | None = None,
    top: int = 50,
    donor: str | None = None,
    gene_vectors: str | Path | None = None,
    seed: int = 0,
    threads: int = 0,
    force: bool = False,
) -> TypeFeatures:
    """Say along which genes, and which combinations of them, the model that typed ``adata`` decides every type.

    The same as ``whycell features`` on a file.

    Parameters
    ----------
    adata
        Cells that :func:`annotate` has typed.
    model
        Folder of a trained model, or the name of a built-in one; ``None`` is the one recorded in ``adata.uns``.
    key_added
        The ``key_added`` of that run; also the first part of the names written.
    of_type
        Only this type, by name or id, and those below it.
    top
        Genes kept of every type.
    donor
        Column of ``obs`` with donors, over which errors are reckoned; looked for where ``None``.
    gene_vectors
        What ``whycell genes embed`` wrote: programs are then also named by the nearest gene texts.
    seed
        Of the halves of donors that stability is reckoned by.
    threads
        Processor cores to use; 0 means all.
    force
        Overwrite what an earlier run with the same ``key_added`` wrote.

    Returns
    -------
    TypeFeatures
        ``.frame()`` a row a type and gene, ``.programs``, ``.matrix(t, genes)`` exact for any genes. Also writes into
        ``adata`` (K stands for ``key_added``):

    ``varp[K_agop]``, ``varp[K_agop:TYPE]``
        Sparse genes x genes: of each type, on its ``top`` genes; and the mean over types, each brought to trace one.
    ``varm[K_agop]``
        (n_genes, n_types) score of every gene, float32, in the order of ``uns[K_features]["types"]``.
    ``uns[K_features]``
        Where it came from, and the cut.

    Raises
    ------
    whycell.errors.ModelError
        The model is not to be found.
    whycell.errors.UsageError
        There is no such type, or too few of its cells.
    whycell.errors.OutputError
        The entries are there already and ``force`` is false.
    """
    from whycell.jobs.features import features as job

    return job(
        adata,
        model=None if model is None else str(model),
        key=key_added,
        of_type=of_type,
        inplace=True,
        top=top,
        donor=donor,
        gene_vectors=gene_vectors,
        seed=seed,
        threads=threads,
        force=force,
    )
