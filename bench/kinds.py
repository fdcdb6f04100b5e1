"""Kinds of sequence and one motif in two contexts, on the TAL1 and GATA simulation, whose truth is known.

Of 2,000 of its 8,000 sequences two small networks of other seeds learn three tasks from 1,600: GATA, TAL1, and both
together. On the 400 held out:

*Kinds.* Sequences hold GATA and TAL1, either, or neither. What ``whycell motifs`` tells apart by itself, number of
kinds included, against k-means that is told that there are four: on k-mers of both strands and on the last hidden layer
of the same network. Adjusted Rand index to the truth.

*Contexts.* The same task of the two networks: what differs there is training. The task GATA against the task of both:
GATA alone does not make a sequence one of both, so that its sites should count less there, least where TAL1 is absent.

``make bench NAME=kinds`` takes some four minutes of one core; ``WHYCELL_BENCH_PART=1`` takes all of the data, and four
times as long.
"""

from __future__ import annotations

import csv
import gzip
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from _harness import ROOT, report
from whycell.data.sequences import read_sequences
from whycell.encode.sequences import one_hot
from whycell.jobs.motifs import motifs_of_scores
from whycell.jobs.motifs_compare import compare_motifs
from whycell.jobs.sequences_explain import explain_sequences
from whycell.models.sequence import SequenceModel
from whycell.patterns.partition import adjusted_rand

DATA = ROOT.parent / "shared" / "data" / "sequences" / "tal_gata_simulation"
PART = float(os.environ.get("WHYCELL_BENCH_PART", "0.25"))
TASKS = ("GATA", "TAL1", "both")
#: A third of the channels: the simulation is easy, and what is measured comes after the network.
SMALL = {"channels": 24, "least_steps": 600}
SITE = re.compile(r"pos-(\d+)_(\w+?)_\w+-([ACGT]+)")


def main() -> bool:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    rows = _simulated()
    order = np.random.default_rng(0).permutation(len(rows))[: int(PART * len(rows))]
    cut = int(0.8 * len(order))
    results: dict[str, object] = {"sequences": len(order), "held out": len(order) - cut}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        _table(folder / "train.tsv", [rows[i] for i in order[:cut]])
        _table(folder / "held.tsv", [rows[i] for i in order[cut:]])
        held = [rows[i] for i in order[cut:]]
        train = read_sequences(folder / "train.tsv", labels=TASKS)
        began = time.process_time()
        for seed in (0, 1):
            model = SequenceModel(seed=seed, **SMALL).fit(train, tested=False)
            model.save(folder / f"model{seed}")
            explain_sequences(
                folder / "held.tsv",
                folder / f"scores{seed}.h5",
                model=folder / f"model{seed}",
                references=10,
                threads=1,
            )
            motifs_of_scores(folder / f"scores{seed}.h5", folder / f"motifs{seed}", report=False)
        results["CPU seconds of two networks, their scores and motifs"] = round(time.process_time() - began)
        limits = _kinds(folder, held, results) | _contexts(folder, held, results)
    return report("kinds", results, limits=limits)


def _kinds(folder: Path, held: list[dict], results: dict[str, object]) -> dict:
    import pandas as pd
    from sklearn.cluster import KMeans

    truth = np.array([2 * row["GATA"] + row["TAL1"] for row in held])
    model = SequenceModel.load(folder / "model0")
    x = one_hot([row["sequence"] for row in held])
    described = {f"{k}-mers, both strands": _kmers(x, k) for k in (4, 5, 6)}
    described["last hidden layer"] = _hidden(model, x)
    found = {
        name: adjusted_rand(truth, KMeans(4, n_init=10, random_state=0).fit_predict(rows))
        for name, rows in described.items()
    }
    kinds = pd.read_csv(folder / "motifs0" / "kinds.tsv", sep="\t")
    ours = adjusted_rand(truth, pd.read_csv(folder / "motifs0" / "kind_of.tsv", sep="\t")["kind"].to_numpy() - 1)
    other = adjusted_rand(truth, pd.read_csv(folder / "motifs1" / "kind_of.tsv", sep="\t")["kind"].to_numpy() - 1)
    results["kinds"] = {
        "adjusted Rand to the truth": {"ours": round(ours, 3), "ours, other seed": round(other, 3)}
        | {f"4-means, {name}": round(value, 3) for name, value in found.items()},
        "found": kinds[["motifs", "size", "stability"]].round(3).to_dict(orient="records"),
    }
    kmers = max(value for name, value in found.items() if "mers" in name)
    return {
        "kinds told apart, of 4": (len(kinds), ">=", 4),
        "and no more": (len(kinds), "<=", 4),
        "beyond 4-means on k-mers, adjusted Rand": (ours - kmers, ">=", 0),
        "beyond 4-means on the last hidden layer, adjusted Rand": (ours - found["last hidden layer"], ">=", 0),
    }


