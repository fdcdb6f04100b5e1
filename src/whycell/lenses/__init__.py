"""Why: which inputs, which features, which training examples. A lens takes a callable and arrays, knows no model."""

from importlib import import_module
from typing import Any

#: Where each public name lives; a module is loaded when its name is first asked for, so that no import is heavy.
_HOMES: dict[str, str] = {
    "Agop": "features",
    "AuditScores": "audit",
    "Datamodels": "examples",
    "HeadSettings": "many",
    "InputScores": "inputs",
    "KernelMachine": "kernel_machines",
    "ManyModels": "many",
    "Network": "vectorised",
    "agop": "features",
    "ansatz": "neural_ansatz",
    "audit_labels": "audit",
    "check_balance": "masks",
    "datamodels": "examples",
    "deeplift": "inputs",
    "draw_masks": "masks",
    "expected_gradients": "comparators",
    "fields_of": "units",
    "fit_each": "fits",
    "fit_many": "many",
    "fit_networks": "vectorised",
    "gradient": "comparators",
    "gradient_times_input": "comparators",
    "hypothetical": "letters",
    "in_silico_perturbation": "perturbation",
    "integrated_gradients": "comparators",
    "layers_of": "units",
    "models_needed": "masks",
    "mutation_effects": "perturbation",
    "smallest_effect": "masks",
    "train_many": "many",
    "trak": "tracing",
}

__all__ = [
    "Agop",
    "AuditScores",
    "Datamodels",
    "HeadSettings",
    "InputScores",
    "KernelMachine",
    "ManyModels",
    "Network",
    "agop",
    "ansatz",
    "audit_labels",
    "check_balance",
    "datamodels",
    "deeplift",
    "draw_masks",
    "expected_gradients",
    "fields_of",
    "fit_each",
    "fit_many",
    "fit_networks",
    "gradient",
    "gradient_times_input",
    "hypothetical",
    "in_silico_perturbation",
    "integrated_gradients",
    "layers_of",
    "models_needed",
    "mutation_effects",
    "smallest_effect",
    "train_many",
    "trak",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        msg = f"module 'whycell.lenses' has no attribute {name!r}; it has {', '.join(__all__)}"
        raise AttributeError(msg)
    return getattr(import_module(f"whycell.lenses.{_HOMES[name]}"), name)
