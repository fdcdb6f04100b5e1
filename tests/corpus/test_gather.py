"""Cells come from far files as they lie there, once, whatever happens on the way: faults, changes, kills."""

import hashlib
import multiprocessing as mp
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

sys.path.insert(0, str(Path(__file__).parent))
from files import IDS, every_kind
from servers import RangeServer, seeded_faults

from whycell.cli.app import main
from whycell.corpus.fragments import Plan, pieces_of, read_plan
from whycell.corpus.gather import gather
from whycell.corpus.store import fragment_names, has_fragment, open_store, read_fragment
from whycell.data.layouts import read_layout
from whycell.data.remote import Patience
from whycell.encode.gene_vectors import write_gene_vectors
from whycell.errors import FormatError, UsageError
from whycell.jobs.gather import gather_corpus
from whycell.jobs.scan import scan
from whycell.models.corpus_encoder import load_corpus_encoder

QUICK = Patience(tries=6, first=0.01, longest=0.05, timeout=2.0)
PIECE = 12_000  # stored bytes: many small pieces of small files
_FORKS = mp.get_context("forkserver")
_FORKS.set_forkserver_preload(["whycell.jobs.gather", "whycell.models.corpus_encoder"])


def plan_of(catalog: Path, path: Path, *, every: int = 1) -> Path:
    """A plan of every n-th run of what a catalogue knows, as a selection writes it."""
    runs, files = (pq.read_table(catalog / part).to_pandas() for part in ("runs", "files"))
    files = files[files["status"] == "ok"]
    told = runs.merge(files[["key", "address", "etag", "size", "n_cells"]], on="key").iloc[::every]
    told = told.assign(nbytes=told["n"] * told["size"] // told["n_cells"])
    table = pa.Table.from_pandas(told, preserve_index=False).replace_schema_metadata({"catalog": str(catalog)})
    pq.write_table(table, path)
    return path


def counted(rows: Any, genes: pd.DataFrame) -> np.ndarray:
    """The counts themselves, on the genes that all files have, as vectors."""
    place = {name: i for i, name in enumerate(IDS)}
    out = np.zeros((rows.shape[0], len(IDS)), dtype=np.float32)
    for column, name in enumerate(genes["gene_id"]):
        if name in place:
            out[:, place[name]] = rows[:, column].toarray().ravel()
    return out


def test_the_rows_of_every_kind_of_file_are_what_anndata_reads(tmp_path: Path) -> None:
    made = every_kind(tmp_path / "files")
    with RangeServer(tmp_path / "files", faults=seeded_faults(2, 0.1, kinds=("error", "short", "reset"))) as server:
        listed = "\n".join(f"{server.address}/{name}" for name in made)
        (tmp_path / "files" / "list.txt").write_text(listed, encoding="utf-8")
        scan(f"{server.address}/list.txt", tmp_path / "catalog")
        plan = read_plan(plan_of(tmp_path / "catalog", tmp_path / "plan.parquet", every=2))
        done = gather(
            pieces_of(plan),
            tmp_path / "out",
            encode=counted,
            encoder_digest="x",
            catalog=tmp_path / "catalog",
            patience=QUICK,
        )
    assert not done.failures
    assert done.n_cells == plan.n_cells
    assert any("CSC" in note for note in done.notes.values())
    fragments = [read_fragment(tmp_path / "out", name) for name in fragment_names(tmp_path / "out")]
    cells = pd.concat([each.cells for each in fragments], ignore_index=True)
    vectors = np.concatenate([each.vectors for each in fragments])
    where = pq.read_table(tmp_path / "catalog" / "files").to_pandas().set_index("address")["matrix"]
    for address, of in cells.groupby(cells["address"].astype(str)):
        written = made[address.rsplit("/", 1)[1]]
        matrix = {"X": lambda a: a, "raw/X": lambda a: a.raw.to_adata()}.get(where[address])
        whole = matrix(written) if matrix else ad.AnnData(written.layers["counts"], written.obs, written.var)
        names = whole.var_names if whole.var_names[0].startswith("ENSG") else pd.Index(IDS)
        true = np.zeros((whole.n_obs, len(IDS)))
        stored = whole.X.toarray() if sparse.issparse(whole.X) else np.asarray(whole.X)
        true[:, [IDS.index(name) for name in names]] = stored
        assert np.allclose(vectors[of.index], true[of["row"]], atol=2e-3 * np.abs(true).max()), address
        if "cell_type" in written.obs:
            assert list(of["label"].astype(str)) == list(written.obs["cell_type"].astype(str).iloc[of["row"]]), address


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("study"))


