"""explain on 10,000 cells x 20,000 genes: the whole process, the contributions alone beside other ways, and the memory.

The whole process reads the file twice (references, then explanations), types it, explains every call, puts 120 cells to
the test and prints the genes by type. "Contributions alone" is one contrast of leaves for 10,000 cells held in memory,
on one thread: ours beside the general engine of ``whycell.lenses`` and captum's integrated gradients (20 steps) on the
same network in torch, all from the model's genes on. Memory is that of the whole process, on files of 10,000 and 40,000
cells.

``make bench NAME=explain_cells``; a number behind the name of the file makes all smaller: ``explain_cells.py 2000``.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _big import big_file
from _harness import measure_command, report

WHYCELL = Path(sys.executable).with_name("whycell")
HERE = Path(__file__).resolve()
GENES, TRAINED_ON = 20_000, 4_000


def with_real_genes(n_cells: int, folder: Path) -> Path:
    """The big file with Ensembl ids for names."""
    import shutil

    import h5py
    import numpy as np

    from whycell.knowledge.genes import GeneTable

    made = folder / f"cells-{n_cells}.h5ad"
    if not made.exists():
        part = made.with_suffix(".part")
        shutil.copyfile(big_file(n_cells, GENES), part)
        table = GeneTable.load("human")
        coding = table.ids[np.asarray(table.biotypes) == "protein_coding"]
        ids = np.concatenate([coding, np.setdiff1d(table.ids, coding)])
        with h5py.File(part, "r+") as file:
            index = file["var"][file["var"].attrs["_index"]]
            index[...] = ids[: index.shape[0]].astype(object)
        part.rename(made)
    return made


def prepare(folder: Path, n_cells: int) -> None:
    """Both files, and a model trained on the first cells of the smaller."""
    import anndata as ad
    import numpy as np

    from whycell.data.cells import open_cells
    from whycell.jobs.train import train
    from whycell.knowledge.terms import Ontology

    small = with_real_genes(n_cells, folder)
    with_real_genes(4 * n_cells, folder)
    if (folder / "model").exists():
        return
    onto = Ontology.load()
    blood = sorted(t for t in onto.descendants("CL:0000738") if len(onto.descendants(t)) == 1)
    with open_cells(small) as cells:
        rows = np.arange(min(TRAINED_ON, n_cells))
        data = ad.AnnData(cells.read_rows("X", rows), obs=cells.obs().iloc[rows], var=cells.var("X"))
    data.obs["cell_type"] = [blood[int(kind)] for kind in data.obs["cell_type"]]
    data.write_h5ad(folder / "train.h5ad")
    train([folder / "train.h5ad"], folder / "model", label="cell_type", donor="donor_id", force=True)


def alone(folder: Path, n_cells: int) -> dict[str, float]:
    """CPU-seconds of the contributions of one contrast, by way, and how far each is from ours."""
    import numpy as np
    import torch
    from captum.attr import IntegratedGradients
    from threadpoolctl import threadpool_limits

    from whycell.data.cells import open_cells
    from whycell.lenses import deeplift
    from whycell.models.answer import top_two
    from whycell.models.explaining import Pipeline
    from whycell.models.store import load

    torch.set_num_threads(1)
    answerer, _ = load(folder / "model")
    with open_cells(folder / f"cells-{n_cells}.h5ad") as cells:
        values = cells.read_rows("X", np.arange(n_cells))
        columns = answerer.align(np.asarray(cells.var("X").index, dtype=object))
    with threadpool_limits(1):
        pipeline = Pipeline.of(answerer, columns)
        expression = pipeline.expression(values)
        first, second = top_two(answerer.answer(values, columns).probabilities)
        own = np.eye(answerer.space.n_leaves, dtype=bool)
        leaves, others = own[first], own[second]
        reference = np.repeat(expression.mean(axis=0, keepdims=True), n_cells, axis=0)
        pipeline.contributions(expression[:300], reference[:300], leaves=leaves[:300], others=others[:300])
        found: dict[str, float] = {}
        start = time.process_time()
        ours = pipeline.contributions(expression, reference, leaves=leaves, others=others)
        found["whycell explain, CPU-s"] = time.process_time() - start

        net = _in_torch(pipeline)
        x, at = torch.tensor(expression), torch.tensor(reference[:1])
        start = time.process_time()
        scores = deeplift(net, x, reference=at, target=(torch.tensor(first), torch.tensor(second)))
        found["whycell.lenses.deeplift, CPU-s"] = time.process_time() - start
        found["largest difference from whycell.lenses.deeplift"] = float(np.abs(np.asarray(scores.values) - ours).max())

        signs = torch.tensor(leaves.astype(np.float32) - others)
        integrated = IntegratedGradients(lambda v, s: (net(v) * s).sum(dim=1))
        start = time.process_time()
        for low in range(0, n_cells, 256):
            part = slice(low, low + 256)
            integrated.attribute(x[part], at, additional_forward_args=(signs[part],), n_steps=20)
        found["captum's integrated gradients, CPU-s"] = time.process_time() - start
    return found


def _in_torch(pipeline):
    import torch

    class Typer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mean, self.directions = torch.tensor(pipeline.mean), torch.tensor(pipeline.directions)
            self.heads = [{k: torch.tensor(v, dtype=torch.float32) for k, v in h.items()} for h in pipeline.heads]

        def forward(self, v: torch.Tensor) -> torch.Tensor:
            x = (v - self.mean) @ self.directions
            total = 0
            for h in self.heads:
                hidden = torch.nn.functional.layer_norm(x @ h["hidden"] + h["hidden_bias"], h["gain"].shape[-1:])
                hidden = torch.nn.functional.gelu(hidden * h["gain"] + h["shift"])
                total = total + x @ h["linear"] + h["bias"] + hidden @ h["out"]
            return total / len(self.heads)

    return Typer().eval()


def child(*words: object) -> str:
    done = subprocess.run([sys.executable, HERE, *map(str, words)], check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return done.stdout


def main(n_cells: int) -> bool:
    folder = Path(tempfile.gettempdir()) / f"whycell-bench-explain-{n_cells}"
    folder.mkdir(exist_ok=True)
    child("prepare", folder, n_cells)

    def command(n: int) -> list[object]:
        return [WHYCELL, "explain", folder / f"cells-{n}.h5ad", "--model", folder / "model", "--quiet", "--threads", 2]

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    whole = measure_command(command(n_cells))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / whole["repeats"]
    large = measure_command(command(4 * n_cells), repeats=1)
    ways = json.loads(child("alone", folder, n_cells).splitlines()[-1])
    results = {
        "cells": n_cells,
        "genes": GENES,
        "whole process": whole,
        "whole process, CPU-s": round(cpu, 2),
        "four times the cells": large,
        "contributions alone": {name: round(value, 6) for name, value in ways.items()},
    }
    limits = {
        "whole process, s": (whole.median, "<=", 10.0),
        "peak memory with four times the cells, over that with one": (large["peak_mb"] / whole["peak_mb"], "<=", 1.3),
        "contributions equal to the general engine's": (
            ways["largest difference from whycell.lenses.deeplift"],
            "<=",
            1e-4,
        ),
    }
    return report("explain_cells", results, limits=limits)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        work = {"prepare": prepare, "alone": alone}[sys.argv[1]]
        print(json.dumps(work(Path(sys.argv[2]), int(sys.argv[3]))))
        sys.exit(0)
    sys.exit(0 if main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000) else 1)
