"""Which models an evaluation compares: ``spec.toml`` read, and the model it names built.

::

    model = "logistic"        # a name in MODELS: whycell, logistic, knn, genept-w, ensemble, ...
    name = "logistic C=0.1"   # how the report calls it; the model's own name where absent

    [parameters]
    C = 0.1

    [search]                  # optional: choose parameters anew in every fold, on its training donors alone
    trials = 20
    space = { C = { low = 0.001, high = 10.0, log = true } }

Texts on genes, and embeddings that the files bring along::

    model = "ensemble"        # or genept-w, genept-s
    [parameters]
    gene_vectors = "vectors.parquet"
    views = ["obsm:X_scGPT"]
    head = "network"          # the typer's own; or logistic, knn, random_forest, lightgbm on the text's vectors
"""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from whycell.data.fetch import local_copy
from whycell.errors import UsageError
from whycell.models.protocol import TypingModel

__all__ = [
    "DEFAULT_SPECS",
    "MODELS",
    "SEARCH_KEYS",
    "TEXT_MODELS",
    "Spec",
    "build",
    "obsm_keys_of",
    "read_spec",
    "specs_for",
]

#: Module and class of every model that a spec may name; imported only when asked for, since some are heavy or optional.
MODELS: dict[str, tuple[str, str]] = {
    "whycell": ("whycell.models.typing_model", "WhycellModel"),
    "majority": ("whycell.models.baselines", "Majority"),
    "logistic": ("whycell.models.baselines", "Logistic"),
    "knn": ("whycell.models.baselines", "KNearest"),
    "random_forest": ("whycell.models.forests", "RandomForest"),
    "lightgbm": ("whycell.models.forests", "LightGBM"),
    "genept-w": ("whycell.models.gene_text", "GenePTW"),
    "genept-s": ("whycell.models.gene_text", "GenePTS"),
    "ensemble": ("whycell.models.ensemble", "Ensemble"),
    "celltypist": ("whycell.models.external", "CellTypist"),
    "external": ("whycell.models.external", "External"),
}

#: Those that read the texts on genes.
TEXT_MODELS = ("genept-w", "genept-s", "ensemble")

#: What a table ``[search]`` may hold.
SEARCH_KEYS = frozenset({"folder", "inner_folds", "logger", "metric", "space", "storage", "trials"})


@dataclass(frozen=True)
class Spec:
    """A model to evaluate: what it is, how the report calls it, its parameters, and what of them to search for.

    Keys of ``search``: ``space`` (see :func:`whycell.models.tune.search`), ``trials``, ``inner_folds``, ``metric``
    (``log_loss``, ``accuracy`` or ``macro_f1``), ``storage`` (a file, so that an interrupted search goes on),
    ``logger`` (``csv``, ``tensorboard`` or ``wandb``) and ``folder`` of its log.
    """

    model: str
    name: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    search: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            msg = f"got model {self.model!r}; wanted one of: {', '.join(MODELS)}"
            raise UsageError(msg)
        object.__setattr__(self, "name", self.name or self.model)
        strange = sorted(set(self.search) - SEARCH_KEYS)
        if self.search and (strange or not self.search.get("space")):
            got = ", ".join(strange) or "no space"
            msg = f"the [search] of {self.name!r} holds {got}; wanted a space, and of {', '.join(sorted(SEARCH_KEYS))}"
            raise UsageError(msg)


#: Ours, and the three that every report shows beside it.
DEFAULT_SPECS = tuple(Spec(model) for model in ("whycell", "majority", "logistic", "knn"))


def read_spec(path: Path | str) -> Spec:
    """Read one ``spec.toml``; raises :class:`UsageError` naming the file and what is wrong in it."""
    try:
        found = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        msg = f'{path} cannot be read as a model spec: {error}; wanted TOML with: model = "logistic"'
        raise UsageError(msg) from error
    strange = sorted(set(found) - {"model", "name", "parameters", "search"})
    tables = all(isinstance(found.get(key, {}), dict) for key in ("parameters", "search"))
    if strange or not isinstance(found.get("model"), str) or not tables:
        got = ", ".join(strange) or "no model"
        msg = f'{path} holds {got}; wanted model = "...", optionally name = "...", [parameters] and [search]'
        raise UsageError(msg)
    return Spec(found["model"], str(found.get("name", "")), found.get("parameters", {}), found.get("search", {}))


def specs_for(given: Sequence[Path | str | Spec]) -> tuple[Spec, ...]:
    """The default models and those given, under names of their own.

    A spec that names one of the default models with no parameters adds nothing; two specs of one name are refused.
    """
    found = {spec.name: spec for spec in DEFAULT_SPECS}
    for one in given:
        spec = one if isinstance(one, Spec) else read_spec(one)
        if spec.name in found and spec != found[spec.name]:
            words = [f"{k}={v}" for k, v in spec.parameters.items()] + (["searched"] if spec.search else [])
            named = f"{spec.name} ({', '.join(words)})"
            if named in found:
                msg = f'two model specs are called {named!r}; give one of them another name = "..."'
                raise UsageError(msg)
            spec = replace(spec, name=named)
        found[spec.name] = spec
    return tuple(found.values())


def build(spec: Spec, *, seed: int = 0, threads: int = 1, device: str = "auto") -> TypingModel:
    """A fresh model of that spec. Raises :class:`UsageError` for a parameter that it does not take."""
    common: dict[str, Any] = {"seed": seed, "threads": threads}
    given = dict(spec.parameters)
    if isinstance(given.get("gene_vectors"), str):
        given["gene_vectors"] = local_copy(given["gene_vectors"])
    try:
        if spec.model == "whycell":
            model: TypingModel = _kind("whycell")(**common, device=device, parameters=given)
        elif spec.model in TEXT_MODELS:
            model = _of_texts(spec.model, given, common, device=device)
        else:
            model = _kind(spec.model)(**{**common, **given})
    except TypeError as error:
        msg = f"the model {spec.model!r} does not take all of: {', '.join(spec.parameters)} ({error})"
        raise UsageError(msg) from error
    model.name = spec.name
    return model


def obsm_keys_of(specs: Sequence[Path | str | Spec]) -> list[str]:
    """Keys of ``obsm`` that the models of some specs read, each once."""
    read = [one if isinstance(one, Spec) else read_spec(one) for one in specs]
    views = [str(view) for spec in read for view in spec.parameters.get("views", ())]
    return list(dict.fromkeys(view.removeprefix("obsm:") for view in views if view.startswith("obsm:")))


def _kind(model: str) -> Any:
    module, name = MODELS[model]
    return getattr(importlib.import_module(module), name)


def _of_texts(model: str, given: dict[str, Any], common: Mapping[str, Any], *, device: str) -> TypingModel:
    """A model of gene texts under the typer's network, or under the head that it names."""
    head = given.pop("head", "network")
    if head == "network":
        typer: TypingModel = _kind("whycell")(**common, device=device, parameters={"representation": model, **given})
        return typer
    if "gene_vectors" in given:
        given["vectors"] = given.pop("gene_vectors")
    if model != "ensemble":
        own: TypingModel = _kind(model)(**{**common, "head": head, **given})
        return own
    views = {
        "expression": lambda: _kind("whycell")(**common, device=device),
        "genept-w": lambda: _kind("genept-w")(**{**common, "head": head, **given}),
    }
    pooled: TypingModel = _kind("ensemble")(views=views, **common)
    return pooled
