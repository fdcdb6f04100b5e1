"""The evaluation from end to end on small simulated donors, and what it must refuse."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from whycell.data.splits import Split, make_split
from whycell.errors import FormatError, LabelError, OutputError, UsageError
from whycell.jobs.compare import compare
from whycell.jobs.crossfit import cross_fit, tree_for
from whycell.jobs.evaluate import evaluate, evaluate_references
from whycell.jobs.results_folder import RESULT_FILES, write_results
from whycell.jobs.specs import Spec, read_spec, specs_for
from whycell.knowledge.genes import GeneTable
from whycell.knowledge.terms import Ontology
from whycell.metrics.scorecard import KEYS

IDS = {
    "CD4 T": "CL:0000624",
    "CD8 T": "CL:0000625",
    "B": "CL:0000236",
    "NK": "CL:0000623",
    "T": "CL:0000084",
    "odd": "",
    "unknown": "",
}


def simulate(*, donors=6, cells=60, seed=0, labels=("CD4 T", "CD8 T", "B", "NK", "odd")):
    """Poisson counts of 40 genes; each type has genes of its own, and each donor shifts all of them."""
    rng = np.random.default_rng(seed)
    profiles = rng.gamma(0.4, 3, (len(labels), 40))
    rows, frames = [], []
    for donor in range(donors):
        kinds = rng.integers(0, len(labels), cells)
        shift = rng.gamma(8, 1 / 8, 40)
        rows.append(rng.poisson(profiles[kinds] * shift))
        frames.append(pd.DataFrame({"label": np.array(labels)[kinds], "donor": f"d{donor}", "study": "s"}))
    obs = pd.concat(frames, ignore_index=True)
    obs["cell"] = [f"c{i}" for i in range(len(obs))]
    return SimpleNamespace(
        X=sparse.csr_matrix(np.vstack(rows).astype(np.float32)),
        genes=np.array([f"ENSG{i:011d}" for i in range(40)]),
        obs=obs,
        measured={"s": np.ones(40, dtype=bool)},
        label_ids={label: IDS[label] for label in obs["label"].unique()},
    )


@pytest.fixture(scope="module")
def evaluated():
    return evaluate_references(simulate(), by="donor", only=["majority", "logistic", "knn"])


def test_every_score_is_there_with_an_interval_around_it(evaluated):
    result, split = evaluated
    assert list(result.scores) == ["majority", "logistic", "knn"]
    scores = result.scores["logistic"]
    absent = set(KEYS) - set(scores)
    assert absent == {
        "novel_on_branch", "novel_unknown", "novel_wrong_branch", "novelty_auroc", "novelty_fpr95", "finer_ideal"
    }  # fmt: skip
    for key, score in scores.items():
        assert set(score) == {"value", "low", "high", "n", "unit"}
        if score["low"] is not None:
            assert score["low"] - 1e-9 <= score["value"] <= score["high"] + 1e-9, key
    assert scores["accuracy"]["value"] > 0.9 > result.scores["majority"]["accuracy"]["value"]
    kinds = ("exact", "under", "over", "wrong_branch", "unknown")
    assert sum(scores[kind]["value"] for kind in kinds) == pytest.approx(1)
    assert scores["wrong_branch_of_calls"]["value"] < 0.05
    assert 0.85 < scores["conformal_coverage"]["value"] <= 1
    assert split.hash == result.provenance["split_hash"]
    assert len(result.per_donor) == 18
    assert set(result.curves["knn"]) == {"reliability", "risk_coverage"}
    assert result.confusion["knn"].to_numpy().sum() == 360


def test_our_scores_agree_with_scikit_learn_on_the_calls(evaluated):
    from sklearn.metrics import accuracy_score, f1_score

    result, _ = evaluated
    calls = result.calls[result.calls["model"] == "knn"]
    truth, leaf = calls["truth_label"], calls["leaf_label"]
    assert result.scores["knn"]["accuracy"]["value"] == pytest.approx(accuracy_score(truth, leaf))
    assert result.scores["knn"]["macro_f1"]["value"] == pytest.approx(f1_score(truth, leaf, average="macro"))


def test_the_first_model_is_compared_donor_by_donor_with_the_others(evaluated):
    table = evaluated[0].comparisons
    assert set(table["against"]) == {"logistic", "knn"}
    row = table[(table["metric"] == "accuracy") & (table["against"] == "logistic")].iloc[0]
    assert row["high"] < 0
    assert row["n_groups"] == 6


def test_folder_compare_and_force(evaluated, tmp_path):
    result, split = evaluated
    one, other = tmp_path / "one", tmp_path / "other"
    write_results(result, one, page=lambda _: "<html></html>", extra={"split.json": split.save})
    assert {path.name for path in one.iterdir()} == set(RESULT_FILES) - {"run.json"}
    scores = json.loads((one / "scores.json").read_text())
    assert scores["accuracy"] == result.scores["majority"]["accuracy"]
    assert scores["models"]["knn"]["ece"]["unit"] == "share"
    assert Split.load(one / "split.json").hash == scores["about"]["split_hash"]
    with pytest.raises(OutputError, match="--force"):
        write_results(result, one)
    write_results(result, one, force=True)
    write_results(result, other)
    table = compare(one, other)
    assert table["difference"].abs().max() == 0
    assert {"accuracy", "macro_f1", "information_kept", "ece"} <= set(table["metric"])
    assert table["donor_mean"].notna().any()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="no results"):
        write_results(result, tmp_path / "mine", force=True)
    with pytest.raises(FormatError, match="whycell evaluate"):
        compare(tmp_path / "mine", one)


def test_different_splits_are_not_compared(evaluated, tmp_path):
    write_results(evaluated[0], tmp_path / "one")
    again, _ = evaluate_references(simulate(), by="random", only=["majority", "knn"], n_folds=3)
    assert any("leaking" in sentence for sentence in again.warnings)
    write_results(again, tmp_path / "two")
    with pytest.raises(UsageError, match="different splits"):
        compare(tmp_path / "one", tmp_path / "two")


def test_types_that_training_never_saw_are_scored_apart():
    data = simulate(donors=6, labels=("CD8 T", "B", "NK", "T"))
    obs = data.obs
    obs["study"] = np.where(obs["donor"].isin(["d4", "d5"]), "b", "a")
    # Study b has NK alone; study a has T only as "T", study b as "CD8 T".
    keep = np.where(obs["study"] == "a", obs["label"].isin(["B", "T"]), obs["label"].isin(["B", "NK", "CD8 T"]))
    data.X, data.obs = data.X[keep], obs[keep].reset_index(drop=True)
    data.measured = {"a": np.ones(40, dtype=bool), "b": np.arange(40) < 30}
    result, _ = evaluate_references(data, by="study", only=["logistic"])
    calls, scores = result.calls, result.scores["logistic"]
    reach = calls[calls["study"] == "b"].groupby("truth_label")["reach"].unique().str[0].to_dict()
    assert reach == {"B": "inside", "NK": "novel", "CD8 T": "finer"}
    assert set(calls.loc[(calls["study"] == "a") & (calls["truth_label"] == "T"), "reach"]) == {"inside"}
    assert scores["n_novel"]["value"] == (calls["truth_label"] == "NK").sum()
    assert scores["n_finer"]["value"] == ((calls["study"] == "b") & (calls["truth_label"] == "CD8 T")).sum()
    assert scores["exact"]["n"] == (calls["reach"] != "novel").sum()
    assert {"novelty_auroc", "finer_ideal", "novel_unknown"} <= set(scores)
    assert result.provenance["interval_groups"] == "donor"


def test_cells_without_a_label_are_counted_and_never_trained_on():
    data = simulate(donors=3)
    data.obs.loc[:9, "label"] = "unknown"
    data.label_ids["unknown"] = ""
    result, _ = evaluate_references(data, by="donor", only=["knn"])
    scores = result.scores["knn"]
    assert scores["n_not_scored"]["value"] == 10
    assert scores["exact"]["n"] == len(data.obs) - 10
    assert "unknown" not in set(result.calls["leaf_label"])
    assert any("fewer than 5" in sentence for sentence in result.warnings)


@pytest.fixture
def tables(tmp_path):
    ids = [IDS["CD8 T"], IDS["CD8 T"], IDS["B"], IDS["NK"], "unknown", IDS["B"]]
    said = [IDS["CD8 T"], "CL:0000084", IDS["NK"], "unknown", IDS["B"]]
    names = [f"c{i}" for i in range(6)]
    truth = pd.DataFrame({"cell": names, "cell_ontology_term_id": ids, "donor": list("aabbab")})
    calls = pd.DataFrame({"cell": [*names[:5]], "cell_ontology_term_id": said, "confidence": [0.9, 0.8, 0.7, 0, 0.5]})
    truth.to_csv(tmp_path / "truth.tsv", sep="\t", index=False)
    calls.to_csv(tmp_path / "calls.tsv", sep="\t", index=False)
    return tmp_path


def test_anybodys_calls(tables):
    result = evaluate([], tables / "out", truth=tables / "truth.tsv", calls=tables / "calls.tsv")
    scores = result.scores["calls"]
    wanted = {"exact": 0.2, "under": 0.2, "over": 0, "wrong_branch": 0.2, "unknown": 0.4}
    assert {key: scores[key]["value"] for key in wanted} == pytest.approx(wanted)
    assert scores["n_not_scored"]["value"] == 1
    content = Ontology.load().information_content()
    t, cd8 = (content[list(Ontology.load().ids).index(i)] for i in ("CL:0000084", IDS["CD8 T"]))
    assert scores["information_kept"]["value"] == pytest.approx((1 + t / cd8) / 5)
    assert any("1 of 6 cells have no call" in sentence for sentence in result.warnings)
    assert {"scores.json", "report.html", "run.json", "calls.parquet"} <= {p.name for p in (tables / "out").iterdir()}


def test_tables_that_do_not_fit_are_refused(tables):
    bad = tables / "bad.tsv"
    bad.write_text("cell\tterm\nc0\tCL:1\n")
    with pytest.raises(FormatError, match="wanted cell and cell_ontology_term_id"):
        evaluate([], tables / "o", truth=tables / "truth.tsv", calls=bad)
    bad.write_text("cell\tcell_ontology_term_id\nc0\tB cell\n")
    with pytest.raises(LabelError, match="'B cell'"):
        evaluate([], tables / "o", truth=tables / "truth.tsv", calls=bad)
    bad.write_text("cell\tcell_ontology_term_id\nz\tCL:0000236\n")
    with pytest.raises(LabelError, match=r"no cell of truth\.tsv"):
        evaluate([], tables / "o", truth=tables / "truth.tsv", calls=bad)
    with pytest.raises(UsageError, match="both of truth and calls"):
        evaluate([], tables / "o", truth=tables / "truth.tsv")
    assert not (tables / "o").exists()


def test_model_specs(tmp_path):
    path = tmp_path / "spec.toml"
    path.write_text('model = "logistic"\n[parameters]\nC = 0.1\n')
    assert [spec.name for spec in specs_for([path])] == ["whycell", "majority", "logistic", "knn", "logistic (C=0.1)"]
    assert read_spec(path) == Spec("logistic", "logistic", {"C": 0.1})
    path.write_text('model = "oracle"\n')
    with pytest.raises(UsageError, match="'oracle'"):
        read_spec(path)
    path.write_text('model = "knn"\n[parameters]\nnearness = 1\n')
    with pytest.raises(UsageError, match="nearness"):
        evaluate_references(simulate(donors=2, cells=10), by="donor", model_specs=[path], only=["knn (nearness=1)"])


def test_files_in_folder_out(tmp_path):
    import anndata as ad

    data = simulate(donors=4, cells=50, labels=("CD4 T", "B", "NK"))
    cells = ad.AnnData(data.X, data.obs.set_index("cell"))
    table = GeneTable.load()
    cells.var_names = [str(i) for i in table.ids[:4000:100]]
    cells.obs["label"] = cells.obs["label"].replace({"CD4 T": IDS["CD4 T"], "B": "B cell", "NK": "natural killer cell"})
    cells.write_h5ad(tmp_path / "ref.h5ad")
    (tmp_path / "spec.toml").write_text('model = "whycell"\n[parameters]\nepochs = 2\nn_members = 1\nn_hidden = 16\n')
    result = evaluate(
        [tmp_path / "ref.h5ad"],
        tmp_path / "out",
        label="label",
        donor="donor",
        model_specs=[tmp_path / "spec.toml"],
        n_folds=2,
        threads=1,
    )
    assert [*result.scores] == [
        "whycell",
        "majority",
        "logistic",
        "knn",
        "whycell (epochs=2, n_members=1, n_hidden=16)",
    ]
    assert result.scores["whycell"]["accuracy"]["value"] > 0.9
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(RESULT_FILES)
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["command"] == "evaluate"
    assert run["parameters"]["split_hash"] == result.provenance["split_hash"]
    assert next(iter(run["inputs"].values())).startswith("sha256:")


def test_a_search_inside_every_fold(tmp_path):
    pytest.importorskip("optuna").logging.set_verbosity(30)
    search = {"space": {"C": [0.001, 1.0]}, "trials": 2, "inner_folds": 2, "folder": str(tmp_path / "log")}
    spec = Spec("logistic", "searched", {}, search)
    data = simulate(donors=3, cells=40)
    tree = tree_for(Ontology.load(), dict(data.label_ids))
    split = make_split(data.obs, donor="donor")
    found = cross_fit(spec, data, split, ontology=Ontology.load(), tree=tree)
    assert found.trials is not None
    assert found.trials.groupby("fold").size().to_dict() == {"d0": 2, "d1": 2, "d2": 2}
    assert sorted(path.name for path in (tmp_path / "log").iterdir()) == ["d0", "d1", "d2"]
    with pytest.raises(UsageError, match="no space"):
        Spec("logistic", "x", {}, {"trials": 3})