def write_study(folder: Path) -> Path:
    """Three small files with types that can be told apart."""
    rng = np.random.default_rng(0)
    mean = np.exp(rng.normal(0, 1, (4, 150)))
    for i in range(3):
        kind = np.sort(rng.integers(0, 4, (3, 80)), axis=1).ravel()
        counts = sparse.csr_matrix(rng.poisson(mean[kind] * rng.gamma(4, 0.3, (240, 1))).astype(np.float32))
        obs = pd.DataFrame(
            {
                "cell_type": pd.Categorical.from_codes(kind, ["B cell", "T cell", "monocyte", "platelet"]),
                "donor_id": pd.Categorical(np.repeat([f"D{i}{j}" for j in range(3)], 80)),
            },
            index=[f"c{j}" for j in range(240)],
        )
        var = pd.DataFrame(index=[f"ENSG{g:011d}" for g in range(150)])
        ad.AnnData(counts, obs=obs, var=var).write_h5ad(folder / f"{i}.h5ad", compression="gzip")
    return folder


def _bytes_of(store: Path) -> dict[str, str]:
    paths = (each for each in sorted(store.rglob("*")) if each.is_file())
    return {str(each.relative_to(store)): hashlib.sha256(each.read_bytes()).hexdigest() for each in paths}


@pytest.mark.parametrize("n_kills", [3, pytest.param(20, marks=pytest.mark.soak)])
def test_what_was_killed_ends_as_the_undisturbed(study: Path, tmp_path: Path, n_kills: int) -> None:
    done = kill_and_compare(study, tmp_path, n_kills)
    assert done["kills"] == n_kills
    assert done["compared"] >= 1
    assert done["different"] == done["asked again"] == 0
    assert not list(tmp_path.glob(".*"))


def kill_and_compare(study: Path, folder: Path, n_kills: int) -> dict[str, int]:
    """Kill gatherings until there were so many; every corpus that gets finished is compared with a calm one."""
    rng = random.Random(n_kills)
    kill_at: list[int] = []
    child: list[Any] = []
    done = {"kills": 0, "compared": 0, "different": 0, "asked again": 0}

    def before(number: int) -> None:
        if kill_at and number >= kill_at[0] and child and child[0].pid:
            os.kill(child[0].pid, signal.SIGKILL)

    with RangeServer(study, delay=0.002, before=before) as server:
        names = "".join(f"{server.address}/{i}.h5ad\n" for i in range(3))
        (study / "list.txt").write_text(names, encoding="utf-8")
        catalog, calm, stormy = folder / "catalog", folder / "calm", folder / "stormy"
        scan(f"{server.address}/list.txt", catalog)
        plan = plan_of(catalog, folder / "plan.parquet")
        pieces = pieces_of(read_plan(plan), piece_bytes=PIECE)
        assert len(pieces) > 12
        started, began = server.next_number(), time.perf_counter()
        _end(plan, calm, child)
        took, asked = time.perf_counter() - began, server.next_number() - started
        while done["kills"] < n_kills:
            seen, there = len(server.log), _kept(folder / ".stormy.gathering", pieces)
            # Every other kill strikes at a request, the rest at a moment: mixing asks for nothing.
            by_request = done["kills"] % 2 == 0
            kill_at[:] = [server.next_number() + rng.randrange(1, asked)] if by_request else []
            done["kills"] += _end(plan, stormy, child, after=None if by_request else rng.uniform(0.2, 1.0) * took)
            kill_at.clear()
            if done["kills"] == n_kills or stormy.exists():
                if any(folder.glob(".stormy.*")) or not stormy.exists():
                    assert not _end(plan, stormy, child)
                done["compared"] += 1
                done["different"] += _bytes_of(stormy) != _bytes_of(calm)
                shutil.rmtree(stormy)
            done["asked again"] += _asked_again(server.log[seen:], there, catalog)
    return done


def _end(plan: Path, out: Path, child: list[Any], *, after: float | None = None) -> bool:
    """Run a gathering in a process of its own to its end, or until it is killed: whether it was."""
    how = {"piece_bytes": PIECE, "memory": 1 << 20, "seed": 3}
    process = _FORKS.Process(target=gather_corpus, args=(plan, out), kwargs=how)
    child[:] = [process]
    process.start()
    process.join(after)
    if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def _kept(work: Path, pieces: list[Any]) -> list[Any]:
    """The pieces whose fragment is there already."""
    if not (work / "encoder" / "encoder.json").exists():
        return []
    digest = load_corpus_encoder(work / "encoder").digest
    return [piece for piece in pieces if has_fragment(work, piece.name(digest))]


def _asked_again(log: list[tuple[str, int, int]], there: list[Any], catalog: Path) -> int:
    """Requests that touch the inside of a fragment that was there when they were made."""
    again = 0
    for piece in there:
        layout = read_layout(catalog, key=piece.key)
        inner = []
        for start, stop in piece.stretches:
            low, high = (int(layout.indptr[row]) for row in (start, stop))
            # The first and the last chunk may hold rows of a neighbour too.
            inner += [each for array in layout.arrays.values() for each in array.ranges(low, high)[1:-1]]
        name = piece.address.rsplit("/", 1)[1]
        again += sum(any(span[1] < at + n and at < span[2] for at, n in inner) for span in log if span[0] == name)
    return again


