"""CellTyper: learns cell types from labels at any level of the Cell Ontology, and says how sure it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_is_fitted, validate_data
from threadpoolctl import threadpool_limits

from whycell.compute import Talk
from whycell.encode.gene_vectors import GeneVectors
from whycell.errors import DataError, GeneError
from whycell.knowledge.labels import map_labels
from whycell.knowledge.terms import Ontology
from whycell.models.answer import Answerer, Norms
from whycell.models.calibrate import make_folds
from whycell.models.card import make_card
from whycell.models.device import torch_device
from whycell.models.example_gathering import gather
from whycell.models.home import Homes
from whycell.models.leaves import LeafSpace, build_leaves
from whycell.models.lessons import Cells, Recipe, learn
from whycell.models.outside import OtherGenes
from whycell.models.pooled import Pool
from whycell.models.projection import choose_genes
from whycell.models.representations import Lookout, Sources, most_held_out, pool_of
from whycell.models.tested import calibrate, novelty_model, predict_held_out

__all__ = ["CellTyper", "branches"]


class CellTyper(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A calibrated cell-type classifier on the Cell Ontology.

    Parameters
    ----------
    n_genes
        Genes read at most; those that vary most are kept.
    n_components
        Principal components of the expression that the networks see.
    n_hidden, n_members, epochs
        Hidden units, networks averaged, passes over the data.
    error
        Share of calls that may lie off the true branch of the ontology, on donors or studies never seen.
    normalise
        ``"cp10k"``: values are counts, or proportional to counts; ``"none"``: values are used as they are; ``"auto"``:
        ``"cp10k"`` where all values are whole and not negative and there are more than 20 genes.
    representation
        What is seen of a cell: ``"expression"``; ``"genept-w"``, the sum of its genes' text vectors; ``"genept-s"``,
        its genes as a sentence through a text encoder; ``"ensemble"``, expression and genept-w pooled.
    gene_vectors
        For genept-w: a file that ``whycell genes embed`` wrote, or `GeneVectors`.
    views
        Further views pooled with it: ``"genept-w"``, ``"genept-s"``, or ``"obsm:KEY"`` for vectors given as ``obsm``.
    text_components
        Directions kept of the gene vectors; ``n_components`` is for expression.
    text_encoder
        For genept-s: a name or folder for ``encode.text.load_encoder``.
    network
        What stands on the coordinates: ``"mlp"``, or ``"rfm"``, a recursive feature machine (kernel with a learned
        metric) on at most ``machine_rows`` rows.
    machine_rows
        Rows that teach a machine: two thirds cells seen whole, half of them in turn from every label, one third cells
        seen through gaps. Time grows with their third power.
    random_state
        Seed. The same data, seed and threads give the same model.
    device
        ``"auto"``, ``"cpu"`` or ``"cuda"``, for training only.

    Attributes
    ----------
    classes_
        The labels that name the leaves: what ``predict`` may answer, sorted.
    n_features_in_
        Columns of the X that was learned from.
    about_
        The model's card: plain values.
    examples_
        Training cells kept (``models.examples.Examples``), or ``None``.
    views_
        By name every view that was trained, also one that the pool leaves out; not saved.
    """

    def __init__(
        self,
        *,
        n_genes: int = 3000,
        n_components: int = 50,
        n_hidden: int = 128,
        n_members: int = 1,
        epochs: float = 10,
        error: float = 0.05,
        normalise: str = "auto",
        representation: str = "expression",
        gene_vectors: str | Path | GeneVectors | None = None,
        views: Sequence[str] = (),
        text_components: int = 200,
        text_encoder: str = "minilm",
        network: str = "mlp",
        machine_rows: int = 3000,
        random_state: int | None = 0,
        device: str = "auto",
    ) -> None:
        self.n_genes = n_genes
        self.n_components = n_components
        self.n_hidden = n_hidden
        self.n_members = n_members
        self.epochs = epochs
        self.error = error
        self.normalise = normalise
        self.representation = representation
        self.gene_vectors = gene_vectors
        self.views = views
        self.text_components = text_components
        self.text_encoder = text_encoder
        self.network = network
        self.machine_rows = machine_rows
        self.random_state = random_state
        self.device = device

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        genes: Sequence[str] | None = None,
        groups: Any = None,
        studies: Any = None,
        label_ids: Mapping[str, str] | None = None,
        measured: Mapping[str, np.ndarray] | None = None,
        examples: int = 0,
        cell_names: Sequence[str] | None = None,
        obsm: Mapping[str, np.ndarray] | None = None,
        ontology: Ontology | None = None,
        talk: Talk | None = None,
    ) -> Self:
        """Learn from labelled cells.

        Parameters
        ----------
        X
            (n_cells, n_genes) dense or sparse expression; see ``normalise``.
        y
            (n_cells,) labels: Cell Ontology ids, names, synonyms, or anything else.
        genes
            (n_genes,) gene ids; needed to type files whose columns are ordered otherwise.
        groups
            (n_cells,) donors; held out whole for calibration.
        studies
            (n_cells,) studies; where there are two or more they are held out whole instead.
        label_ids
            Cell Ontology id of each label, "" for none; ``None`` maps them by ``knowledge.labels``.
        measured
            For each study the (n_genes,) genes it measured; the others are unknown there, not zero.
        examples
            Training cells to keep at most, so that the model can say which of them taught a call (``examples_``).
        cell_names
            (n_cells,) under what names; their numbers where ``None``.
        obsm
            (n_cells, width) vectors by key, for the views ``"obsm:KEY"``.
        ontology
            Cell Ontology release; the newest shipped where ``None``.
        talk
            Told of progress.

        Returns
        -------
        self

        Raises
        ------
        LabelError
            Where fewer than two classes remain.
        DataError
            Where lengths disagree.
        """
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype="numeric", ensure_min_samples=2)
        check_classification_targets(y)
        values = sp.csr_matrix(X, dtype=np.float32)
        values.sort_indices()
        original = np.asarray(y)
        labels = original.astype(str).astype(object)
        ontology = ontology or Ontology.load()
        rng = np.random.default_rng(self.random_state)
        if label_ids is None:
            label_ids = map_labels(np.unique(labels.astype(str)), ontology).label_to_id
        # A stop-term ("cell") says nothing; as a class of its own it stays visible without pulling calls up to it.
        ids = {str(label): ("" if term in ontology.stop_terms else term) for label, term in label_ids.items()}
        study_names, study = _codes(studies, len(labels), "studies")
        donor_names, donor = _codes(groups, len(labels), "groups")
        seen = np.ones((len(study_names), values.shape[1]), dtype=bool)
        if measured is not None:
            seen = np.stack([np.asarray(measured.get(name, seen[0]), dtype=bool) for name in study_names])
        target = 1e4 if self._is_counts(values) else 0.0
        gene_names = np.asarray(
            genes if genes is not None else [f"gene{i}" for i in range(values.shape[1])], dtype=object
        )
        if len(gene_names) != values.shape[1]:
            msg = f"Got {len(gene_names)} gene names for {values.shape[1]} columns of X; one name a column is needed."
            raise DataError(msg)
        kept = choose_genes(values, study, seen, n_genes=self.n_genes, target=target)
        authority = study.astype(np.int64) * (len(donor_names) + 1) + donor
        space, meaning = build_leaves(labels, ids, authority, ontology)
        meanings, kind = np.unique(meaning, axis=0, return_inverse=True)
        cells = Cells(values[:, kept], study, donor, seen[:, kept], kind.ravel(), meanings)
        folds = make_folds(study, donor if groups is not None else None, cells.kind, rng)
        recipe = Recipe(
            n_components=self.n_components,
            n_hidden=self.n_hidden,
            n_members=self.n_members,
            epochs=self.epochs,
            target=target,
            shift=0.6 if len(study_names) > 1 else 0.0,
            network=_known_network(self.network),
            machine_rows=self.machine_rows,
        )
        seed = int(rng.integers(2**31))
        sources = Sources.gather(
            self.representation,
            cells,
            genes=gene_names[kept],
            views=self.views,
            gene_vectors=self.gene_vectors,
            text_encoder=self.text_encoder,
            obsm=obsm,
        )
        of_texts = replace(recipe, n_components=self.text_components)
        first, *others = (
            (name, replace(of_texts if name == "genept-w" else recipe), seed + i)
            for i, name in enumerate(sources.names)
        )
        texts = sources.texts if first[0] == "genept-w" else None
        device = torch_device(self.device)
        learned, without = learn(cells, folds, first[1], seed=seed, texts=texts, device=device, talk=talk)
        lookouts = [
            Lookout.train(name, sources, cells, folds, own, seed=own_seed, device=device, talk=talk)
            for name, own, own_seed in others
        ]
        with threadpool_limits(1):  # narrow matrices: BLAS on two cores costs more than it saves
            held = predict_held_out(
                cells, folds, without, rng=rng, others=[one.ask for one in lookouts], most=most_held_out(sources)
            )
        pool: Pool | None = None
        weighed: list[dict[str, Any]] = []
        if lookouts:
            pool, held, weighed = pool_of(
                sources, lookouts, held=held, cells=cells, folds=folds, models=without, below=space.below
            )
        on_branch = branches(labels, ids, cells.kind, space, ontology)
        calibration, held_p = calibrate(
            held,
            cells,
            folds,
            without,
            below=space.below,
            on_branch=on_branch,
            information=space.information,
            error=self.error,
        )
        norms = Norms.of(learned, cells, space)
        self.answerer_ = Answerer(
            genes=gene_names[kept],
            space=space,
            learned=learned,
            calibration=calibration,
            novelty=novelty_model(held, learned),
            norms=norms,
            other=OtherGenes.learn(values, gene_names, kept, study, seen),
            homes=Homes.learn(learned, cells, below=space.below, trust=calibration.trust),
            pool=pool,
        )
        self.views_ = {first[0]: learned, **{one.name: one.learned for one in lookouts}}
        self.examples_ = None
        # Which cells taught a call is reckoned within one network.
        if examples > 0 and pool is None and self.network == "mlp":
            self.examples_ = gather(
                cells,
                learned,
                names={
                    "cell": np.asarray(np.arange(len(labels)) if cell_names is None else cell_names, dtype=object),
                    "label": labels,
                    "donor": np.array(donor_names, dtype=object)[donor],
                    "study": np.array(study_names, dtype=object)[study],
                },
                most=examples,
                seed=seed,
                device=device,
                talk=talk,
            )
        # As the person wrote them: numbers stay numbers, and are sorted as numbers.
        as_given = {str(value): value for value in np.unique(original)}
        named = np.array([as_given[str(label)] for label in space.labels])
        self._order = np.argsort(named, kind="stable")
        self.classes_ = named[self._order]
        self.genes_in_ = gene_names
        self.about_ = make_card(
            parameters=_plain(self.get_params()),
            cells=cells,
            folds=folds,
            calibration=calibration,
            space=space,
            labels=labels,
            held_p=held_p,
            ids=ids,
            studies=study_names,
            donors=donor_names,
            release=ontology.release,
        )
        if sources.names != ("expression",):
            self.about_["representation"] = {"name": self.representation, "views": weighed, **sources.about}
        return self

    def predict_proba(
        self, X: Any, *, genes: Sequence[str] | None = None, obsm: Mapping[str, np.ndarray] | None = None
    ) -> np.ndarray:
        """(n_cells, n_classes) calibrated probabilities of the leaves, columns as ``classes_``."""
        values, columns = self._aligned(X, genes)
        answer = self.answerer_.answer(values, columns, obsm=obsm)
        return np.asarray(answer.probabilities[:, self._order])

    def predict(
        self, X: Any, *, genes: Sequence[str] | None = None, obsm: Mapping[str, np.ndarray] | None = None
    ) -> np.ndarray:
        """(n_cells,) the most probable leaf of each cell, one of ``classes_``."""
        best = self.predict_proba(X, genes=genes, obsm=obsm).argmax(axis=1)
        return np.asarray(self.classes_[best])

    def call(
        self, X: Any, *, genes: Sequence[str] | None = None, obsm: Mapping[str, np.ndarray] | None = None
    ) -> pd.DataFrame:
        """The most precise term that the evidence supports, for each cell.

        Returns
        -------
        DataFrame with ``call, call_term_id, confidence, leaf, leaf_term_id, leaf_confidence, runner_up, novelty, flag``
        and, where several views were pooled, ``disagreement`` (0..1)
        """
        values, columns = self._aligned(X, genes)
        return self.answerer_.answer(values, columns, obsm=obsm).frame()

    def save(self, folder: str | Path, *, force: bool = False) -> Path:
        """Write the model as a folder: ``weights.safetensors``, ``about.json`` and the training cells kept."""
        from whycell.models.store import save

        check_is_fitted(self, "answerer_")
        return save(self.answerer_, self.about_, Path(folder), examples=getattr(self, "examples_", None), force=force)

    @classmethod
    def load(cls, folder: str | Path) -> CellTyper:
        """Read a saved model; refuses a folder that is truncated, edited or not ours."""
        from whycell.models.store import load

        answerer, about = load(Path(folder))
        typer = cls(**{**about["parameters"], "views": tuple(about["parameters"].get("views", ()))})
        typer.answerer_, typer.about_ = answerer, about
        typer._order = np.argsort(answerer.space.labels.astype(str), kind="stable")
        typer.classes_ = answerer.space.labels[typer._order].astype(str)
        typer.genes_in_ = answerer.genes
        typer.n_features_in_ = len(answerer.genes)
        return typer

    def _is_counts(self, values: sp.csr_matrix) -> bool:
        if self.normalise not in ("auto", "cp10k", "none"):
            msg = f"normalise is {self.normalise!r}; 'auto', 'cp10k' or 'none' is needed."
            raise DataError(msg)
        if self.normalise != "auto":
            return self.normalise == "cp10k"
        whole = not len(values.data) or bool((values.data >= 0).all() and (values.data == np.rint(values.data)).all())
        return whole and values.shape[1] > 20

    def _aligned(self, X: Any, genes: Sequence[str] | None) -> tuple[sp.csr_matrix, np.ndarray]:
        check_is_fitted(self, "answerer_")
        if genes is None:
            X = validate_data(self, X, accept_sparse="csr", dtype="numeric", reset=False)
            names: Any = self.genes_in_
        else:
            X, names = check_array(X, accept_sparse="csr", dtype="numeric"), genes
            if len(genes) != X.shape[1]:
                msg = f"Got {len(genes)} gene names for {X.shape[1]} columns of X; one name a column is needed."
                raise DataError(msg)
        columns = self.answerer_.align(np.asarray(names, dtype=object))
        if not (columns >= 0).any():
            msg = (
                f"None of the model's {len(self.answerer_.genes)} genes is among the {len(columns)} given: got "
                f"{', '.join(map(str, list(names)[:3]))}, wanted names like "
                f"{', '.join(map(str, self.answerer_.genes[:3]))}."
            )
            raise GeneError(msg)
        values = sp.csr_matrix(X, dtype=np.float32)
        values.sort_indices()
        return values, columns


