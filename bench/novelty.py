"""Kang types left out of training: does the novelty score tell them from the known ones, on donors never seen?

B and NK cells left out together, each donor held out in turn, all its cells typed, cells of all donors pooled; a peer's
novelty is 1 - its largest probability. Then each type in turn, donors in two halves. Last, files that are not the
model's: genes permuted, and mouse symbols.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from _harness import report
from _ours import answer_donor_fold
from peers.blood import load_study
from peers.gather import gather
from peers.models import PEERS, SETTINGS
from peers.protocols import half_folds, novelty_folds
from peers.scores import auroc, rounded

B, NK = "CL:0000236", "CL:0000623"
QUICK = ("logistic", "knn")


def areas(novelty: np.ndarray, truth: np.ndarray, new: tuple[str, ...]) -> dict:
    """AUROC of all new types, and of each, against the known ones."""
    known = ~np.isin(truth, new)
    out = {"together": auroc(novelty, ~known)}
    for term in new:
        both = known | (truth == term)
        out[term] = auroc(novelty[both], truth[both] == term)
    return out


def ours_on(folds) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Novelty, truth and confidence of the call, of all folds."""
    parts = [(answer_donor_fold(fold).calls, fold.truth) for fold in folds]
    return (
        np.concatenate([calls["novelty"].to_numpy() for calls, _ in parts]),
        np.concatenate([truth for _, truth in parts]),
        np.concatenate([calls["leaf_confidence"].to_numpy() for calls, _ in parts]),
    )


def main(peers: list[str]) -> bool:
    start = time.perf_counter()
    refused = refusals()
    novelty, truth, sure = ours_on(novelty_folds((B, NK)))
    ours = areas(novelty, truth, (B, NK))
    new = np.isin(truth, (B, NK))
    results: dict = {
        "B and NK left out": {"whycell": ours},
        "flagged (novelty over 0.5)": {"new": (novelty[new] > 0.5).mean(), "known": (novelty[~new] > 0.5).mean()},
        "new cells at leaf confidence 0.9 or more": (sure[new] >= 0.9).mean(),
        "each type left out": {},
        "settings": {peer: SETTINGS[peer] for peer in peers},
    }
    limits = {"AUROC, B and NK": (ours["together"], ">=", 0.95), "AUROC, NK alone": (ours[NK], ">=", 0.90)}
    for peer in peers:
        table = gather(peer, novelty_folds((B, NK)))
        theirs = areas(1 - table["probabilities"].max(axis=1), table["truth"], (B, NK))
        results["B and NK left out"][peer] = {**theirs, "answers_from_cache": bool(table["cached"].any())}
        limits[f"AUROC beyond {peer}'s, B and NK"] = (ours["together"] - theirs["together"], ">=", 0.0)
    for term in np.unique(load_study("kang_ctrl_8donors").terms):
        held = (str(term),)
        novelty, truth, _ = ours_on(half_folds(held))
        row = {"whycell": areas(novelty, truth, held)["together"]}
        for peer in [p for p in peers if p in QUICK]:
            table = gather(peer, half_folds(held))
            row[peer] = auroc(1 - table["probabilities"].max(axis=1), table["truth"] == term)
        results["each type left out"][str(term)] = row
    results["files that are not the model's"] = refused
    for what, answer in refused.items():
        limits[f"refused: {what}"] = (float(answer["refused"]), ">=", 1.0)
    results["seconds"] = time.perf_counter() - start
    return report("novelty", rounded(results), limits=limits)


def refusals() -> dict:
    """What ``annotate`` answers to a file whose columns were permuted, and to one with mouse symbols."""
    import tempfile
    from pathlib import Path

    import anndata as ad

    from peers.blood import find_cells
    from whycell.errors import WhycellError
    from whycell.jobs.annotate import annotate
    from whycell.jobs.train import train

    source = find_cells() / "kang_ctrl_8donors.h5ad"
    out = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kang = ad.read_h5ad(source)
        donor = kang.obs["donor"].astype(str)
        kang[donor.isin(["1256", "1244", "1016"]).to_numpy()].write_h5ad(folder / "train.h5ad")
        train(
            [folder / "train.h5ad"],
            folder / "model",
            label="cell_type",
            donor="donor",
            label_map=find_cells() / "label_to_cl.tsv",
        )
        test = kang[donor.eq("101").to_numpy()].copy()
        rng = np.random.default_rng(0)
        permuted, mouse = test.copy(), test.copy()
        permuted.var = permuted.var.iloc[rng.permutation(permuted.n_vars)]
        mouse.var_names = [symbol[:1] + symbol[1:].lower() for symbol in mouse.var["symbol"]]
        mouse.var = mouse.var[[]]
        for what, data in {"permuted genes": permuted, "mouse symbols": mouse}.items():
            path = folder / f"{what.replace(' ', '_')}.h5ad"
            data.write_h5ad(path)
            try:
                answer = annotate(path, folder / "out.h5ad", model=str(folder / "model"), force=True)
            except WhycellError as error:
                out[what] = {"refused": True, "said": str(error)}
            else:
                calls = answer.calls
                out[what] = {
                    "refused": False,
                    "unknown": (calls["call"] == "unknown").mean(),
                    "novel": (calls["novelty"] > 0.5).mean(),
                }
    return out


if __name__ == "__main__":
    sys.exit(0 if main(sys.argv[1:] or list(PEERS)) else 1)
