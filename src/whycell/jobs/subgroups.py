"""Groups of samples that share causes: many small models on random subsets, and what their answers have in common."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from whycell.compute import Talk, n_threads
from whycell.errors import UsageError
from whycell.jobs.record import versions
from whycell.jobs.subgroups_folder import MODELS, check_folder, forget_other_models, write_groups
from whycell.jobs.subgroups_inputs import Samples, read_samples
from whycell.jobs.subgroups_told import assemble
from whycell.lenses.many import HeadKind, fit_many
from whycell.lenses.masks import draw_masks, smallest_effect
from whycell.patterns.partition import Clustering
from whycell.patterns.subgroups import Subgroups, find_subgroups
from whycell.patterns.teaching import Teaching
from whycell.results.groups import Groups

__all__ = ["Plan", "subgroups", "subgroups_of"]

#: Models trained to learn how long one takes and how far their answers vary.
_PILOT = 32
_ROUNDS = 8
_CLOUDS = 99


@dataclass(frozen=True)
class Plan:
    """What is about to be trained.

    Parameters
    ----------
    kind, models, share
        Which heads, how many, on what share of the samples each.
    trained_on, targets
        Samples that masks are drawn from, and samples asked about.
    seconds
        How long training will take, by a pilot.
    effect
        Smallest effect of one sample on a margin that will be seen, three standard errors wide.
    """

    kind: HeadKind
    models: int
    share: float
    trained_on: int
    targets: int
    seconds: float
    effect: float

    def sentence(self) -> str:
        """What the person is told before training."""
        return (
            f"{self.models:,} {self.kind} models, each on {100 * self.share:.0f} % of {self.trained_on:,} samples: "
            f"about {_duration(self.seconds)}; effects of one sample are seen from {self.effect:.2g} in log-odds on."
        )


def subgroups(
    path: Path | str,
    output: Path | str,
    *,
    target: str,
    group: str | None = None,
    representation: str | None = None,
    n_models: int = 5000,
    kind: HeadKind = "linear",
    share: float | None = None,
    mask_by_group: bool = False,
    n_groups: int | None = None,
    clustering: Clustering = "ward",
    most_samples: int = 2000,
    show: Sequence[str] = (),
    report: Path | str | None = None,
    executor: str = "here",
    seed: int = 0,
    device: str = "cpu",
    force: bool = False,
    talk: Talk | None = None,
) -> Groups:
    """Find groups within the classes of ``target`` whose predictions the same training samples taught.

    Parameters
    ----------
    path
        Cells, a table or pictures: :func:`whycell.jobs.subgroups_inputs.read_samples`.
    output
        Folder to write; :data:`whycell.jobs.subgroups_folder.FILES`. Finished blocks of models stay in its ``models``:
        run again with the same arguments after an interrupt, and it goes on.
    target, group
        Columns of the classes and of the donors.
    representation
        Key of ``obsm`` to take for coordinates.
    n_models, kind, share
        How many models, which heads, and the share of the samples that each sees; without a share 0.1, more where that
        would leave less than 40 samples.
    mask_by_group
        Whole donors go in or out; who taught is then told by donor.
    n_groups
        This many groups in every class, instead of choosing.
    clustering
        ``"ward"``, ``"spectral"`` or ``"leiden"``.
    most_samples
        Samples that masks are drawn from and groups are found among; all others are put into the nearest group.
    show
        Names of samples whose supporters and opponents are told.
    report
        HTML page to write.
    executor
        ``"here"`` for every core of this machine, ``"local:N"`` for N: the models are one computation on one machine.
    seed, device, force, talk
        See docs/parameters.md.

    Raises
    ------
    DataError
        The input cannot be used; the sentence says why.
    UsageError
        An unknown executor, or donors asked for and not given.
    OutputError
        The folder holds results already, and not ``force``.
    """
    talk, output = talk or Talk(), Path(output)
    check_folder(output, force=force)
    threads = _threads(executor)
    samples = read_samples(
        path, target=target, group=group, representation=representation, seed=seed, threads=threads, talk=talk
    )
    return subgroups_of(
        samples,
        output,
        n_models=n_models,
        kind=kind,
        share=share,
        mask_by_group=mask_by_group,
        n_groups=n_groups,
        clustering=clustering,
        most_samples=most_samples,
        show=show,
        report=report,
        executor=executor,
        seed=seed,
        device=device,
        force=force,
        talk=talk,
    )


def subgroups_of(
    samples: Samples,
    output: Path | str,
    *,
    trained: np.ndarray | None = None,
    n_models: int = 5000,
    kind: HeadKind = "linear",
    share: float | None = None,
    mask_by_group: bool = False,
    n_groups: int | None = None,
    clustering: Clustering = "ward",
    most_samples: int = 2000,
    show: Sequence[str] = (),
    report: Path | str | None = None,
    executor: str = "here",
    seed: int = 0,
    device: str = "cpu",
    force: bool = False,
    talk: Talk | None = None,
) -> Groups:
    """As :func:`subgroups`, of samples in memory.

    Parameters
    ----------
    samples
        From :func:`whycell.jobs.subgroups_inputs.read_samples`.
    trained
        (n,) bool: samples that masks may be drawn from; all without.
    output, n_models, kind, share, mask_by_group, n_groups, clustering, most_samples, show, report, executor
        As in :func:`subgroups`.
    seed, device, force, talk
        See docs/parameters.md.
    """
    talk, output, started = talk or Talk(), Path(output), time.monotonic()
    check_folder(output, force=force)
    _check(samples, mask_by_group=mask_by_group, show=show, n_models=n_models, share=share)
    units = _units(samples, trained, most=most_samples, seed=seed)
    others = np.setdiff1d(np.arange(len(samples.names)), units)
    order = np.concatenate([units, others])
    x = samples.x / max(float(samples.x[units].std()), 1e-12)
    donors = samples.donors
    masks = draw_masks(
        len(units),
        n_models,
        alpha=share or min(0.5, max(0.1, 40 / len(units))),
        kind="bernoulli" if mask_by_group else "fixed",
        strata=None if mask_by_group else samples.labels[units],
        groups=donors[units] if mask_by_group and donors is not None else None,
        seed=seed,
    )
    masks = _with_two_classes(masks, samples.labels[units])
    heads: Any = {
        "X_target": x[order],
        "y_target": samples.labels[order],
        "seed": seed,
        "device": device,
        "threads": _threads(executor),
    }
    plan = _pilot(kind, x[units], samples.labels[units], masks, heads)
    talk.note(plan.sentence())
    folder = output / MODELS
    if force:
        forget_other_models(folder, n_models=n_models)
    margins = fit_many(kind, x[units], samples.labels[units], masks=masks, folder=folder, talk=talk, **heads)
    columns, own, column_names = _columns(samples, units, by_group=mask_by_group)
    teaching = Teaching(masks[:, columns], margins[:, : len(units)], own=own)
    found = _find(
        teaching,
        samples,
        units,
        unit_donors=None if donors is None else donors[units][columns],
        n_groups=n_groups,
        method=clustering,
        seed=seed,
        talk=talk,
    )
    result, weights = assemble(
        found,
        samples,
        units=units,
        others=others,
        masks=masks,
        margins=margins,
        columns=columns,
        column_names=column_names,
        scaled=x,
        show=show,
        plan=plan.__dict__ | {"seconds_taken": round(time.monotonic() - started, 1)},
        provenance={
            "samples": samples.kind,
            "inputs": samples.fingerprints,
            "coordinates": list(samples.notes),
            "seed": seed,
            "clustering": clustering,
            "versions": versions(),
        },
        seed=seed,
        talk=talk,
    )
    write_groups(result, output, weights=weights, columns=column_names, report=report, seed=seed)
    for sentence in result.warnings:
        talk.warn(sentence)
    return result


def _threads(executor: str) -> int:
    word, _, number = executor.partition(":")
    if word not in ("here", "local") or (number and not number.isdecimal()):
        msg = f"executor {executor!r}: wanted 'here' (every core of this machine) or 'local:N' (N of them)"
        raise UsageError(msg)
    return n_threads(int(number or 0))


def _check(samples: Samples, *, mask_by_group: bool, show: Sequence[str], n_models: int, share: float | None) -> None:
    if mask_by_group and samples.donors is None:
        msg = "masks by group need the column of the groups; name it with --group"
        raise UsageError(msg)
    if n_models < 200:
        msg = f"{n_models} models: wanted 200 at least, since each weight is a difference between models"
        raise UsageError(msg)
    if share is not None and not 0 < share < 1:
        msg = f"a share of {share}: wanted a number between 0 and 1"
        raise UsageError(msg)
    unknown = sorted(set(show) - set(samples.names))
    if unknown:
        msg = f"no sample is called {unknown[0]!r}; names begin with {', '.join(samples.names[:3])}"
        raise UsageError(msg)


def _units(samples: Samples, trained: np.ndarray | None, *, most: int, seed: int) -> np.ndarray:
    """Positions of the samples that masks are drawn from: an even draw of every class and donor."""
    able = np.arange(len(samples.names)) if trained is None else np.flatnonzero(trained)
    if len(able) <= most:
        return able
    rng = np.random.default_rng((seed, 1))
    shuffled = able[rng.permutation(len(able))]
    donors = np.full(len(samples.names), "") if samples.donors is None else samples.donors
    stratum = np.char.add(np.char.add(samples.labels.astype(str), "\t"), donors.astype(str))[shuffled]
    _, codes, sizes = np.unique(stratum, return_inverse=True, return_counts=True)
    place = np.empty(len(shuffled))
    for code, size in enumerate(sizes):
        place[codes == code] = (np.arange(size) + 0.5) / size
    return np.sort(shuffled[np.argsort(place, kind="stable")[:most]])


def _with_two_classes(masks: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Masks that hold one class alone teach nothing, and are few: each is replaced by the last one that does not."""
    codes = np.unique(labels, return_inverse=True)[1]
    first = codes[masks.argmax(axis=1)]
    single = ~(masks & (codes[None, :] != first[:, None])).any(axis=1)
    if single.mean() > 0.2:
        msg = f"{100 * single.mean():.0f} % of the masks hold one class alone: raise --share, or mask by sample"
        raise UsageError(msg)
    if single.any():
        able = np.flatnonzero(~single)
        masks = masks.copy()
        masks[single] = masks[able[np.arange(single.sum()) % len(able)]]
    return masks


