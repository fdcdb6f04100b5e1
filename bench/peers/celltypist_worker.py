"""Run by CellTypist's own interpreter: ``python celltypist_worker.py IN.npz OUT.npz``; knows nothing of whycell."""

import sys
import time
import warnings

import numpy as np
import scipy.sparse as sp

warnings.simplefilter("ignore")


def _unique(names):
    seen = {}
    out = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return np.array(out)


def main(given, back):
    import anndata
    import celltypist

    with np.load(given) as box:
        n_genes = int(box["shape"][1])
        X = sp.csr_matrix((box["X_data"], box["X_indices"], box["X_indptr"]), shape=tuple(box["shape"]))
        T = sp.csr_matrix((box["T_data"], box["T_indices"], box["T_indptr"]), shape=(int(box["n_test"]), n_genes))
        y, genes = box["y"], _unique(box["genes"])
    start = time.perf_counter()
    model = celltypist.train(X, labels=y, genes=genes, check_expression=False, n_jobs=1)
    fit_s = time.perf_counter() - start
    query = anndata.AnnData(T)
    query.var_names = genes
    start = time.perf_counter()
    answer = celltypist.annotate(query, model=model)
    predict_s = time.perf_counter() - start
    table = answer.probability_matrix
    np.savez(
        back,
        probabilities=table.to_numpy().astype(np.float32),
        classes=np.array(table.columns, dtype=str),
        fit_s=fit_s,
        predict_s=predict_s,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
