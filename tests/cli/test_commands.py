"""Each command reads its arguments, calls its job and prints the answer."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from whycell.results import Annotation, Evaluation, Finding


@pytest.fixture
def annotation() -> Annotation:
    calls = pd.DataFrame(
        {
            "call": ["B cell", "T cell", "T cell", "unknown"],
            "call_term_id": ["CL:0000236", "CL:0000084", "CL:0000084", ""],
            "confidence": np.array([0.99, 0.9, 0.8, 0.2], dtype=np.float32),
            "flag": ["", "novel", "novel;low_counts", ""],
        },
        index=list("abcd"),
    )
    finding = Finding("symbols", "info", "gene symbols")
    return Annotation(calls, None, np.arange(0), np.zeros((0, 2)), "PCA", (), (finding,), {}, {"seed": 3})


def test_train_hands_everything_to_the_job(run, fake) -> None:
    job = fake("train", {"name": "model", "n_classes": 4})
    done = run(
        *("train", "a.h5ad", "b.h5ad", "--label", "cell_type", "--donor", "d", "--study", "s", "--label-map", "m.tsv"),
        *(
            "-o",
            "model",
            "--name",
            "mine",
            "--tested",
            "by-donor",
            "--tested",
            "by-study",
            "--drop",
            "audit.tsv",
            "--seed",
            7,
            "--threads",
            2,
            "--device",
            "cpu",
            "--force",
            "--representation",
            "ensemble",
            "--gene-vectors",
            "v.parquet",
            "--view",
            "obsm:X_scVI",
        ),
    )
    assert (done.code, done.out) == (0, "model\n")
    (asked,) = job.asked
    talk = asked.pop("talk")
    assert not talk.quiet
    assert asked == {
        "positional": ([Path("a.h5ad"), Path("b.h5ad")], Path("model")),
        "label": "cell_type",
        "donor": "d",
        "study": "s",
        "label_map": Path("m.tsv"),
        "drop": Path("audit.tsv"),
        "name": "mine",
        "description": "",
        "tested": (Path("by-donor"), Path("by-study")),
        "representation": "ensemble",
        "gene_vectors": "v.parquet",
        "views": ("obsm:X_scVI",),
        "text_encoder": "minilm",
        "seed": 7,
        "threads": 2,
        "device": "cpu",
        "force": True,
    }
    assert run("train", "a.h5ad", "--label", "l", "-o", "m", "--json").json == {"name": "model", "n_classes": 4}


@pytest.mark.parametrize("flag", ["--group", "--donor"])
def test_group_and_donor_are_one_option(run, fake, annotation, flag: str) -> None:
    job = fake("annotate", annotation)
    assert run("annotate", "q.h5ad", "-o", "t.h5ad", flag, "patient").code == 0
    assert job.asked[0]["donor"] == "patient"


@pytest.mark.parametrize("targets", [(), ("-o", "t.h5ad", "--inplace")])
def test_annotate_writes_to_exactly_one_place(run, fake, targets: tuple[str, ...]) -> None:
    job = fake("annotate")
    done = run("annotate", "q.h5ad", *targets)
    assert done.code == 2
    assert "exactly one" in done.err
    assert job.asked == []


def test_annotate_prints_the_calls_most_frequent_first(run, fake, annotation) -> None:
    fake("annotate", annotation)
    done = run("annotate", "q.h5ad", "-o", "t.h5ad")
    assert done.out.splitlines() == [
        "call\tcall_term_id\tcells\tshare\tmean_confidence",
        "T cell\tCL:0000084\t2\t0.5\t0.85",
        "B cell\tCL:0000236\t1\t0.25\t0.99",
        "unknown\t\t1\t0.25\t0.2",
    ]
    told = run("annotate", "q.h5ad", "-o", "t.h5ad", "--json").json
    assert told["flags"] == {"low_counts": 1, "novel": 2}
    assert told["n_cells"] == 4
    assert told["output"] == "t.h5ad"
    assert told["findings"][0]["code"] == "symbols"


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("a.h5ad", "-o", "r"), "--label"),
        (("a.h5ad", "--label", "l"), "-o FOLDER"),
        (("-o", "r"), "neither of REF"),
        (("a.h5ad", "--truth", "t.tsv", "--calls", "c.tsv", "-o", "r"), "both of REF"),
        (("--truth", "t.tsv", "-o", "r"), "--calls"),
        (("a.h5ad", "--label", "l", "--calls", "c.tsv", "-o", "r"), "--truth"),
    ],
)
def test_evaluate_refuses_what_has_no_answer(run, fake, arguments: tuple[str, ...], wanted: str) -> None:
    job = fake("evaluate")
    done = run("evaluate", *arguments)
    assert done.code == 2
    assert wanted in done.err
    assert job.asked == []


def test_evaluate_prints_the_headline_scores(run, fake) -> None:
    score = {"value": 0.9, "low": 0.8, "high": float("nan"), "n": 3, "unit": "donor"}
    table = pd.DataFrame()
    result = Evaluation(
        {"whycell": {"ece": score, "accuracy": score}}, table, table, table, table, {}, {}, ("few",), {}
    )
    job = fake("evaluate", result)
    done = run(
        "evaluate", "a.h5ad", "--label", "l", "--donor", "d", "--split", "donor", "--model-spec", "s.toml", "-o", "r"
    )
    assert done.out.splitlines()[1:] == ["whycell\taccuracy\t0.9\t0.8\t", "whycell\tece\t0.9\t0.8\t"]
    assert job.asked[0]["split"] == "donor"
    assert job.asked[0]["model_specs"] == (Path("s.toml"),)
    assert run("evaluate", "--truth", "t", "--calls", "c", "-o", "r", "--json").json["whycell"]["ece"]["high"] is None


def test_compare_prints_the_differences(run, fake) -> None:
    job = fake("evaluate", pd.DataFrame({"metric": ["accuracy"], "difference": [0.0123456]}), name="compare")
    assert run("compare", "a", "b").out == "metric\tdifference\naccuracy\t0.01235\n"
    assert job.asked[0]["positional"] == (Path("a"), Path("b"))


@pytest.mark.parametrize(("usable", "code"), [(True, 0), (False, 1)])
def test_doctor_ends_in_1_where_the_file_cannot_be_typed(run, fake, usable: bool, code: int) -> None:
    table = pd.DataFrame({"level": ["warning"], "code": ["duplicated_genes"]})
    diagnosis = SimpleNamespace(frame=lambda: table, to_dict=lambda: {"usable": usable}, usable=usable)
    fake("doctor", diagnosis)
    done = run("doctor", "q.h5ad")
    assert (done.code, done.out) == (code, "level\tcode\nwarning\tduplicated_genes\n")
    assert run("doctor", "q.h5ad", "--json").json == {"usable": usable}


def test_models_lists_and_shows_one(run, fake) -> None:
    card = {"name": "blood", "n_classes": 20, "description": "human\nblood"}
    fake("models", [card], name="available")
    fake("models", card, name="card")
    lines = run("models").out.splitlines()
    assert lines[0].startswith("name\tn_classes")
    assert lines[1].startswith("blood\t20\t")
    assert lines[1].endswith("human blood")
    assert run("models", "--card", "blood", "--json").json == card


def test_a_card_is_readable_and_cuts_long_lists(run, fake) -> None:
    held_out = {"accuracy": {"value": 0.9, "low": np.float32(0.5)}, "ece": {"value": 0.01, "low": 0.005, "high": None}}
    fake("models", {"genes": [f"g{i}" for i in range(5000)], "held_out": held_out, "rows": [{"a": 1}]}, name="card")
    assert run("models", "--card", "blood").out.splitlines() == [
        f"genes: {', '.join(f'g{i}' for i in range(40))} ... (5,000 in all)",
        "held_out:",
        "  accuracy:",
        "    value: 0.9",
        "    low: 0.5",
        "  ece: 0.010",
        "rows:",
        "  1:",
        "    a: 1",
    ]


def test_evaluate_hands_on_the_further_protocols(run, fake) -> None:
    table = pd.DataFrame()
    job = fake("evaluate", Evaluation({}, table, table, table, table, {}, {}, ()))
    asked = ("evaluate", "a.h5ad", "--label", "l", "-o", "r")
    assert run(*asked, "--stress", "--leave-types-out", "--logger", "wandb").code == 0
    assert [job.asked[0][key] for key in ("stress", "leave_types_out", "logger")] == [True, True, "wandb"]
    done = run("evaluate", "--truth", "t", "--calls", "c", "-o", "r", "--stress")
    assert (done.code, len(job.asked)) == (2, 1)
    assert "REF files to train on" in done.err


def test_project_prints_the_labels_or_the_scores(run, fake) -> None:
    job = fake("openproblems", pd.Series(["B", "T", "T"]), name="project_labels")
    score = fake("openproblems", {"accuracy": 0.5}, name="score_prediction")
    assert run("project", "train.h5ad", "test.h5ad", "-o", "p.h5ad").out == "label\tcells\nT\t2\nB\t1\n"
    assert job.asked[0]["positional"] == (Path("train.h5ad"), Path("test.h5ad"), Path("p.h5ad"))
    assert run("project", "a", "b", "-o", "p", "--solution", "s", "--json").json == {"accuracy": 0.5}
    assert score.asked[0]["positional"] == (Path("p"), Path("s"))
