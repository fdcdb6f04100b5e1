"""From words to types, genes and cells, on cells in which one gene's text was planted; and from a cell back."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from whycell._keys import ObsKeys
from whycell.encode.gene_vectors import read_gene_vectors, unit_rows, write_gene_vectors
from whycell.encode.text import load_encoder
from whycell.encode.words import text_encoder
from whycell.errors import FormatError, UsageError
from whycell.jobs.lookup import lookup, lookup_cell
from whycell.jobs.record import fingerprint_file, write_run
from whycell.jobs.words import Words, open_words, vectors_at
from whycell.knowledge.genes import GeneTable
from whycell.knowledge.terms import Ontology

KEYS = ObsKeys()
INSULIN = "ENSG00000254647"


class Bag:
    """Every word has a random direction; a text is the sum of its words'."""

    name, fingerprint = "bag", "bag:1"

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        return unit_rows(np.stack([sum(self._word(w) for w in text.lower().split()) for text in texts]))

    @staticmethod
    def _word(word: str) -> np.ndarray:
        seed = int.from_bytes(hashlib.sha256(word.strip(".,:").encode()).digest()[:4], "big")
        return np.random.default_rng(seed).standard_normal(96)


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 cells typed as B cells or beta cells; only the latter express insulin."""
    rng = np.random.default_rng(0)
    others = [i for i in map(str, GeneTable.load().ids[:300]) if i != INSULIN]
    counts = rng.poisson(0.6, (400, 1 + len(others))).astype(np.float32)
    beta = np.arange(400) % 8 == 0
    counts[:, 0] = np.where(beta, rng.poisson(9, 400), 0)
    obs = pd.DataFrame(index=[f"c{i}" for i in range(400)])
    obs[KEYS.call] = np.where(beta, "type B pancreatic cell", "B cell")
    obs[KEYS.call_term_id] = np.where(beta, "CL:0000169", "CL:0000236")
    obs[KEYS.confidence] = np.float32(0.9)
    path = tmp_path_factory.mktemp("lookup") / "typed.h5ad"
    ad.AnnData(counts, obs=obs, var=pd.DataFrame(index=[INSULIN, *others])).write_h5ad(path)
    return path


@pytest.fixture(scope="module")
def words(typed: Path, tmp_path_factory: pytest.TempPathFactory) -> Words:
    folder, encoder = tmp_path_factory.mktemp("words"), Bag()
    genes = ad.read_h5ad(typed).var_names.tolist()
    rng = np.random.default_rng(1)
    texts = {g: " ".join(rng.choice(["kinase", "zinc", "binds", "nuclear", "membrane"], 4)) for g in genes}
    texts[INSULIN] = "insulin lowers glucose, secretes from pancreatic islets"
    made = encoder.encode(list(texts.values()))
    write_gene_vectors(
        folder / "v.parquet",
        gene_ids=genes,
        ensembl_ids=[[g] for g in genes],
        facets=["summary"] * len(genes),
        vectors=made,
        about={"encoder": encoder.name, "fingerprint": encoder.fingerprint},
    )
    return Words(
        read_gene_vectors(folder / "v.parquet"), encoder, Ontology.load("2025-07-30"), None, texts, folder / "cache"
    )


def test_words_find_the_type_the_gene_and_the_cells(words: Words, typed: Path) -> None:
    found = lookup("secretes insulin", typed, words=words, most=5, threads=1)
    assert found.genes["gene_id"][0] == INSULIN
    assert found.genes["symbol"][0] == "INS"
    assert found.genes["cells"][0] == 50
    assert set(found.cells["call"]) == {"type B pancreatic cell"}
    assert found.cells["genes"].str.startswith("INS").all()
    assert found.calls["call"].tolist() == ["type B pancreatic cell", "B cell"]
    assert found.types["similarity"].is_monotonic_decreasing
    without = lookup(f"{words.definition('CL:0000169')} pancreatic insulin", words=words, most=5)
    assert without.types["term_id"][0] == "CL:0000169"
    assert without.cells is None
    assert without.genes["gene_id"][0] == INSULIN


def test_the_answer_is_the_same_however_it_is_read(words: Words, typed: Path) -> None:
    one, two = (lookup("secretes insulin", typed, words=words, threads=n) for n in (1, 2))
    pd.testing.assert_frame_equal(one.cells, two.cells)
    from_memory = lookup("secretes insulin", ad.read_h5ad(typed), words=words, threads=1)
    pd.testing.assert_frame_equal(one.cells, from_memory.cells)


def test_a_cell_tells_its_genes_and_types(words: Words, typed: Path) -> None:
    found = lookup_cell("c8", typed, words=words, most=3, threads=1)
    assert found.genes["gene_id"][0] == INSULIN
    assert found.genes["text"][0].startswith("insulin lowers")
    assert found.genes["fits"][0] == found.genes["fits"].max()
    call = found.types.iloc[0]
    assert (call["what"], call["term_id"]) == ("call", "CL:0000169")
    assert "insulin" in call["definition"]
    with pytest.raises(UsageError, match=r"has no cell named 'c999'; its 400 cells have names such as c0, c1, c2"):
        lookup_cell("c999", typed, words=words)


def test_what_cannot_be_looked_up_is_said_in_one_sentence(words: Words, typed: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no text to look up"):
        lookup("  ", words=words)
    with pytest.raises(UsageError, match="no model; name it with --model"):
        lookup("insulin", words=words, known_only=True)
    with pytest.raises(UsageError, match="Gene vectors are needed, and no model was named either: give --gene-vectors"):
        open_words()
    with pytest.raises(UsageError, match="made by bag, and texts of all-MiniLM-L6-v2 cannot be compared"):
        text_encoder(words.vectors)
    bare = ad.read_h5ad(typed)
    bare.obs = bare.obs[[]]
    with pytest.raises(UsageError, match="holds no calls under the key 'whycell'; run `whycell annotate`"):
        lookup_cell("c8", bare, words=words)


def test_projected_vectors_are_still_spoken_to_in_words(words: Words, tmp_path: Path) -> None:
    cut = words.vectors.projected(24).truncated(12)
    texts = Bag().encode([words.texts[str(g)] for g in cut.genes])
    np.testing.assert_allclose(cut.words(texts), cut.vectors, atol=1e-5)
    write_gene_vectors(
        tmp_path / "v.parquet",
        gene_ids=cut.genes.tolist(),
        ensembl_ids=[[g] for g in cut.genes],
        facets=["summary"] * len(cut.genes),
        vectors=cut.vectors,
        about={},
        projection=cut.projection,
    )
    np.testing.assert_allclose(read_gene_vectors(tmp_path / "v.parquet").words(texts), cut.vectors, atol=1e-5)


def test_the_bundled_encoder_is_known_by_its_fingerprint(words: Words) -> None:
    from dataclasses import replace

    mini = load_encoder("minilm", precision="bfloat16")
    assert text_encoder(replace(words.vectors, fingerprint=mini.fingerprint)).fingerprint == mini.fingerprint


def test_a_model_names_the_vectors_it_was_trained_with(
    words: Words, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, vectors = tmp_path / "model", tmp_path / "v.parquet"
    folder.mkdir()
    made = {"gene_ids": ["1"], "ensembl_ids": [[INSULIN]], "facets": ["name"], "about": {"encoder": "toy"}}
    write_gene_vectors(vectors, vectors=np.ones((1, 4)) / 2, **made)
    fingerprint = fingerprint_file(vectors)
    monkeypatch.setattr("whycell.jobs.words.read_card", lambda _: {"representation": {"gene_vectors": fingerprint}})
    with pytest.raises(UsageError, match="the model 'model' names none"):
        vectors_at(None, folder)
    write_run(folder, "train", inputs={str(vectors): fingerprint}, seed=0)
    held, source = vectors_at(None, folder)
    assert (held.genes.tolist(), source) == ([INSULIN], str(vectors))
    write_gene_vectors(vectors, vectors=np.eye(1, 4), **made)
    with pytest.raises(FormatError, match="it was replaced or damaged"):
        vectors_at(None, folder)