def _contexts(folder: Path, held: list[dict], results: dict[str, object]) -> dict:
    again = compare_motifs(folder / "motifs0", folder / "motifs1", folder / "again", report=False)
    plain = compare_motifs(folder / "motifs0", folder / "motifs1", folder / "plain", least=0, report=False)
    found = compare_motifs(folder / "motifs0", None, folder / "tasks", task="GATA", other_task="both", report=False)
    shared = again.motifs[again.motifs["found_in"] == "both"]
    shared_plain = plain.motifs[plain.motifs["found_in"] == "both"]
    gata = found.motifs[found.motifs["consensus"].str.upper().str.contains("GATAA|TTATC")].sort_values("n").iloc[-1]
    own = found.instances[(found.instances["motif"] == gata["motif"]) & (found.instances["other"] == gata["other"])]
    planted = np.array([_on_site(held[r["sequence"]], r["start"], r["stop"], "GATA") for _, r in own.iterrows()])
    alone = np.array([not held[s]["TAL1"] for s in own["sequence"]])
    counts = own["used"].to_numpy()
    right = {
        "TAL1 absent": round(float((counts[planted & alone] == "first").mean()), 3),
        "TAL1 present": round(float((counts[planted & ~alone] == "first").mean()), 3),
    }
    scale = found.scales.iloc[0]
    adds = own["contribution_a"].to_numpy() / scale["scale_a"], own["contribution_b"].to_numpy() / scale["scale_b"]
    ratios = {
        name: round(float(adds[1][planted & kept].sum() / adds[0][planted & kept].sum()), 3)
        for name, kept in (("TAL1 absent", alone), ("TAL1 present", ~alone))
    }
    results["contexts"] = {
        "same task, other seed": {
            "motifs of both": len(shared),
            "differ by more than a fifth": int(shared["differs"].sum()),
            "differ at all": int(shared_plain["differs"].sum()),
            "largest share by which means differ": round(
                float((shared["difference"].abs() / shared[["mean_a", "mean_b"]].abs().max(axis=1)).max()), 3
            ),
        },
        "GATA's motif, task GATA against both": gata[
            ["n", "mean_a", "mean_b", "q", "both", "only_a", "only_b", "neither", "unclear"]
        ].to_dict(),
        "planted GATA sites said to count for GATA only": right,
        "what planted GATA sites add to both, over what they add to GATA": ratios,
    }
    return {
        "motifs that differ between two trainings of one task": (int(shared["differs"].sum()), "<=", 0),
        "q of GATA's motif, GATA against both": (float(gata["q"]), "<=", 0.01),
    }


def _on_site(row: dict, start: int, stop: int, motif: str) -> bool:
    return any(name == motif and begin < stop and start < begin + wide for begin, name, wide in row["sites"])


def _simulated() -> list[dict]:
    rows = []
    for path in sorted(DATA.glob("*.simdata.gz")):
        with gzip.open(path, "rt") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                told = row["embeddings"] or ""
                sites = [(int(at), name, len(letters)) for at, name, letters in SITE.findall(told)]
                held = {name: int(name in told) for name in ("GATA", "TAL1")}
                rows.append({"name": row["seqName"], "sequence": row["sequence"], **held, "sites": sites})
    return rows


def _table(path: Path, rows: list[dict]) -> None:
    with path.open("w") as file:
        file.write("name\tsequence\tGATA\tTAL1\tboth\n")
        for row in rows:
            both = row["GATA"] * row["TAL1"]
            file.write(f"{row['name']}\t{row['sequence']}\t{row['GATA']}\t{row['TAL1']}\t{both}\n")


def _kmers(x: np.ndarray, k: int) -> np.ndarray:
    """Counts of the words of k letters on both strands, centred and of one length."""
    counts = np.zeros((len(x), 4**k))
    for strand in (x, x[:, ::-1, ::-1]):
        digits = strand.argmax(axis=1)
        words = sum(digits[:, at : digits.shape[1] - k + 1 + at] * 4 ** (k - 1 - at) for at in range(k))
        for row, found in enumerate(words):
            counts[row] += np.bincount(found, minlength=4**k)
    counts -= counts.mean(axis=0)
    return counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-9)


def _hidden(model: SequenceModel, x: np.ndarray) -> np.ndarray:
    """What the last layer reads, mean over strands."""
    net = model.module.net.eval()
    last = [m for m in net.modules() if isinstance(m, torch.nn.Linear)][-1]
    seen: list[np.ndarray] = []
    handle = last.register_forward_hook(lambda _, given, __: seen.append(given[0].numpy()))
    parts = []
    with torch.no_grad():
        for at in range(0, len(x), 256):
            batch = torch.from_numpy(np.asarray(x[at : at + 256], dtype=np.float32))
            seen.clear()
            net(batch)
            net(batch.flip(1, 2))
            parts.append((seen[0] + seen[1]) / 2)
    handle.remove()
    return np.concatenate(parts)


if __name__ == "__main__":
    sys.exit(not main())
