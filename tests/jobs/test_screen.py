"""``screen`` from files to files: pairs with candidates, and all knockouts in DepMap's formats."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from whycell.data.pair_splits import PairSplit
from whycell.errors import DataError, FormatError, UsageError
from whycell.jobs import screen as pair_job
from whycell.jobs.screen import screen_pairs
from whycell.jobs.screen_knockouts import screen_knockouts
from whycell.models.pair_baselines import BASELINES
from whycell.models.pairs import PairScreener


@pytest.fixture
def pair_files(tmp_path: Path) -> Path:
    """60 real genes, positive where their profiles' strongest line agrees in sign."""
    rng = np.random.default_rng(0)
    genes = np.array([f"GENE{i:02}" for i in range(60)])
    profiles = rng.standard_normal((60, 20))
    profiles[:, :12] += 2 * rng.standard_normal((60, 1))
    table = pd.DataFrame(profiles, index=genes, columns=[f"ACH-{i:06}" for i in range(20)])
    table.to_csv(tmp_path / "lines.tsv", sep="\t", index_label="gene")
    a, b = np.triu_indices(60, 1)
    take = rng.permutation(len(a))[:900]
    sign = profiles[:, :12].mean(axis=1)
    frame = pd.DataFrame({"gene_a": genes[a], "gene_b": genes[b], "label": (sign[a] * sign[b] > 0).astype(int)})
    frame.iloc[take].to_csv(tmp_path / "pairs.tsv", sep="\t", index=False)
    rest = frame.drop(index=take)
    rest.to_csv(tmp_path / "candidates.tsv", sep="\t", index=False)
    frame.sample(300, random_state=0)[["gene_a", "gene_b"]].to_csv(tmp_path / "ppi.tsv", sep="\t", index=False)
    rest.head(2).assign(source="CRISPR").to_csv(tmp_path / "evidence.tsv", sep="\t", index=False)
    pd.DataFrame({"gene": genes[:30], "drug": "drugamab"}).to_csv(tmp_path / "drugs.tsv", sep="\t", index=False)
    return tmp_path


