"""The main job: what is written, that it does not depend on how it was reckoned, and what is refused."""

import hashlib
import json
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse as sp
import zarr

import whycell
from whycell._keys import FLAGS, ObsKeys
from whycell.data.cells import open_cells
from whycell.data.schema import RESERVED_OBS
from whycell.errors import ExpressionError, GeneError, GroupError, OutputError, UsageError, WhycellError
from whycell.jobs.annotate import annotate
from whycell.knowledge.genes import resolve_genes
from whycell.knowledge.terms import Ontology
from whycell.models.answer import Answerer
from whycell.results import Annotation

NINE = ["call", "call_term_id", "confidence", "leaf", "leaf_term_id", "leaf_confidence", "runner_up", "novelty", "flag"]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def query(pbmc: Path) -> Any:
    return ad.read_h5ad(pbmc / "query.h5ad")


@pytest.fixture(scope="module")
def plain(pbmc: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Annotation]:
    """The query typed in the plainest way: the file, and the answer."""
    out = tmp_path_factory.mktemp("plain") / "typed.h5ad"
    return out, annotate(pbmc / "query.h5ad", out, model=str(pbmc / "model"), threads=1)


@pytest.fixture
def typed(pbmc: Path, tmp_path: Path) -> Any:
    """``typed(adata or path, **asked)`` -> the answer; an AnnData goes through a file."""

    def run(cells: Any, **asked: Any) -> Annotation:
        if isinstance(cells, ad.AnnData):
            cells.write_h5ad(tmp_path / "in.h5ad")
            cells = tmp_path / "in.h5ad"
        return annotate(cells, tmp_path / "out.h5ad", model=str(pbmc / "model"), **{"threads": 1, **asked})

    return run


def chunks(path: Path, name: str) -> list[bytes]:
    with h5py.File(path) as file:
        dataset = file[name]
        return [
            dataset.id.read_direct_chunk(dataset.id.get_chunk_info(i).chunk_offset)[1]
            for i in range(dataset.id.get_num_chunks())
        ]


def test_the_compressed_matrix_is_the_input_s(pbmc: Path, plain: tuple[Path, Annotation]) -> None:
    for part in ("data", "indices", "indptr"):
        before = chunks(pbmc / "query.h5ad", f"X/{part}")
        assert before
        assert before == chunks(plain[0], f"X/{part}")


def test_exactly_the_promised_columns_are_added(pbmc: Path, plain: tuple[Path, Annotation], query: Any) -> None:
    path, result = plain
    out = ad.read_h5ad(path)
    keys = ObsKeys()
    added = [column for column in out.obs.columns if column not in query.obs.columns]
    elsewhere = (keys.cluster_call, keys.cluster_confidence, keys.disagreement)
    assert added == [name for name in keys.all() if name not in elsewhere]
    assert {"whycell--cell_ontology_term_id", "whycell--cell_ontology_term"} < set(added), "the names of CAP"
    assert not RESERVED_OBS & set(added)
    pd.testing.assert_frame_equal(out.obs[query.obs.columns], query.obs)
    assert list(result.calls.columns) == NINE
    for column, name in zip(NINE, (n for n in added if n != keys.call_term), strict=True):
        assert out.obs[name].tolist() == result.calls[column].tolist(), name
    with h5py.File(path) as file:
        assert {str(file["obs"][name].dtype) for name in (keys.confidence, keys.leaf_confidence, keys.novelty)} == {
            "float32"
        }
    about = out.uns["whycell"]
    assert about["model"] == "seven hundred"
    assert about["input_fingerprint"] == f"sha256:{digest(pbmc / 'query.h5ad')}"
    assert about["model_genes_found"] == about["model_genes"]


def test_every_call_is_a_live_term_under_its_own_name(plain: tuple[Path, Annotation]) -> None:
    obs, ontology = ad.read_h5ad(plain[0]).obs, Ontology.load()
    for name, term, cap in obs[list(ObsKeys().all()[:3])].astype(str).itertuples(index=False):
        if term:
            assert ontology.is_live(term)
            assert name == cap == ontology.name(term)
        else:
            assert cap == ""
    assert obs["whycell_confidence"].between(0, 1).all()
    assert obs["whycell_novelty"].between(0, 1).all()
    words = {word for flag in obs["whycell_flag"].astype(str) for word in flag.split(";")} - {""}
    assert words <= set(FLAGS)


