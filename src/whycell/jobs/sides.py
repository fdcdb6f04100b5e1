"""What may be written beside the typed file: text, and the probability of every term. Whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from whycell.data.whole import folder_written_whole
from whycell.models.leaves import LeafSpace

__all__ = ["probability_store"]

_CHUNK = 8192


@contextmanager
def probability_store(
    path: Path | None, space: LeafSpace, names: np.ndarray, *, force: bool
) -> Iterator[Callable[[int, np.ndarray], None]]:
    """A zarr store filled block by block: ``probability`` (n_cells, n_nodes) float32, ``cell``, ``term_id``, ``term``.

    Parameters
    ----------
    path
        Where to; ``None`` keeps nothing.
    space
        Names the nodes.
    names
        (n_cells,) cell names.
    force
        Replace a store that is there.

    Yields
    ------
    A function of the first row and (n, n_leaves) probabilities.
    """
    if path is None:
        yield lambda start, values: None
        return
    import zarr

    with folder_written_whole(Path(path), force=force) as store:
        root = zarr.open_group(str(store), mode="w")
        shape = (len(names), len(space.nodes))
        table = root.create_array("probability", shape=shape, chunks=(_CHUNK, shape[1]), dtype="float32")
        for key, values in (("cell", names), ("term_id", space.nodes), ("term", space.node_names)):
            array = root.create_array(key, shape=(len(values),), chunks=(max(len(values), 1),), dtype=str)
            array[:] = np.asarray(values, dtype=object)
        below = space.below.T.astype(np.float64)

        def keep(start: int, values: np.ndarray) -> None:
            table[start : start + len(values)] = (values @ below).astype(np.float32)

        yield keep
