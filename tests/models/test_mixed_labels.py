"""Labels of mixed detail: what a coarse label leaves open, the fine labels of others fill in."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from whycell.jobs.references import load_references
from whycell.knowledge.terms import Ontology
from whycell.models.typer import CellTyper

CD4, CD4_NAIVE, CD4_MEMORY = "CL:0000624", "CL:0000895", "CL:0000897"


@dataclass(frozen=True)
class Kang:
    """Eight donors of one study: counts, genes, Cell Ontology ids as labels, donors by size."""

    X: sp.csr_matrix
    genes: list[str]
    terms: np.ndarray
    donors: np.ndarray
    by_size: list[str]


@pytest.fixture(scope="module")
def kang(shared_data: Path) -> Kang:
    cells = shared_data / "cells"
    asked = {"label": "cell_type", "donor": "donor", "label_map": cells / "label_to_cl.tsv", "threads": 1}
    loaded = load_references([cells / "kang_ctrl_8donors.h5ad"], **asked)
    terms = loaded.obs["label"].map(loaded.label_ids).to_numpy(dtype=object)
    by_size = loaded.obs["donor"].value_counts().index.tolist()
    return Kang(loaded.X, list(loaded.genes), terms, loaded.obs["donor"].to_numpy(), by_size)


def parents(terms: np.ndarray) -> np.ndarray:
    """Each term's first parent in the Cell Ontology."""
    ontology = Ontology.load()
    return np.array([sorted(ontology.parents(term))[0] for term in terms], dtype=object)


def accuracies(kang: Kang, test: list[str], coarse: list[str], *, n: int) -> tuple[float, float, float]:
    """Share of unseen donors' cells typed right: full labels, half of the donors coarse, the same flat."""
    unseen = np.isin(kang.donors, test)
    rows = np.sort(np.random.default_rng(0).permutation(np.flatnonzero(~unseen))[:n])
    mixed = np.where(np.isin(kang.donors, coarse), parents(kang.terms), kang.terms).astype(object)

    def right(labels: np.ndarray, *, flat: bool = False) -> float:
        ids = dict.fromkeys(labels, "") if flat else None
        typer = CellTyper().fit(kang.X[rows], labels[rows], genes=kang.genes, groups=kang.donors[rows], label_ids=ids)
        p = typer.predict_proba(kang.X[unseen])
        if flat:  # a coarse class is no answer at the leaves: the best of the fine ones, which is more than fair
            p = p * np.isin(typer.classes_, kang.terms)
        return float((typer.classes_[p.argmax(axis=1)] == kang.terms[unseen]).mean())

    return right(kang.terms), right(mixed), right(mixed, flat=True)


def test_coarse_labels_of_half_the_donors_cost_next_to_nothing(draw, others) -> None:
    """Synthetic cells: three of six donors know only "T cell" and a parent of "B cell"."""
    blood = draw(1500, seed=1)
    coarse = dict(zip(blood.labels, blood.labels, strict=True))
    coarse |= {label: "T cell" for label in coarse if "T cell" in label}
    coarse |= {"B cell": "lymphocyte of B lineage"}
    half = np.isin(blood.donors, ["d0", "d2", "d4"])
    mixed = np.where(half, [coarse[label] for label in blood.labels], blood.labels).astype(object)
    found = {}
    for name, labels, ids in (("full", blood.labels, None), ("mixed", mixed, None), ("flat", mixed, "none")):
        typer = CellTyper()
        typer.fit(blood.X, labels, groups=blood.donors, label_ids=ids and dict.fromkeys(labels, ""))
        found[name] = (typer.predict(others.X) == others.labels).mean()
        if name == "mixed":
            assert set(typer.classes_) == set(blood.labels), "a coarse label is no class of its own"
    assert found["mixed"] > found["full"] - 0.04
    assert found["mixed"] > found["flat"] + 0.15


def test_kang_with_coarse_labels_for_half_of_the_donors(kang: Kang) -> None:
    order = kang.by_size
    full, mixed, flat = accuracies(kang, [order[3], order[5]], [order[0], order[2], order[6]], n=3000)
    assert full > 0.93
    assert mixed > full - 0.01
    assert mixed > flat


