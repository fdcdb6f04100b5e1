"""``screen`` of all knockouts: which are predicted by the state of a cell line, and by what in it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from whycell.compute import Talk, n_threads
from whycell.data.whole import check_free, written_whole
from whycell.errors import UsageError
from whycell.jobs.record import fingerprint_file, write_run
from whycell.jobs.screen_lines import Lines, own_features, read_lines
from whycell.models.knockout_partners import Partners, find_partners
from whycell.models.knockout_rivals import correlations, elastic_nets, shared_tops
from whycell.models.knockouts import HeldOut, held_out, line_folds, residuals, squared_distances
from whycell.results import KnockoutScreen

__all__ = ["screen_knockouts"]

#: Features listed of each knockout.
_LISTED = 20


def screen_knockouts(
    dependency: Path,
    output: Path,
    *,
    expression: Path | None = None,
    mutations: Sequence[Path] = (),
    lineage: Path | None = None,
    positions: Path | None = None,
    report: Path | None = None,
    hold_out: str = "line",
    folds: int = 5,
    best: int = 500,
    nulls: int = 10,
    seed: int = 0,
    threads: int = 0,
    force: bool = False,
    talk: Talk | None = None,
) -> KnockoutScreen:
    """Predict every knockout's effect from the lines' features, and say on what the best-predicted ones depend.

    Parameters
    ----------
    dependency, expression, mutations, lineage, positions
        DepMap's tables; see ``jobs.screen_lines``.
    output
        Table to write: one row a knockout and feature.
    report
        Page to write.
    hold_out
        ``"line"`` or ``"lineage"``: what a fold holds out.
    folds
        Folds.
    best
        Knockouts, best-predicted first and with q below 0.05, whose features are looked for.
    nulls
        Shuffled copies of every knockout behind its p-value.

    Returns
    -------
    What the tables and the page hold.
    """
    talk = talk or Talk()
    if hold_out == "lineage" and lineage is None:
        msg = "lineages are to be held out and none were given; name their table with --lineage."
        raise UsageError(msg)
    if folds < 2:
        msg = f"got {folds} folds; wanted 2 or more, to learn on some lines and test on the others."
        raise UsageError(msg)
    knockout_file = output.with_name(output.name + ".knockouts.tsv")
    check_free(output, knockout_file, report, force=force)
    lines = read_lines(dependency, expression=expression, mutations=mutations, lineage=lineage, talk=talk)
    squares = squared_distances(lines.features)
    fold = line_folds(len(lines.lines), lineage=lines.lineage, by=hold_out, folds=folds, seed=seed)
    with talk.progress("predicting", total=folds * len(lines.knockouts)) as step:
        told = held_out(
            squares, lines.effects, lineage=lines.lineage, fold=fold, nulls=nulls, seed=seed, done=step.advance
        )
    talk.note(
        f"{(told.q < 0.05).sum():,} of {len(told.q):,} knockouts are predicted better than shuffled ones (q < 5 %)"
    )
    chosen = np.argsort(-told.r2, kind="stable")[:best]
    chosen = chosen[(told.q[chosen] < 0.05) & (told.r2[chosen] > 0)]
    own, how = own_features(lines, chosen, positions=positions)
    if positions is None:
        talk.warn("no positions of genes were given: only the knocked-out gene itself is left out, not its neighbours")
    found, r, net = _looked_into(lines, told, chosen, own, seed=seed, threads=n_threads(threads), talk=talk)
    given = [dependency, expression, *mutations, lineage, positions]
    result = KnockoutScreen(
        ranked=_ranked(lines, told, found, chosen, r, net),
        knockouts=_knockouts(lines, told, found, chosen),
        rivals=_rivals(found, r, net),
        summary={
            "lines": len(lines.lines),
            "knockouts": len(lines.knockouts),
            "features": {"expression": int((lines.kind == 0).sum()), "mutation": int((lines.kind == 1).sum())},
            "predicted": int((told.q < 0.05).sum()),
            "looked_into": len(chosen),
            "held_out_by": hold_out,
            "lineages": len(lines.lineages),
            "own_locus": how,
            "dropped": lines.dropped,
        },
        provenance={
            "whycell_version": version("whycell"),
            "inputs": {str(path): fingerprint_file(path) for path in given if path is not None},
            "folds": folds,
            "nulls": nulls,
            "seed": seed,
        },
    )
    _write(result, output, knockout_file, report, force=force)
    write_run(
        output,
        "screen",
        inputs=result.provenance["inputs"],
        seed=seed,
        parameters={"hold_out": hold_out, "folds": folds, "best": best, "nulls": nulls},
    )
    return result


def _looked_into(
    lines: Lines, told: HeldOut, chosen: np.ndarray, own: list[np.ndarray], *, seed: int, threads: int, talk: Talk
) -> tuple[Partners, np.ndarray, np.ndarray]:
    """Partners of the chosen knockouts, and what correlation and an elastic net say of the same."""
    effects = lines.effects[:, chosen]
    filled = np.where(np.isfinite(effects), effects, np.nanmean(effects, axis=0)).astype(np.float32)
    Y = residuals(filled, lines.lineage, np.arange(len(filled)))
    with talk.progress("looking for partners", total=len(chosen)) as step:
        found = find_partners(
            lines.features,
            Y,
            penalty=told.penalty[chosen],
            own=own,
            kind=lines.kind,
            lineage=lines.lineage,
            seed=seed,
            threads=threads,
            done=step.advance,
        )
    r = correlations(lines.features, Y, own=own)
    return found, r, elastic_nets(lines.features, Y, correlation=r, seed=seed, threads=threads)


def _ranked(
    lines: Lines, told: HeldOut, found: Partners, chosen: np.ndarray, r: np.ndarray, net: np.ndarray
) -> pd.DataFrame:
    """The leading features of each knockout; a score is a share of the knockout's importance times its R²."""
    parts = []
    for k, knockout in enumerate(chosen):
        at = np.argsort(-found.again[k], kind="stable")[:_LISTED]
        parts.append(
            pd.DataFrame(
                {
                    "gene_a": lines.knockouts[knockout],
                    "gene_b": lines.genes[at],
                    "kind": np.array(["expression", "mutation"])[lines.kind[at]],
                    "score": found.again[k, at] * max(float(found.r2[k]), 0.0),
                    "importance": found.again[k, at],
                    "p": found.p[k, at],
                    "q": found.q[k, at],
                    "slope": found.slope[k, at],
                    "correlation": r[k, at],
                    "elastic_net": net[k, at],
                    "r2": told.r2[knockout],
                }
            )
        )
    if not parts:
        columns = ["gene_a", "gene_b", "kind", "score", "importance", "p", "q", "slope", "correlation"]
        return pd.DataFrame(columns=[*columns, "elastic_net", "r2"])
    frame = pd.concat(parts, ignore_index=True)
    return frame.sort_values(["score", "gene_a", "gene_b"], ascending=[False, True, True], kind="stable")