def test_it_is_right_about_most_cells(plain: tuple[Path, Annotation], query: Any) -> None:
    truth = {"CD19+ B": "CL:0000236", "CD14+ Monocyte": "CL:0001054", "CD56+ NK": "CL:0000623"}
    known = query.obs["bulk_labels"].isin(truth).to_numpy()
    ontology = Ontology.load()
    told = [
        bool(call) and (ontology.is_ancestor(call, truth[label]) or ontology.is_ancestor(truth[label], call))
        for call, label in zip(plain[1].calls["call_term_id"][known], query.obs["bulk_labels"][known], strict=True)
    ]
    assert np.mean(told) > 0.9


def test_the_same_bytes_at_any_chunk_and_any_number_of_threads(
    pbmc: Path, plain: tuple[Path, Annotation], tmp_path: Path
) -> None:
    for chunk, threads in ((1, 1), (1, 2), (1000, 2), (200, 1), (64, 2)):
        out, store = tmp_path / f"{chunk}-{threads}.h5ad", tmp_path / f"{chunk}-{threads}.zarr"
        asked = {"model": str(pbmc / "model"), "chunk": chunk, "threads": threads, "probabilities": store}
        annotate(pbmc / "query.h5ad", out, **asked)
        assert digest(out) == digest(plain[0]), (chunk, threads)
    stores = [zarr.open_group(str(path), mode="r")["probability"][:] for path in sorted(tmp_path.glob("*.zarr"))]
    for store in stores[1:]:
        np.testing.assert_array_equal(store, stores[0])


def test_clusters_get_one_call_each(query: Any, typed: Any) -> None:
    query.obs["leiden"] = pd.Categorical(
        np.where(
            query.obs["bulk_labels"] == "CD19+ B", "0", np.where(query.obs["bulk_labels"] == "Dendritic", "1", "2")
        )
    )
    query.obs.loc[query.obs.index[:3], "leiden"] = np.nan
    result = typed(query, cluster="leiden", key="k")
    grouped = result.calls.groupby(query.obs["leiden"].astype(object).fillna("unknown").astype(str).to_numpy())
    assert (grouped["cluster_call"].nunique() == 1).all()
    assert (grouped["cluster_confidence"].nunique() == 1).all()
    assert grouped["cluster_call"].first()["0"] == "B cell"
    with pytest.raises(GroupError, match=r"has no column 'louvain' in obs; it has: bulk_labels, leiden"):
        typed(query, cluster="louvain", force=True)


def test_probabilities_of_every_term_agree_with_the_calls(
    pbmc: Path, plain: tuple[Path, Annotation], tmp_path: Path
) -> None:
    asked = {"model": str(pbmc / "model"), "threads": 1, "probabilities": tmp_path / "p.zarr"}
    annotate(pbmc / "query.h5ad", tmp_path / "typed.h5ad", **asked)
    store = zarr.open_group(str(tmp_path / "p.zarr"), mode="r")
    p, terms, calls = store["probability"][:], [str(t) for t in store["term_id"][:]], plain[1].calls
    assert [str(c) for c in store["cell"][:]] == calls.index.tolist()
    assert p.shape == (200, len(terms))
    assert p.min() >= 0
    assert p.max() <= 1 + 1e-6
    made = np.flatnonzero(calls["call_term_id"].astype(str) != "")
    at = [terms.index(term) for term in calls["call_term_id"].iloc[made]]
    np.testing.assert_allclose(p[made, at], calls["confidence"].iloc[made], atol=1e-6)
    ontology = Ontology.load()
    for low, high in ((t, u) for t in terms for u in terms if t.startswith("CL:") and u in ontology.parents(t)):
        assert (p[:, terms.index(low)] <= p[:, terms.index(high)] + 1e-6).all(), "a parent is as probable at least"


