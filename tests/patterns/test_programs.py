"""Directions as gene programs."""

import numpy as np
import pytest

from whycell.errors import UsageError
from whycell.patterns.programs import gene_programs


def test_programs_are_named_by_their_genes_and_by_the_nearest_texts() -> None:
    names = ["CD3D", "CD3E", "LYZ", "CST3", "CD2", "S100A9", "ACTB"]
    direction = np.array([[0.6, 0.5, -0.5, -0.35, 0.0, 0.0, 0.01]])
    direction /= np.linalg.norm(direction)
    topics = np.eye(3)[[0, 0, 1, 1, 0, 1, 2]] + 0.01 * np.random.default_rng(0).normal(size=(7, 3))
    found = gene_programs(direction, names, spectrum=np.array([3.0, 1.0]), vectors=topics, near=1)
    assert found["name"].tolist() == ["CD3D, CD3E", "LYZ, CST3"]
    assert found["near"].tolist() == [("CD2",), ("S100A9",)]
    assert found["share"].tolist() == [0.75, 0.75]
    assert found["weight"].sum() == pytest.approx(1)
    assert found["weights"].iloc[1][0] < 0
    assert gene_programs(direction, names)["near"].tolist() == [(), ()]
    with pytest.raises(UsageError, match="2 names for directions over 7"):
        gene_programs(direction, ["a", "b"])
