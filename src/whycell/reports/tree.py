"""The part of the ontology that carries calls, as a tree that can be folded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from whycell._keys import UNKNOWN
from whycell.reports.text import term_url
from whycell.results import TreeNode

__all__ = ["nested_tree"]


def nested_tree(nodes: Sequence[TreeNode], colours: Mapping[str, str]) -> list[dict[str, Any]]:
    """Draw the ontology's graph as a tree: every one of ``nodes`` under its first parent, the others named beside it.

    ``colours`` are those of the calls, by name. A term that carries no call and has a single child is written before
    that child, on the same line: a long way down without a choice is one step for a reader. Cells left unknown stand
    nowhere on it.
    """
    # A class without an id may come with its label as id, or with none: several such must not become one.
    by_key = {(node.term_id, "" if node.term_id else node.name): node for node in nodes}
    by_id = {node.term_id: node for node in nodes if node.term_id}
    drawn = [node for node in by_key.values() if node.term_id or node.name != UNKNOWN]
    children: dict[str | None, list[TreeNode]] = {}
    for node in drawn:
        children.setdefault(_parents(node, by_id)[0] if _parents(node, by_id) else None, []).append(node)
    top = max((node.n_below for node in drawn), default=0) or 1

    def below(node: TreeNode) -> list[TreeNode]:
        return sorted(children.get(node.term_id, []) if node.term_id else [], key=_most_first)

    def draw(node: TreeNode, depth: int) -> dict[str, Any]:
        passed: list[str] = []
        while not node.n_called and len(below(node)) == 1:
            passed.append(node.name)
            node = below(node)[0]
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
            "also": [by_id[p].name for p in _parents(node, by_id)[1:]],
            "open": depth < 12,
            "children": [draw(child, depth + 1) for child in below(node)],
        }

    return [draw(node, 0) for node in sorted(children.get(None, []), key=_most_first)]


def _parents(node: TreeNode, by_id: Mapping[str, TreeNode]) -> list[str]:
    return [p for p in node.parents if p in by_id and p != node.term_id]


def _most_first(node: TreeNode) -> tuple[int, str, str]:
    return -node.n_below, node.name, node.term_id
