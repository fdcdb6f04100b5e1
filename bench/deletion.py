"""Delete the ten genes that an explanation names: does the probability fall more than with other explanations' genes?

Kang's donors held out in turn. Of every cell of the donor left out (400 at most) the call's leaf is explained against
its runner-up, and the ten genes that speak most for it are deleted, in two ways:

*replaced*  their normalised values become the mean of sure cells of the runner-up, of the same donor;
*zeroed*    their counts become zero, and the cell is normalised anew.

A method that needs a reference is given the one that the deletion puts in place: what is not there is what removal
means. Every method may choose among the same genes: those that the deletion changes. The default rule and reference of
``explain`` are those that each fold's training donors choose, by the mean fall over the two deletions.

``make bench NAME=deletion``
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from _harness import report
from _ours import fit_donor_fold
from peers.protocols import donor_folds
from whycell.jobs.explain import DEFAULT_METHOD, DEFAULT_REFERENCE
from whycell.jobs.explain_references import REFERENCES, Background
from whycell.jobs.explain_targets import RUNNER_UP, Sides, sides_of
from whycell.metrics.fidelity import rank_agreement
from whycell.metrics.intervals import t_interval
from whycell.models.explaining import Pipeline
from whycell.models.typer import CellTyper

TOP, MOST, MOST_TRAINING = 10, 400, 300
RULES = ("rescale", "reveal-cancel")
PEERS = ("integrated-gradients", "gradient-x-difference", "gradient-x-input", "random")


@dataclass(frozen=True)
class Bench:
    """Some cells of a fold, ready to be explained and deleted from."""

    pipeline: Pipeline
    counts: np.ndarray
    expression: np.ndarray
    sides: Sides
    references: dict[str, np.ndarray]
    probability: np.ndarray
    donors: np.ndarray

    def scores(self, method: str, reference: str) -> np.ndarray:
        """(n, g) by a method; random numbers for ``random``."""
        if method == "random":
            return np.random.default_rng(0).random(self.expression.shape)
        return self.pipeline.contributions(
            self.expression,
            self.references[reference],
            leaves=self.sides.leaves,
            others=self.sides.others,
            method=method,
        )

    def falls(self, scores: np.ndarray) -> dict[str, np.ndarray]:
        """(n,) fall of the probability of the call's leaf, by deletion."""
        return {"replaced": self._replaced(scores), "zeroed": self._zeroed(scores)}

    def _replaced(self, scores: np.ndarray) -> np.ndarray:
        reference = self.references["against"]
        top = _top(scores, (self.expression != reference) & self.pipeline.measured)
        changed = self.expression.copy()
        np.put_along_axis(changed, top, np.take_along_axis(reference, top, axis=1), axis=1)
        return self.probability - self.pipeline.probability(changed, self.sides.leaves)

    def _zeroed(self, scores: np.ndarray) -> np.ndarray:
        counts = self.counts.copy()
        np.put_along_axis(counts, _top(scores, counts > 0), 0, axis=1)
        changed = self._of_genes().expression(sp.csr_matrix(counts))
        return self.probability - self.pipeline.probability(changed, self.sides.leaves)

    def _of_genes(self) -> Pipeline:
        return Pipeline(**{**vars(self.pipeline), "columns": np.arange(self.counts.shape[1], dtype=np.int32)})


