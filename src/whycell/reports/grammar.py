"""The page of grammar: what each pair of motifs does by gap, order and strand, and the same counted in sequences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from whycell.reports.page import inline_svg, render, table
from whycell.reports.palette import ACCENT, INK, MUTED, RULE
from whycell.reports.text import decimal
from whycell.results.grammar import GrammarFindings

__all__ = ["grammar_page", "pair_figure", "sentences"]

_STYLE: Any = {"text.parse_math": False, "font.size": 8.5, "text.color": INK, "axes.labelcolor": MUTED}
_MOST_DRAWN = 30
_SURE = 0.01
_FEWEST_SEEN = 20  # real pairs, below which a network was hardly taught what it answers
_SAME = {"AB++": "{a}→ {b}→", "AB+-": "{a}→ ←{b}", "BA++": "{b}→ {a}→", "BA+-": "←{b} {a}→", "AB-+": "←{a} {b}→"}
_OF_ITSELF = {"++": "one behind the other", "+-": "face to face", "-+": "back to back"}
_SIDE = {"AB": "behind", "BA": "ahead of"}
_STRANDS = {"++": "on the same strand", "+-": "on opposite strands"}
_GRAMMAR = ("gap", "order", "strand", "helix")


def sentences(result: GrammarFindings, *, task: str | None = None) -> dict[str, list[str]]:
    """What is reported, in sentences, the surest first.

    Parameters
    ----------
    result
        From ``whycell grammar``.
    task
        Only of this task.

    Returns
    -------
    ``"rules"`` of grammar; those ``"guessed"``, of arrangements that fewer than 20 real pairs have; ``"sums"``, what
    pairs do on the whole; ``"counted"``, gaps that 20 real pairs or more have, surely more than chance deals.
    """
    unit = str(result.provenance.get("unit", "log odds"))
    found = result.tests[result.tests["reported"]]
    found = found if task is None else found[found["task"] == task]
    several = task is None and result.tests["task"].nunique() > 1
    rules, guessed, sums = list[str](), list[str](), list[str]()
    for row in found[found["question"].isin(_GRAMMAR)].itertuples():
        head = f"{row.task}: " if several else ""
        seen = int(str(row.seen))
        rare = f"; {seen or 'none'} of the real pairs stand so" if seen < _FEWEST_SEEN else ""
        line = f"{head}{_sentence(row, _labels(result, str(row.task)), unit)} (q = {_small(row.q)}{rare})."
        (guessed if rare else rules).append(line)
    for _, rows in found[found["question"] == "together"].groupby(["task", "first", "second"], sort=False):
        of = str(rows["task"].iloc[0])
        line = (f"{of}: " if several else "") + _on_the_whole(rows, _labels(result, of), unit)
        (sums if rows["seen"].max() >= _FEWEST_SEEN else guessed).append(line)
    common = result.ranges_counted if task is None else result.ranges_counted.query("task == @task")
    sure = common["q"] <= float(result.provenance.get("fdr", _SURE))
    counted = list[str]()
    for row in common[sure & (common["n"] >= _FEWEST_SEEN)].itertuples():
        labels = _labels(result, str(row.task))
        head = f"{row.task}: " if several else ""
        stands = _stands(row, labels[row.first], labels[row.second], _gaps(row.gaps))
        counted.append(
            f"{head}In the sequences, {stands}: {row.n:,} pairs, {row.expected:.2g} expected (q = {_small(row.q)})."
        )
    return {"rules": rules, "guessed": guessed, "sums": sums, "counted": counted}


@mpl.rc_context(_STYLE)
def pair_figure(
    interactions: pd.DataFrame, counted: pd.DataFrame, *, names: tuple[str, str], unit: str = "log odds"
) -> Figure:
    """Draw the interaction of a pair by gap, a panel an arrangement, above the gaps counted in real sequences.

    Parameters
    ----------
    interactions
        Of one pair: ``order, strands, gap, interaction, low, high``; ``best``, where given, marks reported gaps.
    counted
        Of the same pair: ``order, strands, gap, n, expected``.
    names
        What the two motifs are called.
    unit
        Of the interaction.
    """
    kinds = list(dict.fromkeys(zip(interactions["order"], interactions["strands"], strict=True)))
    figure = Figure(figsize=(2.45 * len(kinds) + 0.5, 3.3), layout="constrained")
    axes = figure.subplots(2, len(kinds), sharex=True, sharey="row", squeeze=False, height_ratios=(3, 2))
    for column, (order, strands) in enumerate(kinds):
        above, below = axes[:, column]
        part = _of(interactions, order, strands).sort_values("gap")
        if "best" in part:
            for gap in part["gap"][part["best"].astype(bool)]:
                above.axvspan(gap - 0.5, gap + 0.5, color=ACCENT, alpha=0.12, linewidth=0)
        above.axhline(0, color=RULE, linewidth=0.9)
        above.fill_between(part["gap"], part["low"], part["high"], color=ACCENT, alpha=0.25, linewidth=0)
        above.plot(part["gap"], part["interaction"], color=ACCENT, linewidth=1.3)
        above.set_title(_SAME[order + strands].format(a=_short(names[0]), b=_short(names[1])), fontsize=9)
        part = _of(counted, order, strands).sort_values("gap")
        below.bar(part["gap"], part["n"], width=0.9, color=MUTED, alpha=0.55, linewidth=0)
        below.step(part["gap"], part["expected"], where="mid", color=INK, linewidth=1)
        below.set_xlabel("gap, letters")
        if not counted["n"].any():
            below.set(ylim=(0, 1), yticks=[0])
    axes[0, 0].set_ylabel(f"interaction, {unit}")
    axes[1, 0].set_ylabel("pairs counted")
    for each in axes.ravel():
        each.tick_params(colors=MUTED, labelcolor=INK, labelsize=8, length=2.5, width=0.6)
        for side in each.spines:
            each.spines[side].set(visible=side in ("left", "bottom"), color=RULE, linewidth=0.9)
    return figure


def grammar_page(result: GrammarFindings) -> str:
    """One self-contained HTML page; the same ``result`` gives the same text."""
    unit = str(result.provenance.get("unit", "log odds"))
    tasks = []
    for number, task in enumerate(dict.fromkeys(result.motifs["task"])):
        labels = _labels(result, task)
        tests = result.tests[result.tests["task"] == task]
        pairs = list(dict.fromkeys(zip(tests["first"], tests["second"], strict=True)))
        tasks.append(
            {
                "name": task,
                **sentences(result, task=task),
                "alone": table(_alone(result, task, labels), formats={"effect": _signed}),
                "pairs": [_pair(result, task, pair, labels, unit, f"{number}-{at}") for at, pair in enumerate(pairs)][
                    :_MOST_DRAWN
                ],
                "more": max(0, len(pairs) - _MOST_DRAWN),
                "tests": table(_shown(tests, labels), formats={"p": _small, "q": _small, "effect": _signed}),
                "ranges": table(_shown(_task(result.ranges_counted, task), labels), formats={"p": _small, "q": _small}),
            }
        )
    told = sentences(result)
    context: dict[str, Any] = {
        "title": "Grammar",
        "tasks": tasks,
        "unit": unit,
        "n_motifs": len(result.motifs),
        "n_tests": len(result.tests),
        "n_rules": len(told["rules"]),
        "n_guessed": len(told["guessed"]),
        "n_together": len(told["sums"]),
        "provenance": result.provenance,
    }
    return render("grammar.html", scripts=("common.js",), context=context)


def _pair(
    result: GrammarFindings, task: str, pair: tuple[str, str], labels: Mapping[str, str], unit: str, prefix: str
) -> dict[str, Any]:
    inside = [_of_pair(_task(t, task), pair) for t in (result.interactions, result.gaps_counted, result.tests)]
    interactions, counted, tests = inside
    found = tests[(tests["question"] == "gap") & tests["reported"]]
    best = np.zeros(len(interactions), dtype=bool)
    for row in found.itertuples():
        low, _, high = str(row.gaps).partition("-")
        here = (interactions["order"] == row.order) & (interactions["strands"] == row.strands)
        best |= (here & interactions["gap"].between(int(low), int(high or low))).to_numpy()
    names = (labels[pair[0]], labels[pair[1]])
    figure = pair_figure(interactions.assign(best=best), counted, names=names, unit=unit)
    title = f"{names[0]} and {names[1]}" if pair[0] != pair[1] else f"{names[0]} beside itself"
    return {
        "title": title,
        "svg": inline_svg(figure, label=f"Interaction by gap of {title}", prefix=f"pair-{prefix}"),
    }


def _sentence(row: Any, labels: Mapping[str, str], unit: str) -> str:
    """What a row of tests says."""
    a, b = labels[row.first], labels[row.second]
    size, more = f"{abs(row.effect):.2g} {unit}", "more" if row.effect > 0 else "less"
    gaps = _gaps(row.gaps)
    if row.question == "gap":
        return f"{_stands(row, a, b, gaps)}: {size} {more} than at other gaps"
    if row.question == "helix":
        return (
            f"{_stands(row, a, b, '')}: comes again at every turn of the helix, by {size}, from {row.best} letters on"
        )
    if row.question == "order":
        other = "BA" if row.best == "AB" else "AB"
        where = _STRANDS[row.strands]
        return f"{b} {_SIDE[row.best]} {a} does {size} more than {_SIDE[other]} it, {where}, {gaps} between"
    other = next(s for s in row.strands.split(" v ") if s != row.best)
    if row.first == row.second:
        return f"{a} beside itself does {size} more {_OF_ITSELF[row.best]} than {_OF_ITSELF[other]}, {gaps} between"
    side = _SIDE[row.order]
    return f"{b} {side} {a} does {size} more {_STRANDS[row.best]} than {_STRANDS[other]}, {gaps} between"


def _on_the_whole(rows: pd.DataFrame, labels: Mapping[str, str], unit: str) -> str:
    """One sentence for the arrangements of a pair that are above or below the sum."""
    same = rows["first"].iloc[0] == rows["second"].iloc[0]
    a, b = labels[rows["first"].iloc[0]], labels[rows["second"].iloc[0]]
    least, most = (f"{size:.2g}" for size in (rows["effect"].abs().min(), rows["effect"].abs().max()))
    size = least if least == most else f"{least} to {most}"
    more = "less" if rows["effect"].max() < 0 else "more" if rows["effect"].min() > 0 else "more or less"
    where = "" if len(rows) == (3 if same else 4) else f", in {len(rows)} of {3 if same else 4} arrangements"
    pair = f"{a} twice" if same else f"{a} and {b}"
    return (
        f"{pair}, on the whole: {size} {unit} {more} than the sum of each alone{where} (q = {_small(rows['q'].max())})."
    )


def _stands(row: Any, a: str, b: str, gaps: str) -> str:
    if row.first == row.second:
        return f"{a} beside itself, {_OF_ITSELF[row.strands]}{', ' + gaps + ' between' if gaps else ''}"
    return f"{b} {gaps + ' ' if gaps else ''}{_SIDE[row.order]} {a} {_STRANDS[row.strands]}"


def _gaps(told: str) -> str:
    low, _, high = str(told).partition("-")
    return f"{low} to {high} letters" if high else f"{low} letter{'' if low == '1' else 's'}"


def _labels(result: GrammarFindings, task: str) -> dict[str, str]:
    here = result.motifs[result.motifs["task"] == task]
    return dict(zip(here["motif"], here["label"].astype(str), strict=True))


def _task(frame: pd.DataFrame, task: str) -> pd.DataFrame:
    return frame[frame["task"] == task].drop(columns="task")


def _of_pair(frame: pd.DataFrame, pair: tuple[str, str]) -> pd.DataFrame:
    return frame[(frame["first"] == pair[0]) & (frame["second"] == pair[1])]


def _of(frame: pd.DataFrame, order: str, strands: str) -> pd.DataFrame:
    return frame[(frame["order"] == order) & (frame["strands"] == strands)]


def _shown(frame: pd.DataFrame, labels: Mapping[str, str]) -> pd.DataFrame:
    frame = frame.assign(first=frame["first"].map(labels), second=frame["second"].map(labels))
    if "reported" in frame:
        frame = frame.assign(reported=np.where(frame["reported"], "yes", ""))
    return frame.drop(columns=[name for name in ("task", "best") if name in frame])


def _alone(result: GrammarFindings, task: str, labels: Mapping[str, str]) -> pd.DataFrame:
    here = _task(result.alone, task).set_index("motif")
    told = result.motifs[result.motifs["task"] == task].set_index("motif")
    return pd.DataFrame(
        {
            "motif": list(labels.values()),
            "written as": list(told.loc[list(labels), "core"]),
            "places": [int(n) for n in told.loc[list(labels), "hits"]],
            "effect": here.loc[list(labels), "effect"].to_numpy(),
            "from": here.loc[list(labels), "low"].to_numpy(),
            "to": here.loc[list(labels), "high"].to_numpy(),
        }
    )


def _short(name: str, most: int = 14) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _signed(value: float) -> str:
    return f"{value:+.2f}"


def _small(value: Any) -> str:
    return f"{value:.1e}" if value < 0.0001 else f"{value:.4f}" if value < 0.01 else decimal(value)
