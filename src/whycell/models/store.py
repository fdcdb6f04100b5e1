"""A saved model: a folder of ``weights.safetensors`` and ``about.json``, and where training cells are kept to be asked
which of them taught a call, ``examples.safetensors``. Nothing in it can run code.

``about.json`` carries the digest of the weights and of itself, so that a truncated, edited or foreign folder is refused
in one sentence before anything is computed with it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from whycell.encode.cells import Encoder
from whycell.errors import ModelError, OutputError
from whycell.models.answer import Answerer, Norms
from whycell.models.examples import FILE as _EXAMPLES
from whycell.models.examples import Examples, pack
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
_WEIGHTS, _ABOUT = "weights.safetensors", "about.json"
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
    if folder.exists():
        ours = folder.is_dir() and {p.name for p in folder.iterdir()} <= {_WEIGHTS, _ABOUT, _EXAMPLES, "run.json"}
        if not force or not ours:
            cure = "use --force to replace it" if ours else "choose another name: it holds other files"
            msg = f"{folder} exists already; {cure}."
            raise OutputError(msg)
    weights = save_tensors(_tensors(answerer))
    plainest = about.get("representation") is None and not is_machine(answerer.learned.heads[0])
    number = FORMAT if plainest else POOLED
    card = {**about, "kind": KIND, "format": number, "model_genes": [str(g) for g in answerer.genes]}
    card["other_genes"] = [str(g) for g in answerer.other.genes]
    card["space"] = _space_to_plain(answerer.space)
    card["numbers"] = _numbers(answerer)
    if answerer.pool is not None:
        card["pool"] = plain(answerer.pool)
    files = {_WEIGHTS: weights}
    card.pop("examples", None)
    if examples is not None:
        files[_EXAMPLES], card["examples"] = pack(examples)
    card["weights_sha256"] = hashlib.sha256(weights).hexdigest()
    card["sha256"] = _digest(card)
    try:
        _write(folder, files, json.dumps(card, indent=1, sort_keys=True) + "\n")
    except OSError as error:
        msg = f"{folder} cannot be written: {error.strerror}. Choose a folder that may be written to."
        raise OutputError(msg) from error
    return folder


def _write(folder: Path, files: Mapping[str, bytes], card: str) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        for name, content in files.items():
            (scratch / name).write_bytes(content)
        (scratch / _ABOUT).write_text(card, encoding="utf-8")
        scratch.chmod(0o755)
        if folder.exists():
            _exchange(folder, scratch)
        else:
            os.replace(scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _exchange(folder: Path, new: Path) -> None:
    """The model that is there steps aside, and comes back should the new one not get in."""
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    os.replace(folder, aside)
    try:
        os.replace(new, folder)
    except BaseException:
        os.replace(aside, folder)
        raise
    shutil.rmtree(aside)


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
    card = read_card(folder)
    weights = (folder / _WEIGHTS).read_bytes() if (folder / _WEIGHTS).is_file() else b""
    if hashlib.sha256(weights).hexdigest() != card["weights_sha256"]:
        msg = (
            f"The weights in {folder} are not those its about.json was written with: truncated or replaced. "
            "Copy the model again, or train it anew."
        )
        raise ModelError(msg)
    tensors = load_tensors(weights)
    return _rebuild(tensors, card), card


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a saved model, checked against its own digest."""
    path = Path(folder) / _ABOUT
    if not path.is_file():
        msg = (
            f"{folder} is not a saved model: it has no {_ABOUT}. Give a folder written by `whycell train`, or a name "
            "from `whycell models`."
        )
        raise ModelError(msg)
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        foreign = card.get("kind") != KIND
    except (ValueError, AttributeError):
        card, foreign = {}, True
    if foreign:
        msg = f"{path} was not written by whycell, or is cut short. Give a folder written by `whycell train`."
        raise ModelError(msg)
    if card.get("format") not in (FORMAT, POOLED):
        msg = (
            f"{path} has format {card.get('format')}, this whycell reads formats {FORMAT} and {POOLED}. Install the "
            "whycell that wrote it, or train anew."
        )
        raise ModelError(msg)
    if card.get("sha256") != _digest(card):
        msg = (
            f"{path} was edited after it was written, so its figures cannot be trusted. Copy the model again, or "
            "train it anew."
        )
        raise ModelError(msg)
    return dict(card)


def fingerprint(card: Mapping[str, Any]) -> str:
    """What identifies a saved model: the digest over its card, which covers its weights."""
    return f"sha256:{card['sha256']}"


def _digest(card: Mapping[str, Any]) -> str:
    plain = {key: value for key, value in card.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


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
