"""The part of the ontology that carries calls, as a tree that can be folded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from whycell.reports.text import term_url
from whycell.results import TreeNode

__all__ = ["nested_tree"]


def nested_tree(nodes: Sequence[TreeNode], colours: Mapping[str, str]) -> list[dict[str, Any]]:
    """Draw the ontology's graph as a tree: every one of ``nodes`` under its first parent, the others named beside it.

    ``colours`` are those of the calls, by name. A term that carries no call and has a single child is written before
    that child, on the same line: a long way down without a choice is one step for a reader.
    """
    by_id = {node.term_id: node for node in nodes}
    children: dict[str, list[TreeNode]] = {}
    for node in nodes:
        parents = [p for p in node.parents if p in by_id and p != node.term_id]
        children.setdefault(parents[0] if parents else "", []).append(node)
    top = max((node.n_below for node in nodes), default=0) or 1
    seen: set[str] = set()

    def draw(node: TreeNode, depth: int) -> dict[str, Any]:
        passed: list[str] = []
        seen.add(node.term_id)
        below = [c for c in children.get(node.term_id, []) if c.term_id not in seen]
        while not node.n_called and len(below) == 1:
            passed.append(node.name)
            node = below[0]
            seen.add(node.term_id)
            below = [c for c in children.get(node.term_id, []) if c.term_id not in seen]
        below = sorted(below, key=lambda c: (-c.n_below, c.name, c.term_id))
        return {
            "name": node.name,
            "term_id": node.term_id,
            "url": term_url(node.term_id),
            "passed": passed,
            "called": node.n_called,
            "below": node.n_below,
            "called_share": node.n_called / top,
            "deeper_share": max(node.n_below - node.n_called, 0) / top,
            "colour": colours.get(node.name, "var(--accent)"),
            "also": [by_id[p].name for p in [p for p in node.parents if p in by_id][1:]],
            "open": depth < 12,
            "children": [draw(c, depth + 1) for c in below if c.term_id not in seen],
        }

    starts = sorted(children.get("", []), key=lambda c: (-c.n_below, c.name, c.term_id))
    return [draw(node, 0) for node in starts]