def test_the_table_the_page_and_the_record(query: Any, typed: Any, tmp_path: Path) -> None:
    query = query[:40].copy()  # too few for UMAP, whose compilation would take longer than all the rest
    query.obs["donor_id"] = np.where(np.arange(40) % 2, "<b>one</b>", "two")
    result = typed(query, tsv=tmp_path / "calls.tsv", report=tmp_path / "page.html", seed=5, donor="donor_id")
    table = pd.read_csv(tmp_path / "calls.tsv", sep="\t", keep_default_na=False, index_col=0)
    assert table.index.tolist() == result.calls.index.tolist()
    for column in NINE:
        if column.endswith("confidence") or column == "novelty":
            np.testing.assert_allclose(table[column], result.calls[column], rtol=1e-5)
        else:
            assert table[column].tolist() == result.calls[column].astype(str).tolist(), column
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "B cell" in page
    assert "&lt;b&gt;one" in page or "\\u003cb\\u003eone" in page
    assert "<b>one</b>" not in page
    run = json.loads((tmp_path / "run.json").read_text())
    assert (run["command"], run["seed"], run["output"]) == ("annotate", 5, "out.h5ad")
    assert result.donors is not None
    assert set(result.donors) == {"<b>one</b>", "two"}
    assert sum(node.n_called for node in result.tree) == 40


def _log(target: float, base: Any = np.log1p) -> Any:
    def made(adata: Any) -> Any:
        X = adata.X.copy().astype(np.float64)
        X = sp.csr_matrix(sp.diags_array(target / np.asarray(X.sum(axis=1)).ravel()) @ X)
        X.data = base(X.data)
        return ad.AnnData(X.astype(np.float32), obs=adata.obs, var=adata.var)

    return made


def _raw(adata: Any) -> Any:
    out = _log(1e4)(adata)
    dense = out.X.toarray()
    out.X = (dense - dense.mean(axis=0)) / (dense.std(axis=0) + 1e-3)
    out.raw = adata
    return out


def _layer(adata: Any) -> Any:
    out = _log(1e4)(adata)
    out.layers["counts"] = adata.X
    return out


@pytest.mark.parametrize(
    "kind",
    {
        "log1p": _log(1e4),
        "log1p of another size": _log(4321.0),
        "log2": _log(1e4, lambda x: np.log2(x + 1)),
        "CPM": _log(1e6, lambda x: x),
        "dense": lambda a: ad.AnnData(a.X.toarray(), obs=a.obs, var=a.var),
        "CSC": lambda a: ad.AnnData(a.X.tocsc(), obs=a.obs, var=a.var),
        "raw": _raw,
        "layer": _layer,
    }.items(),
    ids=lambda kind: kind[0],
)
def test_the_same_cells_in_other_guises_get_the_same_calls(
    kind: tuple[str, Any], query: Any, typed: Any, plain: tuple[Path, Annotation]
) -> None:
    got, wanted = typed(kind[1](query)).calls, plain[1].calls
    same = (got["call"].astype(str) == wanted["call"].astype(str)).to_numpy()
    # A cell that stands at the threshold to six digits may fall either way.
    assert same.sum() >= 199
    np.testing.assert_allclose(got["confidence"][same], wanted["confidence"][same], atol=2e-3)
    np.testing.assert_allclose(got["novelty"], wanted["novelty"], atol=2e-2)


def test_ids_versions_order_and_strangers_change_nothing(
    query: Any, typed: Any, plain: tuple[Path, Annotation]
) -> None:
    ids = resolve_genes(query.var_names.tolist()).ids
    order = np.random.default_rng(0).permutation(query.n_vars)
    names = [f"{gene}.{i % 9 + 1}" if gene else f"stranger{i}" for i, gene in enumerate(ids)]
    X = sp.hstack([query.X[:, order], sp.csr_matrix(np.ones((200, 1), dtype=np.float32))], format="csr")
    var = pd.DataFrame(index=[names[i] for i in order] + ["AL000000.1"])
    got = typed(ad.AnnData(X, obs=query.obs, var=var)).calls
    assert (got["call"].astype(str) == plain[1].calls["call"].astype(str)).sum() >= 199
    np.testing.assert_allclose(got["leaf_confidence"], plain[1].calls["leaf_confidence"], atol=2e-3)


def test_a_panel_of_a_hundred_genes_is_flagged(query: Any, typed: Any) -> None:
    some = np.sort(np.random.default_rng(1).permutation(query.n_vars)[:100])
    panel = typed(query[:, some].copy())
    assert panel.calls["flag"].str.split(";").map(lambda words: "low_overlap" in words).all()
    assert panel.provenance["model_reading_covered"] < 0.3
    assert any(finding.level == "warning" for finding in panel.findings)