def _pilot(kind: HeadKind, x: np.ndarray, y: np.ndarray, masks: np.ndarray, heads: dict[str, Any]) -> Plan:
    few = np.linspace(0, len(x) - 1, min(200, len(x))).astype(int)
    asked = heads | {"threads": 1, "X_target": x[few], "y_target": y[few]}
    start = time.monotonic()
    fit_many(kind, x, y, masks=masks[:2], **asked)
    begun = time.monotonic()
    margins = fit_many(kind, x, y, masks=masks[:_PILOT], **asked)
    done = time.monotonic()
    each = max((done - begun) - (begun - start), 0.25 * (done - begun)) / _PILOT
    share = float(masks.mean())
    return Plan(
        kind=kind,
        models=len(masks),
        share=share,
        trained_on=len(x),
        targets=len(heads["X_target"]),
        seconds=each * len(masks) / heads["threads"] + (begun - start),
        effect=smallest_effect(len(masks), spread=float(np.median(margins.std(axis=0))), alpha=share),
    )


def _columns(samples: Samples, units: np.ndarray, *, by_group: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Columns of the masks to regress on, the column that each unit is itself, and the columns' names."""
    if not by_group or samples.donors is None:
        return np.arange(len(units)), np.arange(len(units)), samples.names[units]
    names, columns, own = np.unique(samples.donors[units], return_index=True, return_inverse=True)
    return columns, own, names


def _find(
    teaching: Teaching,
    samples: Samples,
    units: np.ndarray,
    *,
    unit_donors: np.ndarray | None,
    n_groups: int | None,
    method: Clustering,
    seed: int,
    talk: Talk,
) -> Subgroups:
    n_classes = len(set(samples.labels[units]))
    with talk.progress("groups", _CLOUDS * n_classes) as bar:
        return find_subgroups(
            teaching,
            samples.labels[units],
            donors=None if samples.donors is None else samples.donors[units],
            unit_donors=unit_donors,
            n_groups=n_groups,
            method=method,
            rounds=_ROUNDS,
            n_clouds=_CLOUDS,
            seed=seed,
            told=bar.advance,
        )


def _duration(seconds: float) -> str:
    return f"{max(seconds, 1):.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