def _knockouts(lines: Lines, told: HeldOut, found: Partners, chosen: np.ndarray) -> pd.DataFrame:
    own = np.full(len(lines.knockouts), np.nan)
    own[chosen] = found.r2
    partners = np.zeros(len(lines.knockouts), dtype=np.int64)
    partners[chosen] = (found.q < 0.05).sum(axis=1)
    looked = np.zeros(len(lines.knockouts), dtype=bool)
    looked[chosen] = True
    null = told.null.mean(axis=0) if len(told.null) else np.full(len(told.r2), np.nan)
    frame = pd.DataFrame(
        {
            "gene": lines.knockouts,
            "r2": told.r2,
            "null_r2": null,
            "p": told.p,
            "q": told.q,
            "penalty": told.penalty,
            "r2_without_own_locus": own,
            "looked_into": looked,
            "partners": partners,
        }
    )
    return frame.sort_values(["r2", "gene"], ascending=[False, True], kind="stable", ignore_index=True)


def _rivals(found: Partners, r: np.ndarray, net: np.ndarray) -> pd.DataFrame:
    weight = np.maximum(found.r2, 0)[:, None]
    orders = {
        "agop": found.again * weight,
        "agop, not recursive": found.first * weight,
        "correlation": r,
        "elastic net": net,
    }
    top = min(1000, found.again.size)
    shared = shared_tops(orders, against="agop", top=top) if found.again.size else {}
    return pd.DataFrame({"method": list(shared), "top": top, "shared": list(shared.values())})


def _write(result: KnockoutScreen, output: Path, knockout_file: Path, report: Path | None, *, force: bool) -> None:
    for path, frame in ((output, result.ranked), (knockout_file, result.knockouts)):
        with written_whole(path, force=force) as scratch:
            frame.to_csv(scratch, sep="\t", index=False, float_format="%.6g")
    if report is not None:
        from whycell.reports.screen_knockouts import knockout_screen_page

        with written_whole(report, force=force) as scratch:
            scratch.write_text(knockout_screen_page(result), encoding="utf-8")
