"""Which training samples look mislabelled: margins of models that did not see them, and what dropping them changes.

1. Many logistic regressions, each on a random half of all samples. A sample's margin (log-odds of its label) where it
   was out says what the others think of it; margin in minus margin out is its *self-influence* (Feldman & Zhang 2020):
   large where a model must learn the sample by heart.
2. The models of step 1 learned from the very faults they shall find. So samples that contradict their label are set
   aside, class by class, and the models are trained anew without them, twice.
3. From the probabilities of the last models, each averaged over those that did not see the sample,
   :func:`whycell.lenses.label_noise.fit_noise` learns how labels are confused and gives each its score.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whycell.compute import Talk
from whycell.errors import LabelError
from whycell.lenses.label_noise import Noise, fit_noise
from whycell.lenses.many import HeadSettings, train_many
from whycell.lenses.masks import draw_masks

__all__ = ["AuditScores", "audit_labels", "cut_at", "false_share", "planted_found"]

#: Penalty of the logistic regressions, scikit-learn's C = 0.3: between two halves of PBMC 3k and Zheng, flips planted,
#: no other power of ten or half of one did better.
_L2 = 1 / 0.3
_CLIP = 20.0
#: A sample is set aside where the probability of its label is below this share of what is usual for the label.
_TRIM, _USUAL, _LEAST = 0.2, 0.75, 0.3
_SHARE_IN = (0.5, 0.7, 0.7)


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
        (n, d) coordinates; scaled here as a whole, so that columns keep their proportions.
    codes
        (n,) the label of each sample, 0..M-1.
    allows
        (M, K) bool, the classes that each label may stand for; ``None`` is one class a label.
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
    x = x / max(float(x.std(axis=0).max()), 1e-6)
    may = allows[codes]
    target = _first_guess(codes, allows)
    keep = np.ones(len(x), dtype=bool)
    rounds = []
    with talk.progress("models that did not see a cell", len(_SHARE_IN)) as bar:
        for k, share in enumerate(_SHARE_IN):
            drawn = draw_masks(len(x), n_models, alpha=share, strata=target, kind="fixed", seed=seed + k)
            one = _Round.run(x, target, may, drawn & keep, l2=_L2, threads=threads, device=device)
            rounds.append(one)
            target = np.where(may, one.probabilities, -1.0).argmax(axis=1)
            keep = _not_against(one.probabilities, codes, may)
            bar.advance()
    last = rounds[-1]
    noise = fit_noise(last.probabilities, codes, allows, seed=seed)
    return AuditScores(
        score=noise.score,
        odds=noise.odds,
        other=noise.other,
        margin=last.margin_out,
        agreeing=last.agreeing,
        self_influence=rounds[0].margin_in - rounds[0].margin_out,
        probabilities=last.probabilities,
        set_aside=~last.was_in,
        noise=noise,
        n_models=n_models * len(rounds),
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


def _not_against(p: np.ndarray, codes: np.ndarray, may: np.ndarray) -> np.ndarray:
    """(n,) bool: samples whose label is not contradicted, judged against others of that label.

    Where half of a small class are strangers, its own members get low probabilities too; so what counts is the share
    of what the upper quarter gets, and three in ten stay whatever happens.
    """
    own = np.where(may, p, 0.0).sum(axis=1)
    keep = np.ones(len(own), dtype=bool)
    for code in np.unique(codes):
        at = np.flatnonzero(codes == code)
        cut = min(_TRIM * np.quantile(own[at], _USUAL), np.quantile(own[at], 1 - _LEAST))
        keep[at] = own[at] >= cut
    return keep


@dataclass(frozen=True)
class _Round:
    """Means over models: those that saw a sample and those that did not."""

    probabilities: np.ndarray
    margin_out: np.ndarray
    margin_in: np.ndarray
    agreeing: np.ndarray
    was_in: np.ndarray

    @classmethod
    def run(
        cls,
        x: np.ndarray,
        target: np.ndarray,
        may: np.ndarray,
        masks: np.ndarray,
        *,
        l2: float,
        threads: int,
        device: str,
    ) -> _Round:
        n, k = may.shape
        models = train_many(
            "linear", x, target, masks=masks, settings=HeadSettings(l2=l2), threads=threads, device=device
        )
        place = np.asarray(models.classes, dtype=int)
        total, margin_out, margin_in, agree = np.zeros((n, k)), np.zeros(n), np.zeros(n), np.zeros(n)
        (weights,) = models.weights
        every = np.arange(n)
        for each, inside in zip(weights, masks, strict=True):
            p = np.zeros((n, k), dtype=np.float32)
            p[:, place] = _softmax(x @ each[:-1] + each[-1])
            margin = _log_odds(p, may)
            out = ~inside
            total[out] += p[out]
            margin_out[out] += margin[out]
            margin_in[inside] += margin[inside]
            agree[out] += may[every, p.argmax(axis=1)][out]
        seen = masks.sum(axis=0)
        unseen = np.maximum(len(masks) - seen, 1)
        with np.errstate(invalid="ignore"):
            margin_in = np.where(seen > 0, margin_in / np.maximum(seen, 1), np.nan)
        return cls(total / unseen[:, None], margin_out / unseen, margin_in, agree / unseen, seen > 0)


def _softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def _log_odds(p: np.ndarray, may: np.ndarray) -> np.ndarray:
    own = np.where(may, p, 0.0).sum(axis=1)
    rest = np.where(may, 0.0, p).sum(axis=1)
    return np.asarray(np.clip(np.log(np.maximum(own, 1e-12)) - np.log(np.maximum(rest, 1e-12)), -_CLIP, _CLIP))
