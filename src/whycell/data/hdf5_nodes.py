"""Groups and datasets of `Hdf5`, with the little of h5py's that readers here use: names, attributes, slices."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from whycell.data.hdf5_messages import Stored
from whycell.data.hdf5_walk import UnknownLayoutError

if TYPE_CHECKING:
    from whycell.data.hdf5_tree import Hdf5

__all__ = ["Hdf5Dataset", "Hdf5Group"]


class _Named:
    """What groups and datasets share."""

    def __init__(self, file: Hdf5, address: int, name: str) -> None:
        self._file = file
        self._at = address
        self.name = name

    @property
    def attrs(self) -> dict[str, Any]:
        """The attributes, decoded."""
        return self._file.attributes(self._file.node(self._at))


class Hdf5Group(_Named):
    """A group, as h5py's."""

    def keys(self) -> list[str]:
        """Names of what it holds."""
        return sorted(self._file.node(self._at).links or {})

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __contains__(self, path: str) -> bool:
        return self.get(path) is not None

    def get(self, path: str, default: Any = None) -> Any:
        """What lies at a path, or ``default``."""
        at, name = self._at, self.name
        for part in path.strip("/").split("/"):
            links = self._file.node(at).links
            if links is None or part not in links:
                return default
            at, name = links[part], f"{name.rstrip('/')}/{part}"
        kind = Hdf5Group if self._file.node(at).stored is None else Hdf5Dataset
        return kind(self._file, at, name)

    def __getitem__(self, path: str) -> Any:
        if not isinstance(path, str):
            msg = f"{self.name} is a group where values are due"
            raise UnknownLayoutError(msg)
        found = self.get(path)
        if found is None:
            raise KeyError(path)
        return found


class Hdf5Dataset(_Named):
    """A dataset, as h5py's; the first slice reads it whole."""

    @property
    def _stored(self) -> Stored:
        stored = self._file.node(self._at).stored
        if stored is None:
            msg = "a group"
            raise UnknownLayoutError(msg)
        return stored

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape."""
        return self._stored.shape

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements as h5py tells it; texts of any length are objects."""
        kind = self._stored.kind
        return np.dtype(object) if kind.in_heap else np.dtype(bool) if kind.truth else kind.dtype

    @property
    def chunks(self) -> tuple[int, ...] | None:
        """Shape of a chunk."""
        return self._stored.chunk or None

    @property
    def filters(self) -> tuple[int, ...]:
        """Numbers of the filters."""
        return self._stored.filters

    def asstr(self) -> Hdf5Dataset:
        """Itself: texts are decoded already."""
        return self

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, part: Any) -> Any:
        values = self._file.values(self._at, self.name.strip("/"))
        return values[part] if part != () or self.shape else values.reshape(-1)[0]
