"""``screen`` of pairs: which untested pairs of genes resemble those known to have a property."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from whycell.compute import Talk, n_threads
from whycell.data.pair_negatives import with_matched_negatives
from whycell.data.pair_splits import PairSplit, split_pairs
from whycell.data.pairs import PairTable, check_known, evidence_of, pair_keys, read_evidence, read_pairs
from whycell.data.whole import check_free, written_whole
from whycell.errors import MissingExtraError
from whycell.jobs.record import fingerprint_file, write_run
from whycell.jobs.screen_inputs import read_drugs, read_gene_features, weights_of
from whycell.jobs.screen_ranked import ranked_candidates
from whycell.models.pair_baselines import BASELINES
from whycell.models.pair_evaluation import gaps_to, over_rounds, score_rounds
from whycell.models.pair_features import GeneFeatures
from whycell.models.pairs import PairScreener
from whycell.results import PairScreen

__all__ = ["OURS", "screen_pairs"]

OURS = "whycell"
#: Genes whose untested pairs are ranked where no candidates are given.
_MOST_GENES = 500


def screen_pairs(
    pairs: Path,
    output: Path,
    *,
    features: Sequence[Path] = (),
    interactions: Path | None = None,
    candidates: Path | None = None,
    evidence: Path | None = None,
    drugs: Path | None = None,
    report: Path | None = None,
    folds: int = 5,
    matched: bool = True,
    seed: int = 0,
    threads: int = 0,
    force: bool = False,
    talk: Talk | None = None,
) -> PairScreen:
    """Learn from labelled pairs, score the model by genes held out, and rank candidates.

    Parameters
    ----------
    pairs
        Table with ``gene_a, gene_b, label``.
    output
        Table to write; the split is written beside it as ``NAME.split.json``.
    features
        Gene vectors, or tables of genes and cell lines.
    interactions
        Table of interacting pairs.
    candidates
        Pairs to rank; without, all untested pairs of the 500 genes with most positives.
    evidence
        Evidence by source: weighs training positives and is shown beside candidates. Never a feature.
    drugs
        Table with ``gene, drug``, shown beside candidates.
    report
        Page to write.
    folds
        Parts that the genes are dealt into, each held out once; 0 leaves the scoring out.
    matched
        Score also with negatives of the positives' degrees.

    Returns
    -------
    What the table and the page hold.

    Raises
    ------
    MissingExtraError
        lightgbm, of which the model is made, is not installed.
    """
    if find_spec("lightgbm") is None:
        msg = "a screen of pairs needs lightgbm; install it with: pip install 'whycell[trees]'"
        raise MissingExtraError(msg)
    talk = talk or Talk()
    split_file = output.with_name(output.name + ".split.json")
    check_free(output, report, split_file if folds else None, force=force)
    table = read_pairs(pairs, labelled=True)
    wanted = None if candidates is None else read_pairs(candidates)
    named = table.genes if wanted is None else np.union1d(table.genes, wanted.genes)
    of, known = read_gene_features(features, interactions=interactions, genes=named, talk=talk)
    table = check_known(table, known, what="training pairs")
    wanted = _default_candidates(table) if wanted is None else check_known(wanted, known, what="candidates")
    _tell_dropped(table, "training pairs", talk)
    _tell_dropped(wanted, "candidates", talk)
    pieces = None if evidence is None else read_evidence(evidence)
    weight = None if pieces is None else weights_of(table, evidence_of(table, pieces)[0])
    at = of.codes(table.first), of.codes(table.second)
    scored, split = _scored(of, table, weight, folds=folds, matched=matched, seed=seed, threads=threads, talk=talk)
    model = PairScreener(seed=seed, threads=n_threads(threads)).fit(of, at, label=_labels(table), weight=weight)
    ranked = ranked_candidates(model, of, table, wanted, evidence=pieces, drugs=read_drugs(drugs))
    given = [pairs, *features, interactions, candidates, evidence, drugs]
    result = PairScreen(
        ranked=ranked,
        **scored,
        summary=_summary(table, wanted, of, scored["gaps"]),
        provenance={
            "whycell_version": version("whycell"),
            "inputs": {str(path): fingerprint_file(path) for path in given if path is not None},
            "split": split.hash if split else None,
            "seed": seed,
        },
    )
    _write(result, output, report=report, split=split, split_file=split_file, force=force)
    write_run(
        output,
        "screen",
        inputs=result.provenance["inputs"],
        seed=seed,
        parameters={"folds": folds, "matched": matched, "split": result.provenance["split"]},
    )
    return result


def _labels(table: PairTable) -> np.ndarray:
    return np.asarray(table.label, dtype=float)


def _default_candidates(table: PairTable) -> PairTable:
    true = _labels(table) == 1
    genes, counts = np.unique(np.concatenate([table.first[true], table.second[true]]).astype(str), return_counts=True)
    most = np.sort(genes[np.argsort(-counts, kind="stable")[:_MOST_GENES]]).astype(object)
    one, two = np.triu_indices(len(most), 1)
    tested = pair_keys(table.first, table.second)
    all_pairs = PairTable(most[one], most[two], table.symbols, None, {})
    return all_pairs.kept(~np.isin(pair_keys(most[one], most[two]), tested), reason="tested already")


def _tell_dropped(table: PairTable, what: str, talk: Talk) -> None:
    told = ", ".join(f"{n:,} {reason}" for reason, n in table.dropped.items() if n)
    talk.note(f"{len(table):,} {what}" + (f"; left out: {told}" if told else ""))


def _scored(
    of: GeneFeatures,
    table: PairTable,
    weight: np.ndarray | None,
    *,
    folds: int,
    matched: bool,
    seed: int,
    threads: int,
    talk: Talk,
) -> tuple[dict[str, pd.DataFrame], PairSplit | None]:
    out = dict.fromkeys(("scores", "gaps", "matched_scores", "matched_gaps"), pd.DataFrame())
    if not folds:
        return out, None
    models: dict[str, Callable[[], Any]] = {
        OURS: lambda: PairScreener(seed=seed, threads=n_threads(threads)),
        **{name: (lambda make=make: make(seed)) for name, make in BASELINES.items()},
    }
    pairs, label = (of.codes(table.first), of.codes(table.second)), _labels(table)

    def rounds(
        pairs: tuple[np.ndarray, np.ndarray], label: np.ndarray, weight: np.ndarray | None
    ) -> tuple[pd.DataFrame, PairSplit]:
        keys = pair_keys(of.genes[pairs[0]], of.genes[pairs[1]])
        split = split_pairs(*pairs, keys=keys, folds=folds, seed=seed)
        with talk.progress("scoring", total=folds * len(models)) as step:
            return score_rounds(
                of, pairs, label=label, split=split, models=models, weight=weight, done=lambda r, m: step.advance()
            ), split

    rows, split = rounds(pairs, label, weight)
    out |= {"scores": over_rounds(rows), "gaps": gaps_to(rows, OURS)}
    if matched:
        pairs, dealt = with_matched_negatives(pairs, label, n_genes=len(of.genes), seed=seed)
        if (dealt == 0).sum() * 3 < dealt.sum():
            talk.warn("too few pairs of the positives' degrees are left to be negatives; they are not scored")
            return out, split
        if weight is not None:
            weight = np.where(dealt == 1, np.resize(weight[label == 1], len(dealt)), weight[label == 1].mean())
        rows, _ = rounds(pairs, dealt, weight)
        out |= {"matched_scores": over_rounds(rows), "matched_gaps": gaps_to(rows, OURS)}
    return out, split


def _summary(table: PairTable, wanted: PairTable, of: GeneFeatures, gaps: pd.DataFrame) -> dict[str, Any]:
    behind = []
    if len(gaps):
        main = gaps[gaps["measure"].isin(["auroc", "aupr"]) & (gaps["value"] < 0)]
        behind = [f"{r.setting} {r.measure}: {r.model} by {-r.value:.3f}" for r in main.itertuples()]
    return {
        "pairs": len(table),
        "positives": int(_labels(table).sum()),
        "genes": len(table.genes),
        "candidates": len(wanted),
        "features": {kind: int(values.shape[1]) for kind, values in of.blocks.items()},
        "dropped": table.dropped,
        "candidates_dropped": wanted.dropped,
        "better_baselines": behind,
    }


def _write(
    result: PairScreen, output: Path, *, report: Path | None, split: PairSplit | None, split_file: Path, force: bool
) -> None:
    with written_whole(output, force=force) as scratch:
        result.ranked.to_csv(scratch, sep="\t", index=False, float_format="%.6g")
    if split is not None:
        with written_whole(split_file, force=force) as scratch:
            split.save(scratch)
    if report is not None:
        from whycell.reports.screen import pair_screen_page

        with written_whole(report, force=force) as scratch:
            scratch.write_text(pair_screen_page(result), encoding="utf-8")
