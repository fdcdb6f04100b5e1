"""From labelled files to a saved model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from whycell.compute import Talk, n_threads
from whycell.data.fetch import local_copy
from whycell.data.whole import check_free
from whycell.errors import LabelError, UsageError
from whycell.jobs.dropping import Dropped, read_drop
from whycell.jobs.record import fingerprint_file, write_run
from whycell.jobs.references import References, load_references
from whycell.jobs.tested_on import read_tested
from whycell.knowledge.terms import Ontology
from whycell.models.example_gathering import MOST

__all__ = ["train"]

_FEWEST_CELLS = 5


def train(
    references: Sequence[Path],
    output: Path,
    *,
    label: str,
    donor: str | None = None,
    study: str | None = None,
    label_map: Path | None = None,
    name: str | None = None,
    description: str = "",
    tested: Sequence[Path] = (),
    drop: Path | None = None,
    examples: int = MOST,
    representation: str = "expression",
    gene_vectors: str | Path | None = None,
    views: Sequence[str] = (),
    text_encoder: str = "minilm",
    extra: Mapping[str, Any] | None = None,
    seed: int = 0,
    threads: int = 0,
    device: str = "auto",
    force: bool = False,
    talk: Talk | None = None,
) -> dict[str, Any]:
    """Train a `CellTyper` on labelled files and save it.

    Parameters
    ----------
    references
        Labelled files.
    output
        Folder to write.
    label, donor, study, label_map
        See `jobs.references.load_references`.
    name, description
        What the card calls the model, and says of it; the folder's name where no name is given.
    tested
        Folders that ``whycell evaluate`` wrote, of the same files by donor and by study: their scores go on the card.
    drop
        Table that ``whycell audit`` wrote: cells whose ``drop`` is yes teach nothing.
    examples
        Training cells kept in the model at most, to say which of them taught a call; 0 keeps none.
    representation, gene_vectors, views, text_encoder
        What the model sees of a cell, see `CellTyper`; vectors as a file, ``https://`` or ``hf://``.
    extra
        More of the card, plain values: sources, licences, what the model does not know.
    seed, threads, device
        Of the training.
    force
        Replace a model that is there.
    talk
        Told of progress.

    Returns
    -------
    The model's card.

    Raises
    ------
    WhycellError
        Whatever is wrong with the files or the place to write to.
    """
    from threadpoolctl import threadpool_limits

    from whycell.models.pooled import OBSM
    from whycell.models.representations import SILENT, names_of
    from whycell.models.typer import CellTyper

    talk = talk or Talk()
    output = Path(output)
    check_free(output, force=force)
    names = names_of(representation, views, described=gene_vectors is not None)
    if gene_vectors is not None and "genept-w" not in names:
        msg = f"--gene-vectors speak of genept-w and ensemble; the representation is {representation}."
        raise UsageError(msg)
    vectors = None if gene_vectors is None else local_copy(gene_vectors)
    ontology = Ontology.load()
    loaded = load_references(
        references,
        label=label,
        donor=donor,
        study=study,
        label_map=label_map,
        obsm=[name.removeprefix(OBSM) for name in names if name.startswith(OBSM)],
        ontology=ontology,
        threads=threads,
        talk=talk,
    )
    tables = read_tested(tested, fingerprints=loaded.fingerprints, talk=talk)
    dropped = read_drop(drop, loaded) if drop else None
    rows = _usable(loaded, dropped, talk)
    obs = loaded.obs.iloc[rows]
    with threadpool_limits(limits=n_threads(threads)):
        typer = CellTyper(
            random_state=seed,
            device=device,
            normalise="cp10k",
            representation=representation,
            gene_vectors=vectors,
            views=views,
            text_encoder=text_encoder,
        ).fit(
            loaded.X[rows],
            obs["label"].to_numpy(dtype=object),
            genes=list(loaded.genes),
            groups=obs["donor"].to_numpy() if "donor" in obs else None,
            studies=obs["study"].to_numpy(),
            label_ids=loaded.label_ids,
            measured=loaded.measured,
            examples=examples,
            cell_names=obs["cell"].to_numpy(dtype=object),
            obsm={key: values[rows] for key, values in loaded.obsm.items()},
            ontology=ontology,
            talk=talk,
        )
    typer.about_.update(
        name=name or output.name,
        description=description,
        **(extra or {}),
        **tables,
        species=loaded.species,
        inputs=[
            {"file": Path(path).name, "fingerprint": value, "cells": loaded.n_cells[path]}
            for path, value in loaded.fingerprints.items()
        ],
        label_map=loaded.labels.frame().to_dict("records"),
        cells_left_out=int(len(loaded.obs) - len(rows)),
        **({"dropped": dropped.record} if dropped else {}),
        seed=seed,
    )
    if vectors is not None:
        typer.about_["representation"]["gene_vectors"] = fingerprint_file(vectors)
    typer.save(output, force=force)
    write_run(
        output,
        "train",
        inputs=loaded.fingerprints
        | (dropped.fingerprint if dropped else {})
        | ({str(gene_vectors): fingerprint_file(vectors)} if vectors else {}),
        seed=seed,
        parameters={
            "label": label,
            "donor": donor,
            "study": study,
            "label_map": str(label_map or ""),
            "drop": str(drop or ""),
            **({} if representation == "expression" and not views else {"representation": representation}),
            **({"views": list(views)} if views else {}),
        },
    )
    for view in typer.about_.get("representation", {}).get("views", ()):
        if view["weight"] == 0 and view["name"] not in SILENT.get(representation, ()):
            talk.note(f"{view['name']} counts for nothing on cells held out and is left out of the model")
    for sentence in typer.about_["warnings"]:
        talk.warn(sentence)
    return typer.about_


def _usable(loaded: References, dropped: Dropped | None, talk: Talk) -> Any:
    """Rows to learn from: a label that says something, no copies of other cells, classes of at least five cells."""
    import numpy as np

    known = loaded.known & (dropped.keep if dropped else True)
    counts = loaded.obs["label"][known].value_counts()
    rare = sorted(counts.index[counts < _FEWEST_CELLS])
    if rare:
        talk.warn(f"left out, with fewer than {_FEWEST_CELLS} cells each: {', '.join(map(str, rare))}")
    rows = np.flatnonzero(known & ~loaded.obs["label"].isin(rare).to_numpy())
    if not len(rows):
        msg = (
            f"No cell can be learned from: {len(loaded.obs)} cells, labels "
            f"{', '.join(sorted(set(loaded.obs['label']))[:6])}; labels that name cell types are needed."
        )
        raise LabelError(msg)
    if len(rows) < len(loaded.obs):
        talk.note(
            f"{len(loaded.obs) - len(rows)} of {len(loaded.obs)} cells are left out (no label, copies, rare classes"
            f"{', dropped by the audit' if dropped else ''})"
        )
    return rows
