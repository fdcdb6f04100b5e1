"""Variants where the truth is known: substitutions that break planted motifs, against others in the same sequences.

A network learns from 6,400 sequences of the TAL1/GATA simulation which motif they hold. In the other 1,600 a letter of
a planted instance, one of the motif's three most telling, becomes the least likely one there; as many substitutions
fall where nothing was planted. Asked: has the effect the right sign, does it part the two (AUROC, sequences
resampled), is the motif named among JASPAR's 1,400, and how many get a small p and q (of random changes in the same
sequences many hit a motif too). Beside the effect stand differences of weight-matrix scores alone: of the true matrix,
by which the truth was planted, and of JASPAR's GATA1 and TAL1. What was chosen (four windows, the threshold of a motif)
was chosen on the 6,400.

Then speed, on one thread and in processor time: ours beside tangermeme's substitution_effect on the same network and
the same windows, the network alone, and what everything else costs, with the memory that more variants take.

``make bench NAME=variants`` takes some ten minutes; ``WHYCELL_BENCH_MODEL=FOLDER`` keeps the network there.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from _harness import report
from planted_motifs import DATA, KNOWN, THREADS, Simulated, read_simulation
from whycell.data.genome_letters import GenomeLetters
from whycell.data.sequences import Sequences
from whycell.data.variant_windows import Change, windows_of
from whycell.encode.sequences import one_hot
from whycell.jobs import variants as job
from whycell.jobs.variants import effects_of_variants
from whycell.metrics.intervals import bootstrap_cells, paired_cells
from whycell.metrics.novelty import auroc
from whycell.models.sequence import SequenceModel
from whycell.patterns.known import read_meme
from whycell.patterns.variant_motifs import changed_motifs, scored_motifs
from whycell.patterns.variants import variant_effects

N, N_NAMED, N_TIMED = 1000, 300, 2000
LENGTH = 250
TASKS = tuple(KNOWN)
FAMILY_Q = 0.05


def main() -> bool:
    torch.set_num_threads(1)
    everything = read_simulation()
    order = np.random.default_rng(0).permutation(len(everything.letters))
    cut = int(len(order) * 0.8)
    fit, held = everything[order[:cut]], everything[order[cut:]]
    results, limits = {}, {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        results["everything but the network"] = overhead(folder)  # first: the peak is that of the whole process
        model_folder = Path(os.environ.get("WHYCELL_BENCH_MODEL") or folder / "model")
        if not model_folder.exists():
            trained(fit).save(model_folder)
        model = SequenceModel.load(model_folder)
        model.threads = 1
        matrices = {task: planted_matrix(fit, task) for task in TASKS}
        (folder / "held.fa").write_text("".join(f">{i}\n{s}\n" for i, s in enumerate(held.letters)))
        table = substitutions(held, matrices)
        results["planted"] = planted = judged(table, model, folder, matrices)
        results["named"] = named = naming(table, model_folder, folder, matrices)
        results["speed"] = speed = timed(model, folder, "".join(held.letters[:800]))
    for task in TASKS:
        limits[f"{task}: effect of the right sign, share"] = (planted[task]["right sign"], ">=", 0.95)
        limits[f"{task}: motif named, of those it was among"] = (named[task]["ours"], ">=", named[task]["rarest"])
    limits["largest difference to tangermeme"] = (speed["largest difference"], "<=", 1e-5)
    limits["processor time, of tangermeme's"] = (speed["ours"] / speed["tangermeme"], "<=", 1.1)
    return report("variants", results, limits=limits)


def trained(fit: Simulated) -> SequenceModel:
    labels = np.array([[any(n == t for n, _, _ in p) for t in TASKS] for p in fit.planted], dtype=np.float32)
    names = np.arange(len(labels)).astype(str).astype(object)
    given = Sequences(names, np.array(fit.letters, dtype=object), labels=labels, tasks=TASKS)
    return SequenceModel(seed=0, threads=THREADS).fit(given, tested=False)


def planted_matrix(fit: Simulated, task: str) -> np.ndarray:
    places = fit.instances(task)
    rows = zip(places["sequence"], places["start"], places["stop"], strict=True)
    return one_hot([fit.letters[i][a:b] for i, a, b in rows]).mean(axis=0)


def substitutions(held: Simulated, matrices: dict[str, np.ndarray]) -> pd.DataFrame:
    """As many that break an instance as that do not, in the same sequences; ``sites`` of the motif in the sequence."""
    rng, rows = np.random.default_rng(1), []
    telling = {t: np.argsort(-(m * np.log2(np.maximum(m, 1e-9))).sum(axis=0))[:3] for t, m in matrices.items()}
    every = [(i, *place) for i, places in enumerate(held.planted) for place in places]
    for pick in rng.permutation(len(every))[:N]:
        i, task, start, _ = every[pick]
        letters, column = held.letters[i], int(rng.choice(telling[task]))
        worst = int(np.argmin(matrices[task][:, column]))
        sites = sum(name == task for name, _, _ in held.planted[i])
        at = start + column
        if "ACGT"[worst] != letters[at]:
            rows.append((i, at, letters[at], "ACGT"[worst], task, True, sites))
            free = np.ones(LENGTH, dtype=bool)
            for _, begin, width in held.planted[i]:
                free[begin : begin + width] = False
            at = int(rng.choice(np.flatnonzero(free)))
            other = "ACGT"[("ACGT".index(letters[at]) + int(rng.integers(1, 4))) % 4]
            rows.append((i, at, letters[at], other, task, False, sites))
    return pd.DataFrame(rows, columns=["sequence", "at", "ref", "alt", "task", "breaks", "sites"])


def changes_of(table: pd.DataFrame) -> list[Change]:
    rows = zip(table["sequence"], table["at"], table["alt"], strict=True)
    return [Change(str(i), a, a + 1, np.array(["ACGT".index(x)], dtype=np.uint8)) for i, a, x in rows]


def judged(table: pd.DataFrame, model: SequenceModel, folder: Path, matrices: dict[str, np.ndarray]) -> dict:
    genome = GenomeLetters(folder / "held.fa")
    effect = variant_effects(model.logits, changes_of(table), genome=genome, length=LENGTH).effect
    known = {k.name: k.letters for k in read_meme(DATA / "jaspar.meme") if k.name in KNOWN.values()}
    found = {}
    for task in TASKS:
        rows = np.flatnonzero((table["task"] == task).to_numpy())
        here = table.iloc[rows]
        of, breaks = here["sequence"].to_numpy(), here["breaks"].to_numpy()
        fall = -effect[rows, model.tasks_.index(task)]
        scores = {
            "effect": fall,
            "size of effect": np.abs(fall),
            "true matrix": lost_bits(here, genome, matrices[task]),
            f"JASPAR {KNOWN[task]}": lost_bits(here, genome, known[KNOWN[task]]),
        }
        row = {"n": len(rows), "right sign": round(float((fall[breaks] > 0).mean()), 4), "auroc": {}}
        for name, score in scores.items():
            row["auroc"][name] = interval(bootstrap_cells(of, lambda at, s=score, b=breaks: auroc(s[at], b[at])))
            if name.startswith("JASPAR"):
                gap = paired_cells(
                    of,
                    lambda at, s=fall, b=breaks: auroc(s[at], b[at]),
                    lambda at, s=score, b=breaks: auroc(s[at], b[at]),
                )
                row[f"effect beyond {name}"] = interval(gap)
        sites = here["sites"].to_numpy()
        row["by sites in the sequence"] = {
            told: {"median effect": round(float(np.median(-fall[breaks & at])), 3), "auroc": _auroc(fall, breaks, at)}
            for told, at in (("1", sites == 1), ("2", sites == 2), ("3 and more", sites > 2))
        }
        found[task] = row
    return found


def lost_bits(here: pd.DataFrame, genome: GenomeLetters, matrix: np.ndarray) -> np.ndarray:
    """How much lower the best place of a matrix over the letter scores; places below nothing count as nothing."""
    width, flat = matrix.shape[1], np.full(4, 0.25)
    odds = np.log2((0.99 * matrix + 0.01 * flat[:, None]) / flat[:, None])
    both = []
    for row in here.itertuples():
        around = genome.codes(str(row.sequence), row.at - width + 1, row.at + width)
        best = []
        for letter in (row.ref, row.alt):
            x = (around == np.arange(4)[:, None]).astype(float)
            x[:, width - 1] = np.arange(4) == "ACGT".index(letter)
            best.append(max((x[:, i : i + width] * o).sum() for i in range(width) for o in (odds, odds[::-1, ::-1])))
        both.append(np.maximum(best, 0))
    return np.array(both) @ np.array([1.0, -1.0])


def naming(table: pd.DataFrame, model: Path, folder: Path, matrices: dict[str, np.ndarray]) -> dict:
    """Through the job: the motif named for those that break one, and q of all."""
    part = table.iloc[: 2 * N_NAMED]
    rows = zip(part["sequence"], part["at"], part.index, part["ref"], part["alt"], strict=True)
    lines = [f"{i}\t{at + 1}\t{index}\t{ref}\t{alt}\n" for i, at, index, ref, alt in rows]
    (folder / "v.vcf").write_text("#CHROM\tPOS\tID\tREF\tALT\n" + "".join(lines))
    start = time.process_time()
    effects_of_variants(
        folder / "v.vcf",
        folder / "effects.tsv",
        model=model,
        genome=folder / "held.fa",
        known=DATA / "jaspar.meme",
        explained=10**9,
        threads=1,
        force=True,
    )
    seconds = time.process_time() - start
    told = pd.read_csv(folder / "effects.tsv", sep="\t", keep_default_na=False).set_index(["id", "task"])
    family = {task: family_of(matrices[task]) for task in TASKS}
    motifs = [(k.id, k.name, "", 1, k.letters) for k in read_meme(DATA / "jaspar.meme")]
    ready = scored_motifs(motifs, background=np.full(4, 0.25))
    changed = changed_motifs(changes_of(part), ready, genome=GenomeLetters(folder / "held.fa"))
    found: dict = {"seconds of the job": round(seconds, 1)}
    for task in TASKS:
        here = [at for at, row in enumerate(part.itertuples()) if row.breaks and row.task == task]
        among = [at for at in here if any(ready.names[c.motif] in family[task] for c in changed[at])]
        of_job = [told.loc[(part.index[at], task)] for at in among]
        ours = np.mean([row["motif"] in family[task] for row in of_job])
        agree = [row["agrees"] == "yes" for row in of_job if row["motif"] in family[task]]
        of_task = told.xs(task, level="task")
        p, q = (pd.to_numeric(of_task[name]) for name in ("p", "q"))
        own = (part["task"] == task).to_numpy() & part["breaks"].to_numpy()
        neither = ~part["breaks"].to_numpy()
        found[task] = {
            "breaking": len(here),
            "some motif of the family changed": len(among),
            "ours": round(float(ours), 4),
            "rarest": round(float(np.mean([ready.names[changed[at][0].motif] in family[task] for at in among])), 4),
            "network agrees": round(float(np.mean(agree)), 4),
        } | {
            f"{what} below 0.05, {told_of}": round(float((values.loc[part.index[rows]] < 0.05).mean()), 4)
            for what, values in (("p", p), ("q", q))
            for told_of, rows in (("breaking", own), ("neutral", neither))
        }
    return found


def family_of(matrix: np.ndarray) -> set[str]:
    """Known motifs that TOMTOM cannot tell from the true matrix."""
    from memelite import tomtom
    from scipy.stats import false_discovery_control

    known = read_meme(DATA / "jaspar.meme")
    targets = [np.ascontiguousarray(k.letters, dtype=np.float64) for k in known]
    p = np.asarray(tomtom([np.ascontiguousarray(matrix, dtype=np.float64)], targets)[0])[0]
    q = false_discovery_control(np.clip(p, 0, 1))
    return {k.id for k, value in zip(known, q, strict=True) if value < FAMILY_Q}


def timed(model: SequenceModel, folder: Path, text: str) -> dict:
    """Processor seconds a thousand substitutions, one window each; the same windows for both, already read."""
    from tangermeme.variant_effect import substitution_effect

    (folder / "one.fa").write_text(f">c\n{text}\n")
    genome, rng = GenomeLetters(folder / "one.fa"), np.random.default_rng(2)
    places = np.sort(rng.choice(len(text) - 2 * LENGTH, N_TIMED, replace=False)) + LENGTH
    letters = (genome.codes("c", 0, len(text))[places] + rng.integers(1, 4, N_TIMED)) % 4
    changes = [Change("c", int(p), int(p) + 1, np.array([x], np.uint8)) for p, x in zip(places, letters, strict=True)]
    start = time.process_time()
    ours = variant_effects(model.logits, changes, genome=genome, length=LENGTH).effect
    seconds = {"ours": time.process_time() - start}
    windows = [windows_of(c, genome, length=LENGTH)[0] for c in changes]
    x = one_hot(["".join("ACGT"[i] for i in w.ref) for w in windows])
    where = [(i, c.start - w.start, x) for i, (c, w, x) in enumerate(zip(changes, windows, letters, strict=True))]
    start = time.process_time()
    before, after = substitution_effect(
        model.module, torch.as_tensor(x), torch.as_tensor(np.array(where)), device="cpu", batch_size=1024
    )
    seconds["tangermeme"] = time.process_time() - start
    both = np.concatenate([x, x]).astype(np.uint8)
    start = time.process_time()
    model.logits(both)
    seconds["the network alone"] = time.process_time() - start
    start = time.process_time()
    variant_effects(model.logits, changes[::4], genome=genome, length=LENGTH, shifts=4)
    seconds["ours, four windows"] = 4 * (time.process_time() - start)
    found = {name: round(value / N_TIMED * 1000, 3) for name, value in seconds.items()}
    return found | {"largest difference": float(np.abs(ours - (after - before).numpy()).max())}


class _Instant:
    """A network that costs nothing."""

    tasks_, length_, kind, module = TASKS, LENGTH, "class", None
    scale_, shift_ = np.ones(2, dtype=np.float32), np.zeros(2, dtype=np.float32)

    def logits(self, x: np.ndarray) -> np.ndarray:
        return np.stack([x[:, 0, 120:130].sum(axis=1), x[:, 1, 100:150].sum(axis=1)], axis=1).astype(np.float32)


def overhead(folder: Path) -> dict:
    """Seconds a thousand substitutions, and megabytes that 200,000 take beyond what 20,000 do."""
    rng, size = np.random.default_rng(3), 3_000_000
    text = bytes(rng.choice(np.frombuffer(b"ACGT", np.uint8), size)).decode()
    (folder / "big.fa").write_text(f">c\n{text}\n")
    before, job.opened_model = job.opened_model, lambda *_, **__: _Instant()
    found = {}
    try:
        for n in (20_000, 200_000):
            places = np.sort(rng.choice(size - 1000, n, replace=False)) + 500
            lines = [f"c\t{p + 1}\t.\t{text[p]}\t{'ACGT'['ACGT'.index(text[p]) - 1]}\n" for p in places]
            (folder / "big.vcf").write_text("##fileformat=VCFv4.2\n" + "".join(lines))
            del lines
            start = time.process_time()
            effects_of_variants(
                folder / "big.vcf",
                folder / "big.tsv",
                model=folder,
                genome=folder / "big.fa",
                shifts=1,
                threads=1,
                force=True,
            )
            found[f"{n}, s a thousand"] = round((time.process_time() - start) / n * 1000, 3)
            found[f"{n}, peak MB"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    finally:
        job.opened_model = before
    return found


def interval(found) -> list[float]:
    return [round(float(v), 4) for v in (found.value, found.low, found.high)]


def _auroc(score: np.ndarray, truth: np.ndarray, at: np.ndarray) -> float:
    return round(float(auroc(score[at], truth[at])), 4)


if __name__ == "__main__":
    sys.exit(not main())
