"""How long DeepLIFT takes and what memory, beside tangermeme and shap: 1,000 sequences x 1,000 bp, 20 references each.

Conv(4-32, 15)-ReLU-MaxPool(4)-Conv(32-32, 7)-ReLU-MaxPool(4)-Conv(32-32, 5)-ReLU-mean-Dense(32)-ReLU-Dense(1), on one
thread. Every run is a process of its own, told only which sequences; what is timed is the processor time of the one
call, after a call on two sequences. The others explain the first 100 sequences and their times are multiplied by ten;
peak memory is that of the whole process, on those 100 sequences for all alike. Runs take turns, three each.

Contributions are compared: all three must say the same, on 95 of 100 sequences to 1e-5 of the largest value. Where two
maxima within a window are equal but for rounding, rounding decides whose place carries the difference: a sequence in
a hundred differs for that, as our own answers in single and in double precision do.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from _harness import report
from whycell.encode.sequences import dinucleotide_shuffle

SEQUENCES, SOME, LENGTH, REFERENCES, REPEATS = 1000, 100, 1000, 20, 3
LIBRARIES = ("whycell", "tangermeme", "shap")


def network() -> nn.Module:
    """Untrained: time does not depend on the weights."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv1d(4, 32, 15),
        nn.ReLU(),
        nn.MaxPool1d(4),
        nn.Conv1d(32, 32, 7),
        nn.ReLU(),
        nn.MaxPool1d(4),
        nn.Conv1d(32, 32, 5),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(32, 32),
        nn.ReLU(),
        nn.Linear(32, 1),
    ).eval()


def explain(library: str, net: nn.Module, x: Tensor, reference: Tensor) -> tuple[np.ndarray, float]:
    """Contributions summed over the four letters, (n, length), and the largest residual (NaN where none is told)."""
    if library == "whycell":
        from whycell.lenses import deeplift

        scores = deeplift(net, x, reference=reference)
        return scores.values.sum(1), float(np.abs(scores.residual).max())
    if library == "tangermeme":
        from tangermeme.deep_lift_shap import deep_lift_shap

        found = deep_lift_shap(net, x, references=reference, batch_size=64, device="cpu", warning_threshold=1)
        return found.detach().numpy().sum(1), float("nan")
    import shap

    each = [
        np.asarray(shap.DeepExplainer(net, own).shap_values(row[None], check_additivity=False)).reshape(1, 4, -1)
        for row, own in zip(x, reference, strict=True)
    ]
    return np.concatenate(each).sum(1), float("nan")


def work(library: str, folder: Path, n: int) -> None:
    """One run, in a process of its own."""
    torch.set_num_threads(1)
    codes = np.load(folder / "codes.npy", mmap_mode="r")[:n]
    letters = torch.from_numpy(np.eye(4, dtype=np.uint8)[codes]).transpose(-1, -2)
    x, reference = letters[:, 0].float().contiguous(), letters[:, 1:].contiguous()
    if library != "whycell":
        reference = reference.float()  # ours takes letters as bytes
    net = network()
    explain(library, net, x[:2], reference[:2])
    start = time.process_time()
    found, residual = explain(library, net, x, reference)
    seconds = time.process_time() - start
    np.save(folder / f"{library}.npy", found[:SOME])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"cpu_s": seconds, "peak_mb": peak, "residual": residual}))


def run(library: str, folder: Path, n: int) -> dict[str, float]:
    """Start one run and read what it says."""
    environment = dict(os.environ) | dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    command = [sys.executable, "-W", "ignore", __file__, "--work", library, str(folder), str(n)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        msg = f"{library} ended with {done.returncode}: {done.stderr[-2000:]}"
        raise RuntimeError(msg)
    return json.loads(done.stdout.splitlines()[-1])


def sequences(folder: Path) -> None:
    """(n, 1 + k, length) codes: random sequences, and dinucleotide shuffles of each."""
    random = np.random.default_rng(0)
    codes = np.empty((SEQUENCES, 1 + REFERENCES, LENGTH), dtype=np.uint8)
    codes[:, 0] = random.integers(0, 4, (SEQUENCES, LENGTH))
    for start in range(0, SEQUENCES, 50):
        part = np.eye(4, dtype=np.float32)[codes[start : start + 50, 0]].transpose(0, 2, 1)
        codes[start : start + 50, 1:] = dinucleotide_shuffle(part, REFERENCES, seed=0).argmax(2)
    np.save(folder / "codes.npy", codes)


def main() -> None:
    """All runs, in turns."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sequences(folder)
        runs: dict[str, list[dict[str, float]]] = {library: [] for library in (*LIBRARIES, "whycell, all")}
        for _ in range(REPEATS):
            for library in LIBRARIES:
                runs[library].append(run(library, folder, SOME))
            runs["whycell, all"].append(run("whycell", folder, SEQUENCES))
        found = {library: np.load(folder / f"{library}.npy") for library in LIBRARIES}
    sys.exit(0 if told(runs, found) else 1)


def told(runs: dict[str, list[dict[str, float]]], found: dict[str, np.ndarray]) -> bool:
    """Write the results down."""

    def middle(which: str, what: str) -> float:
        return statistics.median(each[what] for each in runs[which])

    whole = {which: middle(which, "cpu_s") * SEQUENCES / SOME for which in LIBRARIES}
    whole["whycell"] = middle("whycell, all", "cpu_s")
    results: dict[str, Any] = {
        which: {
            "cpu_s_of_all": round(whole[which], 2),
            "measured_on": SEQUENCES if which == "whycell" else SOME,
            "cpu_s_of_some": [round(each["cpu_s"], 3) for each in runs[which]],
            "ms_a_pair": round(1000 * whole[which] / SEQUENCES / REFERENCES, 3),
            "peak_mb_of_some": round(middle(which, "peak_mb"), 1),
        }
        for which in LIBRARIES
    }
    results["whycell"]["peak_mb_of_all"] = round(middle("whycell, all", "peak_mb"), 1)
    results["whycell"]["largest_residual"] = middle("whycell, all", "residual")
    size = float(np.abs(found["whycell"]).max())
    by_sequence = {which: np.abs(found[which] - found["whycell"]).max(1) / size for which in LIBRARIES[1:]}
    results["difference_to"] = {
        which: {"median": np.median(each), "95 %": np.quantile(each, 0.95), "largest": each.max()}
        for which, each in by_sequence.items()
    }
    apart = {which: float(np.quantile(each, 0.95)) for which, each in by_sequence.items()}
    fastest = min(whole[which] for which in LIBRARIES[1:])
    smallest = min(middle(which, "peak_mb") for which in LIBRARIES[1:])
    limits = {
        "times less processor time than the fastest of tangermeme and shap": (fastest / whole["whycell"], ">=", 2.5),
        "peak memory as a share of the smallest of theirs": (middle("whycell", "peak_mb") / smallest, "<=", 1.0),
        "difference to tangermeme on 95 % of sequences, share of the largest value, 1e-5": (
            1e5 * apart["tangermeme"],
            "<=",
            1.0,
        ),
        "difference to shap on 95 % of sequences, share of the largest value, 1e-5": (1e5 * apart["shap"], "<=", 1.0),
    }
    return report("deeplift_speed", results, limits=limits)


if __name__ == "__main__":
    if "--work" in sys.argv:
        work(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
    else:
        main()
