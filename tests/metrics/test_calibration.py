"""Calibration, ranking, novelty and embedding scores against scikit-learn, by hand, and by brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, ndcg_score, roc_auc_score, top_k_accuracy_score
from sklearn.metrics import log_loss as sk_log_loss

from whycell.errors import UsageError
from whycell.metrics.calibration import adaptive_ece, brier, ece, ece_noise_floor, log_loss, reliability_table
from whycell.metrics.coverage import aurc, conformal_sets, conformal_threshold, risk_coverage
from whycell.metrics.embedding import ami, ari, batch_mixing, silhouette
from whycell.metrics.nodes import node_probabilities, node_wise_calibration
from whycell.metrics.novelty import auroc, fpr_at_tpr, leave_types_out
from whycell.metrics.ranking import hop_f1, mrr_at_k, ndcg_at_k, ranks, recall_at_k
from whycell.metrics.tree import TermTree

rated = st.lists(st.tuples(st.integers(0, 20).map(lambda x: x / 20), st.booleans()), min_size=1, max_size=60)


@given(rated)
def test_ece_is_the_sum_over_bins(rows):
    confidence, correct = (np.array(x) for x in zip(*rows, strict=True))
    wanted = 0.0
    for b in range(15):
        inside = (confidence > b / 15) & (confidence <= (b + 1) / 15) | ((b == 0) & (confidence == 0))
        if inside.any():
            wanted += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    assert ece(confidence, correct) == pytest.approx(wanted)
    assert reliability_table(confidence, correct)["n"].sum() == len(rows)
    shuffled = np.random.default_rng(0).permutation(len(rows))
    assert adaptive_ece(confidence[shuffled], correct[shuffled]) == pytest.approx(adaptive_ece(confidence, correct))


def test_noise_floor_is_what_a_perfect_model_shows():
    rng = np.random.default_rng(1)
    confidence = rng.uniform(0.3, 1, 3000)
    seen = [ece(confidence, rng.random(3000) < confidence) for _ in range(100)]
    assert ece_noise_floor(confidence) == pytest.approx(np.mean(seen), rel=0.1)
    assert ece_noise_floor(confidence[:100]) > 3 * ece_noise_floor(confidence)


def test_probability_scores_equal_scikit_learn():
    rng = np.random.default_rng(2)
    p = rng.dirichlet(np.ones(5), 200)
    y = rng.integers(0, 5, 200)
    assert brier(p, y) == pytest.approx(brier_score_loss(y, p, labels=range(5), scale_by_half=False))
    assert log_loss(p, y) == pytest.approx(sk_log_loss(y, p, labels=range(5)))
    rank = ranks(p, y)
    for k in (1, 2, 4):
        assert recall_at_k(rank, k) == pytest.approx(top_k_accuracy_score(y, p, k=k, labels=range(5)))
        assert ndcg_at_k(rank, k) == pytest.approx(ndcg_score(np.eye(5)[y], p, k=k))
    assert mrr_at_k(rank, 5) == pytest.approx((1 / rank).mean())
    assert recall_at_k(ranks(np.ones((1, 4)), np.array([2])), 3) == 0, "constant scores earn nothing"


@given(rated)
def test_aurc_is_the_mean_over_all_orders_of_ties(rows):
    rows = rows[:5]
    confidence, correct = (np.array(x) for x in zip(*rows, strict=True))
    areas = []
    for order in itertools.permutations(range(len(rows))):
        order = np.array(order)
        if (np.diff(confidence[order]) <= 0).all():
            areas.append((np.cumsum(~correct[order]) / np.arange(1, len(rows) + 1)).mean())
    assert aurc(confidence, correct) == pytest.approx(np.mean(areas))
    assert risk_coverage(confidence, correct)["risk"].iloc[-1] == pytest.approx(1 - correct.mean())


def test_conformal_sets_cover_what_they_promise():
    rng = np.random.default_rng(3)
    p = rng.dirichlet(np.ones(6) * 0.5, 6000)
    y = (p.cumsum(1) > rng.random((6000, 1))).argmax(1)
    threshold = conformal_threshold(p[np.arange(3000), y[:3000]], error=0.1)
    covered, size = conformal_sets(p[3000:], y[3000:], threshold=threshold)
    assert covered == pytest.approx(0.9, abs=0.02)
    assert 1 < size < 6
    assert conformal_threshold([0.9, 0.8], error=0.1) == 0, "two cells cannot promise 90 %"


@pytest.fixture(scope="module")
def small_tree():
    parents = {"r": (), "t": ("r",), "a": ("t",), "b": ("t", "k"), "k": ("r",), "s": ("k",)}
    return TermTree.from_parents(list(parents), parents, stop=["r"])


def test_node_probability_counts_each_class_once(small_tree):
    p = np.array([[0.5, 0.3, 0.2]])
    found = node_probabilities(p, ["a", "b", "s"], ["t", "k", "b", "r"], tree=small_tree)
    np.testing.assert_allclose(found, [[0.8, 0.5, 0.3, 1.0]])


def test_node_calibration_leaves_out_what_the_label_leaves_open(small_tree):
    p = np.array([[1.0, 0, 0], [0, 1.0, 0], [0.5, 0.5, 0], [0, 0, 1.0]])
    truth = np.array(["a", "b", "t", "s"])
    found = node_wise_calibration([(p, truth)], ["a", "b", "s"], tree=small_tree, least_positives=1)
    table = found.table.set_index("term_id")
    assert table["n"].to_dict() == {"t": 4, "a": 3, "b": 3, "k": 4, "s": 4}
    assert table["positives"].to_dict() == {"t": 3, "a": 1, "b": 1, "k": 2, "s": 1}
    assert table.loc[["t", "a", "b", "s"], "ece"].max() == 0
    assert table.loc["k", "ece"] == pytest.approx(0.5 / 4)


def test_hop_f1_by_hand(small_tree):
    scores = np.array([[0.9, 0.6, 0.3, 0.2]])
    found = hop_f1([(scores, np.array(["a"]))], ["a", "t", "b", "s"], tree=small_tree, hops=1)
    # k=0: hit .9; exempt a, t, r; worst other b .3.  k=1: near a, t; exempt also b and its k; worst other s .2.
    wanted = [2 * (0.9 / 1.2) * 0.9 / (0.9 / 1.2 + 0.9), 2 * (0.9 / 1.1) * 0.9 / (0.9 / 1.1 + 0.9)]
    np.testing.assert_allclose(found, wanted)


@given(rated.filter(lambda rows: len({b for _, b in rows}) == 2))
def test_auroc_equals_scikit_learn_and_fpr95_flags_95_percent(rows):
    score, novel = (np.array(x) for x in zip(*rows, strict=True))
    assert auroc(score, novel) == pytest.approx(roc_auc_score(novel, score))
    allowed = [t for t in score if (score[novel] >= t).mean() >= 0.95]
    assert fpr_at_tpr(score, novel) == pytest.approx((score[~novel] >= max(allowed)).mean())


def test_leave_types_out_never_trains_on_the_type_or_the_donors():
    labels = np.array(["a", "b", "c"] * 20)
    train, test = np.arange(30), np.arange(30, 60)

    def score_with(rows, scored):
        assert not set(rows) & set(scored)
        return (~np.isin(labels[scored], labels[rows])).astype(float)

    found = list(leave_types_out(score_with, labels, train, test))
    assert [f.left_out for f in found] == [("a",), ("b",), ("c",)]
    assert all(f.auroc == 1 and f.fpr95 == 0 and f.n_novel == 10 for f in found)
    with pytest.raises(UsageError, match="disjoint"):
        next(leave_types_out(score_with, labels, train, train))


def test_embedding_scores_tell_types_and_batches():
    rng = np.random.default_rng(4)
    label = np.repeat(["a", "b"], 200)
    xy = rng.normal(size=(400, 2)) + 8 * (label == "b")[:, None]
    mixed, apart = rng.permutation(np.repeat(["x", "y"], 200)), label
    assert silhouette(xy, label) > 0.7
    assert ari(label, label) == 1
    assert ami(label, mixed) == pytest.approx(0, abs=0.02)
    assert batch_mixing(xy, mixed) == pytest.approx(1, abs=0.05)
    assert batch_mixing(xy, apart) == pytest.approx(0, abs=0.01)
    assert np.isnan(batch_mixing(xy, apart, labels=label))
