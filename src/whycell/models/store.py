"""A saved model: a folder of ``weights.safetensors`` and ``about.json``, and where training cells are kept to be asked
which of them taught a call, ``examples.safetensors``. Nothing in it can run code.

``about.json`` carries the digest of the weights and of itself, so that a truncated, edited or foreign folder is refused
in one sentence before anything is computed with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from whycell.encode.cells import Encoder
from whycell.models.answer import Answerer, Norms
from whycell.models.examples import FILE as _EXAMPLES
from whycell.models.examples import Examples, pack
from whycell.models.folder import read_about, read_folder, write_folder
from whycell.models.home import Homes
from whycell.models.leaves import LeafSpace
from whycell.models.lessons import Learned
from whycell.models.novelty import NoveltyModel
from whycell.models.outside import OtherGenes
from whycell.models.pooled import Pool, Sentences, View, plain
from whycell.models.rfm_head import is_machine
from whycell.models.tested import Calibration

__all__ = ["FORMAT", "KIND", "POOLED", "fingerprint", "load", "read_card", "save"]

KIND = "whycell.CellTyper"
#: Format of a model; those that hold more than one view of expression, or a machine in place of the network, say
#: :data:`POOLED`, so that an older whycell refuses them instead of leaving a part out.
FORMAT = 1
POOLED = 2
_CURE = "Give a folder written by `whycell train`, or a name from `whycell models`."
_HOMES = ("means", "owner", "whiten", "limit", "trust", "measured")


def save(
    answerer: Answerer,
    about: Mapping[str, Any],
    folder: Path,
    *,
    examples: Examples | None = None,
    force: bool = False,
) -> Path:
    """Write a model to a folder of its own, whole or not at all.

    Parameters
    ----------
    answerer
        The model.
    about
        Its card; plain values.
    folder
        Where to; must not exist unless ``force``.
    examples
        Training cells to keep beside it.
    force
        Replace a model that is there. A folder that holds anything else is never replaced.

    Raises
    ------
    OutputError
        Where the folder exists and may not be replaced.
    """
    plainest = about.get("representation") is None and not is_machine(answerer.learned.heads[0])
    number = FORMAT if plainest else POOLED
    card = {**about, "model_genes": [str(g) for g in answerer.genes]}
    card["other_genes"] = [str(g) for g in answerer.other.genes]
    card["space"] = _space_to_plain(answerer.space)
    card["numbers"] = _numbers(answerer)
    if answerer.pool is not None:
        card["pool"] = plain(answerer.pool)
    files: dict[str, bytes | None] = {_EXAMPLES: None}
    card.pop("examples", None)
    if examples is not None:
        files[_EXAMPLES], card["examples"] = pack(examples)
    return write_folder(folder, _tensors(answerer), kind=KIND, about=card, version=number, files=files, force=force)


def load(folder: Path) -> tuple[Answerer, dict[str, Any]]:
    """Read a model back.

    Returns
    -------
    the model, and its card

    Raises
    ------
    ModelError
        Where the folder is missing, foreign, truncated or edited.
    """
    tensors, card = read_folder(folder, kind=KIND, version=(FORMAT, POOLED), cure=_CURE)
    return _rebuild(tensors, card), card


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a saved model, checked against its own digest."""
    return read_about(folder, kind=KIND, version=(FORMAT, POOLED), cure=_CURE)


def fingerprint(card: Mapping[str, Any]) -> str:
    """What identifies a saved model: the digest over its card, which covers its weights."""
    return f"sha256:{card['sha256']}"


def _tensors(answerer: Answerer) -> dict[str, np.ndarray]:
    learned, novelty = answerer.learned, answerer.novelty
    out = {
        "encoder.mean": learned.encoder.mean,
        "encoder.share": learned.encoder.share,
        "encoder.directions": learned.encoder.directions,
        "known": learned.known,
        "taught": learned.taught,
        "meanings_taught": learned.meanings_taught,
        "space.below": answerer.space.below,
        "space.information": answerer.space.information,
        "calibration.levels": answerer.calibration.levels,
        "calibration.temperatures": np.asarray(answerer.calibration.temperatures),
        "calibration.thresholds": np.asarray(answerer.calibration.thresholds),
        "calibration.trust": answerer.calibration.trust,
        "other.share": answerer.other.share,
        "other.model_share": answerer.other.model_share,
        "norms.high_sum": answerer.norms.high_sum,
    }
    for name in ("levels", "centre", "width", "q50", "q99"):
        out[f"novelty.{name}"] = getattr(novelty, name)
    if len(answerer.homes.limit):
        out.update({f"homes.{name}": getattr(answerer.homes, name) for name in _HOMES})
    for m, head in enumerate(learned.heads):
        out.update({f"head.{m}.{name}": value for name, value in head.items()})
    out.update({f"novelty.head.{name}": value for name, value in novelty.head.items()})
    for v, view in enumerate(answerer.pool.views if answerer.pool is not None else ()):
        encoder = view.learned.encoder
        out.update({f"view.{v}.encoder.{name}": getattr(encoder, name) for name in ("mean", "share", "directions")})
        for m, head in enumerate(view.learned.heads):
            out.update({f"view.{v}.head.{m}.{name}": value for name, value in head.items()})
    return {name: np.ascontiguousarray(value) for name, value in out.items()}


