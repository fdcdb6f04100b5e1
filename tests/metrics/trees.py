"""Random directed graphs and set-by-set references for the scores on them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from whycell.metrics.tree import TermTree


@st.composite
def trees(draw, most=9):
    """A graph with several parents a node; node 0 is the root, and at times another stop-term."""
    n = draw(st.integers(2, most))
    parents = {"n0": ()}
    for i in range(1, n):
        parents[f"n{i}"] = tuple(f"n{j}" for j in draw(st.sets(st.integers(0, i - 1), min_size=1, max_size=3)))
    stop = {"n0", *draw(st.sets(st.sampled_from(sorted(parents)), max_size=1))}
    return TermTree.from_parents(list(parents), parents, stop=stop), parents, stop


@st.composite
def called(draw):
    """A tree, and truths and calls on it, unknown ones among them."""
    tree, parents, stop = draw(trees())
    terms = st.sampled_from([*parents, ""])
    n = draw(st.integers(1, 12))
    truth = draw(st.lists(terms, min_size=n, max_size=n))
    call = draw(st.lists(terms, min_size=n, max_size=n))
    return tree, parents, stop, np.array(truth), np.array(call)


def above(term, parents):
    """A(v), by recursion."""
    return {term}.union(*(above(p, parents) for p in parents[term])) if term else set()


def steps_up(term, parents):
    """Fewest steps to every ancestor, by recursion."""
    found = {term: 0}
    for parent in parents[term]:
        for node, steps in steps_up(parent, parents).items():
            found[node] = min(found.get(node, steps + 1), steps + 1)
    return found
