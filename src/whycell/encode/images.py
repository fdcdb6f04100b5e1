"""Pictures as numbers without a trained network: small patches, whitened, against a dictionary learned from them.

Coates, Lee & Ng (2011): patches of ``PATCH`` pixels are normalised and whitened; k-means finds the dictionary; each
patch of a picture answers by how much nearer than average each entry is; answers are averaged over the quarters of the
picture. No label enters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whycell.errors import DataError

__all__ = ["PatchEncoder", "learn_patches"]

PATCH = 6
STRIDE = 2
_PATCHES_LEARNED = 40_000
_ROUNDS = 12


@dataclass(frozen=True)
class PatchEncoder:
    """A dictionary of patches.

    Parameters
    ----------
    mean, whitening
        (p,) and (p, p) of normalised patches, p = patch x patch x channels.
    entries
        (k, p) float32, whitened.
    """

    mean: np.ndarray
    whitening: np.ndarray
    entries: np.ndarray

    def encode(self, pictures: np.ndarray) -> np.ndarray:
        """(n, height, width, channels) uint8 -> (n, 4 k) float32, mean answer of every entry in each quarter."""
        pictures = _checked(pictures)
        n_entries = len(self.entries)
        out = np.empty((len(pictures), 4 * n_entries), dtype=np.float32)
        for start in range(0, len(pictures), 100):
            some = pictures[start : start + 100]
            patches = _patches(some)
            n, rows, columns, size = patches.shape
            white = (_normalised(patches.reshape(-1, size)) - self.mean) @ self.whitening
            apart = (white**2).sum(axis=1, keepdims=True) - 2 * white @ self.entries.T + (self.entries**2).sum(axis=1)
            apart = np.sqrt(np.maximum(apart, 0))
            answers = np.maximum(apart.mean(axis=1, keepdims=True) - apart, 0).reshape(n, rows, columns, n_entries)
            top, left = (rows + 1) // 2, (columns + 1) // 2
            quarters = [
                answers[:, a, b].mean(axis=(1, 2))
                for a in (slice(top), slice(rows - top, None))
                for b in (slice(left), slice(columns - left, None))
            ]
            out[start : start + len(some)] = np.hstack(quarters)
        return out


def learn_patches(pictures: np.ndarray, *, n_entries: int = 200, seed: int = 0) -> PatchEncoder:
    """Learn a dictionary.

    Parameters
    ----------
    pictures
        (n, height, width, channels) uint8, all of one size, ``PATCH`` pixels or more each way.
    n_entries
        Entries of the dictionary.
    seed
        See docs/parameters.md.

    Raises
    ------
    DataError
        Not an array of pictures.
    """
    pictures = _checked(pictures)
    rng = np.random.default_rng(seed)
    n, height, width, _ = pictures.shape
    which = rng.integers(n, size=_PATCHES_LEARNED)
    top = rng.integers(height - PATCH + 1, size=_PATCHES_LEARNED)
    left = rng.integers(width - PATCH + 1, size=_PATCHES_LEARNED)
    inside = np.arange(PATCH)
    patches = pictures[which[:, None, None], top[:, None, None] + inside[:, None], left[:, None, None] + inside]
    patches = _normalised(patches.reshape(_PATCHES_LEARNED, -1))
    mean = patches.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(patches - mean, rowvar=False).astype(np.float64))
    whitening = ((vectors / np.sqrt(np.maximum(values, 0) + 0.1)) @ vectors.T).astype(np.float32)
    white = (patches - mean) @ whitening
    entries = white[rng.choice(len(white), n_entries, replace=False)].copy()
    for _ in range(_ROUNDS):
        nearest = (white @ entries.T - 0.5 * (entries**2).sum(axis=1)).argmax(axis=1)
        counts = np.bincount(nearest, minlength=n_entries)
        order = np.argsort(nearest, kind="stable")
        bounds = np.concatenate([[0], np.cumsum(counts)])[:-1]
        filled = counts > 0
        sums = np.add.reduceat(white[order], bounds[filled], axis=0)
        entries[filled] = sums / counts[filled, None]
    return PatchEncoder(mean.astype(np.float32), whitening, entries.astype(np.float32))


def _checked(pictures: np.ndarray) -> np.ndarray:
    pictures = np.asarray(pictures)
    if pictures.ndim == 3:
        pictures = pictures[..., None]
    if pictures.ndim != 4 or min(pictures.shape[1:3]) < PATCH or pictures.shape[3] not in (1, 3):
        msg = f"pictures of shape {pictures.shape}: wanted (n, height, width, 1 or 3), {PATCH} pixels or more each way"
        raise DataError(msg)
    return pictures


def _normalised(patches: np.ndarray) -> np.ndarray:
    patches = patches.astype(np.float32)
    patches -= patches.mean(axis=1, keepdims=True)
    patches /= np.sqrt(patches.var(axis=1, keepdims=True) + 10)
    return patches


def _patches(pictures: np.ndarray) -> np.ndarray:
    """(n, h, w, c) -> (n, rows, columns, PATCH x PATCH x c), every ``STRIDE`` pixels."""
    views = np.lib.stride_tricks.sliding_window_view(pictures, (PATCH, PATCH), axis=(1, 2))[:, ::STRIDE, ::STRIDE]
    n, rows, columns = views.shape[:3]
    return views.transpose(0, 1, 2, 4, 5, 3).reshape(n, rows, columns, -1)
