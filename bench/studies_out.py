"""Each of three studies left out in turn: what is called off the branch, and what information the calls keep.

whycell learns from the union of the genes of the other two studies; peers, who cannot mask a gene, from the genes that
all three measured. Both get our label map; peers get the back-off over their summed probabilities, at the threshold
that keeps most while no more of their calls lie off the branch than of ours - a threshold found on the test cells
themselves, a favour that ours does not get.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from _harness import report
from _ours import Ours, answer_study
from peers.backoff import call_scores, calls_at, node_table, threshold_for
from peers.blood import STUDIES, load_study
from peers.gather import gather
from peers.models import PEERS, SETTINGS
from peers.protocols import study_folds
from peers.scores import auroc, ece, rounded

SHORT = {"kang_ctrl_8donors": "Kang", "zheng_facs_3774": "Zheng", "pbmc3k_counts": "PBMC 3k"}
CD34 = "CL:0008001"  # only Zheng has it: judged as novelty, not among the trained branches
MOST_OFF = {"Kang": 0.10, "Zheng": 0.15, "PBMC 3k": 0.10}
RATES = (0.02, 0.05, 0.10, 0.15)


def our_table(ours: Ours, truth: np.ndarray) -> dict:
    """Scores of our calls on the trained branches, and novelty of what no branch was trained for."""
    trained = truth != CD34
    table = {
        "calls": call_scores(truth[trained], ours.called[trained])._asdict(),
        "calls_all_cells": call_scores(truth, ours.called)._asdict(),
        "leaf_confidence": float(ours.probabilities.max(axis=1).mean()),
        "leaf_ece_where_leaf_trained": _leaf_ece(ours, truth),
        "fit_s": ours.fit_s,
        "same_back_off_as_peers": rates(ours.probabilities[trained], ours.classes, truth[trained]),
    }
    novelty = ours.calls["novelty"].to_numpy()
    table["novelty_over_half"] = float((novelty[trained] > 0.5).mean())
    if not trained.all():
        table["CD34_novelty_auroc"] = auroc(novelty, ~trained)
        table["CD34_novelty_over_half"] = float((novelty[~trained] > 0.5).mean())
        table["CD34_unknown"] = float((ours.called[~trained] == "").mean())
    return table


def _leaf_ece(ours: Ours, truth: np.ndarray) -> float:
    known = np.isin(truth, ours.classes)
    return ece(ours.probabilities[known].max(axis=1), ours.leaf[known] == truth[known]) if known.any() else float("nan")


def rates(p: np.ndarray, classes: np.ndarray, truth: np.ndarray) -> dict:
    """Information kept at fixed shares of calls off the branch."""
    table = node_table(p, classes)
    out = {}
    for rate in RATES:
        threshold, scores = threshold_for(*table, truth, off_branch=rate)
        out[f"kept at {rate:.0%} off"] = {"threshold": threshold, **scores._asdict()}
    return out


def peer_table(p: np.ndarray, classes: np.ndarray, truth: np.ndarray, *, off_branch: float) -> dict:
    """A peer at p >= .95, at our off-branch rate, and at the fixed ones."""
    nodes = node_table(p, classes)
    threshold, matched = threshold_for(*nodes, truth, off_branch=off_branch)
    return {
        "at_0.95": call_scores(truth, calls_at(*nodes, 0.95))._asdict(),
        "at_our_rate": {"threshold": threshold, **matched._asdict()},
        **rates(p, classes, truth),
    }


def main(peers: list[str]) -> bool:
    start = time.perf_counter()
    studies = [load_study(name) for name in STUDIES]
    results: dict = {"whycell": {}}
    limits = {}
    for held in studies:
        name = SHORT[held.name]
        ours = our_table(answer_study(held, [s for s in studies if s is not held]), held.terms)
        results["whycell"][name] = ours
        limits[f"{name}: calls off the branch"] = (ours["calls"]["off_branch"], "<=", MOST_OFF[name])
    for peer in peers:
        table = gather(peer, study_folds())
        results[peer] = {"setting": SETTINGS[peer], "answers_from_cache": bool(table["cached"].any())}
        for held in studies:
            name = SHORT[held.name]
            keep = (table["fold"] == held.name) & (table["truth"] != CD34)
            p = table["probabilities"][keep]
            known = p.sum(axis=0) > 0
            ours = results["whycell"][name]["calls"]
            theirs = peer_table(
                p[:, known], table["classes"][known], table["truth"][keep], off_branch=ours["off_branch"]
            )
            results[peer][name] = theirs
            gain = ours["information_kept"] - theirs["at_our_rate"]["information_kept"]
            limits[f"{name}: information kept beyond {peer}'s at the same rate"] = (gain, ">=", 0.0)
    results["seconds"] = time.perf_counter() - start
    return report("studies_out", rounded(results), limits=limits)


if __name__ == "__main__":
    sys.exit(0 if main(sys.argv[1:] or list(PEERS)) else 1)