def test_pairs_are_ranked_scored_and_shown(pair_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = {name: BASELINES[name] for name in ("degree", "logistic regression")}
    monkeypatch.setattr(pair_job, "BASELINES", quick)
    monkeypatch.setattr(pair_job, "PairScreener", lambda **how: PairScreener(**how, trees=25, members=1))
    out = pair_files / "ranked.tsv"
    result = screen_pairs(
        pair_files / "pairs.tsv",
        out,
        features=[pair_files / "lines.tsv"],
        interactions=pair_files / "ppi.tsv",
        candidates=pair_files / "candidates.tsv",
        evidence=pair_files / "evidence.tsv",
        drugs=pair_files / "drugs.tsv",
        report=pair_files / "r.html",
        folds=2,
        threads=1,
    )
    ranked = pd.read_csv(out, sep="\t", keep_default_na=False)
    assert ranked["score"].is_monotonic_decreasing
    truth = pd.read_csv(pair_files / "candidates.tsv", sep="\t").set_index(["gene_a", "gene_b"])["label"]
    top = [truth.get((r.gene_a, r.gene_b), truth.get((r.gene_b, r.gene_a))) for r in ranked.head(100).itertuples()]
    assert np.mean(top) > 0.7
    assert (ranked["evidence"] != "").sum() == 2
    assert set(result.scores["setting"]) == {"pair_new", "one_new", "both_new"}
    degree = result.scores.query("model == 'degree' and setting == 'both_new' and measure == 'auroc'")
    assert degree["value"].iloc[0] == 0.5
    assert PairSplit.load(pair_files / "ranked.tsv.split.json").hash == result.provenance["split"]
    page = (pair_files / "r.html").read_text(encoding="utf-8")
    assert "drugamab" in page
    assert "both genes new" in page.lower()


def test_texts_in_the_place_of_vectors_are_told_what_to_do(pair_files: Path) -> None:
    pd.DataFrame({"gene_id": ["x"], "text": ["y"]}).to_parquet(pair_files / "genes.parquet")
    with pytest.raises(FormatError, match="whycell genes embed"):
        screen_pairs(pair_files / "pairs.tsv", pair_files / "o.tsv", features=[pair_files / "genes.parquet"])
    with pytest.raises(DataError, match="no features of genes"):
        screen_pairs(pair_files / "pairs.tsv", pair_files / "o.tsv")


@pytest.fixture
def depmap(tmp_path: Path) -> Path:
    """120 lines, 40 genes expressed, 30 mutated; knockout 3 follows expression of gene 20, 5 a mutation of gene 25."""
    rng = np.random.default_rng(0)
    # Chromosome 1 in order, a million bases apart.
    symbols = ["TP53", "MYC", "EGFR", "KRAS", "BRAF", "PTEN", "RB1", "BRCA1", "BRCA2", "PARP1"]
    symbols += [f"GENE{i}" for i in range(30)]
    columns = [f"{s} ({i})" for i, s in enumerate(symbols)]
    lines = [f"ACH-{i:06}" for i in range(120)]
    lineage = rng.choice(["Lung", "Skin", "Blood"], 120)
    shift = pd.Series({"Lung": 0.0, "Skin": 2.0, "Blood": -2.0})[lineage].to_numpy()
    expression = rng.standard_normal((120, 40)) + shift[:, None]
    mutated = (rng.random((120, 30)) < 0.2).astype(int)
    effects = rng.standard_normal((120, 40)) + 2 * shift[:, None] + 3 * (expression - shift[:, None])
    effects[:, 3] = rng.standard_normal(120) + 3 * expression[:, 20]
    effects[:, 5] = 0.3 * rng.standard_normal(120) - 2 * mutated[:, 25]
    effects[2, 7] = np.nan
    pd.DataFrame(effects, index=lines, columns=columns).to_csv(tmp_path / "effect.csv")
    extra = pd.DataFrame(
        {"SequencingID": [f"S{i}" for i in range(120)], "ModelID": lines, "IsDefaultEntryForModel": "Yes"}
    )
    table = pd.DataFrame(expression, columns=columns)
    pd.concat([extra, table], axis=1).sample(frac=1, random_state=0).to_csv(tmp_path / "expression.csv")
    pd.DataFrame(mutated, index=lines, columns=columns[:30]).to_csv(tmp_path / "damaging.csv")
    pd.DataFrame({"ModelID": lines, "OncotreeLineage": lineage}).to_csv(tmp_path / "Model.csv", index=False)
    positions = pd.DataFrame({"gene": symbols, "chromosome": "chr1", "start": np.arange(40) * 1_000_000})
    positions.to_csv(tmp_path / "positions.tsv", sep="\t", index=False)
    return tmp_path


def test_all_knockouts_are_screened(depmap: Path) -> None:
    result = screen_knockouts(
        depmap / "effect.csv",
        depmap / "ranked.tsv",
        expression=depmap / "expression.csv",
        mutations=[depmap / "damaging.csv"],
        lineage=depmap / "Model.csv",
        positions=depmap / "positions.tsv",
        report=depmap / "r.html",
        nulls=5,
        threads=1,
    )
    best = result.ranked[result.ranked["score"] > 0].drop_duplicates("gene_a").set_index("gene_a")
    assert best.loc["KRAS", "gene_b"] == "GENE10"
    assert best.loc["PTEN", ["gene_b", "kind"]].tolist() == ["GENE15", "mutation"]
    assert best.loc["PTEN", "slope"] < 0
    near = {f"GENE{i}" for i in range(6, 15)}  # within 5 Mb of GENE10
    assert not set(result.ranked.query("gene_a == 'GENE10'")["gene_b"]) & near
    knockouts = pd.read_csv(depmap / "ranked.tsv.knockouts.tsv", sep="\t").set_index("gene")
    assert knockouts.loc["KRAS", "q"] < 0.05
    assert "R² on held-out lines" in (depmap / "r.html").read_text(encoding="utf-8")


def test_a_screen_of_noise_finds_nothing(depmap: Path) -> None:
    frame = pd.read_csv(depmap / "effect.csv", index_col=0)
    rng = np.random.default_rng(5)
    frame.iloc[:, :] = rng.standard_normal(frame.shape)
    frame.to_csv(depmap / "noise.csv")
    result = screen_knockouts(
        depmap / "noise.csv",
        depmap / "o.tsv",
        expression=depmap / "expression.csv",
        report=depmap / "r.html",
        nulls=5,
        threads=1,
    )
    assert result.ranked.empty
    assert "No knockout is predicted better" in (depmap / "r.html").read_text(encoding="utf-8")


def test_a_screen_that_cannot_be_says_why(depmap: Path) -> None:
    with pytest.raises(UsageError, match="lineages are to be held out"):
        screen_knockouts(
            depmap / "effect.csv", depmap / "o.tsv", expression=depmap / "expression.csv", hold_out="lineage"
        )
    with pytest.raises(DataError, match="no features of the lines"):
        screen_knockouts(depmap / "effect.csv", depmap / "o.tsv")
    frame = pd.read_csv(depmap / "expression.csv")
    frame["ModelID"] = "X" + frame["ModelID"]
    frame.to_csv(depmap / "other.csv", index=False)
    with pytest.raises(DataError, match="0 cell lines are in all tables"):
        screen_knockouts(depmap / "effect.csv", depmap / "o.tsv", expression=depmap / "other.csv")
