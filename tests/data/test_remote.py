"""Ranges come whole and from one file, whatever the server does; what cannot be had is told in one sentence."""

import importlib.util
import os
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whycell.data.block_cache import BlockCache
from whycell.data.remote import Patience, RemoteFile, coalesce, list_addresses
from whycell.data.remote_stores import store_of
from whycell.errors import FormatError

_spec = importlib.util.spec_from_file_location("corpus_servers", Path(__file__).parents[1] / "corpus/servers.py")
servers: Any = importlib.util.module_from_spec(_spec)
sys.modules["corpus_servers"] = servers
_spec.loader.exec_module(servers)

QUICK = Patience(tries=8, first=0.01, longest=0.05, timeout=1.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "we ird%41.bin").write_bytes(np.random.default_rng(0).bytes(400_000))
    return tmp_path


NAME = "some/we%20ird%2541.bin"


def _all(source: RemoteFile) -> bytes:
    size = source.size
    return b"".join(source.read_many([(at, min(30_000, size - at)) for at in range(0, size, 30_000)], gap=-1))


@given(
    ranges=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 300)), max_size=40),
    gap=st.integers(0, 200),
    span=st.integers(1, 2000),
)
def test_coalescing_loses_nothing_and_keeps_its_limits(ranges: list[tuple[int, int]], gap: int, span: int) -> None:
    joined = list(coalesce(ranges, gap=gap, span=span))
    assert sorted(i for _, _, members in joined for i in members) == [i for i, (_, n) in enumerate(ranges) if n]
    for begin, end, members in joined:
        held = np.zeros(end - begin, dtype=bool)
        for i in members:
            low = ranges[i][0] - begin
            assert low >= 0
            assert low + ranges[i][1] <= end - begin
            held[low : low + ranges[i][1]] = True
        assert len(members) == 1 or end - begin <= span
        assert "0" * (gap + 1) not in "".join("1" if x else "0" for x in held)


@pytest.mark.parametrize("fault", [None, "error", "reset", "short", "stall"])
def test_every_byte_comes_through_each_fault(folder: Path, fault: str | None) -> None:
    raw = (folder / "some/we ird%41.bin").read_bytes()
    faults = servers.seeded_faults(5, 0.3, kinds=(fault,)) if fault else lambda number, path: None
    with servers.RangeServer(folder, faults=faults) as server:
        source = RemoteFile(f"{server.address}/{NAME}", patience=QUICK)
        assert _all(source) == raw
    assert (source.retries > 0) == (fault is not None)
    assert source.bytes_read <= len(raw) + 16_384  # what came short is not counted as read


def test_a_server_that_knows_no_ranges(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = (folder / "some/we ird%41.bin").read_bytes()
    with servers.RangeServer(folder, ranges=False) as server:
        source = RemoteFile(f"{server.address}/{NAME}", patience=QUICK)
        assert _all(source) == raw
        monkeypatch.setattr("whycell.data.remote.WHOLE", 1000)
        with pytest.raises(FormatError, match="sends no ranges, only all 400,000 bytes: download it"):
            RemoteFile(f"{server.address}/{NAME}", patience=QUICK)


def test_a_file_replaced_in_mid_read_is_refused(folder: Path) -> None:
    path = folder / "some/we ird%41.bin"
    changed = threading.Event()

    def replace(number: int) -> None:
        if number == 5 and not changed.is_set():
            changed.set()
            (folder / "new").write_bytes(path.read_bytes()[::-1])  # the same size
            os.replace(folder / "new", path)

    with servers.RangeServer(folder, before=replace) as server:
        source = RemoteFile(f"{server.address}/{NAME}", patience=QUICK)
        with pytest.raises(FormatError, match=r"has changed: .* scan it again"):
            _all(source)
        with pytest.raises(FormatError, match="has changed"):
            RemoteFile(source.name, etag=source.etag, size=source.size, patience=QUICK).read(100_000, 10)
    local = RemoteFile(str(path))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FormatError, match="has changed"):
        local.read(100_000, 10)


def test_what_cannot_be_had_is_told_at_once_or_given_up(folder: Path) -> None:
    always = servers.RangeServer(folder, faults=lambda number, path: "error")
    with always, pytest.raises(FormatError, match=r"500.*given up after 8 tries"):
        RemoteFile(f"{always.address}/{NAME}", patience=QUICK)
    with servers.RangeServer(folder) as server:
        with pytest.raises(FormatError, match="does not exist"):
            RemoteFile(f"{server.address}/nothing.h5ad", patience=QUICK)
        assert server.next_number() <= 2  # a file that is not there is not waited for
        source = RemoteFile(f"{server.address}/{NAME}", patience=QUICK)
        with pytest.raises(FormatError, match="ends at byte 400000, 400010 are needed"):
            source.read(399_990, 20)
    with pytest.raises(FormatError, match=r"ftp://x/y has a scheme that is not read"):
        RemoteFile("ftp://x/y")


