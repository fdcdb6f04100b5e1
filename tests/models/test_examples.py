"""The training cells a model keeps: what they say is true of retraining, and what is written is what is read."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from whycell.encode.cells import Gaps
from whycell.errors import ModelError
from whycell.models.example_influence import Lessons, Taught, last_layer, log_odds, pulls
from whycell.models.examples import FILE, Examples, load_examples
from whycell.models.fit import train_heads
from whycell.models.forward import softmax
from whycell.models.lessons import Lesson
from whycell.models.store import load, read_card
from whycell.models.typer import CellTyper


@pytest.fixture(scope="module")
def keeper(blood: Any) -> CellTyper:
    return CellTyper(epochs=4, n_hidden=32).fit(
        blood.X, blood.labels, genes=blood.genes, groups=blood.donors, examples=10_000
    )


@pytest.fixture(scope="module")
def asked(keeper: CellTyper, others: Any) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of forty unsure cells, and the leaves they were called."""
    learned = keeper.answerer_.learned
    columns = np.arange(len(others.genes), dtype=np.int32)
    x, _ = learned.encoder.encode(others.X, columns, gaps=Gaps.none(len(others.genes)))
    logits = last_layer(x, learned.heads[0])[1]
    may = np.eye(logits.shape[1], dtype=bool)[logits.argmax(axis=1)]
    unsure = np.argsort(log_odds(logits, may))[:40]
    return x[unsure], may[unsure]


def retrained(examples: Examples, keep: list[np.ndarray], seed: int) -> list[dict[str, np.ndarray]]:
    x = examples.coordinates.astype(np.float32)
    lessons = [
        Lesson(x[None, k], examples.kind[k].astype(np.int64), examples.meanings, examples.weight[k]) for k in keep
    ]
    return train_heads(
        lessons,
        n_hidden=32,
        dropout=0.3,
        weight_decay=1e-2,
        learning_rate=2e-3,
        epochs=10,
        batch=256,
        max_steps=600,
        seed=seed,
    )


def test_pulls_are_gradients_of_the_log_odds() -> None:
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((6, 5))
    may = rng.random((6, 5)) < 0.4
    may[:, 0], may[:, 1] = True, False
    v, total = pulls(softmax(logits), may)
    step = 1e-6
    for k in range(5):
        moved = logits.copy()
        moved[:, k] += step
        np.testing.assert_allclose((log_odds(moved, may) - log_odds(logits, may)) / step, v[:, k], atol=1e-5)
    np.testing.assert_allclose(log_odds(logits, may), np.log(total / (1 - total)), rtol=1e-6)


def test_influence_is_the_formula_where_the_curvature_is_a_product(keeper: CellTyper) -> None:
    """Where every cell has the same probabilities the Kronecker factors are exact: solve it out in full."""
    rng = np.random.default_rng(1)
    n, d, k = 40, 3, 4
    head = {name: np.zeros_like(value[:d] if name == "hidden" else value) for name, value in _blank(d, 5, k).items()}
    taught = Taught(rng.standard_normal((n, d)).astype(np.float32), np.eye(k, dtype=bool)[rng.integers(k, size=n)],
                    np.ones(n, np.float32))  # fmt: skip
    x, may = rng.standard_normal((2, d)).astype(np.float32), np.eye(k, dtype=bool)[[1, 2]]
    found = Lessons(taught, [head]).influences(x, may, ridges=(2.0,))[0][0]
    phi, logits = last_layer(taught.coordinates, head)
    psi, given = last_layer(x, head)
    p = softmax(logits)
    each = [np.kron(np.outer(f, f), np.diag(q) - np.outer(q, q)) for f, q in zip(phi, p, strict=True)]
    hessian = np.sum(each, axis=0)
    unit = np.trace(hessian) / n
    v, own = pulls(p, taught.may)
    to, _ = pulls(softmax(given), may)
    left = np.stack([np.kron(a, b) for a, b in zip(psi, to, strict=True)])
    right = np.stack([np.kron(a, b) for a, b in zip(phi, v, strict=True)])
    wanted = left @ np.linalg.solve(hessian + 2.0 * unit * np.eye(len(hessian)), right.T) * (1 - own)
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-6)


def _blank(d: int, h: int, k: int) -> dict[str, np.ndarray]:
    f = np.float32
    return {
        "linear": np.zeros((d, k), f), "bias": np.zeros((1, k), f), "hidden": np.zeros((d, h), f),
        "hidden_bias": np.zeros((1, h), f), "gain": np.ones((1, h), f), "shift": np.zeros((1, h), f),
        "out": np.zeros((h, k), f),
    }  # fmt: skip


