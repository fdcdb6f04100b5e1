"""Labels that look wrong: planted ones are found, ambiguous ones are not accused, and no label judges itself."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from whycell.errors import LabelError
from whycell.lenses.audit import audit_labels, cut_at, false_share, planted_found
from whycell.lenses.label_noise import fit_noise
from whycell.lenses.oddities import chimera_share, exact_copies, near_copies, unlike_own

CENTRES = np.array([[0.0, 0, 0], [1.8, 0, 0], [0, 7, 0], [0, 0, 7]])


def blobs(n: int = 1200, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, classes, and labels that follow the true posterior: 0 and 1 overlap, so some labels differ rightly."""
    rng = np.random.default_rng(seed)
    true = rng.integers(4, size=n)
    x = np.hstack([CENTRES[true] + rng.standard_normal((n, 3)), 0.5 * rng.standard_normal((n, 7))])
    likely = np.exp(-0.5 * ((x[:, None, :3] - CENTRES) ** 2).sum(2))
    likely /= likely.sum(1, keepdims=True)
    label = (likely.cumsum(1) < rng.random(n)[:, None]).sum(1)
    return x.astype(np.float32), true, np.minimum(label, 3)


def planted(codes: np.ndarray, share: float, *, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(codes), int(share * len(codes)), replace=False)
    out = codes.copy()
    out[rows] = (out[rows] + rng.integers(1, 4, len(rows))) % 4
    return out


def test_planted_labels_are_found_and_the_flagged_are_mostly_wrong() -> None:
    x, _, label = blobs()
    given_codes = planted(label, 0.06, seed=1)
    wrong = given_codes != label
    found = audit_labels(x, given_codes, n_models=20)
    assert roc_auc_score(wrong, found.odds) > 0.97
    at = cut_at(found.score, at_most=0.1)
    assert at.sum() > 0.5 * wrong.sum()
    assert wrong[at].mean() > 0.8
    assert abs(found.noise.share - 0.06) < 0.02
    assert roc_auc_score(wrong, found.self_influence) > 0.8, "what is wrong must be learned by heart"


@pytest.mark.parametrize("seed", range(3))
def test_labels_that_follow_the_posterior_accuse_nobody(seed: int) -> None:
    x, true, label = blobs(seed=seed)
    assert (true != label).mean() > 0.05, "labels of the overlapping classes do differ"
    assert cut_at(audit_labels(x, label, n_models=20, seed=seed).score, at_most=0.1).sum() <= 2


def test_a_coarse_label_is_not_contradicted_by_its_subtypes_but_by_others() -> None:
    x, _, label = blobs()
    allows = np.vstack([np.eye(4, dtype=bool), [[True, True, False, False]]])
    codes = label.copy()
    codes[:300] = 4  # "0 or 1"
    found = audit_labels(x, codes, allows=allows, n_models=20)
    coarse = np.arange(len(codes)) < 300
    right = np.isin(label, [0, 1])
    assert np.median(found.margin[coarse & right]) > 3
    assert (found.margin[coarse & ~right] < 0).mean() > 0.85


def test_coordinates_made_with_labels_never_see_the_label_that_they_judge() -> None:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((400, 600)).astype(np.float32)
    codes = rng.integers(2, size=400)  # labels of nothing

    def class_means(target: np.ndarray, teach: np.ndarray) -> np.ndarray:
        ways = noise[teach & (target == 1)].mean(0) - noise[teach & (target == 0)].mean(0)
        return noise @ ways[:, None]

    found = audit_labels(rng.standard_normal((400, 2)), codes, sharpen=class_means, n_models=20)
    assert abs(np.median(found.margin)) < 0.6
    assert abs(found.agreeing.mean() - 0.5) < 0.1


def test_what_it_can_see_is_told_by_mistakes_of_its_own() -> None:
    x, _, label = blobs()
    seen = planted_found(audit_labels(x, label, n_models=20), label)
    assert seen["anywhere"] > 0.5
    assert seen["nearest"] < seen["anywhere"]


def test_one_class_cannot_be_audited() -> None:
    with pytest.raises(LabelError, match="1 class among the labels"):
        audit_labels(np.zeros((10, 2)), np.zeros(10, dtype=int))


def test_rates_of_confusion_are_recovered() -> None:
    rng = np.random.default_rng(3)
    p = rng.dirichlet([0.15] * 3, size=8000)
    true = (p.cumsum(1) < rng.random(8000)[:, None]).sum(1)
    rates = np.array([[0.9, 0.1, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    codes = (rates[true].cumsum(1) < rng.random(8000)[:, None]).sum(1)
    found = fit_noise(p, codes, np.eye(3, dtype=bool))
    assert np.abs(found.rates - rates).max() < 0.025
    assert abs(found.sharpness - 1) < 0.05
    assert abs(found.score.mean() - (true != codes).mean()) < 0.01, "scores are shares"


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(0.01, 0.9))
def test_the_share_of_right_labels_grows_down_the_list_and_the_cut_keeps_to_it(
    values: list[float], most: float
) -> None:
    score = np.array(values)
    q = false_share(score)[np.argsort(-score, kind="stable")]
    assert (np.diff(q) >= -1e-9).all()
    at = cut_at(score, at_most=most)
    assert not at.any() or (1 - score[at]).mean() <= most + 1e-9


def test_copies_are_found_to_the_last_count_or_nearly() -> None:
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.8, size=(60, 300)).astype(float)
    counts[50], counts[51] = counts[3], counts[3]
    counts[52] = counts[4]
    counts[52, :2] += 1
    counts[53:55] = 0
    rows = sp.csr_matrix(counts)
    first = exact_copies(rows)
    assert first[[50, 51]].tolist() == [3, 3]
    assert (first >= 0).sum() == 2, "empty rows copy nobody"
    pairs = np.array([(4, 52), (5, 52), (1, 2)])
    assert np.flatnonzero(near_copies(rows, pairs) >= 0).tolist() == [52]


def test_strangers_and_doublets_stand_out() -> None:
    x, _, label = blobs(400)
    x[0] += 40
    own, every = unlike_own(x, label)
    assert own.argmax() == every.argmax() == 0
    rng = np.random.default_rng(0)
    pairs = rng.integers(400, size=(400, 2))
    pairs = pairs[label[pairs[:, 0]] != label[pairs[:, 1]]]
    made = (x[pairs[:, 0]] + x[pairs[:, 1]]) / 2
    between = (CENTRES[2] + CENTRES[3]) / 2
    x[1] = np.r_[between, np.zeros(7)]
    share, _ = chimera_share(x, made.astype(np.float32), kind=np.zeros(len(made), dtype=int))
    assert share[1] > 0.9 > np.median(share)
