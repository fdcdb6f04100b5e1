"""The page of subgroups: the map, how many groups and why, what each one is, and who taught it."""

from __future__ import annotations

import base64
import re
from typing import Any

import numpy as np
import pandas as pd

from whycell.reports import figures
from whycell.reports.group_figures import stability_figure
from whycell.reports.page import inline_svg, json_block, render, table
from whycell.reports.palette import colours_by_name
from whycell.reports.text import decimal, percent, tsv
from whycell.results.groups import Groups

__all__ = ["groups_page"]

_COMPARED = {
    "label": "class",
    "samples": "samples",
    "groups": "groups",
    "p_value": "p",
    "stability": "stability",
    "expected": "of a cloud",
    "fresh_masks": "fresh masks",
    "held_out_donors": "held-out donors",
    "inputs": "groups of the inputs",
    "embedding": "groups of the hidden layer",
}


def groups_page(result: Groups) -> str:
    """One self-contained HTML page.

    Parameters
    ----------
    result
        As ``jobs.subgroups`` returns it; nothing else is needed.

    Returns
    -------
    str
        The page; the same result gives the same text. Pictures are inside it.
    """
    colours = colours_by_name(result.samples["group"])
    found = int((result.classes["groups"] > 1).sum())
    context = {
        "title": f"{_title(result)} – subgroups",
        "name": _title(result),
        "n": len(result.samples),
        "n_classes": len(result.classes),
        "n_divided": found,
        "n_groups": int(result.classes.loc[result.classes["groups"] > 1, "groups"].sum()),
        "plan": result.plan,
        "warnings": list(result.warnings),
        "maps": _maps(result),
        "map_method": result.map_method,
        "compared": _compared(result),
        "curves": _curves(result),
        "groups": [_group(result, row, colours) for row in _rows(result.described) if row["group"] != row["label"]],
        "has_features": bool(len(result.features)),
        "asked": _asked(result),
        "provenance": result.provenance,
        "groups_tsv": json_block("groups-tsv", tsv(result.samples)),
        "features_tsv": json_block("features-tsv", tsv(result.features)) if len(result.features) else "",
    }
    return render("groups.html", scripts=("common.js",), context=context)


def _title(result: Groups) -> str:
    inputs = list(result.provenance.get("inputs") or ["samples"])
    return re.split(r"[\\/]", str(inputs[0]).rstrip("\\/"))[-1] or "samples"


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in row.items()} for row in frame.to_dict(orient="records")]


def _maps(result: Groups) -> list[dict[str, Any]]:
    shown = result.samples.iloc[np.asarray(result.map_rows)]
    wanted = {"group": "By group"} | ({"donor": "By donor"} if "donor" in shown else {})
    maps = []
    for column, title in wanted.items():
        figure = figures.cell_map(
            result.map_xy, shown[column].to_numpy(dtype=str), method=result.map_method, title=title
        )
        maps.append(inline_svg(figure, label=f"Map of the samples, {title.lower()}", prefix=f"map-{column}"))
    return maps


def _compared(result: Groups) -> dict[str, Any]:
    kept = [
        c for c in _COMPARED if c in result.classes and not (c == "held_out_donors" and "donor" not in result.samples)
    ]
    frame = result.classes[kept].rename(columns=_COMPARED)
    return table(frame, formats={"p": lambda p: decimal(p, 3)})


def _curves(result: Groups) -> Any:
    if not len(result.curves):
        return ""
    return inline_svg(
        stability_figure(result.curves), label="Stability by number of groups, class by class", prefix="curves"
    )


def _group(result: Groups, row: dict[str, Any], colours: dict[str, str]) -> dict[str, Any]:
    name = row["group"]
    facts = [
        ("samples", f"{row['samples']:,}"),
        ("class", row["label"]),
        ("mean silhouette", decimal(row["closeness"])),
    ]
    facts.append(("mean log-odds of its class, unseen", decimal(row["margin"])))
    if "top_donor" in row:
        facts.append(("donors", f"{row['donors']}; most of {row['top_donor']}, {percent(row['top_donor_share'])}"))
    return {
        "name": name,
        "colour": colours[name],
        "facts": facts,
        "features": _features(result, name),
        "typical": [_sample(result, s) for s in _of(result.typical, name)["sample"]],
        "helps": _teachers(result, name, "helps"),
        "harms": _teachers(result, name, "harms"),
    }


def _of(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    return frame[frame["group"] == name] if len(frame) else pd.DataFrame(columns=["sample", "role", "rank"])


def _features(result: Groups, name: str) -> dict[str, Any] | None:
    own = _of(result.features, name)
    if not len(own):
        return None
    columns = ["feature", "mean_in", "mean_out", "effect", "auroc", "q_value"]
    shown = own[columns].head(10).rename(columns={"mean_in": "mean inside", "mean_out": "outside", "q_value": "q"})
    return table(shown, formats={"q": lambda q: f"{q:.1e}"})


def _teachers(result: Groups, name: str, role: str) -> list[dict[str, Any]]:
    own = _of(result.teachers, name)
    own = own[own["role"] == role]
    return [
        _sample(result, row.sample) | {"label": row.sample_label, "weight": f"{row.weight:+.3g}"}
        for row in own.itertuples(index=False)
    ]


def _sample(result: Groups, name: Any) -> dict[str, Any]:
    picture = result.pictures.get(str(name))
    data = "" if picture is None else f"data:image/png;base64,{base64.b64encode(picture).decode('ascii')}"
    return {"name": str(name), "picture": data, "label": "", "weight": ""}


def _asked(result: Groups) -> list[dict[str, Any]]:
    asked = []
    for name in dict.fromkeys(result.supporters["sample"]) if len(result.supporters) else []:
        own = result.supporters[result.supporters["sample"] == name]
        sides = {
            role: [
                _sample(result, row.other) | {"label": row.other_label, "weight": f"{row.weight:+.3g}"}
                for row in own[own["role"] == role].itertuples(index=False)
            ]
            for role in ("helps", "harms")
        }
        asked.append(_sample(result, name) | {"label": own["sample_label"].iloc[0]} | sides)
    return asked
