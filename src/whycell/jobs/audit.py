"""Training samples that look mislabelled, copied or out of place: found, ranked, and written with the evidence."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from whycell.compute import Talk, n_threads
from whycell.data.whole import check_free, write_whole
from whycell.errors import UsageError
from whycell.jobs.auditable import Samples, is_table, read_cells, read_table
from whycell.jobs.overview import cell_map
from whycell.jobs.record import write_run
from whycell.jobs.suspects import Evidence, expected_confusions, gather, suspect_table
from whycell.lenses.audit import AuditScores, audit_labels, planted_found
from whycell.results import Audit

__all__ = ["audit"]

_MOST_ON_MAP = 20_000


def audit(
    references: Sequence[Any],
    output: Path | None = None,
    *,
    label: str,
    donor: str | None = None,
    study: str | None = None,
    label_map: Path | None = None,
    report: Path | None = None,
    at_most: float = 0.1,
    n_models: int = 60,
    seed: int = 0,
    threads: int = 0,
    device: str = "cpu",
    force: bool = False,
    talk: Talk | None = None,
) -> Audit:
    """Audit labelled files, or one table.

    Parameters
    ----------
    references
        Labelled files of cells, as ``train`` takes them; or one ``.tsv`` or ``.csv`` with numeric columns; or an
        AnnData.
    output
        ``audit.tsv``; ``None`` writes nothing.
    label, donor, study, label_map
        See :func:`whycell.jobs.references.load_references`.
    report
        Also write a page.
    at_most
        Expected share of rightly labelled samples among those flagged as mislabelled.
    n_models
        Models in each of three rounds.
    seed, threads, device
        Of the models.
    force
        Replace what is there.
    talk
        Told of progress, of what was found and of what to do next.

    Returns
    -------
    Audit

    Raises
    ------
    WhycellError
        Whatever is wrong with the files, the labels or the places to write to.
    """
    talk = talk or Talk()
    check_free(output, report, force=force)
    if not 0 < at_most < 1:
        msg = f"got {at_most} as the share of right labels among the flagged; wanted a number between 0 and 1"
        raise UsageError(msg)
    samples = _read(
        references, label=label, donor=donor, study=study, label_map=label_map, seed=seed, threads=threads, talk=talk
    )
    scores = audit_labels(
        samples.x,
        samples.codes,
        allows=samples.allows,
        sharpen=samples.encode.class_means() if samples.encode is not None else None,
        n_models=n_models,
        seed=seed,
        threads=n_threads(threads),
        device=device,
        talk=talk,
    )
    found = gather(samples, scores, at_most=at_most, seed=seed)
    result = _result(samples, scores, found, at_most=at_most, seed=seed, drawn=report is not None, talk=talk)
    if output is not None:
        write_whole(
            Path(output), result.suspects.to_csv(sep="\t", index=False, float_format="%.4g", lineterminator="\n")
        )
    if report is not None:
        from whycell.reports.audit import audit_page

        write_whole(Path(report), audit_page(result))
    place = output or report
    if place is not None:
        asked = {"label": label, "donor": donor, "study": study, "label_map": str(label_map or "")}
        write_run(
            place,
            "audit",
            inputs=samples.fingerprints,
            seed=seed,
            parameters={**asked, "at_most": at_most, "n_models": n_models},
        )
    _tell(result, output, talk)
    return result


def _read(
    references: Sequence[Any],
    *,
    label: str,
    donor: str | None,
    study: str | None,
    label_map: Path | None,
    seed: int,
    threads: int,
    talk: Talk,
) -> Samples:
    tables = [each for each in references if is_table(each)]
    if tables and len(references) > 1:
        msg = f"got {tables[0]} beside {len(references) - 1} other files; a table is audited alone."
        raise UsageError(msg)
    if tables:
        return read_table(Path(tables[0]), label=label, donor=donor, talk=talk)
    return read_cells(
        references, label=label, donor=donor, study=study, label_map=label_map, seed=seed, threads=threads, talk=talk
    )


def _result(
    samples: Samples, scores: AuditScores, found: Evidence, *, at_most: float, seed: int, drawn: bool, talk: Talk
) -> Audit:
    suspects, flags = suspect_table(samples, scores, found)
    everyone = samples.obs.assign(
        score=scores.score,
        flag=flags,
        suggested=np.where(found.mislabelled, samples.classes[found.suggested], ""),
    )
    rows = np.sort(np.random.default_rng(seed).permutation(len(flags))[:_MOST_ON_MAP]) if drawn else np.empty(0, int)
    method, xy = cell_map([samples.x[rows]], seed=seed, talk=talk) if drawn else ("PCA", np.zeros((0, 2), np.float32))
    planted = planted_found(scores, samples.codes, allows=samples.allows, at_most=at_most, seed=seed)
    return Audit(
        suspects=suspects,
        samples=everyone,
        per_label=_counts(everyone, "label"),
        per_donor=_counts(everyone, "donor"),
        confusions=expected_confusions(samples, scores),
        map_rows=rows,
        map_xy=xy,
        map_method=method,
        summary={
            "samples": len(flags),
            "left_out": samples.left_out,
            "mislabelled": int(found.mislabelled.sum()),
            "duplicates": int((found.copy_of >= 0).sum()),
            "out_of_place": int((found.places != "").sum()),
            "estimated_share_mislabelled": float(scores.score.mean()),
            "at_most": at_most,
            "planted_found": planted,
            "unit": "cells" if samples.cells else "samples",
        },
        provenance={
            "whycell_version": version("whycell"),
            "inputs": dict(samples.fingerprints),
            "classes": len(samples.classes),
            "models": scores.n_models,
            "set_aside_while_learning": int(scores.set_aside.sum()),
            "sharpness": scores.noise.sharpness,
            "seed": seed,
        },
    )


def _counts(everyone: pd.DataFrame, column: str) -> pd.DataFrame:
    flags = everyone["flag"].astype(str)
    frame = pd.DataFrame(
        {
            column: everyone[column].astype(str),
            "samples": 1,
            "mislabelled": flags.str.contains("mislabelled"),
            "duplicate": flags.str.contains("duplicate"),
            "out_of_place": flags.str.contains("out_of_place"),
            "expected_mislabelled": everyone["score"],
        }
    )
    return frame.groupby(column, sort=True).sum().reset_index()


def _tell(result: Audit, output: Path | None, talk: Talk) -> None:
    told, unit = result.summary, result.summary["unit"]
    n = told["samples"]
    if not told["mislabelled"]:
        talk.note(f"no label among {n:,} {unit} is contradicted beyond what types that resemble one another explain")
    else:
        by = result.per_label.sort_values("mislabelled", ascending=False, kind="stable")
        most = ", ".join(f"{k:,} {name}" for name, k in zip(by["label"], by["mislabelled"], strict=True) if k)
        talk.note(f"{told['mislabelled']:,} of {n:,} {unit} look mislabelled ({most})")
    if told["duplicates"] or told["out_of_place"]:
        talk.note(f"{told['duplicates']:,} {unit} copy another, {told['out_of_place']:,} are out of place")
    of = told["planted_found"]
    talk.note(
        f"of labels that the audit falsified itself, this cut finds {of['anywhere']:.0%} where any label was put, and "
        f"{of['nearest']:.0%} where the likeliest other one was"
    )
    if output is not None and (told["mislabelled"] or told["duplicates"]):
        talk.note(f"next: look through {output}, set drop to yes or no, then: whycell train ... --drop {output}")
