"""Leave one donor out, Kang's eight donors: whycell beside five peers, same folds, paired intervals over donors.

A peer is beaten, or matched, in a metric unless the whole 95 % interval of the paired difference lies on its side.
``make bench NAME=kang_donors``; peers' answers are kept in ``WHYCELL_PEERS_CACHE`` where that is set, by content.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from _harness import report
from _ours import answer_donor_fold
from peers.backoff import call_scores, calls_at, node_table, threshold_for
from peers.gather import gather
from peers.models import PEERS, SETTINGS
from peers.protocols import donor_folds
from peers.scores import accuracy, ece, ece_floor, macro_f1, paired_interval, pooled_ece_difference, rounded


def score_table(truth: np.ndarray, leaf: np.ndarray, confidence: np.ndarray, donor: np.ndarray) -> dict:
    """Pooled scores, and those of each donor in the order of their names."""
    right = leaf == truth
    each = [donor == d for d in np.unique(donor)]
    return {
        "accuracy": accuracy(truth, leaf),
        "macro_f1": macro_f1(truth, leaf),
        "ece": ece(confidence, right),
        "ece_noise_floor": ece_floor(confidence),
        "mean_confidence": float(confidence.mean()),
        "donor_accuracy": [accuracy(truth[m], leaf[m]) for m in each],
        "donor_macro_f1": [macro_f1(truth[m], leaf[m]) for m in each],
        "donor_ece": [ece(confidence[m], right[m]) for m in each],
        "donor_ece_noise_floor": [ece_floor(confidence[m]) for m in each],
    }


def main(peers: list[str]) -> bool:
    start = time.perf_counter()
    answers = [(fold, answer_donor_fold(fold)) for fold in donor_folds()]
    truth = np.concatenate([fold.truth for fold, _ in answers])
    donor = np.concatenate([fold.test_donors for fold, _ in answers])
    leaf = np.concatenate([a.leaf for _, a in answers])
    sure = np.concatenate([a.probabilities.max(axis=1) for _, a in answers]).astype(float)
    calls = call_scores(truth, np.concatenate([a.called for _, a in answers]))
    ours = score_table(truth, leaf, sure, donor)
    ours |= {"calls": calls._asdict(), "fit_s": sum(a.fit_s for _, a in answers)}
    results = {"donors": list(np.unique(donor)), "folds": len(answers), "whycell": ours, "against": {}}
    limits = {
        "pooled ECE": (ours["ece"], "<=", 0.015),
        "calls off the branch": (calls.off_branch, "<=", 0.05),
        "information kept": (calls.information_kept, ">=", 0.80),
    }
    for peer in peers:
        table = gather(peer, donor_folds())
        p, names = table["probabilities"], table["classes"]
        theirs_leaf, theirs_sure = names[p.argmax(1)], p.max(1).astype(float)
        theirs = score_table(table["truth"], theirs_leaf, theirs_sure, table["donor"])
        nodes, sums, content = node_table(p, names)
        threshold, at_five = threshold_for(nodes, sums, content, table["truth"], off_branch=0.05)
        theirs |= {
            "setting": SETTINGS[peer],
            "fit_s": float(table["fit_s"].sum()),
            "answers_from_cache": bool(table["cached"].any()),
            "calls_at_0.95": call_scores(table["truth"], calls_at(nodes, sums, content, 0.95))._asdict(),
            "calls_at_5_percent_off": {"threshold": threshold, **at_five._asdict()},
        }
        paired = {
            "accuracy": paired_interval(ours["donor_accuracy"], theirs["donor_accuracy"]),
            "macro_f1": paired_interval(ours["donor_macro_f1"], theirs["donor_macro_f1"]),
            "ece": paired_interval(theirs["donor_ece"], ours["donor_ece"]),
            "pooled_ece": pooled_ece_difference(sure, leaf == truth, theirs_sure, theirs_leaf == truth, donor),
        }
        results[peer] = theirs
        results["against"][peer] = paired
        for metric in ("accuracy", "macro_f1", "pooled_ece"):
            limits[f"{metric} against {peer}: better end of the paired interval"] = (paired[metric]["high"], ">=", 0.0)
    results["seconds"] = time.perf_counter() - start
    return report("kang_donors", rounded(results), limits=limits)


if __name__ == "__main__":
    sys.exit(0 if main(sys.argv[1:] or list(PEERS)) else 1)
