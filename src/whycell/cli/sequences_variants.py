"""``whycell sequences variants``: what every variant does, and the motif it makes or breaks."""

from pathlib import Path
from typing import Annotated

import typer

from whycell.cli import options
from whycell.cli.manners import print_json, working
from whycell.cli.sequences import Model, Task

__all__ = ["variants"]


def variants(
    query: Annotated[Path, typer.Argument(metavar="VCF", help="VCF, or a table of chromosome, position, ref and alt.")],
    genome: Annotated[Path, typer.Option("--genome", metavar="FASTA", help="The genome that variants lie in.")],
    model: Model,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="TSV", help="Where the table goes.")],
    task: Task = None,
    motifs: Annotated[
        Path | None, typer.Option("--motifs", metavar="FOLDER", help="Motifs that whycell motifs found.")
    ] = None,
    known: Annotated[
        Path | None, typer.Option("--known", metavar="MEME", help="Known motifs, such as JASPAR's.")
    ] = None,
    motif_p: Annotated[
        float,
        typer.Option("--motif-p", metavar="P", min=1e-9, max=0.1, help="How rarely random letters score as a motif."),
    ] = 3e-4,
    shifts: Annotated[
        int, typer.Option("--shifts", metavar="N", min=1, max=50, help="Windows to average, one letter apart.")
    ] = 4,
    null: Annotated[
        int | None,
        typer.Option(
            "--null",
            metavar="N",
            min=0,
            help="Random changes of each kind to compare with; 0: none. A tenth of the alleles, 1,000 to 20,000.",
        ),
    ] = None,
    explained: Annotated[
        int, typer.Option("--explained", metavar="N", min=0, help="Largest effects whose motif's letters are scored.")
    ] = 100,
    shuffles: Annotated[
        int, typer.Option("--references", metavar="N", min=1, help="Dinucleotide shuffles that scores compare with.")
    ] = 10,
    mismatches: Annotated[
        float,
        typer.Option(
            "--mismatches", metavar="SHARE", min=0, max=1, help="Share of reference alleles the genome may contradict."
        ),
    ] = 0.05,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="HTML", help="A page that draws the largest effects.")
    ] = None,
    seed: options.Seed = 0,
    threads: options.Threads = 0,
    device: options.Device = options.DeviceName.auto,
    json: options.Json = False,
    quiet: options.Quiet = False,
    force: options.Force = False,
    debug: options.Debug = False,
) -> None:
    """Tells what each variant does to every task, and which motif it makes or breaks.

    The effect is the log odds of the alternative allele less those of the reference. p and q compare it with random
    changes of the same kind nearby.

    \b
    Example:
      whycell sequences variants variants.vcf --genome hg38.fa --model model/ -o effects.tsv
      whycell sequences variants variants.vcf.gz --genome hg38.fa --model model/ --motifs motifs/ \\
        --known jaspar.meme --report effects.html -o effects.tsv

    From Python: whycell.jobs.variants.effects_of_variants.
    """
    with working(quiet=quiet, debug=debug) as talk:
        from whycell.jobs.variants import effects_of_variants as job

        found = job(
            query,
            output,
            model=model,
            genome=genome,
            tasks=tuple(task or ()),
            motifs=motifs,
            known=known,
            motif_p=motif_p,
            shifts=shifts,
            null=null,
            explained=explained,
            references=shuffles,
            mismatches=mismatches,
            report=report,
            seed=seed,
            threads=threads,
            device=device.value,
            force=force,
            talk=talk,
        )
        if json:
            answer = {"output": str(output), "alleles": found.n, "kinds": found.kinds, "unit": found.unit}
            print_json({**answer, "left_out": found.left_out, "top": found.top})
            return
        for of_task, rows in found.top.groupby("task", sort=False):
            first = rows.iloc[0]
            does = f", {first['motif_name']} {first['what']}" if first.get("what") else ""
            talk.note(
                f"{of_task}: the largest of {found.n:,} effects is {first['effect']:+.2f} {found.unit}, "
                f"{first['chromosome']}:{first['position']} {first['ref']}>{first['alt']}{does}"
            )
        print(output)
