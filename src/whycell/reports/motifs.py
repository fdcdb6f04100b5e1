"""The page of discovered motifs: logos, where they stand, which stand together, kinds, and what they are known as."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from whycell.reports.logos import letter_shapes, logo_svg
from whycell.reports.page import json_block, render, table
from whycell.reports.text import DASH, decimal, percent, tsv
from whycell.results import Kinds, Motif, MotifFindings

__all__ = ["motifs_page"]

_MOST_DRAWN = 40
_BINS = 50
_MATCHES = 3  # known motifs shown of each


def motifs_page(result: MotifFindings, *, kinds: Kinds | None = None) -> str:
    """One self-contained HTML page.

    Parameters
    ----------
    result
        What was found.
    kinds
        Of the sequences, where they were looked for.

    Returns
    -------
    The page; the same result gives the same text.
    """
    tasks = [_task(result, task, motifs) for task, motifs in result.motifs.items()]
    downloads = {"motifs": result.summary, "known-motifs": result.matches, "left-out": result.left_out}
    if kinds is not None:
        downloads["kinds"] = kinds.kinds
    context: dict[str, Any] = {
        "title": "Motifs",
        "shapes": letter_shapes(),
        "tasks": tasks,
        "n_motifs": sum(len(m) for m in result.motifs.values()),
        "n_hits": len(result.hits),
        "n_sequences": result.provenance.get("sequences"),
        "n_left": len(result.left_out),
        "left_out": table(result.left_out) if len(result.left_out) else None,
        "matches": _matches(result),
        "kinds": None if kinds is None else _kinds(result, kinds),
        "provenance": result.provenance,
        "downloads": [
            {
                "id": f"{name}-tsv",
                "file": f"{name}.tsv",
                "words": name.replace("-", " "),
                "block": json_block(f"{name}-tsv", tsv(frame)),
            }
            for name, frame in downloads.items()
            if len(frame)
        ],
    }
    return render("motifs.html", scripts=("common.js",), context=context)


def _task(result: MotifFindings, task: str, motifs: list[Motif]) -> dict[str, Any]:
    hits = result.hits[result.hits["task"] == task]
    named = result.matches[result.matches["task"] == task].groupby("motif", sort=False).first()
    counts = result.summary[result.summary["task"] == task].set_index("motif")
    shown = motifs[:_MOST_DRAWN]
    cards = [_card(m, counts.loc[m.name], named, hits[hits["motif"] == m.name], result) for m in shown]
    overview = [
        (c["name"], c["consensus"], c["known"], c["hits"], c["sequences"], c["contribution"], c["sites"]) for c in cards
    ]
    columns = ["motif", "consensus", "like", "places", "sequences", "mean contribution", "sites found"]
    return {
        "name": task,
        "cards": cards,
        "more": max(0, len(motifs) - _MOST_DRAWN),
        "overview": table(pd.DataFrame(overview, columns=columns)),
        "together": _together(hits, cards, result.provenance.get("sequences")),
    }


def _matches(result: MotifFindings) -> dict[str, Any] | None:
    if not len(result.matches):
        return None
    best = result.matches.groupby(["task", "motif"], sort=False).head(_MATCHES)
    return table(best, formats={"p": _small, "q": _small})


def _card(motif: Motif, counts: Any, named: Any, hits: pd.DataFrame, result: MotifFindings) -> dict[str, Any]:
    match = named.loc[motif.name] if motif.name in named.index else None
    drawn = (
        ("letters, bits", _bits(motif)),
        ("contribution", motif.contribution),
        ("hypothetical", motif.hypothetical),
    )
    per_sequence = hits["sequence"].value_counts()
    return {
        "name": motif.name.replace("_", " "),
        "consensus": motif.consensus,
        "known": DASH if match is None else f"{match['name']} (q = {_small(match['q'])})",
        "match": None if match is None else {"name": match["name"], "id": match["known"], "q": _small(match["q"])},
        "sites": len(motif.sites),
        "hits": int(counts["hits"]),
        "sequences": int(counts["sequences"]),
        "enriched": None if np.isnan(counts["held"]) else (int(counts["held"]), round(counts["held_by_chance"])),
        "several": percent(float((per_sequence > 1).mean()) if len(per_sequence) else 0.0),
        "contribution": float(counts["contribution"]),
        "logos": [{"what": what, "svg": logo_svg(h, label=f"{motif.name}: {what}")} for what, h in drawn],
        "spread": _spread(hits, result.provenance.get("length")),
    }


def _bits(motif: Motif) -> np.ndarray:
    information = 2 + (motif.letters * np.log2(np.maximum(motif.letters, 1e-9))).sum(axis=0)
    return np.asarray(motif.letters * information)


def _spread(hits: pd.DataFrame, length: Any) -> dict[str, Any] | None:
    """Where in the sequences the places lie, in equal parts of them."""
    if not length or "start_in_sequence" not in hits or not len(hits):
        return None
    middle = hits["start_in_sequence"].to_numpy(float) + (hits["stop"] - hits["start"]).to_numpy(float) / 2
    counts, _ = np.histogram(middle, bins=min(_BINS, int(length)), range=(0, int(length)))
    bars = "".join(
        f'<rect x="{at}" y="{1 - c / counts.max():.3f}" width=".86" height="{c / counts.max():.3f}"/>'
        for at, c in enumerate(counts)
        if c
    )
    drawing = (
        f'<svg class="spread" viewBox="0 0 {len(counts)} 1" preserveAspectRatio="none" role="img" '
        f'aria-label="Places by position in the sequence">{bars}</svg>'
    )
    return {"svg": Markup(drawing), "length": int(length), "most": int(counts.max())}


def _together(hits: pd.DataFrame, cards: list[dict[str, Any]], n: Any) -> dict[str, Any] | None:
    """Sequences that hold two motifs, over those that would if each were dealt out alone."""
    names = [card["name"] for card in cards]
    if len(names) < 2 or not n:
        return None
    held = np.zeros((int(n), len(names)), dtype=bool)
    place = {name: at for at, name in enumerate(names)}
    column = hits["motif"].str.replace("_", " ").map(place)
    known = column.notna().to_numpy()
    held[hits["sequence"].to_numpy(dtype=np.int64)[known], column[known].to_numpy(dtype=np.int64)] = True
    both, alone = held.T.astype(float) @ held, held.sum(axis=0)
    rows = []
    for one in range(len(names)):
        cells = []
        for other in range(len(names)):
            expected = alone[one] * alone[other] / int(n)
            fold = float(np.log2(max(both[one, other], 0.5) / max(expected, 0.5)))
            strength = min(abs(fold) / 2, 1) * 100
            side = "--accent" if fold > 0 else "--warning"
            told = f"{int(both[one, other])} sequences hold {names[one]} and {names[other]}, {expected:.0f} by chance"
            colour = f"color-mix(in srgb, var({side}) {strength:.0f}%, transparent)"
            cells.append({"same": one == other, "text": int(both[one, other]), "title": told, "colour": colour})
        rows.append({"name": names[one], "like": cards[one]["known"], "cells": cells})
    return {"rows": rows, "names": names}


def _kinds(result: MotifFindings, kinds: Kinds) -> dict[str, Any]:
    motifs = {(task, m.name): m for task, found in result.motifs.items() for m in found}
    shown = kinds.kinds.drop(columns=["examples"]).rename(columns={"motifs": "called by"})
    cards = []
    for row in kinds.kinds.to_dict(orient="records"):
        own = kinds.profile[kinds.profile["kind"] == row["kind"]]
        named = own[own["named"]].sort_values("contribution", key=lambda c: -c.abs(), kind="stable")
        named = named.drop_duplicates("called")
        logos = [
            {
                "what": f"{each['called']} ({each['task']})",
                "svg": logo_svg(_bits(motifs[each["task"], each["motif"]]), label=f"{each['called']}: letters"),
            }
            for each in named.to_dict(orient="records")
        ]
        profile = own[["task", "motif", "called", "share", "contribution"]].rename(
            columns={"called": "like", "share": "hold it", "contribution": "mean contribution"}
        )
        cards.append(
            {
                "number": row["kind"],
                "name": row["motifs"],
                "size": row["size"],
                "share": percent(row["share"]),
                "stability": decimal(row["stability"]),
                "examples": str(row["examples"]).split(",")[:3],
                "logos": logos,
                "profile": table(profile, formats={"hold it": percent}),
            }
        )
    numbers = kinds.numbers.rename(columns={"n_kinds": "kinds", "expected": "in one piece", "chosen": "taken"})
    numbers = numbers.assign(taken=np.where(numbers["taken"].astype(bool), "taken", ""))
    chosen = kinds.numbers[kinds.numbers["chosen"].astype(bool)]
    return {
        "n": kinds.n_kinds,
        "how": kinds.how,
        "p": _small(kinds.p_value) if np.isfinite(kinds.p_value) else DASH,
        "table": table(shown, formats={"share": percent}),
        "cards": cards,
        "numbers": table(numbers) if len(numbers) else None,
        "held": None
        if not len(chosen)
        else {name: decimal(float(chosen[name].iloc[0])) for name in ("agreement", "low", "high")},
    }


def _small(value: float) -> str:
    return f"{value:.1e}" if value < 0.001 else decimal(value, 3)