def _top(scores: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    return np.argsort(-np.where(allowed, scores, -np.inf), axis=1, kind="stable")[:, :TOP]


def bench_of(
    typer: CellTyper, values: sp.csr_matrix, genes: np.ndarray, donors: np.ndarray, *, most: int, seed: int
) -> Bench:
    """Cells drawn by seed; references are means over all the cells given, by donor."""
    answerer = typer.answerer_
    columns = answerer.align(np.asarray(genes, dtype=object))
    pipeline = Pipeline.of(answerer, columns)
    values = sp.csr_matrix(values, dtype=np.float32)
    names, code = np.unique(donors, return_inverse=True)
    answer, expression = answerer.answer(values, columns), pipeline.expression(values)
    background = Background(pipeline, answerer.space.leaf_names, names)
    background.add(*background.tally(answer, expression, code))
    rows = np.sort(np.random.default_rng(seed).permutation(values.shape[0])[:most])
    # The leaf is explained whatever the call: what is deleted from must be one probability.
    sides = sides_of(_at_leaves(answer), RUNNER_UP)
    sides = Sides(sides.leaves[rows], sides.others[rows], sides.explained[rows], sides.against[rows], sides.note[rows])
    place = np.full(len(answerer.genes), -1)
    place[columns[columns >= 0]] = np.flatnonzero(columns >= 0)
    counts = np.where(place >= 0, values[rows].toarray()[:, np.maximum(place, 0)], 0)
    return Bench(
        pipeline,
        counts,
        expression[rows],
        sides,
        {kind: background.references(sides, code[rows], kind)[0] for kind in REFERENCES},
        pipeline.probability(expression[rows], sides.leaves),
        donors[rows],
    )


def _at_leaves(answer):
    from dataclasses import replace

    return replace(answer, node=np.full(len(answer.node), -1))


def chosen_on(bench: Bench) -> dict[str, float]:
    """Mean fall over the two deletions of every rule and reference."""
    table = {}
    for rule in RULES:
        for reference in REFERENCES:
            falls = bench.falls(bench.scores(rule, reference))
            table[f"{rule}, {reference}"] = float(np.mean([f.mean() for f in falls.values()]))
    return table


def _agreement(fold, test: Bench) -> float:
    """Mean rank correlation with the explanations of the same cells by a model trained from another seed."""
    other, _ = fit_donor_fold(fold, seed=1)
    again = bench_of(other, fold.T, fold.genes, fold.test_donors, most=MOST, seed=0)
    # The same question to both: the sides as the first model has them.
    again = Bench(**{**vars(again), "sides": test.sides, "references": test.references})
    scores = [bench.scores(DEFAULT_METHOD, DEFAULT_REFERENCE) for bench in (test, again)]
    return float(np.nanmean(rank_agreement(*scores)))


def main() -> bool:
    start = time.process_time()
    choices, per_donor, unmatched = {}, {"replaced": {}, "zeroed": {}}, {"replaced": {}, "zeroed": {}}
    donors, seeds = [], []
    for fold in donor_folds():
        typer, _ = fit_donor_fold(fold)
        training = bench_of(typer, fold.X, fold.genes, fold.donors, most=MOST_TRAINING, seed=0)
        choices[fold.name] = chosen_on(training)
        test = bench_of(typer, fold.T, fold.genes, fold.test_donors, most=MOST, seed=0)
        donors.append(fold.name)
        if not donors[1:]:
            seeds.append(_agreement(fold, test))
        for method in (*RULES, *PEERS):
            of = {r: test.falls(test.scores(method, r)) for r in ("against", "zeros")}
            for deletion, own in (("replaced", "against"), ("zeroed", "zeros")):
                per_donor[deletion].setdefault(method, []).append(float(of[own][deletion].mean()))
                unmatched[deletion].setdefault(method, []).append(float(of["against"][deletion].mean()))
    best = {name: max(table, key=table.get) for name, table in choices.items()}
    results = {"donors": donors, "chosen_on_training_donors": best, "training_falls": choices}
    results["rank correlation with a model of another seed, one donor"] = seeds[0]
    limits = {
        "folds whose training donors choose the default": (
            float(np.mean([choice == f"{DEFAULT_METHOD}, {DEFAULT_REFERENCE}" for choice in best.values()])),
            ">=",
            0.5,
        )
    }
    for deletion, methods in per_donor.items():
        ours = np.array(methods[DEFAULT_METHOD])
        table = {"fall": {name: float(np.mean(values)) for name, values in methods.items()}, "by_donor": methods}
        table["fall_with_the_default_reference"] = {n: float(np.mean(v)) for n, v in unmatched[deletion].items()}
        table["ours_minus"] = {}
        for peer in PEERS:
            found = t_interval(ours - np.array(methods[peer]))
            table["ours_minus"][peer] = {"mean": found.value, "low": found.low, "high": found.high}
            limits[f"{deletion}: fall beyond that of {peer}"] = (found.value, ">=", 0.0)
        results[deletion] = table
    both = {name: np.mean([per_donor[d][name] for d in per_donor], axis=0) for name in (DEFAULT_METHOD, *PEERS)}
    results["mean of both"] = {}
    for peer in PEERS:
        found = t_interval(both[DEFAULT_METHOD] - both[peer])
        results["mean of both"][peer] = {"mean": found.value, "low": found.low, "high": found.high}
        limits[f"mean of both: fall beyond that of {peer}, low end of the interval"] = (found.low, ">=", 0.0)
    results["cpu_s"] = round(time.process_time() - start, 1)
    return report("deletion", results, limits=limits)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
