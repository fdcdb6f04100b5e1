"""Compute and keep every peer's answers: ``python bench/peers/gather.py FOLDER donors|studies|novelty|each PEER...``.

One npz a peer and protocol: ``probabilities`` (cells x classes, float32, 0 where a fold did not know the class),
``classes``, ``truth``, ``donor``, ``fold``; and one line of scores on stdout.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from peers.blood import load_study, log_cp10k
from peers.models import peer_answer
from peers.protocols import Fold, donor_folds, novelty_folds, study_folds
from peers.scores import accuracy, auroc, ece, macro_f1

__all__ = ["gather"]

B, NK = "CL:0000236", "CL:0000623"


def gather(peer: str, folds: Iterable[Fold], *, cache: Path | None = None) -> dict[str, np.ndarray]:
    """Answers of all folds, one under the other."""
    answers = [(f, peer_answer(peer, log_cp10k(f.X), f.y, log_cp10k(f.T), genes=f.genes, cache=cache)) for f in folds]
    classes = np.unique(np.concatenate([a.classes for _, a in answers]))
    blocks = []
    for fold, answer in answers:
        block = np.zeros((len(fold.truth), len(classes)), np.float32)
        block[:, np.searchsorted(classes, answer.classes)] = answer.probabilities
        blocks.append(block)
    return {
        "probabilities": np.concatenate(blocks),
        "classes": classes,
        "truth": np.concatenate([f.truth for f, _ in answers]),
        "donor": np.concatenate([f.test_donors for f, _ in answers]),
        "fold": np.concatenate([np.full(len(f.truth), f.name) for f, _ in answers]),
        "fit_s": np.array([a.fit_s for _, a in answers]),
        "cached": np.array([a.cached for _, a in answers]),
    }


def _line(table: dict[str, np.ndarray], new: tuple[str, ...]) -> str:
    p, truth = table["probabilities"], table["truth"]
    called = table["classes"][p.argmax(1)]
    if new:
        known = ~np.isin(truth, new)
        each = [f"{t} {auroc(1 - p.max(1)[known | (truth == t)], (truth == t)[known | (truth == t)]):.3f}" for t in new]
        return f"AUROC {auroc(1 - p.max(1), ~known):.3f}; " + " ".join(each)
    e = ece(p.max(1), called == truth)
    return f"accuracy {accuracy(truth, called):.4f} macro-F1 {macro_f1(truth, called):.4f} ECE {e:.4f}"


def main(folder: Path, protocol: str, peers: list[str]) -> None:
    """Gather, keep, print."""
    tasks: list[tuple[str, tuple[str, ...]]] = [(protocol, (B, NK) if protocol == "novelty" else ())]
    if protocol == "each":
        types = np.unique(load_study("kang_ctrl_8donors").terms)
        tasks = [(f"novelty-{t.replace(':', '_')}", (str(t),)) for t in types]
    for peer in peers:
        for name, new in tasks:
            folds = novelty_folds(new) if new else {"donors": donor_folds, "studies": study_folds}[protocol]()
            table = gather(peer, folds, cache=folder / "cache")
            np.savez_compressed(folder / f"{name}-{peer}.npz", **table)
            print(f"{peer:10s} {name:22s} {_line(table, new)}; fit {table['fit_s'].sum():.1f} s", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
