# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
# ---

# %% [markdown]
# # Type your cells
#
# 700 real blood cells that come with scanpy: 500 teach, 200 are typed. It runs in seconds, offline, from a notebook
# (jupytext opens this file as one) or with `python type_your_cells.py`. Files go to the current folder.

# %%
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc
import scipy.sparse as sp

import whycell
from whycell.jobs.train import train

# %% [markdown]
# ## The cells
#
# The counts come back from the logarithms that scanpy ships. You need not do this: counts, log1p of any size, log2 and
# CPM are all recognised, in `X`, `raw` or a layer. `whycell doctor FILE` tells what was found in a file.

# %%
small = sc.datasets.pbmc68k_reduced()
per_ten_thousand = small.raw.X.copy()
per_ten_thousand.data = np.expm1(per_ten_thousand.data)
counts = sp.csr_matrix(sp.diags_array(small.obs["n_counts"].to_numpy() / 1e4) @ per_ten_thousand)
counts.data = np.round(counts.data).astype(np.float32)
cells = ad.AnnData(counts, obs=small.obs[["bulk_labels"]].copy(), var=small.raw.var[[]].copy())

typed_later = np.random.default_rng(0).permutation(cells.n_obs)[:200]
reference = cells[np.setdiff1d(np.arange(cells.n_obs), typed_later)].copy()
query = cells[typed_later].copy()
reference.write_h5ad("reference.h5ad")

# %% [markdown]
# ## Labels are terms
#
# A label is found in the Cell Ontology by its id, name or exact synonym. These labels are a laboratory's own, so a
# table says which term each one means. Terms may be of any detail: a cell labelled "T cell" teaches that it is some T
# cell, and never that it is not a CD8 one. What the table and the ontology both do not know stays a class of its own.

# %%
own = {
    "CD4+/CD45RA+/CD25- Naive T": "CL:0000895",
    "CD4+/CD45RO+ Memory": "CL:0000897",
    "CD4+/CD25 T Reg": "CL:0000792",
    "CD8+ Cytotoxic T": "CL:0000794",
    "CD8+/CD45RA+ Naive Cytotoxic": "CL:0000900",
    "CD56+ NK": "CL:0000623",
    "CD14+ Monocyte": "CL:0001054",
    "CD19+ B": "CL:0000236",
    "CD34+": "CL:0008001",
    "Dendritic": "CL:0000451",
}
pd.Series(own).to_csv("labels.tsv", sep="\t", header=False)

# %% [markdown]
# ## Train
#
# The same as `whycell train reference.h5ad --label bulk_labels --label-map labels.tsv -o model/`. Name the column of
# donors with `donor=` if you have three or more: whole donors are then held out to calibrate on, and the card says how
# the model does on a new one. Without them it says that it does not know.

# %%
card = train([Path("reference.h5ad")], Path("model"), label="bulk_labels", label_map=Path("labels.tsv"), force=True)
print("tested on:", card["held_out"])
print("what to keep in mind:", *card["warnings"], sep="\n  ")

# %% [markdown]
# ## Annotate
#
# The calls go into `obs`: the call, its Cell Ontology id, its confidence, and what else `docs/output.md` lists.

# %%
whycell.tl.annotate(query, model="model")
print(query.obs[["bulk_labels", "whycell", "whycell_confidence", "whycell_flag"]].head(8).to_string())
print(pd.crosstab(query.obs["bulk_labels"], query.obs["whycell"]).to_string())

# %% [markdown]
# Each call is as detailed as the evidence allows: among these few cells the kinds of T cell are hard to tell apart, so
# most of them are called by a term above. The most likely kind stands in `whycell_leaf`, with its own confidence, and
# the next one in `whycell_runner_up`.
#
# Of the cells called with a confidence of 0.9, nine in ten should be right. Are they?

# %%
query.obs["truth"] = query.obs["bulk_labels"].astype(str).map(own)
figure = whycell.pl.reliability(query, "truth")
figure.savefig("reliability.png")

# %% [markdown]
# ## A type that training never saw
#
# Without B cells in the reference, B cells cannot be called B cells, and some are called something wrong: no threshold
# can know of a type that nobody showed. Novelty looks at this separately, and is several times higher in them than in
# the others, whatever they are called. Above 0.5 a cell is flagged `novel`; one known cell in a hundred gets there.

# %%
reference[reference.obs["bulk_labels"] != "CD19+ B"].copy().write_h5ad("without_b.h5ad")
train([Path("without_b.h5ad")], Path("without_b"), label="bulk_labels", label_map=Path("labels.tsv"), force=True)
whycell.tl.annotate(query, model="without_b", key_added="blind")
is_b = query.obs["bulk_labels"] == "CD19+ B"
print("novelty of B cells:    ", query.obs.loc[is_b, "blind_novelty"].median().round(3))
print("novelty of other cells:", query.obs.loc[~is_b, "blind_novelty"].median().round(3))
print("what B cells are called instead:", query.obs.loc[is_b, "blind"].value_counts().to_dict())

# %% [markdown]
# ## On files
#
# Files of any size are typed in chunks, and the typed file is the input's bytes with columns added:
#
#     whycell annotate query.h5ad --model model/ -o typed.h5ad --report report.html
#
# scikit-learn's interface is there too, `whycell.CellTyper().fit(X, y, genes=ids, groups=donors)`; see
# [Typing](../typing.md) for what it does and when to use it.