def test_an_anndata_in_memory_gets_what_the_file_gets(pbmc: Path, query: Any, plain: tuple[Path, Annotation]) -> None:
    before = query.X.copy()
    assert whycell.tl.annotate(query, model=pbmc / "model", threads=1) is None
    wanted = ad.read_h5ad(plain[0])
    assert query.obs.columns.tolist() == wanted.obs.columns.tolist()
    for column in wanted.obs:
        assert query.obs[column].tolist() == wanted.obs[column].tolist(), column
    assert (before != query.X).nnz == 0
    assert {k: v for k, v in query.uns["whycell"].items() if not k.startswith("input")} == {
        k: v for k, v in wanted.uns["whycell"].items() if not k.startswith("input")
    }
    with pytest.raises(OutputError, match="already has the obs column 'whycell'"):
        whycell.tl.annotate(query, model=pbmc / "model")
    whycell.tl.annotate(query, model=pbmc / "model", force=True, threads=1)
    whycell.tl.annotate(query, model=pbmc / "model", key_added="again", threads=1)
    assert query.obs["again"].tolist() == query.obs["whycell"].tolist()


def test_files_of_ten_x_and_zarr(pbmc: Path, query: Any, plain: tuple[Path, Annotation], tmp_path: Path) -> None:
    ids, wanted = resolve_genes(query.var_names.tolist()).ids, plain[1].calls
    with h5py.File(tmp_path / "ten.h5", "w") as file:
        group, X = file.create_group("matrix"), sp.csr_matrix(query.X)
        group["data"], group["indices"], group["indptr"] = X.data.astype("i4"), X.indices, X.indptr
        group["shape"] = np.array([query.n_vars, query.n_obs])
        group["barcodes"] = np.array(query.obs_names, dtype="S")
        features = group.create_group("features")
        features["id"], features["name"] = np.array(ids, dtype="S"), np.array(query.var_names, dtype="S")
        features["feature_type"] = np.array(["Gene Expression"] * query.n_vars, dtype="S")
    folder = tmp_path / "mtx"
    folder.mkdir()
    scipy.io.mmwrite(folder / "matrix.mtx", query.X.T.astype(int), field="integer")
    (folder / "barcodes.tsv").write_text("\n".join(query.obs_names) + "\n")
    rows = (f"{i}\t{name}\tGene Expression" for i, name in zip(ids, query.var_names, strict=True))
    (folder / "features.tsv").write_text("\n".join(rows) + "\n")
    query.write_zarr(tmp_path / "in.zarr")
    for source, name in (("ten.h5", "a.h5ad"), ("mtx", "b.h5ad"), ("in.zarr", "c.zarr")):
        out = tmp_path / name
        result = annotate(tmp_path / source, out, model=str(pbmc / "model"), threads=1)
        written = ad.read_zarr(out) if name.endswith("zarr") else ad.read_h5ad(out)
        assert written.obs["whycell"].tolist() == result.calls["call"].tolist(), source
        assert result.calls["call"].tolist() == wanted["call"].tolist(), source
        np.testing.assert_allclose(result.calls["confidence"], wanted["confidence"], atol=1e-5)


def test_nothing_is_overwritten(pbmc: Path, plain: tuple[Path, Annotation], tmp_path: Path, typed: Any) -> None:
    source, model = pbmc / "query.h5ad", str(pbmc / "model")
    with pytest.raises(OutputError, match=r"typed\.h5ad exists; force"):
        annotate(source, plain[0], model=model)
    with pytest.raises(OutputError, match="already has the obs column 'whycell'"):
        annotate(plain[0], tmp_path / "twice.h5ad", model=model)
    annotate(plain[0], tmp_path / "twice.h5ad", model=model, key="second", threads=1)
    twice = ad.read_h5ad(tmp_path / "twice.h5ad").obs
    assert twice["second"].tolist() == twice["whycell"].tolist()
    for side in ("report", "tsv", "probabilities"):
        (tmp_path / side).write_text("mine")
        with pytest.raises(OutputError, match=f"{side} exists already"):
            typed(source, **{side: tmp_path / side})
        assert (tmp_path / side).read_text() == "mine"
    with pytest.raises(UsageError, match="Exactly one of an output path and inplace"):
        annotate(source, tmp_path / "x.h5ad", inplace=True, model=model)
    with pytest.raises(UsageError, match="Exactly one"):
        annotate(source, model=model)
    for name in ("cell_type", "__mine"):
        with pytest.raises(OutputError, match=f"'{name}' is reserved by the CELLxGENE schema"):
            typed(source, key=name)


