"""Say which training cells, donors and studies taught a call, and which spoke against it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from whycell._keys import DEFAULT_KEY
from whycell.compute import Talk
from whycell.data.cells import open_cells
from whycell.data.doctor import examine
from whycell.data.whole import check_free, write_whole
from whycell.errors import UsageError
from whycell.jobs.explain_model import model_of
from whycell.jobs.record import write_run
from whycell.jobs.teachers import Opened, teachers
from whycell.models.examples import load_examples
from whycell.results import ExampleEvidence

__all__ = ["explain_examples"]


def explain_examples(
    query: Any,
    output: Path | None = None,
    *,
    model: str | None = None,
    cell: str | None = None,
    of_type: str | None = None,
    inplace: bool = False,
    report: Path | None = None,
    tsv: Path | None = None,
    key: str = DEFAULT_KEY,
    top: int = 10,
    seed: int = 0,
    threads: int = 0,
    force: bool = False,
    talk: Talk | None = None,
) -> ExampleEvidence:
    """Say which training cells made the model type cells as it did.

    Parameters
    ----------
    query
        A path, or an AnnData.
    output, inplace
        Refused: this lens writes no cells, only ``report`` and ``tsv``.
    model
        Folder or name; ``None`` is the one recorded in the file, checked by its fingerprint.
    cell, of_type
        Explain one cell, by its name, or the cells of one type together; every type called where neither is given.
    report, tsv
        Also write a page, a table.
    key
        First part of the names of the columns: that of ``annotate``.
    top
        Training cells named, each way.
    seed
        Of the choice of 20,000 cells in larger files.
    threads
        Cores for reading.
    force
        Replace what is there.
    talk
        Told of progress.

    Returns
    -------
    ExampleEvidence

    Raises
    ------
    WhycellError
        Whatever is wrong with what was asked, the file, the model or the places to write to.
    """
    talk = talk or Talk()
    _check(output, cell, of_type, top=top, inplace=inplace)
    check_free(report, tsv, force=force)
    with open_cells(query) as cells:
        answerer, about, folder = model_of(cells, model, key=key, talk=talk)
        examples = load_examples(folder, about)
        diagnosis = examine(cells, model_genes=list(answerer.genes), species=about.get("species", "human"))
        diagnosis.raise_if_unusable()
        result = teachers(
            Opened(cells, diagnosis, answerer, about, folder),
            examples,
            cell=cell,
            of_type=of_type,
            top=top,
            seed=seed,
            threads=threads,
        )
        if result is None:
            what = "a type" if of_type is None else repr(of_type)
            msg = f"No cell of {cells.name} is called {what} that other types speak against; nothing can be explained."
            raise UsageError(msg)
        _write(result, report=report, tsv=tsv)
        if report or tsv:
            write_run(
                Path(report or tsv or ""),
                "explain",
                inputs={str(cells.path or cells.name): result.provenance["input_fingerprint"]},
                seed=seed,
                parameters={"lens": "examples", "model": str(folder), "cell": cell, "of_type": of_type, "top": top},
            )
    for each in result.targets:
        for sentence in each.warnings:
            talk.warn(f"{each.name}: {sentence}")
    return result


def _check(output: Path | None, cell: str | None, of_type: str | None, *, top: int, inplace: bool) -> None:
    if output is not None or inplace:
        msg = "The lens of examples writes no cells; leave out -o and --inplace, and ask for --report or --tsv."
        raise UsageError(msg)
    if cell is not None and of_type is not None:
        msg = f"Got both the cell {cell!r} and the type {of_type!r}; one of them can be explained at a time."
        raise UsageError(msg)
    if top < 1:
        msg = f"top is {top}; one training cell at least is needed."
        raise UsageError(msg)


def _write(result: ExampleEvidence, *, report: Path | None, tsv: Path | None) -> None:
    if tsv is not None:
        text = result.long_frame().to_csv(sep="\t", index=False, float_format="%.6g", lineterminator="\n")
        write_whole(Path(tsv), text)
    if report is not None:
        from whycell.reports.examples import examples_page

        write_whole(Path(report), examples_page(result))
