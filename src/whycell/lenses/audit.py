"""Which training samples look mislabelled: margins of models that did not see them, and what dropping them changes.

1. Many logistic regressions, each on a random half of all samples. A sample's margin (log-odds of its label) where it
   was out says what the others think of it; margin in minus margin out is its *self-influence* (Feldman & Zhang 2020):
   large where a model must learn the sample by heart.
2. The models of step 1 learned from the very faults they shall find. So samples that contradict their label are set
   aside, class by class, and the models are trained anew without them, twice. Each fifth of the samples is judged by
   models of the other four fifths, so that coordinates made with labels (``sharpen``) never saw the label they judge:
   one class mean that a cell took part in is enough to make a wrong label look right.
3. From the probabilities of the last models, each averaged over those that did not see the sample,
   :func:`whycell.lenses.label_noise.fit_noise` learns how labels are confused and gives each its score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from whycell.compute import Talk
from whycell.errors import LabelError
from whycell.lenses.label_noise import Noise, fit_noise, softmax
from whycell.lenses.many import HeadSettings, ManyModels, train_many
from whycell.lenses.masks import draw_masks

__all__ = ["AuditScores", "Sharpen", "audit_labels", "cut_at", "false_share", "planted_found"]

#: Penalty of the logistic regressions, scikit-learn's ``1 / C``.
_L2 = 1.0
_CLIP = 20.0
#: A sample is set aside where its label is more likely wrong than right; of every label at least this share stays.
_MORE_LIKELY, _LEAST = 0.5, 0.3
_FOLDS, _ROUNDS = 5, 2
_SHARE_IN, _SHARE_OF_OTHERS = 0.5, 0.8

#: Classes of all samples and the samples that may teach -> (n, e) further coordinates, learned from those alone.
Sharpen = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class AuditScores:
    """What the models say of each sample's label.

    Parameters
    ----------
    score
        (n,) probability that the label is wrong.
    odds
        (n,) its log-odds: what ranks samples whose score rounds to 0 or 1.
    other
        (n,) the class that explains the sample best among those that its label excludes.
    margin
        (n,) mean log-odds of the label over models that did not see the sample, within +-20.
    agreeing
        (n,) share of these models whose first choice the label allows.
    self_influence
        (n,) margin where the sample was in minus margin where it was out, over models on halves of all samples.
    probabilities
        (n, K) mean over the models that did not see the sample.
    set_aside
        (n,) bool: samples that the last models did not learn from.
    noise
        The rates at which labels are confused.
    n_models
        Models trained in all.
    """

    score: np.ndarray
    odds: np.ndarray
    other: np.ndarray
    margin: np.ndarray
    agreeing: np.ndarray
    self_influence: np.ndarray
    probabilities: np.ndarray
    set_aside: np.ndarray
    noise: Noise
    n_models: int


def audit_labels(
    x: np.ndarray,
    codes: np.ndarray,
    *,
    allows: np.ndarray | None = None,
    sharpen: Sharpen | None = None,
    n_models: int = 60,
    seed: int = 0,
    threads: int = 1,
    device: str = "cpu",
    talk: Talk | None = None,
) -> AuditScores:
    """Score the labels of samples.

    Parameters
    ----------
    x
        (n, d) coordinates made without labels; scaled here as a whole, so that columns keep their proportions.
    codes
        (n,) the label of each sample, 0..M-1.
    allows
        (M, K) bool, the classes that each label may stand for; ``None`` is one class a label.
    sharpen
        Further coordinates that need labels: called with the class of every sample and a mask of the samples that it
        may learn from.
    n_models
        Models in each of the three rounds.
    seed, threads, device, talk
        See docs/parameters.md.

    Returns
    -------
    :class:`AuditScores`

    Raises
    ------
    LabelError
        Fewer than two classes, or so few samples that a model meets only one of them.
    """
    talk = talk or Talk()
    codes = np.asarray(codes)
    allows = np.eye(int(codes.max()) + 1, dtype=bool) if allows is None else np.asarray(allows, dtype=bool)
    if allows.shape[1] < 2:
        msg = f"{allows.shape[1]} class among the labels: wanted two at least, else no label can be wrong"
        raise LabelError(msg)
    x = np.asarray(x, dtype=np.float32)
    scale = max(float(x.std(axis=0).max()), 1e-6)
    may = allows[codes]
    target = _first_guess(codes, allows)
    how = _How(n_models, seed, threads, device)
    with talk.progress("models that did not see a label judge it", 1 + _ROUNDS) as bar:
        first = last = _halves(x / scale, target, may, how)
        bar.advance()
        for k in range(_ROUNDS):
            target = np.where(may, last.probabilities, -1.0).argmax(axis=1)
            keep = _trusted(fit_noise(last.probabilities, codes, allows, seed=seed).score, codes)
            last = _fifths(x, target, may, keep, sharpen=sharpen, scale=scale, how=replace(how, seed=seed + 1 + k))
            bar.advance()
    noise = fit_noise(last.probabilities, codes, allows, seed=seed)
    return AuditScores(
        score=noise.score,
        odds=noise.odds,
        other=noise.other,
        margin=last.margin_out,
        agreeing=last.agreeing,
        self_influence=first.margin_in - first.margin_out,
        probabilities=last.probabilities,
        set_aside=~keep,
        noise=noise,
        n_models=n_models + _ROUNDS * _FOLDS * how.per_fold,
    )


def false_share(score: np.ndarray) -> np.ndarray:
    """(n,) expected share of right labels among all samples with at least this score: a q-value.

    The mean of ``1 - score`` over the samples that rank as high or higher (Efron's local false discovery rates,
    averaged over the tail). ``score`` (n,) probabilities that a label is wrong.
    """
    order = np.argsort(-np.asarray(score), kind="stable")
    q = np.empty(len(order))
    q[order] = np.cumsum(1.0 - score[order]) / np.arange(1, len(order) + 1)
    return q


def cut_at(score: np.ndarray, *, at_most: float) -> np.ndarray:
    """(n,) bool, samples to flag so that at most this share of them is expected to be labelled rightly; often none.

    A flagged sample must also be more likely wrong than right by itself. ``score`` (n,), ``at_most`` in 0..1.
    """
    return np.asarray((false_share(score) <= at_most) & (score > 0.5))


def planted_found(
    scores: AuditScores,
    codes: np.ndarray,
    *,
    allows: np.ndarray | None = None,
    at_most: float = 0.1,
    share: float = 0.05,
    seed: int = 0,
) -> dict[str, float]:
    """Share of labels falsified by ourselves that the cut finds: what an audit of these samples can see.

    Labels of samples that the models trust are replaced, the noise is learned anew, and the same cut is drawn. The
    probabilities stay: no model that gave them saw the sample.

    Parameters
    ----------
    scores
        Of :func:`audit_labels`.
    codes, allows
        As there.
    at_most
        Of :func:`cut_at`.
    share
        Part of all samples whose label is replaced.
    seed
        Of the draw.

    Returns
    -------
    ``anywhere``: found among labels replaced by any that excludes the class; ``nearest``: by the likeliest such one.
    """
    codes = np.asarray(codes)
    allows = np.eye(scores.probabilities.shape[1], dtype=bool) if allows is None else allows
    trusted = np.flatnonzero(~scores.set_aside & (scores.score < 0.5))
    rng = np.random.default_rng(seed)
    at = rng.permutation(trusted)[: max(int(share * len(codes)), 1)]
    best = np.where(allows[codes], scores.probabilities, -1.0).argmax(axis=1)
    found = {}
    for how in ("anywhere", "nearest"):
        wrong = ~allows[:, best[at]].T
        chance = np.where(wrong, rng.random(wrong.shape), -1.0)
        if how == "nearest":
            chance = np.where(wrong, scores.probabilities[at] @ allows.T.astype(float), -1.0)
        possible = wrong.any(axis=1)
        planted = codes.copy()
        planted[at[possible]] = chance[possible].argmax(axis=1)
        flagged = cut_at(fit_noise(scores.probabilities, planted, allows, seed=seed).score, at_most=at_most)
        found[how] = float(flagged[at[possible]].mean()) if possible.any() else 0.0
    return found


def _first_guess(codes: np.ndarray, allows: np.ndarray) -> np.ndarray:
    """A class for each sample: the only one its label allows, else the allowed one that no other label names alone."""
    alone = allows.sum(axis=1) == 1
    named = allows[alone].any(axis=0)
    preferred = np.where(allows, 1 + ~named[None, :], 0)
    return np.asarray(preferred.argmax(axis=1)[codes])


def _trusted(score: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """(n,) bool: samples more likely labelled rightly than not; three in ten of a label stay whatever happens."""
    keep = score <= _MORE_LIKELY
    for code in np.unique(codes):
        at = np.flatnonzero(codes == code)
        least = int(np.ceil(_LEAST * len(at)))
        if keep[at].sum() < least:
            keep[at[np.argsort(score[at], kind="stable")[:least]]] = True
    return keep


@dataclass(frozen=True)
class _How:
    """How many models, and where they are trained."""

    n_models: int
    seed: int
    threads: int
    device: str

    @property
    def per_fold(self) -> int:
        return max(self.n_models // _FOLDS, 2)


@dataclass
class _Judged:
    """Sums over models, then means: of those that saw a sample and of those that did not."""

    probabilities: np.ndarray
    margin_out: np.ndarray
    margin_in: np.ndarray
    agreeing: np.ndarray

    @classmethod
    def nothing(cls, n: int, k: int) -> _Judged:
        return cls(np.zeros((n, k)), np.zeros(n), np.zeros(n), np.zeros(n))


def _train(x: np.ndarray, target: np.ndarray, masks: np.ndarray, how: _How) -> ManyModels:
    settings = HeadSettings(l2=_L2)
    return train_many("linear", x, target, masks=masks, settings=settings, threads=how.threads, device=how.device)


def _answers(models: ManyModels, x: np.ndarray, k: int) -> Iterator[np.ndarray]:
    """(n, k) probabilities, model by model; classes that a model never met get none."""
    place = np.asarray(models.classes, dtype=int)
    for weights in models.weights[0]:
        p = np.zeros((len(x), k), dtype=np.float32)
        p[:, place] = softmax(x @ weights[:-1] + weights[-1])
        yield p


def _halves(x: np.ndarray, target: np.ndarray, may: np.ndarray, how: _How) -> _Judged:
    """Every model learns from a random half of all samples, and judges all: those it saw too."""
    n, k = may.shape
    masks = draw_masks(n, how.n_models, alpha=_SHARE_IN, strata=target, kind="fixed", seed=how.seed)
    judged = _Judged.nothing(n, k)
    for p, inside in zip(_answers(_train(x, target, masks, how), x, k), masks, strict=True):
        margin = _log_odds(p, may)
        judged.probabilities += p * ~inside[:, None]
        judged.margin_out += margin * ~inside
        judged.margin_in += margin * inside
        judged.agreeing += may[np.arange(n), p.argmax(axis=1)] & ~inside
    seen = masks.sum(axis=0)
    unseen = np.maximum(len(masks) - seen, 1)
    judged.probabilities /= unseen[:, None]
    judged.margin_out /= unseen
    judged.agreeing /= unseen
    judged.margin_in /= np.maximum(seen, 1)
    return judged


def _fifths(
    x: np.ndarray,
    target: np.ndarray,
    may: np.ndarray,
    keep: np.ndarray,
    *,
    sharpen: Sharpen | None,
    scale: float,
    how: _How,
) -> _Judged:
    """Every fifth is judged by models of most of the other four, from which also the sharpened coordinates come."""
    n, k = may.shape
    judged = _Judged.nothing(n, k)
    fold = _folds(target, seed=how.seed)
    for f in range(_FOLDS):
        own, others = fold == f, np.flatnonzero((fold != f) & keep)
        seen = x
        if sharpen is not None:
            teach = np.zeros(n, dtype=bool)
            teach[others] = True
            seen = np.hstack([x, sharpen(target, teach)])
        seen = seen / np.float32(scale)
        masks = draw_masks(
            len(others), how.per_fold, alpha=_SHARE_OF_OTHERS, strata=target[others], kind="fixed", seed=how.seed + f
        )
        rows = np.arange(int(own.sum()))
        for p in _answers(_train(seen[others], target[others], masks, how), seen[own], k):
            judged.probabilities[own] += p
            judged.margin_out[own] += _log_odds(p, may[own])
            judged.agreeing[own] += may[own][rows, p.argmax(axis=1)]
    judged.probabilities /= how.per_fold
    judged.margin_out /= how.per_fold
    judged.agreeing /= how.per_fold
    return judged


def _folds(target: np.ndarray, *, seed: int) -> np.ndarray:
    """(n,) 0..4, each class spread evenly."""
    order = np.lexsort((np.random.default_rng(seed).random(len(target)), target))
    fold = np.empty(len(target), dtype=np.int64)
    fold[order] = np.arange(len(target)) % _FOLDS
    return fold


def _log_odds(p: np.ndarray, may: np.ndarray) -> np.ndarray:
    own = np.where(may, p, 0.0).sum(axis=1)
    rest = np.where(may, 0.0, p).sum(axis=1)
    return np.asarray(np.clip(np.log(np.maximum(own, 1e-12)) - np.log(np.maximum(rest, 1e-12)), -_CLIP, _CLIP))
