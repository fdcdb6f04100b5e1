"""The screener of pairs: no order of genes, no label of its own, found where something is planted."""

import numpy as np
import pytest
import scipy.sparse as sp

from whycell.errors import DataError
from whycell.metrics.novelty import auroc
from whycell.models.pair_baselines import BASELINES
from whycell.models.pair_features import GeneFeatures, gene_features, pair_features, pair_names
from whycell.models.pair_history import record_of, records_without_own
from whycell.models.pairs import PairScreener


@pytest.fixture(scope="module")
def planted() -> tuple[GeneFeatures, np.ndarray, np.ndarray, np.ndarray]:
    """300 genes; a pair is positive where the strongest number of the genes' texts has one sign in both."""
    rng = np.random.default_rng(0)
    texts = rng.standard_normal((300, 5)).astype(np.float32) * np.array([3, 1, 1, 1, 1], np.float32)
    a, b = rng.integers(0, 300, (2, 3000))
    keep = a != b
    a, b = np.minimum(a, b)[keep], np.maximum(a, b)[keep]
    genes = np.array([f"G{i:03}" for i in range(300)])
    label = (texts[a, 0] * texts[b, 0] + rng.standard_normal(len(a)) > 0).astype(float)
    return gene_features(genes, texts=texts), a, b, label


def test_features_of_a_pair_do_not_care_which_gene_comes_first(planted: tuple) -> None:
    plain, a, b, _ = planted
    near = np.triu(np.random.default_rng(0).random((300, 300)) < 0.03, 1)
    network = sp.csr_matrix(near + near.T, dtype=np.float32)
    of = gene_features(plain.genes, texts=plain.blocks["text"], network=network, profiles=plain.blocks["text"])
    there = pair_features(of, a[:50], b[:50])
    np.testing.assert_array_equal(there, pair_features(of, b[:50], a[:50]))
    assert there.shape[1] == len(pair_names(of))


def test_a_screener_ranks_pairs_of_new_genes_and_either_order_alike(planted: tuple) -> None:
    of, a, b, label = planted
    train = (a < 240) & (b < 240)
    new = (a >= 240) & (b >= 240)
    model = PairScreener(trees=40, members=1).fit(of, (a[train], b[train]), label=label[train])
    score = model.score(a, b)
    np.testing.assert_allclose(score, model.score(b, a), atol=1e-12)
    assert auroc(score[new], label[new] == 1) > 0.75
    degree = BASELINES["degree"](0).fit(of, (a[train], b[train]), label=label[train])
    assert auroc(degree.score(a[new], b[new]), label[new] == 1) == 0.5
    kinds, values = model.drivers(a[new], b[new])
    assert values.shape == (new.sum(), len(kinds))
    again = PairScreener(trees=40, members=1).fit(of, (a[train], b[train]), label=label[train])
    np.testing.assert_array_equal(score, again.score(a, b))


def test_a_record_never_holds_the_pairs_own_label(planted: tuple) -> None:
    _, a, b, label = planted
    own = records_without_own(a, b, label, n_genes=300, folds=5, seed=3)
    turned = label.copy()
    turned[7] = 1 - turned[7]
    np.testing.assert_array_equal(own[7], records_without_own(a, b, turned, n_genes=300, folds=5, seed=3)[7])
    assert record_of(a, b, label, n_genes=300).tried.sum() == 2 * len(a)


@pytest.mark.parametrize("name", [n for n in BASELINES if n != "degree"])
def test_every_baseline_learns_what_is_planted(planted: tuple, name: str) -> None:
    of, a, b, label = planted
    model = BASELINES[name](0).fit(of, (a[:2000], b[:2000]), label=label[:2000], weight=np.ones(2000))
    assert auroc(model.score(a[2000:], b[2000:]), label[2000:] == 1) > 0.7


def test_one_label_or_no_features_is_an_error(planted: tuple) -> None:
    of, a, b, _ = planted
    with pytest.raises(DataError, match="have one label"):
        PairScreener().fit(of, (a, b), label=np.ones(len(a)))
    with pytest.raises(DataError, match="no features of genes"):
        gene_features(of.genes)
