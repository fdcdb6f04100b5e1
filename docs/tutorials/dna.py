# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
# ---

# %% [markdown]
# # From sequences to motifs
#
# Sequences of our own making, so that the truth is known: half are "bound", and hold what a factor likes, with slips;
# the others are random letters. A network learns to tell them apart, every base is scored, and what the scores have in
# common turns out to be the motif. It runs in about a minute, offline, as a notebook (jupytext opens this file as one)
# or with `python dna.py`. Files go to the current folder. Needs `pip install 'whycell[dna]'`.

# %%
from pathlib import Path

import numpy as np
import pandas as pd

from whycell.jobs.motifs import motifs_of_scores
from whycell.jobs.sequences import train_sequences
from whycell.jobs.sequences_explain import explain_sequences

# %% [markdown]
# ## The sequences
#
# Yours are peaks: `whycell sequences train --positives peaks.narrowPeak --genome hg38.fa --width 200`. A table with a
# column of letters and columns of 0 and 1 does as well, and is what is written here.

# %%
rng = np.random.default_rng(0)
MOTIF = "TGACGTCA"  # reads the same on both strands; nothing below knows it
letters = np.array(list("ACGT"))
table = pd.DataFrame({"sequence": ["".join(row) for row in letters[rng.integers(0, 4, (800, 80))]]})
table["bound"] = rng.integers(0, 2, len(table))
planted = rng.integers(5, 65, len(table))
for row in np.flatnonzero(table["bound"]):
    site = "".join(c if rng.random() < 0.95 else letters[rng.integers(4)] for c in MOTIF)
    before, after = table.at[row, "sequence"][: planted[row]], table.at[row, "sequence"][planted[row] + len(site) :]
    table.at[row, "sequence"] = before + site + after
table.to_csv("bound.tsv", sep="\t", index=False)

# %% [markdown]
# ## A network
#
# A tenth of the sequences stops and calibrates it, another tenth scores it; near copies never stand on both sides. By
# its score stands what gapped k-mers, a model without a network, reach on the same sequences. The few sequences are
# passed over more often than is usual. On the command line:
#
#     whycell sequences train --positives bound.tsv --epochs 40 -o model/

# %%
card = train_sequences([Path("bound.tsv")], Path("model"), tasks=["bound"], epochs=40, threads=1, force=True)
score = card["scores"]["bound"]
print(f"AUROC {score['auroc']:.3f} ({score['auroc_low']:.3f} to {score['auroc_high']:.3f}), ", end="")
print(f"gapped k-mers {card['baseline']['bound']:.3f}")

# %% [markdown]
# ## Which bases
#
# Every base is scored by DeepLIFT against shuffles of its own sequence. The scores of a sequence add up to how far the
# network's answer lies from its answer to those shuffles.
#
#     whycell sequences explain bound.tsv --model model/ -o scores.h5

# %%
told = explain_sequences(Path("bound.tsv"), Path("scores.h5"), model=Path("model"), references=5, threads=1, force=True)
print(f"{told['sequences']:,} sequences scored, adding up within {told['residual']:.1e}")

# %% [markdown]
# ## Motifs and their places
#
#     whycell motifs scores.h5 -o motifs/ --known jaspar.meme
#
# writes tables and one page to look at, `motifs/report.html`.

# %%
found = motifs_of_scores(Path("scores.h5"), Path("motifs"), force=True)
print(found.summary[["motif", "consensus", "hits", "sequences"]].to_string(index=False))

# %% [markdown]
# Here the truth is known: of the planted sites, how many were hit within three letters?

# %%
first = found.hits[found.hits["motif"] == found.summary["motif"].iloc[0]]
middle = ((first["start"] + first["stop"]) / 2).to_numpy()
places: dict[int, list[float]] = {}
for row, at in zip(first["sequence"], middle, strict=True):
    places.setdefault(int(row), []).append(float(at))
bound = np.flatnonzero(table["bound"])
hit = [any(abs(at - planted[row] - len(MOTIF) / 2) <= 3 for at in places.get(int(row), [])) for row in bound]
recall = float(np.mean(hit))
print(f"{recall:.0%} of {len(bound)} planted sites were hit")

# %% [markdown]
# Next: which motifs work together (`whycell grammar`), what a variant breaks (`whycell sequences variants`), where the
# event lies (`whycell sequences locate`), and the same motif in two contexts (`whycell motifs compare`): see
# [DNA](../sequences.md).
