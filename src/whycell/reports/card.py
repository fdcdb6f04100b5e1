"""A model's card, put in the order a reader asks: what was it tested on, what taught it, what does it not know."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from whycell.reports.page import table
from whycell.reports.text import DASH, count, interval, percent, plain, sentence, words

__all__ = ["card_parts", "score_tables"]

# A card is written by the model's own version and read years later: several spellings, all optional.
_NAME = ("name", "model", "title")
_ABOUT = ("summary", "description", "about")
_TESTED = ("tested", "tested_on", "test_note", "calibrated_on")
_SCORES = ("held_out", "held_out_scores", "scores")
_TRAINED = ("trained_on", "training", "sources", "references")
_LIMITS = ("does_not_know", "limits", "limitations", "not_known", "caveats")
_LICENCES = ("licences", "licenses", "licence", "license")
_QUIET = ("classes", "genes", "class_term_ids", "labels", "label_map", "gene_ids", "hashes", "fingerprints")


def card_parts(card: Mapping[str, Any], *, name: str = "unnamed model") -> dict[str, Any]:
    """Sort a ``card`` into what a reader asks: what was it tested on, what taught it, what does it not know.

    ``name`` is shown for a card that has none.
    """
    used: set[str] = {"tested_how"}
    tests = _tests(card)
    if tests:
        card = {k: v for k, v in card.items() if k != "tested_on"}

    def take(keys: tuple[str, ...]) -> Any:
        for key in keys:
            if key in card and card[key] not in (None, "", [], {}, ()):
                used.add(key)
                return card[key]
        return None

    parts = {
        "name": take(_NAME) or name,
        "about": take(_ABOUT),
        "tested": take(_TESTED) or _tested_on(tests) or _tested(card),
        "scores": score_tables(_with_tests(take(_SCORES), tests)),
        "trained": _listing(take(_TRAINED)),
        "limits": [*(_lines(take(_LIMITS)) or []), *(_lines(take(("warnings",))) or [])],
        "classes": _classes(card),
        "warnings": [line[:1].upper() + line[1:].rstrip(".") + "." for line in _lines(card.get("warnings")) or []],
        "licences": _lines(take(_LICENCES)),
    }
    facts = [(words(k), _short(v)) for k, v in card.items() if k not in used and k not in _QUIET]
    parts["facts"] = [(k, v) for k, v in facts if v]
    parts["n_classes"] = len(card["classes"]) if isinstance(card.get("classes"), (list, tuple, Mapping)) else None
    parts["json"] = json.dumps(plain(_shortened(card)), indent=2, ensure_ascii=False, sort_keys=True)
    return parts


def score_tables(scores: Any) -> dict[str, Any] | None:
    """``scores`` as ``{split: {metric: score}}``, or of one split alone, as a table with a column a split."""
    if not isinstance(scores, Mapping) or not scores:
        return None
    unit = scores.get("unit")
    scores = {k: v for k, v in scores.items() if k != "unit"}
    splits = {k: v for k, v in scores.items() if isinstance(v, Mapping) and "value" not in v}
    loose = {k: v for k, v in scores.items() if k not in splits}
    if loose:
        splits = {f"held-out {unit}" if unit else "held out": loose} | splits
    metrics = list(dict.fromkeys(m for s in splits.values() for m in s))
    columns: dict[str, list[str]] = {"score": [words(m) for m in metrics]}
    for split, values in splits.items():
        columns[words(split)] = [interval(values[m]) if m in values else DASH for m in metrics]
    return table(pd.DataFrame(columns))


def _tests(card: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The tables of new donors and new studies, where ``tested_on`` holds such and not words."""
    tests = card.get("tested_on")
    if not isinstance(tests, Mapping) or not all(isinstance(scores, Mapping) for scores in tests.values()):
        return {}
    return {f"new {what}": scores for what, scores in tests.items() if scores}


def _with_tests(scores: Any, tests: dict[str, Mapping[str, Any]]) -> Any:
    return {**tests, **(scores if isinstance(scores, Mapping) else {})} if tests else scores


def _tested_on(tests: dict[str, Mapping[str, Any]]) -> str | None:
    right = {what: scores.get("accuracy") for what, scores in tests.items()}
    found = [
        f"{percent(score['value'])} of the cells of a {what}"
        for what, score in right.items()
        if isinstance(score, Mapping) and isinstance(score.get("value"), float)
    ]
    return f"It gave the right class to {' and to '.join(found)}, in turn left out of training." if found else None


def _tested(card: Mapping[str, Any]) -> str | None:
    """A sentence for a card that holds scores but no words about them."""
    scores = card.get("held_out")
    if not isinstance(scores, Mapping) or not isinstance(scores.get("unit"), str):
        return None
    groups = card["calibration"].get("groups") if isinstance(card.get("calibration"), Mapping) else None
    cells = f"{count(scores['cells'])} cells" if "cells" in scores else "cells"
    among = f"{groups} {scores['unit']}" if groups else str(scores["unit"])
    if "random" in scores["unit"]:
        told = f"It was tested on {cells} held out at random, so on no donor that training had not seen"
    else:
        told = f"It was tested on {cells} of {among}, each left out of training in turn"
    right = scores.get("accuracy")
    return f"{told}: {percent(right)} were given the right class." if isinstance(right, float) else f"{told}."


def _classes(card: Mapping[str, Any]) -> dict[str, Any] | None:
    classes = card.get("classes")
    if not isinstance(classes, (list, tuple)) or not all(isinstance(c, Mapping) for c in classes) or not classes:
        return None
    learned = {c.get("label"): c.get("cells") for c in card.get("labels", ()) if isinstance(c, Mapping)}
    rows = [
        {
            "class": str(c.get("label", "")),
            "Cell Ontology": " ".join(str(c.get(k) or "") for k in ("term_id", "name")).strip() or DASH,
            "cells with this very label": learned.get(c.get("label"), 0),
        }
        for c in classes
    ]
    return table(pd.DataFrame(rows))


def _listing(value: Any) -> dict[str, Any] | list[str] | None:
    if isinstance(value, (list, tuple)) and value and all(isinstance(v, Mapping) for v in value):
        keys = list(dict.fromkeys(k for v in value for k in v))
        return table(pd.DataFrame([{words(k): _entry(v.get(k)) for k in keys} for v in value]))
    return _lines(value)


def _entry(value: Any) -> Any:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else _short(value)


def _lines(value: Any) -> list[str] | None:
    if value is None:
        return None
    if isinstance(value, Mapping):
        return [f"{words(k)}: {sentence(v)}" for k, v in value.items()]
    return [sentence(v) for v in value] if isinstance(value, (list, tuple)) else [sentence(value)]


def _short(value: Any, limit: int = 300) -> str:
    if isinstance(value, (list, tuple)) and len(value) > 12:
        return f"{len(value):,} values"
    text = sentence(value)
    return text if len(text) <= limit else text[:limit].rstrip() + " …"


def _shortened(value: Any) -> Any:
    # The whole card goes into the page, but ten thousand gene ids would help nobody there.
    if isinstance(value, Mapping):
        return {k: _shortened(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)) and len(value) > 60:
        return [*[_shortened(v) for v in value[:20]], f"… and {len(value) - 20:,} more in the model's about.json"]
    return [_shortened(v) for v in value] if isinstance(value, (list, tuple)) else value
