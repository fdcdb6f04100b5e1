"""How right the typing is on donors, or studies, that training did not see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from whycell.compute import Talk, n_threads
from whycell.data.splits import By, Split, Unknown, make_split
from whycell.errors import UsageError
from whycell.jobs.compare import compare
from whycell.jobs.crossfit import Tested, cross_fit, tree_for
from whycell.jobs.further import further_protocols, logged, split_warnings
from whycell.jobs.given_calls import read_given
from whycell.jobs.record import fingerprint_file, versions, write_run
from whycell.jobs.results_folder import check_output, write_results, write_table
from whycell.jobs.scoring import assemble, interval_groups
from whycell.jobs.specs import obsm_keys_of, specs_for
from whycell.knowledge.terms import Ontology
from whycell.reports.evaluation import evaluation_page
from whycell.results import Evaluation

__all__ = ["compare", "evaluate", "evaluate_references"]


def evaluate(
    references: Sequence[Path | str],
    output: Path | str,
    *,
    label: str | None = None,
    split: By | None = None,
    donor: str | None = None,
    study: str | None = None,
    label_map: Path | str | None = None,
    model_specs: Sequence[Any] = (),
    unknown_groups: Unknown = "refuse",
    n_folds: int | None = None,
    seed: int = 0,
    threads: int = 0,
    device: str = "auto",
    force: bool = False,
    truth: Path | str | None = None,
    calls: Path | str | None = None,
    stress: bool = False,
    leave_types_out: bool = False,
    logger: str | None = None,
    talk: Talk | None = None,
) -> Evaluation:
    """Train on all but one donor (or study), type the one left out, go round, and score; write a results folder.

    Parameters
    ----------
    references, label, label_map
        Typed files, the column of their labels, and a table of the person's own label -> term.
    output
        Folder to write; see :data:`whycell.jobs.results_folder.RESULT_FILES`.
    split
        ``"donor"``, ``"study"`` or ``"random"``; donor where ``donor`` is given, else study where ``study`` is or where
        there are several files (one study each), else random, which leaks.
    model_specs
        Paths of ``spec.toml`` to compare beside the defaults.
    unknown_groups
        What to do with cells of unknown or pooled donors; see :func:`whycell.data.splits.make_split`.
    n_folds
        Hold the donors (or studies) out in this many lots instead of one by one.
    truth, calls
        Instead of references: tables of anybody's calls, as :func:`whycell.jobs.given_calls.read_given` reads them.

    stress
        Also try files made worse in known ways, and write ``stress.tsv``: our typer and the models of ``model_specs``.
    leave_types_out
        Also leave each type out of training in turn, and write ``novelty.tsv``; the same models.
    logger
        ``"csv"``, ``"tensorboard"`` or ``"wandb"``: log the searches of the specs, into a folder beside the output
        called as it with ``-log`` behind, where the spec names none.

    Raises
    ------
    UsageError
        Both or neither of references and truth; a logger and no search; stress or types left out of given calls.
    OutputError
        The folder stands already, and not ``force``.
    """
    talk, output = talk or Talk(), Path(output)
    check_output(output, force=force)
    if bool(references) == (truth is not None) or (truth is None) != (calls is None):
        msg = "wanted either reference files with a label column, or both of truth and calls"
        raise UsageError(msg)
    if truth is not None and (stress or leave_types_out):
        msg = "stress and leaving types out need a model to train; wanted reference files, got a table of calls"
        raise UsageError(msg)
    specs = logged(model_specs, logger, output.with_name(f"{output.name}-log"))
    ontology = Ontology.load()
    frozen: Split | None = None
    trials: pd.DataFrame | None = None
    if truth is not None and calls is not None:
        result = _of_given(Path(truth), Path(calls), ontology=ontology, seed=seed)
        inputs = {str(path): fingerprint_file(Path(path)) for path in (truth, calls)}
    else:
        if label is None:
            msg = "got references without a label column; name the column of obs that holds the cell types"
            raise UsageError(msg)
        from whycell.jobs.references import load_references

        loaded = load_references(
            [Path(p) for p in references],
            label=label,
            donor=donor,
            study=study,
            label_map=Path(label_map) if label_map else None,
            obsm=obsm_keys_of(specs),
            ontology=ontology,
            threads=threads,
            talk=talk,
        )
        by = split or ("donor" if donor else "study" if study or len(references) > 1 else "random")
        settings: dict[str, Any] = {
            "by": by,
            "unknown_groups": unknown_groups,
            "n_folds": n_folds,
            "ontology": ontology,
            "seed": seed,
            "threads": threads,
            "device": device,
            "talk": talk,
        }
        result, frozen, trials = _run(loaded, model_specs=specs, **settings)
        result = further_protocols(
            result, loaded, stress=stress, types=leave_types_out, model_specs=specs, settings=settings
        )
        inputs = dict(loaded.fingerprints)
    extra: dict[str, Callable[[Path], object]] = {} if frozen is None else {"split.json": frozen.save}
    if trials is not None:
        extra["trials.tsv"] = partial(write_table, trials)
    extra |= {f"{name}.tsv": partial(write_table, table) for name, table in result.tables.items()}
    result.provenance.update(inputs=inputs, label=label or "", versions=versions())
    write_results(
        result,
        output,
        page=evaluation_page,
        extra=extra,
        force=force,
    )
    write_run(
        output,
        "evaluate",
        inputs=inputs,
        seed=seed,
        parameters={k: v for k, v in result.provenance.items() if k not in ("inputs", "versions", "term_names")},
    )
    for sentence in result.warnings:
        talk.warn(sentence)
    return result


def evaluate_references(
    references: Any,
    *,
    by: By = "donor",
    model_specs: Sequence[Any] = (),
    only: Sequence[str] | None = None,
    unknown_groups: Unknown = "refuse",
    n_folds: int | None = None,
    ontology: Ontology | None = None,
    seed: int = 0,
    threads: int = 0,
    device: str = "auto",
    talk: Talk | None = None,
) -> tuple[Evaluation, Split]:
    """Evaluate on references in memory, writing nothing.

    ``by`` is the split; ``unknown_groups`` and ``n_folds`` are those of :func:`evaluate`.
    ``only`` names the models to run of the defaults and ``model_specs`` together; all of them without. The first is the
    one that the others are compared with.
    """
    result, frozen, _ = _run(
        references,
        by=by,
        model_specs=model_specs,
        only=only,
        unknown_groups=unknown_groups,
        n_folds=n_folds,
        ontology=ontology,
        seed=seed,
        threads=threads,
        device=device,
        talk=talk,
    )
    return result, frozen


def _run(
    references: Any,
    *,
    by: By = "donor",
    model_specs: Sequence[Any] = (),
    only: Sequence[str] | None = None,
    unknown_groups: Unknown = "refuse",
    n_folds: int | None = None,
    ontology: Ontology | None = None,
    seed: int = 0,
    threads: int = 0,
    device: str = "auto",
    talk: Talk | None = None,
) -> tuple[Evaluation, Split, pd.DataFrame | None]:
    talk, ontology = talk or Talk(), ontology or Ontology.load()
    specs = [spec for spec in specs_for(model_specs) if only is None or spec.name in only]
    if not specs:
        msg = f"got no model to evaluate among {only}; wanted names of the defaults or of the specs given"
        raise UsageError(msg)
    obs = references.obs
    has = {c: c for c in ("donor", "study") if c in obs and obs[c].notna().any()}
    frozen = make_split(
        obs,
        by=by,
        donor=has.get("donor"),
        study=has.get("study"),
        n_folds=n_folds,
        seed=seed,
        unknown=unknown_groups,
    )
    tree = tree_for(ontology, dict(references.label_ids))
    tested: dict[str, Tested] = {}
    for spec in specs:
        tested[spec.name] = cross_fit(
            spec,
            references,
            frozen,
            ontology=ontology,
            tree=tree,
            seed=seed,
            threads=n_threads(threads),
            device=device,
            talk=talk,
        )
    provenance = {
        "split": frozen.by,
        "split_hash": frozen.hash,
        "leaking": frozen.leaking,
        "n_folds": len(frozen.names),
        "dropped": frozen.dropped,
        "interval_groups": interval_groups(tested[specs[0].name].calls, frozen.by)[1],
        "ontology_release": ontology.release,
        "models": {spec.name: {"model": spec.model, **dict(spec.parameters)} for spec in specs},
        "seed": seed,
    }
    result = assemble(
        tested, by=by, tree=tree, ontology=ontology, warnings=split_warnings(frozen), provenance=provenance, seed=seed
    )
    searched = [one.trials for one in tested.values() if one.trials is not None]
    return result, frozen, pd.concat(searched, ignore_index=True) if searched else None


def _of_given(truth: Path, calls: Path, *, ontology: Ontology, seed: int) -> Evaluation:
    tested, notes = read_given(truth, calls, ontology=ontology)
    provenance = {"split": "given", "ontology_release": ontology.release, "interval_groups": "donor", "seed": seed}
    notes.append("These calls were made elsewhere: nothing is known of what the model was trained on.")
    return assemble(
        {"calls": tested},
        by="donor",
        tree=tree_for(ontology, {}),
        ontology=ontology,
        warnings=notes,
        provenance=provenance,
        seed=seed,
    )
