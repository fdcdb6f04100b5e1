"""``whycell audit``: training cells that look mislabelled, copied or out of place."""

from pathlib import Path
from typing import Annotated

import typer

from whycell.cli import options
from whycell.cli.manners import print_json, print_table, working

__all__ = ["audit"]

File = Path | None


def audit(
    references: Annotated[
        list[Path], typer.Argument(metavar="REF...", help="Typed reference files, or one table (.tsv, .csv).")
    ],
    label: options.Label,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="TSV", help="Table of suspects to write.")],
    donor: options.Group = None,
    study: options.Study = None,
    label_map: options.LabelMapFile = None,
    report: Annotated[File, typer.Option("--report", metavar="HTML", help="Also write a page to look at.")] = None,
    at_most: Annotated[
        float,
        typer.Option("--at-most", min=0, max=1, metavar="SHARE", help="Share of right labels among those flagged."),
    ] = 0.1,
    models: Annotated[int, typer.Option("--models", min=10, metavar="N", help="Models in each of three rounds.")] = 60,
    seed: options.Seed = 0,
    threads: options.Threads = 0,
    device: options.Device = options.DeviceName.cpu,
    json: options.Json = False,
    quiet: options.Quiet = False,
    force: options.Force = False,
    debug: options.Debug = False,
) -> None:
    """Finds training cells whose label looks wrong, with the evidence.

    Each cell is judged by models that did not see it. A label is flagged where it is contradicted more often than types
    that resemble one another explain, so clean labels give an empty table. Also flags copies of cells, doublets of two
    labels, and cells far from all others of their label. Prints how many cells of each label are flagged.

    The table has a column "drop": edit it, and hand the table to train.

    \b
    Example:
      whycell audit ref.h5ad --label cell_type --donor donor_id -o audit.tsv --report audit.html
      whycell train ref.h5ad --label cell_type --donor donor_id --drop audit.tsv -o model/
      whycell audit patients.csv --label diagnosis -o audit.tsv

    From Python: whycell.tl.audit(adata, label="cell_type").
    """
    with working(quiet=quiet, debug=debug) as talk:
        from whycell.jobs.audit import audit as job

        result = job(
            references,
            output,
            label=label,
            donor=donor,
            study=study,
            label_map=label_map,
            report=report,
            at_most=at_most,
            n_models=models,
            seed=seed,
            threads=threads,
            device=device.value,
            force=force,
            talk=talk,
        )
        if json:
            print_json(
                {
                    "output": output,
                    "report": report,
                    "summary": result.summary,
                    "labels": result.per_label,
                    "donors": result.per_donor,
                    "confusions": result.confusions,
                    "provenance": result.provenance,
                }
            )
        else:
            print_table(result.per_label)
