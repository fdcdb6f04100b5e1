"""From a shuffled corpus to a saved model."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from whycell.compute import Talk
from whycell.data.whole import check_free
from whycell.errors import DataError
from whycell.jobs.record import write_run
from whycell.knowledge.terms import Ontology
from whycell.models.device import torch_device

if TYPE_CHECKING:
    from whycell.corpus.store import Store
    from whycell.models.streamed import Streaming

__all__ = ["is_corpus", "train_corpus"]

_MOST_HELD = 20_000
_ERROR = 0.05
_FAIR_BATCH = 1024


def is_corpus(path: Path) -> bool:
    """Whether a path is a corpus that ``whycell corpus gather`` wrote."""
    from whycell.corpus.store import is_store

    return is_store(path)


def train_corpus(
    corpus: Path,
    output: Path,
    *,
    name: str | None = None,
    description: str = "",
    settings: Streaming | None = None,
    checkpoint_seconds: float = 20.0,
    verify: bool = True,
    seed: int = 0,
    device: str = "auto",
    force: bool = False,
    talk: Talk | None = None,
) -> dict[str, Any]:
    """Train a model on a corpus and save it; a training that was killed goes on where it was.

    Parameters
    ----------
    corpus
        What ``whycell corpus gather`` wrote; labels, donors and studies travel in it.
    output
        Folder to write. The state of the training lies beside it until the model is there.
    name, description
        What the card calls the model, and says of it.
    settings
        Numbers of the training; they follow from the corpus where ``None``.
    checkpoint_seconds
        Between two states written.
    verify
        Compare the digest of every file of the corpus with what is on disk first.

    Returns
    -------
    The model's card.

    Raises
    ------
    WhycellError
        Whatever is wrong with the corpus or the place to write to.
    """
    from whycell.corpus.store import ENCODER, open_store
    from whycell.models.corpus_encoder import load_corpus_encoder
    from whycell.models.store import save
    from whycell.models.streamed import Streaming, train_streamed
    from whycell.models.streamed_answer import answerer_of, gapped_of, sampled
    from whycell.models.streamed_batches import Batches, held_out_cells
    from whycell.models.streamed_kinds import find_kinds

    talk, output = talk or Talk(), Path(output)
    check_free(output, force=force)
    store = open_store(Path(corpus), verify=verify)
    encoder = load_corpus_encoder(store.folder / ENCODER)
    if encoder.n_dimensions != store.vectors.shape[1]:
        msg = (
            f"{corpus} holds vectors of {store.vectors.shape[1]} numbers and an encoder of {encoder.n_dimensions}; "
            "gather it again."
        )
        raise DataError(msg)
    ontology = Ontology.load()
    settings = settings or Streaming()
    kinds = find_kinds(store, encoder.held_out, ontology=ontology)
    fairness = _told_fairness(store, talk)
    stopping, calibrating = _halves(held_out_cells(store, kinds, encoder.held_out, most=2 * _MOST_HELD), kinds, encoder)
    sample = sampled(encoder, kinds)
    device = torch_device(device)
    mark = _mark(store, settings, seed, device)
    scratch = output.with_name(f".{output.name}.training")
    trained = train_streamed(
        lambda batch: Batches(store, kinds, encoder.held_out, batch, seed),
        meanings=kinds.meanings,
        settings=settings,
        held=stopping,
        gapped=gapped_of(encoder, sample, seed=seed),
        checkpoint=scratch,
        mark=mark,
        every=checkpoint_seconds,
        seed=seed,
        device=device,
        talk=talk,
    )
    answerer, cells, folds, held_p = answerer_of(
        trained.head, encoder, kinds, sample, held=calibrating, error=_ERROR, ontology=ontology, seed=seed, talk=talk
    )
    card = _card(answerer, cells, folds, held_p, kinds=kinds, encoder=encoder, seed=seed, release=ontology.release)
    card |= {
        "name": name or output.name,
        "description": description,
        "inputs": [{"file": store.folder.name, "fingerprint": store.digest, "cells": len(store.vectors)}],
        "seed": seed,
        "training": {
            "steps": trained.steps,
            "best_step": trained.best_step,
            "stopped_early": trained.stopped,
            "settings": vars(trained.settings),
            "losses": trained.curves.plain(),
            "fairness": fairness,
        },
    }
    save(answerer, card, output, force=force)
    write_run(output, "train", inputs={str(corpus): store.digest}, seed=seed, parameters={"corpus": str(corpus)})
    shutil.rmtree(scratch, ignore_errors=True)
    for sentence in card["warnings"]:
        talk.warn(sentence)
    return card


def _told_fairness(store: Store, talk: Talk) -> dict[str, float]:
    """Say before the training starts whether batches are fair draws."""
    from whycell.corpus.fairness import store_fairness

    batch = max(1, min(_FAIR_BATCH, len(store.vectors) // 20))
    told = {}
    for verdict in store_fairness(store, batch=batch):
        (talk.note if verdict.fair else talk.warn)(verdict.sentence())
        told[verdict.column] = round(verdict.ratio, 4)
    return told


def _halves(held: tuple[np.ndarray, np.ndarray], kinds: Any, encoder: Any) -> tuple[Any, Any]:
    """Held-out groups that stop the training, and others that calibrate; with fewer than four groups, all do both."""
    x, rows = held
    column = {"study": "study_code", "donor": "donor_code"}.get(encoder.held_out.unit)
    if column is None:
        return (x[::2], rows[::2]), (x[1::2], rows[1::2])
    group = kinds.table[column].to_numpy()[rows]
    names, sizes = np.unique(group, return_counts=True)
    if len(names) < 4:
        return (x, rows), (x, rows)
    stops = np.isin(group, names[np.argsort(-sizes, kind="stable")][1::2])
    return (x[stops], rows[stops]), (x[~stops], rows[~stops])


def _mark(store: Store, settings: Streaming, seed: int, device: str) -> str:
    told = {"corpus": store.digest, "settings": vars(settings), "seed": seed, "device": device}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _card(
    answerer: Any, cells: Any, folds: Any, held_p: np.ndarray, *, kinds: Any, encoder: Any, seed: int, release: str
) -> dict[str, Any]:
    from whycell.models.card import make_card
    from whycell.models.typer import CellTyper

    table = kinds.table
    parameters: Mapping[str, Any] = CellTyper(normalise="cp10k", random_state=seed).get_params()
    card = make_card(
        parameters={**parameters, "views": list(parameters["views"])},
        cells=cells,
        folds=folds,
        calibration=answerer.calibration,
        space=answerer.space,
        labels=table["label"].to_numpy(dtype=str),
        held_p=held_p,
        ids=kinds.ids,
        studies=kinds.studies,
        donors=kinds.donors,
        release=release,
    )
    of_label = table[table["kind"] >= 0].groupby("label")["n"].sum()
    card["labels"] = [
        {"label": str(label), "term_id": str(kinds.ids.get(label, "")), "cells": int(n)}
        for label, n in of_label.items()
    ]
    card["trained_on"] = {
        "cells": kinds.n_train,
        "genes": len(encoder.genes),
        "studies": [str(study) for study in kinds.studies],
        "donors": int((table[table["n"] > 0]["donor_code"]).nunique()),
        "labels_left_out": list(kinds.left_out),
    }
    card["held_out"]["groups"] = list(encoder.held_out.groups)
    card["representation"] = {"name": encoder.representation, **_encoder_card(encoder)}
    return card


def _encoder_card(encoder: Any) -> dict[str, Any]:
    """What a card says of the encoder."""
    keys = ("gene_vectors", "n_dimensions", "sampled_cells")
    return {key: encoder.about[key] for key in keys} | {"encoder": f"sha256:{encoder.digest}"}
