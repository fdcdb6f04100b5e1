"""Files and folders by address: what has come is whole, checked and kept, and nobody offline waits."""

import hashlib
import http.server
import importlib.util
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from whycell.data.fetch import local_copy, local_folder
from whycell.data.hub import HubPlace, to_hub
from whycell.errors import FormatError, OutputError

_spec = importlib.util.spec_from_file_location("hub_server", Path(__file__).with_name("hub_server.py"))
hub_server = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(hub_server)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A running stand-in for the Hub, its token in the environment, and an empty cache."""
    constants = importlib.import_module("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # the stand-in takes large files the older way
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("WHYCELL_CACHE", str(tmp_path / "cache"))
    server = hub_server.HubServer()
    with server.running() as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        yield server


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "about.json").write_text('{"kind": "toy"}')
    (folder / "weights.safetensors").write_bytes(bytes(range(256)) * 40)
    return folder


def test_what_is_pushed_comes_back_and_is_had_offline(hub: Any, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (model / "notes.parquet").write_bytes(b"large, and of no use to a model")
    first = to_hub(sorted(model.iterdir()), "hf://lab/blood")
    (model / "notes.parquet").unlink()
    came = local_folder("hf://lab/blood", files=("weights.safetensors", "about.json"), optional=("none.parquet",))
    assert {p.name: p.read_bytes() for p in came.iterdir()} == {p.name: p.read_bytes() for p in model.iterdir()}
    (model / "about.json").write_text('{"kind": "newer"}')
    to_hub([model / "about.json"], "hf://lab/blood", private=True)  # the repository is there: it stays public
    assert not hub.private
    assert local_copy("hf://lab/blood/about.json").read_text() == '{"kind": "newer"}'
    older = local_copy(f"hf://lab/blood@{first.rsplit('/', 1)[1]}/about.json")
    assert older.read_text() == '{"kind": "toy"}'
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert local_folder("hf://lab/blood", files=()).joinpath("about.json").read_text() == '{"kind": "newer"}'


def test_a_damaged_file_is_refused(hub: Any, model: Path) -> None:
    to_hub(sorted(model.iterdir()), "hf://lab/blood")
    hub.spoil = "weights.safetensors"
    with pytest.raises(FormatError, match=r"weights.safetensors of hf://lab/blood.* is damaged"):
        local_copy("hf://lab/blood/weights.safetensors")


def test_who_may_not_write_is_told_so_and_the_token_stays_unsaid(
    hub: Any, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong_and_private")
    with pytest.raises(OutputError, match="needs a token that may write there") as told:
        to_hub(sorted(model.iterdir()), "hf://lab/blood")
    said = str(told.value) + "".join(capsys.readouterr())
    assert "hf_wrong_and_private" not in said
    with pytest.raises(FormatError, match=r"cannot be had \(.*Fetch the files of lab/other"):
        local_folder("hf://lab/other", files=())


def test_addresses_of_the_hub() -> None:
    assert HubPlace.parse("hf://a/b.c-d") == HubPlace("a/b.c-d")
    assert HubPlace.parse("hf://a/b@v1.0/x/y.parquet") == HubPlace("a/b", "x/y.parquet", "v1.0")
    for wrong in ("hf://a", "hf:///b", "hf://a/b c"):
        with pytest.raises(FormatError, match="is not an address of the hub"):
            HubPlace.parse(wrong)


@pytest.mark.parametrize("address", ["hf://lab/blood", "hf://lab/blood/v.parquet", "https://example.invalid/v.parquet"])
@pytest.mark.parametrize("network", ["none", "silent"])
def test_offline_the_message_comes_at_once(
    address: str, network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHYCELL_CACHE", str(tmp_path))
    for name in ("HF_ENDPOINT", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    if network == "none":
        monkeypatch.setattr(socket, "create_connection", _refuse)
    else:
        monkeypatch.setattr(socket, "create_connection", _silent)
    start = time.perf_counter()
    with pytest.raises(FormatError, match=r"cannot be (had|reached) \(.*Fetch .* and give (its|their) path instead"):
        local_copy(address)
    assert time.perf_counter() - start < 1


def test_a_file_and_a_folder_over_the_web(model: Path, tmp_path: Path) -> None:
    handler = partial(_Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url, cache = f"http://127.0.0.1:{server.server_port}/model", tmp_path / "cache"
        names = ("weights.safetensors", "about.json")
        came = local_folder(f"{url}/", files=names, optional=("examples.safetensors",), cache=cache)
        assert sorted(p.name for p in came.iterdir()) == sorted(names)
        digest = hashlib.sha256((model / "about.json").read_bytes()).hexdigest()
        assert local_copy(f"{url}/about.json#sha256={digest}", cache=cache).read_text() == '{"kind": "toy"}'
        with pytest.raises(FormatError, match="it was replaced or damaged"):
            local_copy(f"{url}/about.json#sha256={'0' * 64}", cache=cache)
        with pytest.raises(FormatError, match="cannot be reached"):
            local_folder(f"{url}/none", files=names, cache=cache)
        server.shutdown()
    assert local_folder(url, files=names, cache=cache) == came  # kept


def _refuse(*_: Any, **__: Any) -> None:
    raise OSError(101, "Network is unreachable")


def _silent(*_: Any, **__: Any) -> None:
    time.sleep(2)
    raise TimeoutError


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass
