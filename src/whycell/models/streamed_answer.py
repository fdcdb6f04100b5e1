"""From a network trained on vectors to a model that answers for counts: calibrated on who was held out.

What the vectors cannot tell is learned from the encoder's sample: how sure to be of a small panel, which cells are
chimeras, what sums are usual, how many counts lie on genes that are not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from whycell.compute import Talk
from whycell.encode.cells import Gaps
from whycell.knowledge.terms import Ontology
from whycell.models.answer import Answerer, Norms
from whycell.models.calibrate import Folds
from whycell.models.corpus_encoder import CorpusEncoder
from whycell.models.fit import train_heads
from whycell.models.forward import ensemble_logits
from whycell.models.home import Homes
from whycell.models.laboratories import Laboratories
from whycell.models.lessons import Cells, Learned, novelty_lesson
from whycell.models.projection import balance
from whycell.models.streamed import Gapped
from whycell.models.streamed_kinds import Kinds
from whycell.models.tested import HeldOut, calibrate, novelty_model, predict_held_out
from whycell.models.typer import branches
from whycell.models.views import views

__all__ = ["Sampled", "answerer_of", "gapped_of", "sampled"]

_SHIFT = 0.6
_KNOWN = 2_000


@dataclass(frozen=True)
class Sampled:
    """The encoder's sample in the terms of the corpus.

    Parameters
    ----------
    cells
        Those whose label is taught.
    held
        (n_cells,) bool, whether each is held out.
    group
        (n_cells,) its donor, study or fold, as a number.
    """

    cells: Cells
    held: np.ndarray
    group: np.ndarray

    @property
    def taught(self) -> Cells:
        """The cells that may train."""
        return self.cells.rows(np.flatnonzero(~self.held))


def sampled(encoder: CorpusEncoder, kinds: Kinds) -> Sampled:
    """The sample's cells whose combination of study, donor and label is known to the corpus.

    Parameters
    ----------
    encoder
        With its sample.
    kinds
        Of the corpus.
    """
    told = encoder.sample.cells
    row = kinds.rows_of(told)
    kind = np.where(row >= 0, kinds.table["kind"].to_numpy()[row], -1)
    use = np.flatnonzero(kind >= 0)
    of = kinds.table.iloc[row[use]]
    # Codes of the corpus; a study outside the sample is measured by nobody here, and asked of nobody.
    measured = np.ones((len(kinds.studies), len(encoder.genes)), dtype=bool)
    place = {str(name): i for i, name in enumerate(kinds.studies)}
    for name, seen in zip(encoder.sample.studies, encoder.sample.measured, strict=True):
        if str(name) in place:
            measured[place[str(name)]] = seen
    cells = Cells(
        encoder.sample.values[use],
        of["study_code"].to_numpy(),
        of["donor_code"].to_numpy(),
        measured,
        kind[use],
        kinds.meanings,
    )
    held_out = encoder.held_out
    # Single cells held out are two groups, so that there is a spread between groups.
    group = {"study": cells.study, "donor": cells.donor, "cell": np.arange(len(use)) % 2}[held_out.unit]
    return Sampled(cells, held_out.mask(told.iloc[use]), group)


def gapped_of(encoder: CorpusEncoder, sample: Sampled, *, seed: int) -> Gapped | None:
    """The sample's training cells seen through gaps, and as other laboratories would measure them.

    Parameters
    ----------
    encoder
        Of the corpus.
    sample
        From `sampled`.
    seed
        Of the gaps.
    """
    cells = sample.taught
    if not cells.values.shape[0]:
        return None
    several = len(cells.measured) > 1
    laboratories = None
    if several:
        laboratories = Laboratories.compare(cells.values, cells.study, cells.measured, cells.meanings, cells.kind)
    with threadpool_limits(1):
        seen = views(
            encoder.encoder,
            cells.values,
            cells.study,
            cells.measured,
            shift=_SHIFT if several else 0.0,
            laboratories=laboratories,
            rng=np.random.default_rng([seed, 5]),
        )
    return Gapped(seen[1:], cells.kind, balance(cells.study, cells.donor, cells.kind))


def answerer_of(
    head: Mapping[str, np.ndarray],
    encoder: CorpusEncoder,
    kinds: Kinds,
    sample: Sampled,
    *,
    held: tuple[np.ndarray, np.ndarray],
    error: float,
    ontology: Ontology,
    seed: int,
    talk: Talk | None = None,
) -> tuple[Answerer, Cells, Folds, np.ndarray]:
    """Calibrate a network and give it what an answer needs.

    Parameters
    ----------
    head
        The network.
    encoder, kinds, sample
        Of the corpus.
    held
        (n, d) float32 and (n,) rows of the kinds' table: held-out cells of the corpus.
    error
        Largest share of calls off the true branch.
    ontology
        The Cell Ontology.
    seed
        Of gaps and chimeras.
    talk
        Told of progress.

    Returns
    -------
    the model; and of the held-out cells of the corpus what a card is made of: cells, folds, and (n, n_leaves)
    calibrated probabilities
    """
    rng = np.random.default_rng([seed, 6])
    used = kinds.table[kinds.table["kind"] >= 0]
    with threadpool_limits(1):
        learned = _learned(head, encoder, kinds, sample, seed=seed, rng=rng, talk=talk or Talk())
        folds = Folds(
            encoder.held_out.unit,
            np.where(sample.held, 0, 1),
            sample.group,
            cautious=encoder.held_out.unit == "cell",
        )
        told = predict_held_out(sample.cells, folds, {0: learned}, rng=rng)
        cells, folds, told = _with_corpus(told, folds, sample, kinds, held, learned, encoder.held_out.unit)
        calibration, held_p = calibrate(
            told,
            cells,
            folds,
            {0: learned},
            below=kinds.space.below,
            on_branch=branches(
                used["label"].to_numpy(dtype=object), kinds.ids, used["kind"].to_numpy(), kinds.space, ontology
            ),
            information=kinds.space.information,
            error=error,
        )
        answerer = Answerer(
            genes=encoder.genes,
            space=kinds.space,
            learned=learned,
            calibration=calibration,
            novelty=novelty_model(told, learned),
            norms=Norms.of(learned, sample.taught, kinds.space),
            other=encoder.other,
            homes=Homes.learn(learned, sample.taught, below=kinds.space.below, trust=calibration.trust),
        )
    rows = np.sort(told.rows[0])
    return answerer, cells.rows(rows), replace(folds, fold=folds.fold[rows], group=folds.group[rows]), held_p


def _learned(
    head: Mapping[str, np.ndarray],
    encoder: CorpusEncoder,
    kinds: Kinds,
    sample: Sampled,
    *,
    seed: int,
    rng: np.random.Generator,
    talk: Talk,
) -> Learned:
    cells = sample.taught
    taught_kinds = np.unique(kinds.table["kind"][kinds.taught])
    meanings = kinds.meanings[taught_kinds]
    taught = meanings.any(axis=0)
    own = dict(head)
    own["bias"] = np.where(taught, own["bias"], np.float32(-1e4)).astype(np.float32)
    x, _ = encoder.encoder.encode(
        cells.values, np.arange(len(encoder.genes), dtype=np.int32), gaps=Gaps(cells.measured), pattern=cells.study
    )
    some = np.sort(rng.permutation(len(x))[:_KNOWN])
    doubter = train_heads(
        [novelty_lesson(cells, encoder.encoder, rng)],
        n_hidden=128,
        dropout=0.3,
        weight_decay=1e-2,
        learning_rate=2e-3,
        epochs=6.0,
        batch=512,
        max_steps=1_500,
        seed=seed + 1,
        talk=talk,
    )[0]
    return Learned(encoder.encoder, encoder.unit, [own], doubter, x[some].copy(), taught, meanings)


def _with_corpus(
    told: HeldOut,
    folds: Folds,
    sample: Sampled,
    kinds: Kinds,
    held: tuple[np.ndarray, np.ndarray],
    learned: Learned,
    unit: str,
) -> tuple[Cells, Folds, HeldOut]:
    """As measured, the held-out cells of the corpus speak in the place of the sample's, of which there are fewer; and
    one cell of every combination stands for who taught what."""
    x, rows = held
    if not len(x):
        return sample.cells, folds, told
    table = kinds.table
    stand = np.flatnonzero(kinds.taught)
    extra = table.iloc[np.concatenate([rows, stand])]
    n, m = sample.cells.values.shape[0], len(rows)
    cells = Cells(
        sp.vstack([sample.cells.values, sp.csr_matrix((len(extra), sample.cells.values.shape[1]))], format="csr"),
        np.concatenate([sample.cells.study, extra["study_code"]]),
        np.concatenate([sample.cells.donor, extra["donor_code"]]),
        sample.cells.measured,
        np.concatenate([sample.cells.kind, extra["kind"]]),
        kinds.meanings,
    )
    of = table.iloc[rows]
    group = of["study_code"] if unit == "study" else of["donor_code"] if unit == "donor" else np.arange(m) % 2
    both = Folds(
        unit,
        np.concatenate([folds.fold, np.zeros(m, dtype=np.int64), np.ones(len(stand), dtype=np.int64)]),
        np.concatenate([sample.group, np.asarray(group), np.zeros(len(stand), dtype=np.int64)]),
        folds.cautious,
    )
    more = replace(
        told,
        rows=[n + np.arange(m), *told.rows[1:]],
        log_p=[ensemble_logits(x, learned.heads), *told.log_p[1:]],
        pattern=[np.zeros(m, dtype=np.int64), *told.pattern[1:]],
    )
    return cells, both, more