@pytest.mark.skipif(servers.NGINX is None, reason="nginx is not installed")
def test_nginx_serves_the_same_bytes(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with servers.serve_nginx(folder, tmp_path_factory.mktemp("nginx")) as server:
        source = RemoteFile(f"{server.address}/{NAME}", patience=QUICK)
        assert _all(source) == (folder / "some/we ird%41.bin").read_bytes()


def test_a_public_bucket_is_listed_and_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    with servers.serve_s3("a-bucket") as (endpoint, put):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        for key in ("in/b.h5ad", "in/deep/a.h5ad", "in/readme.md", "out/c.h5ad"):
            put(key, key.encode() * 10_000)
        put("list.txt", b"# files\nin/b.h5ad\ns3://a-bucket/out/c.h5ad\nin/b.h5ad\n")
        listed = list_addresses("s3://a-bucket/in/")
        assert listed == ["s3://a-bucket/in/b.h5ad", "s3://a-bucket/in/deep/a.h5ad"]
        assert list_addresses("s3://a-bucket/list.txt") == [listed[0], "s3://a-bucket/out/c.h5ad"]
        assert _all(RemoteFile(listed[1])) == b"in/deep/a.h5ad" * 10_000


def test_addresses_of_every_cloud_find_their_store(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AZURE_STORAGE_ACCOUNT_NAME", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    for address, kind, key in (
        ("gs://b/d/x?y#z.h5ad", "GCSStore", "d/x?y#z.h5ad"),
        ("s3://b/x%41.h5ad", "S3Store", "x%41.h5ad"),
        ("abfs://c@account.dfs.core.windows.net/d/x.h5ad", "AzureStore", "d/x.h5ad"),
        ("https://h/a%20b.h5ad", "HTTPStore", "a b.h5ad"),
        ("https://h/a%20b.h5ad?signature=1", "HTTPStore", ""),
    ):
        store, path = store_of(address, timeout=1.0)
        assert (type(store).__name__, path) == (kind, key)
    with pytest.raises(FormatError, match=r"Account must be specified.*AZURE_STORAGE_ACCOUNT_NAME"):
        store_of("az://c/x.h5ad", timeout=1.0)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    assert type(store_of("az://c/x.h5ad", timeout=1.0)[0]).__name__ == "AzureStore"


def test_lists_are_followed_only_where_they_may_lead(folder: Path) -> None:
    (folder / "x.h5ad").touch()
    (folder / "list.txt").write_text("x.h5ad\n\n# no\nhttps://h/y.h5ad\n/z.h5ad\n", encoding="utf-8")
    here = str(folder.absolute())
    assert list_addresses(folder) == [f"{here}/x.h5ad"]
    assert list_addresses(folder / "list.txt") == [f"{here}/x.h5ad", "https://h/y.h5ad", "/z.h5ad"]
    with servers.RangeServer(folder) as server:
        for line, reason in (
            ("/etc/passwd", "may not name a place on this disk"),
            ("../x.h5ad", "climbs out"),
            ("a\x07.h5ad", "a character that no path has"),
            ("file:///etc/passwd", "scheme is not read"),
        ):
            (folder / "bad.txt").write_text(f"x.h5ad\n{line}\n", encoding="utf-8")
            with pytest.raises(FormatError, match=reason):
                list_addresses(f"{server.address}/bad.txt")
        (folder / "good.txt").write_text("x.h5ad\n", encoding="utf-8")
        assert list_addresses(f"{server.address}/good.txt") == [f"{server.address}/x.h5ad"]


def test_the_block_cache_is_a_file(folder: Path) -> None:
    raw = (folder / "some/we ird%41.bin").read_bytes()
    cache = BlockCache(RemoteFile(str(folder / "some/we ird%41.bin")), block=1000, kept=5000)
    rng = np.random.default_rng(0)
    for _ in range(300):
        at, n = int(rng.integers(0, len(raw) + 10)), int(rng.integers(0, 9000))
        cache.seek(at)
        assert cache.read(n) == raw[at : at + n]
