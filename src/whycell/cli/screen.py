"""``whycell screen``: rank pairs of genes, from labelled pairs or from a whole-knockout screen."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from whycell.cli import options
from whycell.cli.manners import print_json, print_table, working

__all__ = ["screen"]

File = Path | None
_SHOWN = 20


class _HeldOut(StrEnum):
    """What a fold of a whole-knockout screen holds out."""

    line = "line"
    lineage = "lineage"


def screen(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="TSV", help="Ranked table to write.")],
    pairs: Annotated[
        File, typer.Option("--pairs", metavar="TSV", help="Pairs: gene_a, gene_b, label (1 or 0).")
    ] = None,
    features: Annotated[
        list[Path] | None,
        typer.Option("--features", metavar="FILE", help="Gene vectors, or genes x cell lines; may be repeated."),
    ] = None,
    interactions: Annotated[
        File, typer.Option("--interactions", metavar="TSV", help="Interacting pairs: gene_a, gene_b.")
    ] = None,
    candidates: Annotated[
        File, typer.Option("--candidates", metavar="TSV", help="Pairs to rank; without, untested ones of known genes.")
    ] = None,
    evidence: Annotated[
        File, typer.Option("--evidence", metavar="TSV", help="Evidence by source; weighs training pairs, is shown.")
    ] = None,
    drugs: Annotated[File, typer.Option("--drugs", metavar="TSV", help="Known drugs' targets: gene, drug.")] = None,
    matched: Annotated[
        bool, typer.Option("--matched/--no-matched", help="Score also with negatives of the positives' degrees.")
    ] = True,
    dependency: Annotated[
        File, typer.Option("--dependency", metavar="CSV", help="Effects of all knockouts, lines x genes (DepMap).")
    ] = None,
    expression: Annotated[
        File, typer.Option("--expression", metavar="CSV", help="Expression of the lines, lines x genes.")
    ] = None,
    mutations: Annotated[
        list[Path] | None,
        typer.Option("--mutations", metavar="CSV", help="Mutations of the lines, lines x genes; may be repeated."),
    ] = None,
    lineage: Annotated[
        File, typer.Option("--lineage", metavar="CSV", help="Lineage of the lines: DepMap's Model.csv.")
    ] = None,
    positions: Annotated[
        File, typer.Option("--positions", metavar="TSV", help="Where genes lie: gene, chromosome, start.")
    ] = None,
    hold_out: Annotated[_HeldOut, typer.Option("--hold-out", help="What a fold holds out.")] = _HeldOut.line,
    best: Annotated[
        int, typer.Option("--best", min=1, metavar="N", help="Best-predicted knockouts to look into.")
    ] = 500,
    nulls: Annotated[int, typer.Option("--nulls", min=1, metavar="N", help="Shuffled copies of every knockout.")] = 10,
    folds: Annotated[
        int, typer.Option("--folds", min=0, metavar="N", help="Folds; 0 leaves the scoring of pairs out.")
    ] = 5,
    report: Annotated[File, typer.Option("--report", metavar="HTML", help="Also write a page to look at.")] = None,
    seed: options.Seed = 0,
    threads: options.Threads = 0,
    json: options.Json = False,
    quiet: options.Quiet = False,
    force: options.Force = False,
    debug: options.Debug = False,
) -> None:
    """Ranks pairs of genes, such as synthetic-lethal ones.

    With --pairs it learns from labelled pairs and the genes' texts, interactions and profiles, scores itself on genes
    held out beside five baselines, and ranks candidates. With --dependency it predicts every knockout of a screen from
    the state of the cell lines, and lists what the best-predicted ones depend on. Prints the top of the table.

    \b
    Example:
      whycell screen --features vectors.parquet --interactions ppi.tsv --pairs sl_pairs.tsv -o ranked.tsv
      whycell screen --dependency CRISPRGeneEffect.csv --expression Expression.csv --lineage Model.csv -o ranked.tsv
    """
    with working(quiet=quiet, debug=debug) as talk:
        from whycell.errors import UsageError

        if (pairs is None) == (dependency is None):
            msg = "wanted either --pairs (learn from labelled pairs) or --dependency (a whole-knockout screen)."
            raise UsageError(msg)
        if pairs is not None:
            from whycell.jobs.screen import screen_pairs

            result = screen_pairs(
                pairs,
                output,
                features=features or (),
                interactions=interactions,
                candidates=candidates,
                evidence=evidence,
                drugs=drugs,
                report=report,
                folds=folds,
                matched=matched,
                seed=seed,
                threads=threads,
                force=force,
                talk=talk,
            )
            told = {"scores": result.scores, "gaps": result.gaps, "matched_scores": result.matched_scores}
        else:
            from whycell.jobs.screen_knockouts import screen_knockouts

            result = screen_knockouts(
                dependency,
                output,
                expression=expression,
                mutations=mutations or (),
                lineage=lineage,
                positions=positions,
                report=report,
                hold_out=hold_out.value,
                folds=folds,
                best=best,
                nulls=nulls,
                seed=seed,
                threads=threads,
                force=force,
                talk=talk,
            )
            told = {"rivals": result.rivals}
        if json:
            summary = {"output": output, "report": report, "summary": result.summary, **told}
            print_json(summary | {"top": result.ranked.head(_SHOWN), "provenance": result.provenance})
        else:
            print_table(result.ranked.head(_SHOWN))