def test_a_file_that_fails_is_listed_and_the_others_are_kept(study: Path, tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    for i in range(3):
        (files / f"{i}.h5ad").write_bytes((study / f"{i}.h5ad").read_bytes())
    scan(files, tmp_path / "catalog")
    plan = plan_of(tmp_path / "catalog", tmp_path / "plan.parquet")
    kept = (files / "1.h5ad").read_bytes()
    os.utime(files / "1.h5ad", (1, 1))  # it was touched since the scan
    (files / "2.h5ad").rename(files / "away")
    out = tmp_path / "corpus"
    done = gather_corpus(plan, out)
    assert {Path(address).name for address in done.failures} == {"1.h5ad", "2.h5ad"}
    assert "has changed" in done.failures[str(files / "1.h5ad")]
    assert "does not exist" in done.failures[str(files / "2.h5ad")]
    assert open_store(out).about["n"] == done.n_cells == 240
    with pytest.raises(SystemExit) as left:
        main(["corpus", "gather", str(plan), "-o", str(out), "--force", "--quiet"])
    assert left.value.code == 1  # the store is there, but not all of it
    (files / "away").rename(files / "2.h5ad")
    again = gather_corpus(plan, out, force=True)
    assert list(again.failures) == [str(files / "1.h5ad")]
    assert again.resumed > 0
    assert open_store(out).about["n"] == 480
    assert kept == (files / "1.h5ad").read_bytes()


def test_vectors_of_text_are_what_cells_are_made_of(study: Path, tmp_path: Path) -> None:
    scan(study, tmp_path / "catalog")
    plan = plan_of(tmp_path / "catalog", tmp_path / "plan.parquet", every=3)
    names = [f"ENSG{g:011d}" for g in range(0, 150, 2)]
    vectors = np.random.default_rng(0).normal(size=(75, 60)).astype(np.float32)
    write_gene_vectors(
        tmp_path / "genes.parquet",
        gene_ids=names,
        ensembl_ids=[[name] for name in names],
        facets=["all"] * 75,
        vectors=vectors,
        about={"encoder": "made"},
    )
    out = tmp_path / "corpus"
    with pytest.raises(UsageError, match="genept-w without --gene-vectors"):
        gather_corpus(plan, out, representation="genept-w")
    done = gather_corpus(plan, out, representation="genept-w", gene_vectors=tmp_path / "genes.parquet")
    store = open_store(out)
    assert store.about["representation"] == "genept-w"
    assert store.about["n"] == done.n_cells == read_plan(plan).n_cells
    encoder = load_corpus_encoder(out / "encoder")
    assert set(encoder.genes) <= set(names)  # a gene without a text adds nothing
    cells = pd.concat([store.cells(block) for block in range(store.n_blocks)], ignore_index=True)
    for address, of in cells.groupby(cells["address"].astype(str)):
        whole = ad.read_h5ad(address)
        genes = pd.DataFrame({"gene_id": whole.var_names, "symbol": ""})
        true = encoder.encode(whole.X, genes)[of["row"]]
        assert np.allclose(store.vectors[of.index], true, atol=2e-3 * np.abs(true).max())


@given(
    runs=st.lists(st.tuples(st.integers(0, 300), st.integers(1, 150), st.sampled_from("ab")), min_size=1, max_size=12),
    piece_bytes=st.integers(1, 200_000),
    weight=st.integers(1, 5000),
)
def test_pieces_hold_every_row_of_a_plan_once(runs: list[tuple[int, int, str]], piece_bytes: int, weight: int) -> None:
    at = {"a": 0, "b": 0}
    table = []
    for gap, n, file in runs:
        table.append((file, at[file] + gap, at[file] + gap + n))
        at[file] += gap + n
    plan = pd.DataFrame(table, columns=["address", "start", "stop"]).sort_values(
        ["address", "start"], ignore_index=True
    )
    plan = plan.assign(key=plan["address"], etag="e", size=1, nbytes=(plan["stop"] - plan["start"]) * weight)
    plan = plan.assign(cell_type=[f"t{i}" for i in range(len(plan))], cell_type_id="", donor=None, study="s")
    pieces = pieces_of(Plan(plan, None, ""), piece_bytes=piece_bytes)
    cells = pd.concat([piece.cells() for piece in pieces], ignore_index=True)
    rows = [(row.address, x, row.cell_type) for row in plan.itertuples() for x in range(row.start, row.stop)]
    assert list(zip(cells["address"], cells["row"], cells["label"], strict=True)) == rows
    for piece in pieces:
        assert piece.n <= max(32, piece_bytes // weight)
        read = np.concatenate([np.arange(*stretch) for stretch in piece.stretches])
        assert set(piece.rows) <= set(read)
        assert len(read) == len(set(read))
        assert len(read) - piece.n <= (len(piece.runs) - 1) * 65_536 // weight  # read over, never more than pays


def test_a_plan_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plan.parquet").write_bytes(b"not a plan")
    with pytest.raises(FormatError, match="is not a plan that can be read"):
        gather_corpus(tmp_path / "plan.parquet", tmp_path / "out")
    pq.write_table(pa.table({"key": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(FormatError, match="no column address"):
        gather_corpus(tmp_path / "other.parquet", tmp_path / "out")
