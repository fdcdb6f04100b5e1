"""fit, calibration included: 8,000 x 2,000 and 40 types beside CellTypist in the same run; 20,000 x 10,000 alone.

Synthetic Poisson counts, 8 donors, 40 types. Easy to tell apart, so the accuracy on held-out cells is a check that
something was learned and nothing more. Each fit is a process of its own, and its peak memory is that process's.
``python bench/fit_speed.py all`` also times CellTypist (SGD) on the large one, which takes many minutes.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from _harness import Timing, measure_command, report
from peers.models import celltypist_python

HERE = Path(__file__).resolve()
SMALL, LARGE = (8000, 2000), (20_000, 10_000)
TYPES, DONORS = 40, 8


def make(folder: Path, n_cells: int, n_genes: int) -> None:
    """``data.npz``: the counts as CSR, the labels (Cell Ontology ids), donors, genes; 1,000 further cells to test."""
    import numpy as np
    import scipy.sparse as sp

    from whycell.knowledge.genes import GeneTable
    from whycell.knowledge.terms import Ontology

    rng = np.random.default_rng(0)
    onto = Ontology.load()
    leaves = sorted(t for t in onto.descendants("CL:0000988") if len(onto.descendants(t)) == 1)
    types = np.array(leaves)[np.sort(rng.choice(len(leaves), TYPES, replace=False))]
    n = n_cells + 1000
    kind, donor = rng.integers(0, TYPES, n), rng.integers(0, DONORS, n)
    base = rng.normal(-1.8, 1.6, n_genes)  # 18 % of the genes found in a cell: about 1,840 of 10,000
    profile = np.exp(base + rng.normal(0, 0.6, (TYPES, n_genes)))
    effect = np.exp(rng.normal(0, 0.15, (DONORS, n_genes)))
    depth = np.exp(rng.normal(0, 0.35, n))[:, None] * 0.5
    parts = [
        sp.csr_matrix(rng.poisson(depth[s] * profile[kind[s]] * effect[donor[s]]).astype(np.float32))
        for s in (slice(i, min(i + 1000, n)) for i in range(0, n, 1000))
    ]
    X = sp.csr_matrix(sp.vstack(parts))
    np.savez(
        folder / "data.npz",
        data=X.data,
        indices=X.indices,
        indptr=X.indptr,
        shape=X.shape,
        y=types[kind],
        donors=donor.astype(str),
        genes=GeneTable.load("human").ids[:n_genes].astype(str),
    )


def once(way: str, folder: Path) -> None:
    """Fit and print: seconds of fit, accuracy on the further cells."""
    import time

    import numpy as np
    import scipy.sparse as sp

    with np.load(folder / "data.npz") as box:
        X = sp.csr_matrix((box["data"], box["indices"], box["indptr"]), shape=tuple(box["shape"]))
        y, donors, genes = box["y"], box["donors"], box["genes"]
    train = np.arange(len(y)) < len(y) - 1000
    if way == "whycell":
        import torch  # noqa: F401 - the imports of either are not timed, and ours would come inside fit

        from whycell import CellTyper

        typer = CellTyper(random_state=0)
        start, busy = time.perf_counter(), time.process_time()
        typer.fit(X[train], y[train], genes=genes, groups=donors[train])
        seconds, busy = time.perf_counter() - start, time.process_time() - busy
        right = (typer.predict(X[~train], genes=genes) == y[~train]).mean()
    else:
        import anndata
        import celltypist

        X = X.tocsr()
        X = sp.diags(1e4 / np.maximum(np.asarray(X.sum(axis=1)).ravel(), 1)) @ X
        X = sp.csr_matrix(X, dtype=np.float32).log1p()
        start, busy = time.perf_counter(), time.process_time()
        model = celltypist.train(
            X[train], labels=y[train], genes=genes, check_expression=False, n_jobs=2, use_SGD=way.endswith("SGD")
        )
        seconds, busy = time.perf_counter() - start, time.process_time() - busy
        query = anndata.AnnData(X[~train])
        query.var_names = genes
        right = (celltypist.annotate(query, model=model).predicted_labels.iloc[:, 0].to_numpy() == y[~train]).mean()
    (folder / f"{way}.txt").write_text(f"{seconds} {right} {busy}")


def measured(python: str, way: str, folder: Path, repeats: int) -> tuple[Timing, dict]:
    """The whole process; of the fit alone, seconds, and seconds of processor on all cores; accuracy."""
    fits, busy, right, whole = [], [], 0.0, []
    for _ in range(repeats):
        whole.append(measure_command([python, HERE, way, folder], repeats=1))
        seconds, right, used = map(float, (folder / f"{way}.txt").read_text().split())
        fits.append(round(seconds, 3))
        busy.append(round(used, 3))
    best = min(range(repeats), key=lambda i: whole[i]["median_s"])
    return whole[best], {"fit_s": fits, "processor_s": busy, "accuracy": right, "peak_mb": whole[best]["peak_mb"]}


def main(*, everything: bool) -> bool:
    os.environ.pop("OMP_NUM_THREADS", None)  # both may use the two cores
    results, limits = {}, {}
    with tempfile.TemporaryDirectory() as name:
        for (n, g), most_s, most_mb in ((SMALL, 5, 0), (LARGE, 30, 3072)):
            size, folder = f"{n:,} x {g:,}", Path(name) / str(n)
            folder.mkdir()
            subprocess.run([sys.executable, HERE, "make", folder, str(n), str(g)], check=True)
            whole, ours = measured(sys.executable, "whycell", folder, 3)
            middle = statistics.median(ours["fit_s"])
            results[f"whycell {size}"] = ours
            limits[f"fit {size}, s"] = (middle, "<=", most_s)
            if most_mb:
                limits[f"fit {size}, peak MB"] = (whole["peak_mb"], "<=", most_mb)
            if g == SMALL[1] or everything:
                way = "celltypist" if g == SMALL[1] else "celltypist-SGD"
                _, theirs = measured(celltypist_python(), way, folder, 1)
                results[f"{way} {size}"] = theirs
                times = theirs["fit_s"][0] / middle
                results[f"{way} / whycell {size}"] = round(times, 2)
                limits[f"times faster than {way}, {size}"] = (times, ">=", 1.0)
    return report("fit_speed", results, limits=limits)


if __name__ == "__main__":
    if sys.argv[1:2] == ["make"]:
        make(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    elif len(sys.argv) == 3:
        once(sys.argv[1], Path(sys.argv[2]))
    else:
        sys.exit(0 if main(everything=sys.argv[1:] == ["all"]) else 1)