def test_inplace_is_the_copy(pbmc: Path, plain: tuple[Path, Annotation], tmp_path: Path) -> None:
    mine = tmp_path / "query.h5ad"
    mine.write_bytes((pbmc / "query.h5ad").read_bytes())
    annotate(mine, inplace=True, model=str(pbmc / "model"), threads=1)
    assert digest(mine) == digest(plain[0])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["query.h5ad", "run.json"]


def _renamed(names: Any) -> Any:
    def made(adata: Any) -> Any:
        out = adata.copy()
        out.var_names = names(list(adata.var_names))
        return out

    return made


def _scaled(adata: Any) -> Any:
    X = adata.X.toarray()
    return ad.AnnData((X - X.mean(axis=0)) / (X.std(axis=0) + 0.1), obs=adata.obs, var=adata.var)


@pytest.mark.parametrize(
    ("harm", "error", "sentence"),
    [
        (lambda a: a[:, :40].copy(), GeneError, r"(?s)40 of .*754.*10 %.*ENSG\d+.*"),
        (
            _renamed(lambda names: list(np.random.default_rng(0).permutation(names))),
            GeneError,
            "correlates at .* 0.3 is",
        ),
        (_renamed(lambda names: [name.capitalize() for name in names]), GeneError, "mouse"),
        (_renamed(lambda names: [str(i) for i in range(len(names))]), GeneError, "named by numbers"),
        (_scaled, ExpressionError, "scaled|negative"),
    ],
    ids=["few genes", "permuted genes", "mouse", "numbers", "scaled"],
)
def test_what_cannot_be_typed_is_refused(
    harm: Any, error: type[WhycellError], sentence: str, query: Any, typed: Any, tmp_path: Path
) -> None:
    with pytest.raises(error, match=sentence):
        typed(harm(query), tsv=tmp_path / "t.tsv", probabilities=tmp_path / "p.zarr")
    assert [p.name for p in tmp_path.iterdir()] == ["in.h5ad"]


def test_an_interrupt_in_the_midst_leaves_no_half_file(
    pbmc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = Answerer.answer, []

    def answer(self: Any, values: Any, columns: Any, **asked: Any) -> Any:
        calls.append(len(calls))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(self, values, columns, **asked)

    monkeypatch.setattr(Answerer, "answer", answer)
    sides = {"tsv": tmp_path / "t.tsv", "probabilities": tmp_path / "p.zarr", "report": tmp_path / "r.html"}
    with pytest.raises(KeyboardInterrupt):
        annotate(pbmc / "query.h5ad", tmp_path / "o.h5ad", model=str(pbmc / "model"), chunk=20, threads=2, **sides)
    assert list(tmp_path.iterdir()) == []


def test_a_block_that_contradicts_the_sample_stops_the_run(
    query: Any, typed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whycell.data.examine_values._FULL", 0)  # as if it were too large to be read whole
    big = sp.vstack([query.X] * 30, format="csr")
    adata = ad.AnnData(big, obs=pd.DataFrame(index=[f"c{i}" for i in range(6000)]), var=query.var)
    with open_cells(adata) as cells:
        unseen = np.setdiff1d(np.arange(6000), cells.sample_rows())[7]
    adata.X.data[adata.X.indptr[unseen] : adata.X.indptr[unseen + 1]] += 0.37
    with pytest.raises(ExpressionError, match=rf"judged to hold raw counts: fractional values, in row\(s\) {unseen} "):
        typed(adata)
    assert [p.name for p in tmp_path.iterdir()] == ["in.h5ad"]


def test_no_cells_is_an_answer_or_a_sentence(query: Any, typed: Any) -> None:
    with pytest.raises(WhycellError):
        typed(query[:0].copy())