def test_sums_over_sets_are_sums_of_cells(keeper: CellTyper, asked: Any) -> None:
    x, may = asked
    examples = keeper.examples_
    lessons = Lessons(examples.taught(), examples.heads[:2])
    each = lessons.influences(x[:4], may[:4], ridges=(1.0, 3.0))
    sums = lessons.sums(x[:4], may[:4], ridges=(1.0, 3.0), masks=examples.halves[:3])
    for a, b in zip(each, sums, strict=True):
        np.testing.assert_allclose(np.einsum("rtn,sn->rst", a, examples.halves[:3]), b, rtol=1e-2, atol=1e-4)
    together = lessons.influences(x[:4], may[:4], ridges=(1.0,), group=np.array([0, 1, 1, 0]))[0][0]
    np.testing.assert_allclose(together[0], (each[0][0, 0] + each[0][0, 3]) / 2, rtol=1e-3, atol=1e-6)


def test_leaving_out_the_supporters_takes_away_what_was_foretold(keeper: CellTyper, asked: Any) -> None:
    x, may = asked
    examples = keeper.examples_
    scores = examples.influences(x, may)
    rng = np.random.default_rng(2)
    picked = range(0, 40, 4)
    n = scores.shape[1]
    left_out = [np.argsort(-scores[t])[:20] for t in picked] + [rng.permutation(n)[:20] for _ in picked]
    keep = [np.arange(n)] * 3 + [np.setdiff1d(np.arange(n), rows) for rows in left_out]
    odds = np.stack([log_odds(last_layer(x, head)[1], may) for head in retrained(examples, keep, 9)])
    base = odds[:3].mean(axis=0)
    change = np.array([odds[3 + i, t] - base[t] for i, t in enumerate([*picked, *picked])])
    foretold = np.array([-scores[t, rows].sum() for t, rows in zip([*picked, *picked], left_out, strict=True)])
    assert change[:10].mean() < change[10:].mean() - 0.1
    assert np.corrcoef(change, foretold)[0, 1] > 0.6
    assert 0.2 < change[:10].mean() / foretold[:10].mean() < 5


def test_scores_tell_more_than_gradient_products(keeper: CellTyper) -> None:
    quality = keeper.examples_.quality
    assert quality["lds"] > max(0.15, quality["lds_gradient_dot"])


def test_what_is_saved_is_what_is_read(keeper: CellTyper, asked: Any, tmp_path: Path) -> None:
    keeper.save(tmp_path / "model")
    card = read_card(tmp_path / "model")
    assert card["examples"]["cells"] == card["examples"]["of"] == 600
    read = load_examples(tmp_path / "model", card)
    for name in ("coordinates", "kind", "meanings", "weight", "cell", "label", "donor", "study", "halves"):
        np.testing.assert_array_equal(getattr(read, name), getattr(keeper.examples_, name))
    np.testing.assert_allclose(
        read.influences(asked[0][:2], asked[1][:2]), keeper.examples_.influences(asked[0][:2], asked[1][:2]), rtol=1e-3
    )
    keeper.save(tmp_path / "model", force=True)  # a model with three files may be replaced


def test_the_answers_are_the_same_with_and_without(keeper: CellTyper, blood: Any, others: Any) -> None:
    plain = CellTyper(epochs=4, n_hidden=32).fit(blood.X, blood.labels, genes=blood.genes, groups=blood.donors)
    assert plain.examples_ is None
    np.testing.assert_array_equal(plain.predict_proba(others.X), keeper.predict_proba(others.X))


def test_a_damaged_or_absent_file_is_one_sentence(keeper: CellTyper, typer: CellTyper, tmp_path: Path) -> None:
    folder = keeper.save(tmp_path / "model")
    card = read_card(folder)
    packed = (folder / FILE).read_bytes()
    (folder / FILE).write_bytes(packed[:-100])
    with pytest.raises(ModelError, match="truncated, missing or replaced"):
        load_examples(folder, card)
    load(folder)  # it still types cells
    (folder / FILE).unlink()
    with pytest.raises(ModelError, match="truncated, missing or replaced"):
        load_examples(folder, card)
    bare = typer.save(tmp_path / "bare")
    with pytest.raises(ModelError, match="keeps no training cells"):
        load_examples(bare, read_card(bare))


def test_a_large_training_is_kept_in_part(blood: Any) -> None:
    model = CellTyper(epochs=2, n_hidden=16).fit(
        blood.X, blood.labels, genes=blood.genes, groups=blood.donors, examples=300
    )
    kept = model.examples_
    assert kept.of == 600
    assert 300 <= len(kept.kind) < 600
    donors, counts = np.unique(kept.donor, return_counts=True)
    assert set(donors) == set(blood.donors)
    assert counts.min() >= 20
