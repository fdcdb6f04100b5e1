"""What one laboratory measures better than another is found where it is, and only there."""

import numpy as np
import scipy.sparse as sp

from whycell.encode.cells import Gaps
from whycell.models.laboratories import Laboratories

N, GENES, KINDS = 600, 80, 3


def two_studies(factor: np.ndarray, *, seed: int = 0) -> tuple[sp.csr_matrix, np.ndarray, np.ndarray]:
    """Counts of two studies of three types; the second measures each gene ``factor`` times as well."""
    rng = np.random.default_rng(seed)
    profile = rng.dirichlet(np.full(GENES, 2.0), size=KINDS)
    study, kind = np.repeat([0, 1], N), rng.integers(KINDS, size=2 * N)
    rate = profile[kind] * np.where(study[:, None] == 1, factor, 1.0)
    return sp.csr_matrix(rng.poisson(2000 * rate).astype(np.float32)), study, kind


def compared(X: sp.csr_matrix, study: np.ndarray, kind: np.ndarray, measured: np.ndarray) -> Laboratories:
    return Laboratories.compare(X, study, measured, np.eye(KINDS, dtype=bool), kind)


def test_planted_factors_are_found_and_travelled_along() -> None:
    factor = np.exp(np.random.default_rng(1).normal(0, 0.7, GENES))
    X, study, kind = two_studies(factor)
    measured = np.ones((2, GENES), dtype=bool)
    measured[1, :5] = False
    found = compared(X, study, kind, measured)
    difference = (found.factors[1] - found.factors[0]).mean(axis=0)
    assert (difference[:5] == 0).all(), "a gene that one study did not measure says nothing"
    assert np.corrcoef(difference[5:], np.log(factor)[5:])[0, 1] > 0.98
    seen = np.repeat(measured, 4, axis=0)
    gaps, pattern = found.travel(Gaps(seen), study, n_patterns=4, rng=np.random.default_rng(2))
    assert gaps.scale is not None
    np.testing.assert_array_equal(gaps.seen[pattern], measured[study])
    for s, sign in ((0, 1), (1, -1)):
        way = np.log(gaps.scale[pattern[study == s]])[:, 5:]
        assert (sign * (way * np.log(factor)[5:]).sum(axis=1) >= 0).all()


def test_studies_alike_but_for_sampling_have_next_to_no_factors() -> None:
    X, study, kind = two_studies(np.ones(GENES))
    factors = compared(X, study, kind, np.ones((2, GENES), dtype=bool)).factors
    assert np.abs(factors).mean() < 0.005


def test_a_type_that_studies_do_not_share_travels_as_the_others_do_on_average() -> None:
    factor = np.exp(np.random.default_rng(3).normal(0, 0.7, GENES))
    X, study, kind = two_studies(factor)
    keep = (kind < 2) | (study == 0)
    found = compared(X[keep], study[keep], kind[keep], np.ones((2, GENES), dtype=bool))
    difference = (found.factors[1] - found.factors[0])[found.group[kind[keep] == 2][0]]
    assert np.corrcoef(difference, np.log(factor))[0, 1] > 0.95