@pytest.mark.soak
def test_every_pair_of_kang_s_donors_unseen(kang: Kang) -> None:
    """The same with all cells and four pairs of donors, so that each donor is unseen once."""
    order = kang.by_size
    found = []
    for test in ((0, 7), (1, 6), (2, 5), (3, 4)):
        rest = [i for i in range(8) if i not in test]
        found.append(accuracies(kang, [order[i] for i in test], [order[i] for i in rest[::2]], n=12_000))
    full, mixed, flat = np.mean(found, axis=0)
    assert mixed > full - 0.01
    assert mixed > flat


@dataclass(frozen=True)
class TwoStudies:
    """A model of Kang, who knows CD4 cells, and PBMC 3k, which tells naive from memory; and calls of others' cells."""

    typer: CellTyper
    kang: pd.DataFrame  # CD4 cells of donors that were not trained on
    zheng: pd.DataFrame  # all cells of a study that was not trained on


@pytest.fixture(scope="module")
def two_studies(shared_data: Path) -> TwoStudies:
    cells = shared_data / "cells"
    files = [cells / name for name in ("kang_ctrl_8donors.h5ad", "pbmc3k_counts.h5ad", "zheng_facs_3774.h5ad")]
    asked = {"label": "cell_type", "donor": "donor", "label_map": cells / "label_to_cl.tsv", "threads": 1}
    loaded = load_references(files[:2], **asked)
    obs = loaded.obs
    donors = obs["donor"][obs["study"] == "kang_ctrl_8donors"].unique().tolist()
    unseen = obs["donor"].isin(sorted(donors)[:4]).to_numpy()
    rows = np.sort(np.random.default_rng(0).permutation(np.flatnonzero(~unseen))[:5000])
    typer = CellTyper(normalise="cp10k").fit(
        loaded.X[rows],
        obs["label"].to_numpy(dtype=object)[rows],
        genes=list(loaded.genes),
        groups=obs["donor"].to_numpy()[rows],
        studies=obs["study"].to_numpy()[rows],
        label_ids=loaded.label_ids,
        measured=loaded.measured,
    )
    seen = loaded.measured["kang_ctrl_8donors"]
    cd4 = unseen & (obs["label"] == "CD4 T cells").to_numpy()
    other = load_references(files[2:], **{**asked, "donor": None})
    return TwoStudies(
        typer=typer,
        kang=typer.call(loaded.X[cd4][:, seen], genes=list(loaded.genes[seen])),
        zheng=typer.call(other.X, genes=list(other.genes)),
    )


def test_kang_s_cd4_cells_get_the_fine_leaves_that_another_study_taught(two_studies: TwoStudies) -> None:
    calls = two_studies.kang
    assert CD4 not in {c["term_id"] for c in two_studies.typer.about_["classes"]}
    assert calls["leaf_term_id"].isin([CD4_NAIVE, CD4_MEMORY]).mean() > 0.9
    assert min((calls["leaf_term_id"] == term).mean() for term in (CD4_NAIVE, CD4_MEMORY)) > 0.02
    below = Ontology.load().descendants(CD4)
    assert calls["call_term_id"].isin(below).mean() > 0.85


def test_new_donors_of_a_coarse_study_get_fine_calls_and_a_new_study_does_not(two_studies: TwoStudies) -> None:
    # Kang's cells are at home in a study that the model knows with many donors; Zheng's are at home nowhere, and what
    # PBMC 3k alone taught stays a leaf there: called, it would put 16 % of Zheng's calls off the branch.
    fine = [CD4_NAIVE, CD4_MEMORY]
    assert two_studies.kang["call_term_id"].isin(fine).mean() > 0.3
    assert two_studies.zheng["call_term_id"].isin(fine).mean() < 0.05
    assert two_studies.zheng["leaf_term_id"].isin(fine).mean() > 0.2


def test_a_cell_keeps_its_home_in_a_saved_model(two_studies: TwoStudies, tmp_path: Path) -> None:
    again = CellTyper.load(two_studies.typer.save(tmp_path / "model")).answerer_.homes
    for name, value in vars(two_studies.typer.answerer_.homes).items():
        np.testing.assert_array_equal(getattr(again, name), value)
    assert (again.limit > 0).tolist() == [True, False], "PBMC 3k is one donor, and no home"