def _numbers(answerer: Answerer) -> dict[str, Any]:
    return {
        "target": float(answerer.learned.encoder.target),
        "unit": float(answerer.learned.unit),
        "members": len(answerer.learned.heads),
        "error": float(answerer.calibration.error),
        "error_seen": _or_none(answerer.calibration.error_seen),
        "low_sum": float(answerer.norms.low_sum),
        "low_genes": float(answerer.norms.low_genes),
        "counts": bool(answerer.norms.counts),
        "other_centre": float(answerer.other.centre),
        "other_width": float(answerer.other.width),
    }


def _space_to_plain(space: LeafSpace) -> dict[str, list[str]]:
    return {
        "labels": [str(v) for v in space.labels],
        "term_ids": [str(v) for v in space.term_ids],
        "nodes": [str(v) for v in space.nodes],
        "node_names": [str(v) for v in space.node_names],
    }


def _group(tensors: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _rebuild(tensors: Mapping[str, np.ndarray], card: Mapping[str, Any]) -> Answerer:
    numbers = card["numbers"]
    space = LeafSpace(
        **{name: np.array(values, dtype=object) for name, values in card["space"].items()},
        below=tensors["space.below"],
        information=tensors["space.information"],
    )
    encoder = Encoder(target=numbers["target"], **_group(tensors, "encoder."))
    novelty_head = _group(tensors, "novelty.head.")
    homes = _group(tensors, "homes.")
    learned = Learned(
        encoder=encoder,
        unit=numbers["unit"],
        heads=[_group(tensors, f"head.{m}.") for m in range(numbers["members"])],
        novelty_head=novelty_head,
        known=tensors["known"],
        taught=tensors["taught"],
        meanings_taught=tensors["meanings_taught"],
    )
    tables = {name: tensors[f"novelty.{name}"] for name in ("levels", "centre", "width", "q50", "q99")}
    return Answerer(
        genes=np.array(card["model_genes"], dtype=object),
        space=space,
        learned=learned,
        calibration=Calibration(
            levels=tensors["calibration.levels"],
            temperatures=tensors["calibration.temperatures"],
            trust=tensors["calibration.trust"],
            thresholds=tensors["calibration.thresholds"],
            error=numbers["error"],
            error_seen=float("nan") if numbers["error_seen"] is None else numbers["error_seen"],
        ),
        novelty=NoveltyModel(head=novelty_head, known=learned.known, **tables),
        other=OtherGenes(
            genes=np.array(card["other_genes"], dtype=object),
            share=tensors["other.share"],
            model_share=tensors["other.model_share"],
            centre=numbers["other_centre"],
            width=numbers["other_width"],
        ),
        norms=Norms(numbers["low_sum"], numbers["low_genes"], tensors["norms.high_sum"], numbers["counts"]),
        homes=Homes(**homes) if homes else Homes.none(len(space.nodes), *encoder.directions.shape[::-1]),
        pool=_pool(tensors, card["pool"], learned, card["model_genes"]) if "pool" in card else None,
    )


def _pool(tensors: Mapping[str, np.ndarray], told: Mapping[str, Any], first: Learned, genes: Sequence[str]) -> Pool:
    views = []
    for v, about in enumerate(told["views"]):
        sentences = about["sentences"]
        own = replace(
            first,  # a further view has no say in novelty, so what that needs is the first one's
            encoder=Encoder(target=about["target"], **_group(tensors, f"view.{v}.encoder.")),
            unit=about["unit"],
            heads=[_group(tensors, f"view.{v}.head.{m}.") for m in range(about["members"])],
            novelty_head=None,
        )
        views.append(View(about["name"], own, sentences and Sentences(ids=tuple(genes), **sentences)))
    return Pool(tuple(told["names"]), np.array(told["weights"]), np.array(told["temperatures"]), tuple(views))


def _or_none(value: float) -> float | None:
    """JSON has no NaN."""
    return None if np.isnan(value) else float(value)
