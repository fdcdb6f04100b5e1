"""Types left out: found where planted texts tell them, and not where the texts are dealt out to other genes."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from whycell._keys import ObsKeys
from whycell.encode.gene_vectors import GeneVectors, unit_rows
from whycell.errors import ModelError, UsageError
from whycell.jobs.lookup import lookup_cell
from whycell.jobs.unseen import WAYS, learn_unseen
from whycell.jobs.words import Words
from whycell.knowledge.genes import GeneTable
from whycell.knowledge.terms import Ontology
from whycell.models.baselines import Logistic
from whycell.models.unseen import fit_unseen, load_unseen, save_unseen

TYPES = ("B cell", "hepatocyte", "fibroblast", "neuron", "keratinocyte", "erythrocyte")
KEYS, MARKERS = ObsKeys(), 30


class Told:
    """Encodes a text as a direction of its own."""

    name, fingerprint = "told", "told:1"

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        seeds = [sum(map(ord, text)) + 7919 * len(text) for text in texts]
        return unit_rows(np.stack([np.random.default_rng(seed).standard_normal(48) for seed in seeds]))


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    genes = [str(i) for i in GeneTable.load().ids[: MARKERS * (len(TYPES) + 2)]]
    kind = np.arange(360) % len(TYPES)
    rates = np.full((360, len(genes)), 0.3)
    for t in range(len(TYPES)):
        rates[kind == t, t * MARKERS : (t + 1) * MARKERS] = 2.5
    obs = pd.DataFrame({"type": np.array(TYPES)[kind], "donor": [f"d{i}" for i in rng.integers(0, 4, 360)]})
    obs.index = [f"c{i}" for i in range(360)]
    obs[KEYS.call] = "cell"
    obs[KEYS.call_term_id] = ""
    path = tmp_path_factory.mktemp("unseen") / "ref.h5ad"
    ad.AnnData(rng.poisson(rates).astype(np.float32), obs=obs, var=pd.DataFrame(index=genes)).write_h5ad(path)
    return path


@pytest.fixture(scope="module")
def words(cells: Path, tmp_path_factory: pytest.TempPathFactory) -> Words:
    """The genes that a type expresses have, but for noise, the vector of its definition."""
    ontology, rng = Ontology.load("2025-07-30"), np.random.default_rng(1)
    by_name = {term.name: id_ for id_, term in ontology.items() if not term.obsolete}
    bare = Words(
        GeneVectors(np.array([], dtype=object), np.zeros((0, 48), np.float32), "told", ("summary",), "told:1"),
        Told(),
        ontology,
        cache=tmp_path_factory.mktemp("cache"),
    )
    told = bare.definitions([by_name[name] for name in TYPES])
    genes = ad.read_h5ad(cells).var_names.to_numpy(dtype=object)
    vectors = rng.standard_normal((len(genes), 48)) * 0.15
    vectors[: MARKERS * len(TYPES)] += np.repeat(told, MARKERS, axis=0)
    held = GeneVectors(genes, unit_rows(vectors), "told", ("summary",), "told:1")
    return replace(bare, vectors=held, about={"encoder": "told"})


def test_a_type_left_out_is_found_by_its_definition(cells: Path, words: Words, tmp_path: Path) -> None:
    asked = {"label": "type", "donor": "donor", "model": Logistic, "threads": 1}
    found = learn_unseen(cells, tmp_path / "map", words=words, **asked)
    summary = found.summary.set_index("way")
    assert summary.index.tolist() == list(WAYS)
    assert summary.loc["map", "top1"] > 0.8
    assert summary.loc["map", "beyond_low"] > 0
    assert found.helps == "map"
    assert found.left_out["left_out"].nunique() == len(TYPES)
    told = lookup_cell("c1", cells, words=words, unseen=tmp_path / "map", threads=1)
    assert told.types.iloc[0]["what"] == "call"
    assert told.types.set_index("what").loc["unseen", "name"].iloc[0] == "hepatocyte"
    assert "right in" in told.note
    other = replace(words, vectors=replace(words.vectors, fingerprint="x:1"))
    with pytest.raises(UsageError, match="was learned on vectors of told with the facets summary"):
        lookup_cell("c1", cells, words=other, unseen=tmp_path / "map", threads=1)


def test_where_texts_mean_nothing_the_map_stays_off(cells: Path, words: Words, tmp_path: Path) -> None:
    dealt = replace(words, vectors=words.vectors.permuted(seed=3))
    found = learn_unseen(cells, tmp_path / "map", words=dealt, label="type", donor="donor", model=Logistic, threads=1)
    assert found.helps == ""
    told = lookup_cell("c1", cells, words=dealt, unseen=tmp_path / "map", threads=1)
    assert "unseen" not in set(told.types["what"])
    assert "it stays off" in told.note
    even_so = lookup_cell("c1", cells, words=dealt, unseen=tmp_path / "map", even_so=True, threads=1)
    assert (even_so.types["what"] == "unseen").sum() == 10


def test_the_map_finds_a_planted_linear_relation_and_is_saved_whole(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    definitions = unit_rows(rng.standard_normal((300, 20)))
    terms = [f"CL:{i:07}" for i in range(300)]
    hidden = rng.standard_normal((20, 20))
    kind = np.repeat(np.arange(40), 15)
    cells = definitions[kind] @ hidden + rng.normal(0, 0.05, (600, 20)) + 3
    types = np.array(terms)[kind]
    map_ = fit_unseen(cells[types != terms[7]], types[types != terms[7]], terms=terms, definitions=definitions)
    assert terms[7] not in map_.seen
    best = map_.best(cells[types == terms[7]], most=1)[:, 0]
    assert (best == 7).all()
    save_unseen(map_, tmp_path / "map", about={"root": ""})
    again, about = load_unseen(tmp_path / "map")
    assert about["root"] == ""
    np.testing.assert_allclose(again.scores(cells), map_.scores(cells), atol=1e-6)
    with pytest.raises(UsageError, match="3 or more are needed"):
        fit_unseen(cells[:20], types[:20], terms=terms, definitions=definitions)
    (tmp_path / "map" / "about.json").write_text("{}")
    with pytest.raises(ModelError):
        load_unseen(tmp_path / "map")
