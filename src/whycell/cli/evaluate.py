"""``whycell evaluate``: how right the typing is, on donors or studies that training did not see."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whycell.cli import options
from whycell.cli.manners import print_json, print_table, working
from whycell.errors import UsageError

if TYPE_CHECKING:
    from pandas import DataFrame

    from whycell.results import Evaluation

__all__ = ["LoggerName", "SplitName", "UnknownGroups", "evaluate"]

#: What the screen shows of each model; scores.json holds everything.
HEADLINES = ("accuracy", "macro_f1", "exact", "under", "over", "wrong_branch", "unknown", "information_kept", "ece")


class SplitName(StrEnum):
    """What is held out in turn."""

    donor = "donor"
    study = "study"
    random = "random"


class LoggerName(StrEnum):
    """Where the scores of a search go."""

    csv = "csv"
    tensorboard = "tensorboard"
    wandb = "wandb"


class UnknownGroups(StrEnum):
    """What becomes of cells whose donor is unknown or pooled."""

    refuse = "refuse"
    drop = "drop"
    own = "own"


def evaluate(
    references: Annotated[list[Path] | None, typer.Argument(metavar="[REF...]", help="Typed reference files.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FOLDER", help="Folder for the results.")
    ] = None,
    label: Annotated[
        str | None, typer.Option("--label", metavar="COLUMN", help="Column of obs that holds the cell types.")
    ] = None,
    split: Annotated[
        SplitName | None,
        typer.Option("--split", help="What to hold out; donor where --donor is given, else study, else random cells."),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option("--folds", metavar="N", min=2, help="Hold out donors in N lots instead of one by one."),
    ] = None,
    donor: options.Group = None,
    study: options.Study = None,
    unknown_groups: Annotated[
        UnknownGroups,
        typer.Option(
            "--unknown-groups",
            help="Cells of unknown or pooled donors: refuse the file, drop them, or take each name for a donor.",
        ),
    ] = UnknownGroups.refuse,
    label_map: options.LabelMapFile = None,
    model_specs: Annotated[
        list[Path] | None,
        typer.Option(
            "--model-spec",
            metavar="TOML",
            help="A model to compare with: its name, parameters and what to search for; repeatable.",
        ),
    ] = None,
    logger: Annotated[
        LoggerName | None,
        typer.Option("--logger", help="Where every trial of a [search] is logged, into FOLDER-log; wandb is offline."),
    ] = None,
    stress: Annotated[
        bool, typer.Option("--stress", help="Also try worse files: fewer genes, less depth, doublets; stress.tsv.")
    ] = False,
    leave_types_out: Annotated[
        bool,
        typer.Option("--leave-types-out", help="Also leave out each type in turn: is it seen as new; novelty.tsv."),
    ] = False,
    truth: Annotated[
        Path | None, typer.Option("--truth", metavar="TSV", help="Instead of REF: the true terms of some cells.")
    ] = None,
    calls: Annotated[
        Path | None, typer.Option("--calls", metavar="TSV", help="With --truth: anybody's calls of the same cells.")
    ] = None,
    seed: options.Seed = 0,
    threads: options.Threads = 0,
    device: options.Device = options.DeviceName.auto,
    json: options.Json = False,
    quiet: options.Quiet = False,
    force: options.Force = False,
    debug: options.Debug = False,
) -> None:
    """Tells how right the typing is on a new donor or a new study.

    Trains on all but one donor (or study), types the one left out, and goes round; simple models run beside ours on
    the same cells. Writes scores.json, per_class.tsv, per_donor.tsv, calls.parquet and a page to look at. With
    --truth and --calls it scores calls that another program made; both tables have the columns cell and
    cell_ontology_term_id, the calls may have confidence, and either may have donor.

    --stress and --leave-types-out run our typer and the models of --model-spec. A spec is a TOML file; a table
    [search] chooses parameters anew in every fold, on donors of its training cells alone:

    \b
      model = "logistic"
      [search]
      trials = 20
      space = { C = { low = 0.001, high = 10.0, log = true } }

    \b
    Example:
      whycell evaluate ref.h5ad --label cell_type --donor donor_id -o results/
      whycell evaluate ref.h5ad --label cell_type --donor donor_id --stress -o results/
      whycell evaluate --truth truth.tsv --calls calls.tsv -o results/

    From Python: whycell.jobs.evaluate.evaluate.
    """
    with working(quiet=quiet, debug=debug) as talk:
        output = _check(references, output, label=label, truth=truth, calls=calls)
        if truth is not None and (stress or leave_types_out or logger):
            msg = "got --truth with --stress, --leave-types-out or --logger; these need REF files to train on"
            raise UsageError(msg)
        from whycell.jobs.evaluate import evaluate as job

        result = job(
            references or [],
            output,
            label=label,
            split=split.value if split else None,
            n_folds=folds,
            donor=donor,
            study=study,
            unknown_groups=unknown_groups.value,
            label_map=label_map,
            model_specs=tuple(model_specs or ()),
            truth=truth,
            calls=calls,
            stress=stress,
            leave_types_out=leave_types_out,
            logger=logger.value if logger else None,
            seed=seed,
            threads=threads,
            device=device.value,
            force=force,
            talk=talk,
        )
        if json:
            print_json(result.scores)
        else:
            print_table(_table(result))


def _check(
    references: list[Path] | None, output: Path | None, *, label: str | None, truth: Path | None, calls: Path | None
) -> Path:
    if bool(references) == (truth is not None):
        got = "both" if references else "neither"
        msg = f"got {got} of REF files and --truth; give typed files to train and test on, or --truth with --calls"
        raise UsageError(msg)
    if (truth is None) != (calls is None):
        got, missing = ("--truth", "--calls") if calls is None else ("--calls", "--truth")
        msg = f"got {got} without {missing}; the two go together"
        raise UsageError(msg)
    if references and label is None:
        msg = "got REF files without --label; name the column of obs that holds the cell types"
        raise UsageError(msg)
    if output is None:
        msg = "got no -o FOLDER; say where the results should go"
        raise UsageError(msg)
    return output


def _table(result: "Evaluation") -> "DataFrame":
    """One row a model and headline metric."""
    from pandas import DataFrame

    rows = [
        {"model": model, "metric": metric, **{part: scores[metric].get(part) for part in ("value", "low", "high")}}
        for model, scores in result.scores.items()
        for metric in HEADLINES
        if metric in scores
    ]
    return DataFrame(rows, columns=["model", "metric", "value", "low", "high"])
