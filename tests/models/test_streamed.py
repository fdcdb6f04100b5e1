"""Training from a corpus: who is held out is never met, a stop changes no byte, and the model answers for counts."""

import hashlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from whycell.compute import Step, Talk
from whycell.corpus.store import open_store
from whycell.encode.gene_vectors import GeneVectors, unit_rows
from whycell.errors import ModelError, UsageError
from whycell.jobs.train_corpus import train_corpus
from whycell.knowledge.terms import Ontology
from whycell.models.corpus_encoder import corpus_encoder, load_corpus_encoder
from whycell.models.streamed import Streaming
from whycell.models.streamed_batches import Batches, held_out_cells
from whycell.models.streamed_kinds import find_kinds
from whycell.models.typer import CellTyper

_HERE = Path(__file__).parents[1] / "corpus" / "corpora.py"
_SPEC = importlib.util.spec_from_file_location("corpora", _HERE)
assert _SPEC is not None
assert _SPEC.loader is not None
corpora = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(corpora)

SETTINGS = Streaming(epochs=6, batch=64, n_hidden=32, patience=100)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return corpora.make_corpus(tmp_path_factory.mktemp("corpus"))[0]


@pytest.fixture(scope="module")
def model(corpus, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "model"
    train_corpus(corpus, folder, settings=SETTINGS)
    return folder


def _bytes(folder: Path) -> dict[str, str]:
    """All but run.json, which carries the time."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.name != "run.json"
    }


def test_an_epoch_meets_every_training_cell_once_and_no_held_out_one(corpus):
    store, encoder = open_store(corpus), load_corpus_encoder(corpus / "encoder")
    kinds = find_kinds(store, encoder.held_out, ontology=Ontology.load())
    assert encoder.held_out.unit == "donor"
    groups = kinds.table["study"] + " / " + kinds.table["donor"]
    held = groups.isin(encoder.held_out.groups).to_numpy()
    assert (kinds.table["n"][held] == 0).all()
    assert (kinds.table["n_held"][~held] == 0).all()
    batches = Batches(store, kinds, encoder.held_out, 1, 0)
    met = [(x, rows) for x, rows in batches.epoch(0)]
    times = np.bincount(np.concatenate([rows.numpy() for _, rows in met]), minlength=len(kinds.table))
    np.testing.assert_array_equal(times, kinds.table["n"])
    first = np.concatenate([x.numpy() for x, _ in met])
    second = np.concatenate([x.numpy() for x, _ in batches.epoch(1)])
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(np.sort(first, axis=0), np.sort(second, axis=0))
    x, rows = held_out_cells(store, kinds, encoder.held_out, most=10**6)
    assert held[rows].all()
    assert len(x) + len(first) == len(store.vectors)


class _Stops(Talk):
    """Interrupts the training at its ``n``-th block."""

    def __init__(self, n: int) -> None:
        self.n = n

    @contextmanager
    def progress(self, what: str, total: int | None = None) -> Iterator[Step]:
        outer = self

        class Bar(Step):
            def advance(self, n: int = 1) -> None:
                outer.n -= what == "training" and n > 0
                if outer.n < 0:
                    raise KeyboardInterrupt

        yield Bar()


def test_stopped_anywhere_it_ends_with_the_same_bytes(corpus, model, tmp_path):
    stops = 0
    for after in (1, 4, 9, 10**9):
        try:
            train_corpus(corpus, tmp_path / "model", settings=SETTINGS, checkpoint_seconds=0, talk=_Stops(after))
        except KeyboardInterrupt:
            stops += 1
    assert stops == 3
    assert _bytes(tmp_path / "model") == _bytes(model)
    assert not (tmp_path / ".model.training").exists()


def test_killed_it_ends_with_the_same_bytes(corpus, model, tmp_path):
    code = (
        "import sys; from pathlib import Path;"
        "from whycell.jobs.train_corpus import train_corpus; from whycell.models.streamed import Streaming\n"
        "train_corpus(Path(sys.argv[1]), Path(sys.argv[2]), checkpoint_seconds=0,"
        "settings=Streaming(epochs=6, batch=64, n_hidden=32, patience=100))"
    )
    state = tmp_path / ".model.training" / "state.safetensors"
    command = [sys.executable, "-c", code, str(corpus), str(tmp_path / "model")]
    process = subprocess.Popen(command)
    while not state.exists() and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "model").exists()
    train_corpus(corpus, tmp_path / "model", settings=SETTINGS)
    assert _bytes(tmp_path / "model") == _bytes(model)


def test_the_model_types_counts_of_a_new_donor(model):
    counts, genes, cells = corpora.counts_and_cells(n=900, seed=0)
    typer = CellTyper.load(model)
    held = typer.about_["held_out"]["groups"]
    new = (cells["study"] + " / " + cells["donor"]).isin(held).to_numpy()
    calls = typer.call(counts[new], genes=list(genes["gene_id"]))
    truth = cells["label_id"][new].to_numpy()
    ontology = Ontology.load()
    on_branch = [
        call != "" and (ontology.is_ancestor(call, term) or ontology.is_ancestor(term, call))
        for call, term in zip(calls["call_term_id"], truth, strict=True)
    ]
    assert np.mean(on_branch) > 0.85
    assert typer.about_["calibration"]["held_out"] == "donors"
    losses = typer.about_["training"]["losses"]
    assert set(losses["held_out"]) <= set(losses["train"])
    assert losses["train"]["study 0"][-1] < losses["train"]["study 0"][0]


def test_an_edited_encoder_is_refused(corpus, tmp_path):
    folder = load_corpus_encoder(corpus / "encoder").save(tmp_path / "e")
    same = load_corpus_encoder(folder)
    counts, genes, _ = corpora.counts_and_cells(n=50)
    np.testing.assert_array_equal(
        same.encode(counts, genes), load_corpus_encoder(corpus / "encoder").encode(counts, genes)
    )
    (folder / "encoder.json").write_text((folder / "encoder.json").read_text().replace("study 0", "study 9"))
    with pytest.raises(ModelError, match="gather again"):
        load_corpus_encoder(folder)


def test_few_donors_hold_single_cells_out():
    counts, genes, cells = corpora.counts_and_cells(n=300, n_studies=1, n_donors=1)
    encoder = corpus_encoder(counts, genes, cells=cells, n_dimensions=10)
    assert encoder.held_out.unit == "cell"
    mask = encoder.held_out.mask(cells)
    assert 0.04 < mask.mean() < 0.18
    order = np.random.default_rng(0).permutation(300)
    np.testing.assert_array_equal(encoder.held_out.mask(cells.iloc[order]), mask[order])


def test_texts_on_genes_make_the_directions(tmp_path):
    counts, genes, cells = corpora.counts_and_cells(n=300)
    rng = np.random.default_rng(0)
    described = np.sort(genes["gene_id"].to_numpy(dtype=object)[:200])
    vectors = GeneVectors(described, unit_rows(rng.standard_normal((200, 32))), "test", ("summary",))
    encoder = corpus_encoder(counts, genes, cells=cells, representation="genept-w", gene_vectors=vectors)
    assert set(encoder.genes) <= set(described)
    assert encoder.n_dimensions <= 32
    directions = encoder.encoder.directions
    centred = vectors.matrix(encoder.genes) - vectors.matrix(encoder.genes).mean(axis=0)
    fitted = centred @ np.linalg.lstsq(centred, directions, rcond=None)[0]
    np.testing.assert_allclose(fitted, directions, atol=1e-3 * np.abs(directions).max())
    back = load_corpus_encoder(encoder.save(tmp_path / "e"))
    np.testing.assert_array_equal(back.encode(counts, genes), encoder.encode(counts, genes))
    with pytest.raises(UsageError, match="--gene-vectors"):
        corpus_encoder(counts, genes, cells=cells, representation="genept-w")
