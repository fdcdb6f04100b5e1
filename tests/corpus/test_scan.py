"""A scan sees what is in a file, whoever wrote it and wherever it lies; what it cannot read is a row that says why."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from files import CITATION, every_kind
from servers import NGINX, RangeServer, seeded_faults, serve_nginx, serve_s3

from whycell.corpus.catalog import Catalog
from whycell.corpus.depth import histogram
from whycell.corpus.fields import WORDS, runs_of
from whycell.corpus.parts import PARTS, key_of
from whycell.data.layouts import read_layout
from whycell.errors import OutputError
from whycell.jobs.scan import scan

NOT_OF_THE_FILE = ["key", "address", "etag", "bytes_read", "requests", "again", "reason"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, ad.AnnData | str]]:
    folder = tmp_path_factory.mktemp("corpus")
    return folder, every_kind(folder)


@pytest.fixture(scope="module")
def catalog(corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "catalog"
    scan(corpus[0], out)
    return out


def part(catalog: Path, name: str, address: str) -> pd.DataFrame:
    return pq.read_table(catalog / name / f"{key_of(address)}.parquet").to_pandas()


def said_of(catalog: Path, skip: list[str]) -> dict[str, str]:
    """Name of each file -> digest of all that the catalogue says of it, but for where it lies."""
    found = {}
    for mark in sorted((catalog / "files").glob("*.parquet")):
        row = pq.read_table(mark).to_pylist()[0]
        digest = hashlib.sha256()
        for name in PARTS:
            path = catalog / name / mark.name
            if path.exists():
                table = pq.read_table(path)
                table = table.drop_columns([c for c in skip if c in table.column_names])
                digest.update(table.to_pandas().to_json(double_precision=15).encode())
        found[row["address"].rsplit("/", 1)[-1]] = digest.hexdigest()
    return found


def contents_of(catalog: Path) -> dict[str, bytes]:
    return {str(p.relative_to(catalog)): p.read_bytes() for p in sorted(catalog.rglob("*")) if p.is_file()}


def test_every_kind_of_file_is_read_as_anndata_reads_it(corpus, catalog: Path) -> None:
    folder, made = corpus
    for name, cells in made.items():
        if isinstance(cells, str):
            continue
        address = str(folder / name)
        (row,) = part(catalog, "files", address).to_dict("records")
        assert (row["status"], row["n_cells"], row["values"]) == ("ok", 60, "counts"), (name, row["reason"])
        runs = part(catalog, "runs", address)
        assert runs["start"].tolist() == [0, *runs["stop"][:-1]]
        assert runs["stop"].iloc[-1] == 60
        column = "Cell.Type" if name == "words.h5ad" else "cell_type"
        expanded = runs["cell_type"].astype(object).repeat(runs["n"]).to_numpy()
        truth = cells.obs[column].astype(object).to_numpy()
        assert [None if pd.isna(x) else x for x in expanded] == [None if pd.isna(x) else x for x in truth], name
        counts = cells.layers["counts"] if row["matrix"] == "layers/counts" else cells.X
        counts = cells.raw.X if row["matrix"] == "raw/X" else counts
        totals = np.asarray(counts.sum(axis=1)).ravel()
        dist = part(catalog, "dist", address).set_index("what")
        assert np.allclose(dist.loc["counts", "quantiles"][[0, 4, 8]], np.quantile(totals, [0, 0.5, 1])), name
        assert not dist["sampled"].any()
        assert [sum(each) for each in dist["histogram"]] == [60, 60]
        var = part(catalog, "var", address)
        assert var["gene_id"].str.startswith("ENSG0000").all()
        assert var["symbol"].iloc[0] == "CD3E"


def test_the_matrix_with_the_counts_is_found(catalog: Path) -> None:
    with Catalog(catalog) as opened:
        found = opened.sql("select address, matrix, encoding from files where status = 'ok'")
    where = {a.rsplit("/", 1)[-1]: (m, e) for a, m, e in found.itertuples(index=False)}
    assert where["raw.h5ad"] == ("raw/X", "csr")
    assert where["layer.h5ad"] == ("layers/counts", "csr")
    assert where["csc.h5ad"] == ("X", "csc")
    assert where["dense_gzip.h5ad"] == ("X", "dense")


def test_words_are_understood_and_the_rule_is_kept(corpus, catalog: Path) -> None:
    address = str(corpus[0] / "words.h5ad")
    columns = eval(part(catalog, "files", address)["columns"].iloc[0])
    assert columns["cell_type"] == {"column": "Cell.Type", "rule": "synonym"}
    assert columns["donor"] == {"column": "patient", "rule": "synonym"}
    assert columns["cell_type_id"] == {"column": "what", "rule": "values"}
    labels = part(catalog, "labels", address)
    assert labels[labels["column"] == "disease"][["value", "id", "rule"]].values.tolist() == [
        ["healthy", "PATO:0000461", "name"]
    ]
    mapped = part(catalog, "labels", str(corpus[0] / "csr.h5ad")).set_index("value")
    assert mapped.loc["B cell", ["id", "rule", "n"]].tolist()[:2] == ["CL:0000236", "name"]
    assert mapped.loc["blood", "id"] == "UBERON:0000178"
    assert mapped[mapped["column"] == "cell_type"]["n"].sum() == 60


def test_what_the_schema_says_is_read_from_obs_and_from_uns(corpus, catalog: Path) -> None:
    assert CITATION.endswith("555555555555")
    with Catalog(catalog) as opened:
        files = opened.sql("select title, organism from files where title <> '' order by title")
        assert files.values.tolist() == [["Schema 5", "human"], ["Schema 7", "mouse"]]
        seen = opened.sql(
            "select study, sum(n) as n from cells join files using (key) where title <> '' group by study"
        )
        assert seen.values.tolist() == [["11111111-2222-3333-4444-555555555555", 90]]
        assert opened.one("select sum(n) from runs join files using (key) where title <> ''") == 120
        assert opened.one(
            "select source from dist join files using (key) where title = 'Schema 5' and what = 'genes'"
        ) == ("obs:nFeature_RNA")


def test_what_cannot_be_read_is_a_row_with_the_reason(corpus, catalog: Path) -> None:
    folder, made = corpus
    for name, reason in made.items():
        if isinstance(reason, str):
            (row,) = part(catalog, "files", str(folder / name)).to_dict("records")
            assert row["status"] == "unreadable"
            assert reason in row["reason"], row["reason"]
            assert name in row["reason"]
            assert not (catalog / "runs" / f"{row['key']}.parquet").exists()


def test_the_chunks_lie_where_h5py_says(corpus, catalog: Path) -> None:
    for name in ("csr.h5ad", "dense_gzip.h5ad", "csc.h5ad"):
        path = corpus[0] / name
        layout = read_layout(catalog, key=key_of(str(path)))
        with h5py.File(path) as file:
            for array in layout.arrays.values():
                chunks: list = []
                file[array.name].id.chunk_iter(chunks.append)
                assert sorted(zip(array.offsets, array.sizes, strict=True)) == sorted(
                    (c.byte_offset, c.size) for c in chunks
                )


cells = st.lists(st.tuples(*[st.integers(-1, 2) for _ in WORDS], st.booleans()), min_size=1, max_size=60)


@given(cells)
@settings(max_examples=60)
def test_runs_cover_every_cell_once_and_are_as_long_as_they_can_be(rows: list[tuple]) -> None:
    columns = list(zip(*rows, strict=True))
    words = {
        name: pd.Categorical.from_codes(np.array(codes), categories=["a", "b", "c"])
        for name, codes in zip(WORDS, columns, strict=False)
    }
    runs = runs_of(words, np.array(columns[-1]), len(rows))
    of_cell = np.repeat(np.arange(len(runs["n"])), runs["n"])
    assert of_cell.size == len(rows)
    assert runs["start"].tolist() == np.cumsum([0, *runs["n"][:-1]]).tolist()
    for i in range(1, len(rows)):
        assert (rows[i] == rows[i - 1]) == (of_cell[i] == of_cell[i - 1])
    for name, codes in zip(WORDS, columns, strict=False):
        kept = runs[name].to_pylist()
        assert [kept[run] for run in of_cell] == [None if code < 0 else "abc"[code] for code in codes]


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), max_size=50))
def test_a_histogram_counts_every_cell(values: list[float]) -> None:
    assert histogram(np.array(values, dtype=np.float32)).sum() == len(values)


@pytest.mark.parametrize("server", ["python", "faults", "nginx", "s3"])
def test_the_same_is_said_of_a_folder_and_of_a_server(
    server: str, corpus, catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, made = corpus
    names = [name for name in sorted(made) if name != "cut.h5ad"]
    listed = tmp_path / "list.txt"

    def by_list(address: str) -> None:
        listed.write_text("".join(f"{address}/{name}\n" for name in names), encoding="utf-8")
        scan(listed, tmp_path / "catalog")

    if server == "s3":
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name, raising=False)
        with serve_s3("atlas") as (endpoint, put):
            monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
            for name in names:
                put(f"some/where/{name}", (folder / name).read_bytes())
            scan("s3://atlas/some/", tmp_path / "catalog")
    elif server == "nginx":
        if NGINX is None:
            pytest.skip("nginx is not installed")
        os.chmod(folder, 0o755)
        (tmp_path / "nginx").mkdir()
        with serve_nginx(folder, tmp_path / "nginx") as running:
            by_list(running.address)
    else:
        faults = (
            seeded_faults(1, 0.05, kinds=("error", "reset", "short")) if server == "faults" else (lambda n, p: None)
        )
        with RangeServer(folder, faults=faults) as running:
            by_list(running.address)
    ours = said_of(tmp_path / "catalog", NOT_OF_THE_FILE)
    theirs = said_of(catalog, NOT_OF_THE_FILE)
    studies = {"csr.h5ad"}
    assert studies <= set(ours)
    assert ours == {name: digest for name, digest in theirs.items() if name in ours}
    assert set(ours) == set(names)


def test_a_scan_that_is_killed_goes_on_and_ends_the_same(corpus, tmp_path: Path) -> None:
    folder, made = corpus
    listed = tmp_path / "list.txt"
    names = [name for name, cells in sorted(made.items()) if not isinstance(cells, str)]
    with RangeServer(folder, delay=0.01) as server:
        listed.write_text("".join(f"{server.address}/{name}\n" for name in names), encoding="utf-8")
        scan(listed, tmp_path / "whole", at_once=1)
        killed = tmp_path / "killed"
        command = [
            Path(sys.executable).with_name("whycell"),
            "corpus",
            "scan",
            str(listed),
            "-o",
            str(killed),
            "--at-once",
            "1",
        ]
        for wanted in (2, 5):
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while process.poll() is None and len(list(killed.glob("files/*.parquet"))) < wanted:
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
            process.wait()
        done = {pq.read_table(mark)["address"][0].as_py().rsplit("/", 1)[-1] for mark in killed.glob("files/*.parquet")}
        assert 5 <= len(done) < len(names)
        server.log.clear()
        told = scan(listed, killed)
        again = {name for name, start, _ in server.log if start > 0}
        assert again & done == set()
        assert told["new"] == len(names) - len(done)
        (
            killed / "runs" / f".{key_of(f'{server.address}/{names[0]}')}.parquet.abc"
        ).touch()  # as a killed run leaves it
        scan(listed, killed)
    assert contents_of(killed) == contents_of(tmp_path / "whole")


def test_processes_and_shards_write_the_same_catalogue(corpus, catalog: Path, tmp_path: Path) -> None:
    scan(corpus[0], tmp_path / "catalog", executor="local:2", shard="1/2")
    scan(corpus[0], tmp_path / "catalog", shard="2/2")
    assert contents_of(tmp_path / "catalog") == contents_of(catalog)


def test_a_cluster_writes_the_same_catalogue(corpus, catalog: Path, tmp_path: Path) -> None:
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=tmp_path) as cluster:
        scan(corpus[0], tmp_path / "catalog", executor=f"dask:{cluster.scheduler_address}", at_once=4)
    assert contents_of(tmp_path / "catalog") == contents_of(catalog)


def test_a_file_that_changed_is_read_again_and_nothing_of_the_old_one_stays(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    made = every_kind(folder)
    for name in made:
        if name not in ("csr.h5ad", "dense.h5ad"):
            (folder / name).unlink()
    scan(folder, tmp_path / "catalog")
    (folder / "csr.h5ad").write_text("no more", encoding="utf-8")
    told = scan(folder, tmp_path / "catalog")
    assert (told["new"], told["unreadable"]) == (1, 1)
    with Catalog(tmp_path / "catalog") as opened:
        assert opened.one("select sum(n) from cells") == 60
        assert opened.one("select count(distinct key) from var") == 1


def test_a_folder_of_something_else_is_not_made_a_catalogue(corpus, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(OutputError, match="no catalogue"):
        scan(corpus[0], tmp_path)


def test_a_file_that_is_replaced_in_mid_scan_is_refused_and_read_the_next_time(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    made = every_kind(folder)
    other = (folder / "csc.h5ad").read_bytes()
    for name in made:
        if name != "csr.h5ad":
            (folder / name).unlink()

    def replace(number: int) -> None:
        if number == 2:
            (folder / "new").write_bytes(other)
            (folder / "new").replace(folder / "csr.h5ad")

    with RangeServer(folder, before=replace) as server:
        address = f"{server.address}/csr.h5ad"
        told = scan(address, tmp_path / "catalog")
        assert "has changed" in told["reasons"][address]
        told = scan(address, tmp_path / "catalog")
    assert (told["new"], told["unreadable"], told["cells"]) == (1, 0, 60)


def test_a_server_without_ranges_is_read_whole_where_files_are_small(corpus, catalog: Path, tmp_path: Path) -> None:
    with RangeServer(corpus[0], ranges=False) as server:
        scan(f"{server.address}/csr.h5ad", tmp_path / "catalog")
    theirs = said_of(catalog, NOT_OF_THE_FILE)
    assert said_of(tmp_path / "catalog", NOT_OF_THE_FILE) == {"csr.h5ad": theirs["csr.h5ad"]}
