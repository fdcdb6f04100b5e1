"""Training streamed from a shuffled store against the same training from memory, and against file after file.

Kang's eight donors, Zheng and PBMC 3k as ten files; blocks of 1,024 cells, so that there are many. The same network,
loss, steps and held-out donors; the held-out loss at the end and at its best, over seeds, in pairs.
``make bench NAME=streamed_training``; a number of seeds may be given.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from _corpus import blood_fragments
from _harness import report
from whycell.corpus.fairness import batch_fairness, store_fairness
from whycell.corpus.shuffle import shuffle
from whycell.corpus.store import ENCODER, Store, open_store
from whycell.knowledge.terms import Ontology
from whycell.models.corpus_encoder import load_corpus_encoder
from whycell.models.held_out import HeldOutGroups
from whycell.models.streamed import Streaming, train_streamed
from whycell.models.streamed_answer import gapped_of, sampled
from whycell.models.streamed_batches import Batches, Rest, held_out_cells
from whycell.models.streamed_kinds import Kinds, find_kinds

BLOCK = 1024
SETTINGS = Streaming(patience=10**6)  # all take the same number of steps


@dataclass(frozen=True)
class FromMemory(Batches):
    """All cells in memory, one permutation of them an epoch."""

    def order(self, epoch: int) -> np.ndarray:
        return np.zeros(1, dtype=np.int64)

    def read(self, epoch: int, block: int, rest: Rest) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], Rest]:
        at, rows = self._all()
        order = np.random.default_rng([self.seed, 99, epoch]).permutation(len(at))
        return self._cut(at[order], rows[order], rest)

    def _all(self) -> tuple[np.ndarray, np.ndarray]:
        parts = [self._taught(block) for block in range(self.store.n_blocks)]
        return np.concatenate([at for at, _ in parts]), np.concatenate([rows for _, rows in parts])

    def _cut(
        self, at: np.ndarray, rows: np.ndarray, rest: Rest
    ) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], Rest]:
        vectors = torch.cat([rest.vectors, torch.from_numpy(np.asarray(self.store.vectors)[at])])
        codes = torch.cat([rest.rows, torch.from_numpy(rows)])
        whole = len(codes) // self.batch * self.batch
        pairs = list(zip(vectors[:whole].split(self.batch), codes[:whole].split(self.batch), strict=True))
        return pairs, Rest(vectors[whole:], codes[whole:])


class FileByFile(FromMemory):
    """One file after the other, in the order of their names."""

    def read(self, epoch: int, block: int, rest: Rest) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], Rest]:
        at, rows = self._all()
        return self._cut(*(array[self.in_files(at)] for array in (at, rows)), rest)

    def in_files(self, at: np.ndarray) -> np.ndarray:
        """Places of cells in the order of files and rows."""
        address = np.concatenate([self.store.cells(b)["address"].astype(str) for b in range(self.store.n_blocks)])
        row = np.concatenate([self.store.cells(b)["row"] for b in range(self.store.n_blocks)])
        return np.lexsort((row[at], address[at]))


def _batches(
    kind: type[Batches], store: Store, kinds: Kinds, held_out: HeldOutGroups, seed: int, batch: int
) -> Batches:
    return kind(store, kinds, held_out, batch, seed)


def mean_loss(curves: dict[str, list[float]], sizes: dict[str, int], k: int) -> float:
    """Held-out loss over all cells at one look."""
    return sum(values[k] * sizes[name] for name, values in curves.items()) / sum(sizes[name] for name in curves)


def interval(values: Iterable[float]) -> dict[str, float]:
    """Mean and its standard error."""
    array = np.asarray(list(values))
    return {"mean": round(float(array.mean()), 4), "se": round(float(array.std(ddof=1) / np.sqrt(len(array))), 4)}


def main(n_seeds: int) -> bool:
    torch.set_num_threads(1)
    found: dict[str, list[tuple[float, float, float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        blood_fragments(folder / "fragments")
        for seed in range(n_seeds):
            store = open_store(shuffle(folder / "fragments", folder / f"store-{seed}", seed=seed, block=BLOCK))
            encoder = load_corpus_encoder(store.folder / ENCODER)
            kinds = find_kinds(store, encoder.held_out, ontology=Ontology.load())
            held = held_out_cells(store, kinds, encoder.held_out, most=10**6)
            gapped = gapped_of(encoder, sampled(encoder, kinds), seed=seed)
            sizes = kinds.table.assign(n=np.bincount(held[1], minlength=len(kinds.table))).groupby("study")["n"].sum()
            for way, kind in (("streamed", Batches), ("memory", FromMemory), ("file by file", FileByFile)):
                cpu = time.process_time()
                done = train_streamed(
                    partial(_batches, kind, store, kinds, encoder.held_out, seed),
                    meanings=kinds.meanings,
                    settings=SETTINGS,
                    held=held,
                    gapped=gapped,
                    seed=seed,
                )
                losses = [mean_loss(done.curves.held_out, dict(sizes), k) for k in range(len(done.curves.step))]
                found.setdefault(way, []).append((losses[-1], min(losses), time.process_time() - cpu))
                print(f"   seed {seed}, {way}: at the end {losses[-1]:.4f}, best {min(losses):.4f}", flush=True)
        fair = {verdict.column: round(verdict.ratio, 2) for verdict in store_fairness(store, batch=256)}
        files = FileByFile(store, kinds, encoder.held_out, 256, 0)
        at, rows = files._all()
        codes = kinds.table["study_code"].to_numpy()[rows[files.in_files(at)]]
        unfair = batch_fairness(np.array_split(codes, len(codes) // 256), column="study")
    array = {way: np.array(values) for way, values in found.items()}
    ratios = {
        way: interval(array[way][:, which] / array["memory"][:, which])
        for way, which in (("streamed", 0), ("file by file", 0))
    }
    results = {
        "cells": len(store.vectors),
        "training cells": kinds.n_train,
        "held-out donors": list(encoder.held_out.groups),
        "held-out cells": len(held[1]),
        "leaves": int(kinds.meanings.shape[1]),
        "seeds": n_seeds,
        "held-out loss at the end": {way: interval(values[:, 0]) for way, values in array.items()},
        "held-out loss at its best": {way: interval(values[:, 1]) for way, values in array.items()},
        "cpu seconds": {way: round(float(values[:, 2].mean()), 1) for way, values in array.items()},
        "loss over that from memory": ratios,
        "chi-square per degree of freedom, shuffled": fair,
        "chi-square per degree of freedom, file by file": round(unfair.ratio, 1),
    }
    limits = {
        "streamed loss over that from memory, distance from 1": (abs(ratios["streamed"]["mean"] - 1), "<=", 0.01),
        "file by file is called unfair": (float(not unfair.fair), ">=", 1.0),
    }
    return report("streamed_training", results, limits=limits)


if __name__ == "__main__":
    sys.exit(not main(int(sys.argv[1]) if len(sys.argv) > 1 else 10))