def _codes(groups: Any, n: int, what: str) -> tuple[list[str], np.ndarray]:
    if groups is None:
        return ["all"], np.zeros(n, dtype=np.int64)
    names, codes = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    if len(codes) != n:
        msg = f"Got {len(codes)} {what} for {n} cells; one a cell is needed."
        raise DataError(msg)
    return list(names), codes


def _plain(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as a card keeps them: what stands for a file or an object is its name."""
    vectors = parameters["gene_vectors"]
    named = vectors.encoder if isinstance(vectors, GeneVectors) else vectors and Path(vectors).name
    return {**parameters, "gene_vectors": named, "views": list(parameters["views"])}


def _known_network(network: str) -> str:
    if network not in ("mlp", "rfm"):
        msg = f"network is {network!r}; 'mlp' or 'rfm' is needed."
        raise DataError(msg)
    return network


def branches(
    labels: np.ndarray, ids: Mapping[str, str], kind: np.ndarray, space: LeafSpace, ontology: Ontology
) -> np.ndarray:
    """(n_kinds, n_nodes) whether a call of the node is above, at or below what the labels of this kind say.

    Parameters
    ----------
    labels, ids
        (n,) labels, and the Cell Ontology id of each.
    kind
        (n,) int, the meaning of each label.
    space
        The leaves and nodes.
    """
    out = np.zeros((int(kind.max()) + 1, len(space.nodes)), dtype=bool)
    firsts = pd.DataFrame({"kind": kind, "label": labels}).drop_duplicates("kind")
    for k, label in zip(firsts["kind"], firsts["label"], strict=True):
        term = ids.get(label, "")
        if not term:
            out[k] = space.nodes == f"label:{label}"
            continue
        out[k] = [
            not node.startswith("label:") and (ontology.is_ancestor(node, term) or ontology.is_ancestor(term, node))
            for node in space.nodes
        ]
    return out
