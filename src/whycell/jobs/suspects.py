"""From what the lens measured to the rows of ``audit.tsv``: which samples are flagged, and the evidence in words."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from whycell.jobs.auditable import Samples
from whycell.lenses.audit import AuditScores, cut_at, false_share
from whycell.lenses.oddities import (
    chimera_share,
    exact_copies,
    find_neighbours,
    label_share,
    near_copies,
    unlike_own,
)

__all__ = ["COLUMNS", "Evidence", "expected_confusions", "gather", "suspect_table"]

COLUMNS = (
    "drop",
    "flag",
    "score",
    "cell",
    "file",
    "row",
    "donor",
    "label",
    "suggested",
    "suggested_term_id",
    "evidence",
    "q",
    "margin",
    "self_influence",
    "neighbours",
    "agreeing",
)
#: Worth a row though not flagged.
WORTH_A_LOOK = 0.2
#: Robust standard deviations: of the distance to one's own label, of log counts.
FAR, FEW_COUNTS = 6.0, -5.0
#: Share of made doublets among the neighbours, where doublets and cells are as many.
DOUBLET = 0.99
_BARCODE = re.compile(r"[ACGT]{12,}")
_MOST_NAMESAKES = 10


@dataclass(frozen=True)
class Evidence:
    """Everything measured, one value a sample.

    Parameters
    ----------
    mislabelled
        (n,) bool, below the cut.
    q
        Expected share of right labels among samples that rank as high.
    copy_of
        The sample of which this is a copy, -1 for none.
    exact
        (n,) bool, copied to the last count.
    places
        (n,) why it is out of place, "" where it is not.
    neighbours
        Share of the nearest samples whose class the label allows.
    suggested
        (n,) class that explains the sample best among those its label excludes.
    """

    mislabelled: np.ndarray
    q: np.ndarray
    copy_of: np.ndarray
    exact: np.ndarray
    places: np.ndarray
    neighbours: np.ndarray
    suggested: np.ndarray


def gather(samples: Samples, scores: AuditScores, *, at_most: float, seed: int) -> Evidence:
    """Neighbours, copies and places of all samples; ``at_most`` is the share of right labels that may be flagged."""
    may = samples.allows[samples.codes]
    target = np.where(may, scores.probabilities, -1.0).argmax(axis=1)
    near = find_neighbours(samples.x, seed=seed)
    exact = exact_copies(samples.values)
    copy_of = exact.copy()
    if samples.cells:
        close = np.column_stack([np.repeat(np.arange(len(target)), 3), near.rows[:, :3].ravel()])
        pairs = np.vstack([close, _namesakes(samples.obs)])
        almost = near_copies(samples.values, pairs)
        copy_of = np.where(exact >= 0, exact, almost)
    return Evidence(
        mislabelled=cut_at(scores.score, at_most=at_most),
        q=false_share(scores.score),
        copy_of=copy_of,
        exact=exact >= 0,
        places=_places(samples, scores, target, seed=seed),
        neighbours=label_share(near, target, may),
        suggested=scores.other,
    )


def _namesakes(obs: pd.DataFrame) -> np.ndarray:
    """(m, 2) pairs of cells with one barcode in two donors or files."""
    code = [found[0] if (found := _BARCODE.search(name)) else "" for name in obs["cell"]]
    where = (obs["file"].astype(str) + "\t" + obs["donor"].astype(str)).to_numpy()
    out = []
    for barcode, rows in pd.Series(np.arange(len(obs))).groupby(np.array(code, dtype=object)):
        own = rows.to_numpy()
        if barcode and 1 < len(own) <= _MOST_NAMESAKES:
            out += [(a, b) for k, a in enumerate(own) for b in own[k + 1 :] if where[a] != where[b]]
    return np.array(out, dtype=np.int64).reshape(-1, 2)


def _places(samples: Samples, scores: AuditScores, target: np.ndarray, *, seed: int) -> np.ndarray:
    """(n,) the strongest reason why a sample is out of place, "" for none."""
    labels = pd.factorize(samples.obs["label"])[0]
    usable = ~scores.set_aside & (scores.score < 0.5)
    own, every = unlike_own(samples.x, labels, usable=usable, seed=seed)
    out = np.full(len(labels), "", dtype=object)
    for row in np.flatnonzero((own > FAR) & (every > FAR)):
        out[row] = f"lies {own[row]:.1f} standard deviations further from cells of its label than they from one another"
    if not samples.cells:
        return np.array([reason.replace("cells", "samples") for reason in out], dtype=object)
    counts = np.log(np.maximum(np.asarray(samples.values.sum(axis=1)).ravel(), 1e-9))
    made = samples.doublets(target, usable, seed=seed)
    if made is not None and len(made.x):
        share, kind = chimera_share(samples.x, made.x, kind=made.kind, seed=seed)
        more = counts > pd.Series(counts).groupby(labels).transform("median").to_numpy()
        k = samples.allows.shape[1]
        for row in np.flatnonzero((share >= DOUBLET) & more):
            pair = f"{samples.classes[kind[row] // k]} and {samples.classes[kind[row] % k]}"
            out[row] = f"{share[row]:.0%} of its neighbours among cells and made doublets are doublets, of {pair}"
    z = _robust(counts, labels)
    for row in np.flatnonzero(z < FEW_COUNTS):
        out[row] = f"{np.exp(counts[row]):.0f} counts, {-z[row]:.1f} standard deviations below its label"
    return out


def _robust(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    frame = pd.Series(values)
    away = frame - frame.groupby(groups).transform("median")
    width = 1.4826 * away.abs().groupby(groups).transform("median")
    return np.asarray(away / width.clip(lower=1e-6))


def suspect_table(samples: Samples, scores: AuditScores, found: Evidence) -> tuple[pd.DataFrame, np.ndarray]:
    """The rows of ``audit.tsv`` and the flag of every sample.

    ``drop`` is yes for mislabelled samples and copies. A sample that is out of place is for a person to decide: a rare
    state of a type lies far from its label too.
    """
    words = np.full((len(samples.obs), 3), "", dtype=object)
    words[found.mislabelled, 0] = "mislabelled"
    words[found.copy_of >= 0, 1] = "duplicate"
    words[found.places != "", 2] = "out_of_place"
    flags = np.array([";".join(filter(None, row)) for row in words], dtype=object)
    listed = np.flatnonzero((flags != "") | (scores.score >= WORTH_A_LOOK))
    rank = np.lexsort((listed, -scores.odds[listed], flags[listed] == ""))
    listed = listed[rank]
    against = found.mislabelled | (scores.score >= WORTH_A_LOOK)
    table = samples.obs.iloc[listed].reset_index(drop=True)
    table["drop"] = np.where((found.mislabelled | (found.copy_of >= 0))[listed], "yes", "no")
    table["flag"] = flags[listed]
    table["score"] = scores.score[listed]
    table["suggested"] = np.where(against, samples.classes[found.suggested], "")[listed]
    table["suggested_term_id"] = np.where(against, samples.term_ids[found.suggested], "")[listed]
    table["q"] = found.q[listed]
    table["margin"] = scores.margin[listed]
    table["self_influence"] = scores.self_influence[listed]
    table["neighbours"] = found.neighbours[listed]
    table["agreeing"] = scores.agreeing[listed]
    table["evidence"] = [_in_words(int(row), samples, scores, found) for row in listed]
    return table[list(COLUMNS)], flags


def _in_words(row: int, samples: Samples, scores: AuditScores, found: Evidence) -> str:
    parts = []
    if found.copy_of[row] >= 0:
        other = samples.obs.iloc[found.copy_of[row]]
        how = "the same values as" if found.exact[row] else "almost the same values as"
        whose = f" of {other['donor']}" if other["donor"] else ""
        parts.append(f"{how} {other['cell']}{whose}, labelled {other['label']}")
    if found.places[row]:
        parts.append(str(found.places[row]))
    if found.mislabelled[row] or scores.score[row] >= WORTH_A_LOOK:
        name = samples.classes[found.suggested[row]]
        p = scores.probabilities[row, found.suggested[row]]
        parts.append(
            f"models that did not see it: {p:.0%} {name}, {scores.agreeing[row]:.0%} of them allow its label, log-odds "
            f"{scores.margin[row]:+.1f}; {found.neighbours[row]:.0%} of its neighbours share its label"
        )
        if np.isfinite(scores.self_influence[row]):
            parts.append(f"learned by heart, its log-odds rise by {scores.self_influence[row]:.2f}")
    return "; ".join(parts)


def expected_confusions(samples: Samples, scores: AuditScores, *, most: int = 15) -> pd.DataFrame:
    """Rows ``label, looks_like, expected``: which labels are taken for which, as sums of scores."""
    frame = pd.DataFrame(
        {
            "label": samples.obs["label"].to_numpy(),
            "looks_like": samples.classes[scores.other],
            "expected": scores.score,
        }
    )
    sums = frame.groupby(["label", "looks_like"], sort=True)["expected"].sum().reset_index()
    sums = sums[sums["expected"] >= 0.5]
    return sums.sort_values("expected", ascending=False, kind="stable").head(most).reset_index(drop=True)
