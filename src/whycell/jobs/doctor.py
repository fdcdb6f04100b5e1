"""Examine a file as a command does: a file that cannot even be opened is a finding, not a failure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from whycell.data.cells import open_cells
from whycell.data.doctor import Diagnosis, examine
from whycell.errors import FormatError
from whycell.results import Finding

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["doctor"]

_HDF5 = b"\x89HDF\r\n\x1a\n"


def doctor(path: Any, *, model: str | Path | None = None) -> Diagnosis:
    """What is wrong with a file, and what mends it. Nothing is written.

    Parameters
    ----------
    path
        h5ad, zarr, 10x h5, mtx folder, or an AnnData.
    model
        A folder, or the name of a model at hand: also say whether it knows enough of the file's genes.

    Returns
    -------
    Diagnosis
        With one error finding, ``missing_file``, ``truncated_file`` or ``not_h5ad``, where it cannot be read.
    """
    genes, species = (None, "human") if model is None else _known_to(model)
    try:
        with open_cells(path) as cells:
            return examine(cells, model_genes=genes, species=species)
    except FormatError as error:
        return Diagnosis((_unreadable(path, str(error)),))


def _known_to(model: str | Path) -> tuple[Sequence[str], str]:
    from whycell.jobs.models import card  # lists the models at hand, which takes longer than most files

    about = card(str(model))
    return [str(gene) for gene in about["genes"]], str(about.get("species", "human"))


def _unreadable(path: Any, message: str) -> Finding:
    file = Path(path) if isinstance(path, str | Path) else None
    if file is None or file.is_dir():
        return Finding("not_h5ad", "error", message, "Give an .h5ad, .zarr, 10x .h5 or mtx folder.")
    if not file.exists():
        return Finding("missing_file", "error", message, "Check the path.")
    with file.open("rb") as opened:
        begins = opened.read(len(_HDF5))
    if begins in (_HDF5, b"") and "not an h5ad" not in message:
        cure = "Copy or download it again, and compare its size with that of the original."
        return Finding("truncated_file", "error", message, cure)
    cure = "Give an .h5ad, .zarr, 10x .h5 or mtx folder; a table of counts becomes one by anndata.AnnData(table)."
    return Finding("not_h5ad", "error", message, cure)
