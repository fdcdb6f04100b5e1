"""Where the chunks of a far HDF5 dataset lie, found without HDF5.

h5py walks the index of the chunks node by node, one journey each. Here a level of the tree is one journey: 16,000
chunks behind 30 ms are found in half a second. What is found equals h5py's ``chunk_iter``.
"""

from __future__ import annotations

import math

import numpy as np

from whycell.data.chunks import on_grid
from whycell.data.hdf5_arrays import extensible_array, fixed_array
from whycell.data.hdf5_headers import UNDEFINED, Superblock, unpack
from whycell.data.hdf5_messages import CONTIGUOUS, Stored
from whycell.data.hdf5_walk import UnknownLayoutError, Walk
from whycell.data.layouts import ArrayLayout

__all__ = ["array_layout"]

BTREE_V1, SINGLE, IMPLICIT, FIXED, EXTENSIBLE = 0, 1, 2, 3, 4


def array_layout(stored: Stored, *, name: str, block: Superblock) -> Walk[ArrayLayout]:
    """The layout of a dataset, its chunk index walked.

    Parameters
    ----------
    stored
        The dataset.
    name
        Its path in the file.
    block
        Of the file.

    Raises
    ------
    UnknownLayoutError
        A compact dataset, or an index that is not known.
    """
    common = (name, stored.shape, stored.kind.dtype.str)
    if stored.layout == CONTIGUOUS and stored.address != UNDEFINED:
        size = math.prod(stored.shape) * stored.kind.dtype.itemsize
        place = (np.array([value], dtype=np.int64) for value in (stored.address + block.base, size, 0))
        return ArrayLayout(*common, None, (), 0, *place)
    if not stored.chunk or not stored.shape or 0 in stored.chunk:
        msg = "it has no chunks"
        raise UnknownLayoutError(msg)
    grid = tuple(-(-s // c) for s, c in zip(stored.shape, stored.chunk, strict=True))
    where, told = yield from _chunks(stored, grid, block)
    told[:, 0] += block.base
    # A dataset that was made smaller may keep chunks beyond its end.
    inside = (where < np.array(stored.shape)).all(axis=1) & (told[:, 1] > 0)
    places = on_grid(stored.shape, stored.chunk, where[inside], told[inside])
    return ArrayLayout(*common, stored.chunk, stored.filters, stored.fill, *places)


def _chunks(stored: Stored, grid: tuple[int, ...], block: Superblock) -> Walk[tuple[np.ndarray, np.ndarray]]:
    if stored.address == UNDEFINED:
        return np.zeros((0, len(grid)), np.int64), np.zeros((0, 3), np.int64)
    raw_size = math.prod(stored.chunk) * stored.kind.dtype.itemsize
    if stored.index == BTREE_V1:
        return (yield from _btree(stored, block))
    if stored.index == SINGLE:
        size, mask = (stored.told[1], stored.told[2]) if stored.told[0] & 2 else (raw_size, 0)
        return np.zeros((1, len(grid)), np.int64), np.array([[stored.address, size, mask]])
    # Numbered by the largest shape the array may grow to; only the first axis may be without a limit.
    axes = list(zip(grid, stored.limits, stored.chunk, strict=True))
    endless = [axis for axis, (_, limit, _) in enumerate(axes) if limit == UNDEFINED]
    if endless not in ([], [0]):
        msg = f"a chunk index of kind {stored.index} that grows along axis {endless}"
        raise UnknownLayoutError(msg)
    wide = tuple(now if limit == UNDEFINED else -(-limit // step) for now, limit, step in axes)
    n = math.prod(wide)
    if stored.index == IMPLICIT:
        told = np.stack([stored.address + np.arange(n) * raw_size, np.full(n, raw_size), np.zeros(n, np.int64)], axis=1)
    elif stored.index == FIXED:
        told = yield from fixed_array(stored.address, n, raw_size, filtered=bool(stored.filters))
    elif stored.index == EXTENSIBLE:
        told = yield from extensible_array(stored.address, n, raw_size, filtered=bool(stored.filters))
    else:
        msg = f"a chunk index of kind {stored.index}"
        raise UnknownLayoutError(msg)
    at = np.stack(np.unravel_index(np.arange(n), wide), axis=1) * np.array(stored.chunk)
    return at.astype(np.int64), told


def _btree(stored: Stored, block: Superblock) -> Walk[tuple[np.ndarray, np.ndarray]]:
    """All leaves of a version 1 B-tree, a level at a time; each node is read once, whole."""
    n_axes = len(stored.shape) + 1
    key = 8 + 8 * n_axes
    width = 24 + (2 * block.chunk_k + 1) * key + 2 * block.chunk_k * 8
    depth = 256
    entry = np.dtype([("size", "<u4"), ("mask", "<u4"), ("at", "<u8", (n_axes,)), ("child", "<u8")])
    nodes = [stored.address]
    while True:
        bodies = yield [(node, width) for node in nodes]
        level, parts = -1, []
        for raw in bodies:
            if len(raw) < width or raw[:4] != b"TREE" or raw[4] != 1 or (level >= 0 and raw[5] != level):
                msg = "a node of its chunk index is of another kind"
                raise UnknownLayoutError(msg)
            level, (used,) = raw[5], unpack("H", raw, 6)
            if level >= depth or used > 2 * block.chunk_k:
                msg = "a node of its chunk index is too full or too deep"
                raise UnknownLayoutError(msg)
            parts.append(np.frombuffer(raw, entry, count=used, offset=24))
        found = np.concatenate(parts)
        if level == 0:
            told = np.stack([found["child"], found["size"], found["mask"]], axis=1).astype(np.int64)
            return found["at"][:, :-1].astype(np.int64), told
        nodes, depth = found["child"].tolist(), level
