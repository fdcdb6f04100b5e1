"""Rules about names and signatures: complete ``__all__``, documented parameters, nothing passed through unread."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

#: Modules whose functions a person calls: every parameter is explained. The files behind them owe one sentence.
FRONT = (
    "whycell.data.sequences",
    "whycell.data.remote",
    "whycell.patterns.programs",
    "whycell.patterns.motifs",
    "whycell.patterns.hits",
    "whycell.patterns.grammar",
    "whycell.patterns.kinds",
    "whycell.patterns.contexts",
    "whycell.patterns.positions",
    "whycell.patterns.variants",
    "whycell.data.variants",
    "whycell.jobs.motif_kinds",
    "whycell.jobs.motifs_compare",
    "whycell.jobs.grammar",
    "whycell.jobs.variants",
    "whycell.jobs.sequences_explain",
    "whycell.jobs.sequences_locate",
    "whycell.models.sequence",
    "whycell.models.rfm.estimator",
    "whycell.lenses.neural_ansatz",
    "whycell.lenses.importance",
    "whycell.lenses.features",
    "whycell.jobs.train_corpus",
    "whycell.jobs.sequences",
    "whycell.jobs.select",
    "whycell.jobs.screen",
    "whycell.jobs.scan",
    "whycell.jobs.rfm",
    "whycell.jobs.motifs",
    "whycell.jobs.gather",
    "whycell.jobs.features",
    "whycell.tl",
    "whycell.pl",
    "whycell.jobs.annotate",
    "whycell.jobs.compare",
    "whycell.jobs.doctor",
    "whycell.jobs.describe",
    "whycell.jobs.embed_cells",
    "whycell.jobs.evaluate",
    "whycell.jobs.explain",
    "whycell.jobs.genes",
    "whycell.jobs.lookup",
    "whycell.jobs.models",
    "whycell.jobs.record",
    "whycell.jobs.sweep",
    "whycell.jobs.train",
    "whycell.jobs.unseen",
    "whycell.jobs.views",
    "whycell.jobs.words",
    "whycell.knowledge",
    "whycell.jobs.audit",
    "whycell.jobs.subgroups",
    "whycell.metrics.attribution",
    "whycell.metrics.calibration",
    "whycell.metrics.closeness",
    "whycell.metrics.coverage",
    "whycell.metrics.decomposition",
    "whycell.metrics.embedding",
    "whycell.metrics.fidelity",
    "whycell.metrics.flat",
    "whycell.metrics.intervals",
    "whycell.metrics.nodes",
    "whycell.metrics.novelty",
    "whycell.metrics.ranking",
    "whycell.metrics.tree",
    "whycell.data.cells",
    "whycell.data.doctor",
    "whycell.data.splits",
    "whycell.data.values",
    "whycell.encode.cells",
    "whycell.encode.gene_vectors",
    "whycell.encode.genept",
    "whycell.encode.sequences",
    "whycell.encode.text",
    "whycell.lenses.comparators",
    "whycell.lenses.examples",
    "whycell.lenses.inputs",
    "whycell.lenses.many",
    "whycell.lenses.masks",
    "whycell.lenses.references",
    "whycell.lenses.trak",
    "whycell.patterns.subgroups",
    "whycell.models.typer",
    "whycell.models.protocol",
    "whycell.reports.annotation",
    "whycell.reports.evaluation",
    "whycell.reports.explanation",
    "whycell.reports.figures",
)
#: The names that docs/parameters.md explains for every function.
SHARED = " ".join(
    re.findall(r"^\| (`.+?) \|", (Path(__file__).parents[2] / "docs/parameters.md").read_text("utf-8"), re.MULTILINE)
)
Function = ast.FunctionDef | ast.AsyncFunctionDef


def _defined(tree: ast.Module) -> list[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    return [node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))]


def _offered(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            return list(ast.literal_eval(node.value))
    return None


def _functions(modules: dict[str, ast.Module]) -> Iterator[tuple[str, Function]]:
    """Every function anywhere, private and nested ones too."""
    for name, tree in modules.items():
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield f"{name}.{node.name} (line {node.lineno})", node


def _parameters(function: Function) -> list[str]:
    arguments = function.args
    names = [each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return [name for name in names if name not in ("self", "cls")]


def test_all_is_complete(modules: dict[str, ast.Module]) -> None:  # ruff keeps it sorted (RUF022)
    wrong = []
    for name, tree in modules.items():
        offered = _offered(tree)
        public = {node.name for node in _defined(tree) if not node.name.startswith("_")}
        if offered is None:
            if public:
                wrong.append(f"{name}: no __all__")
        elif missing := public - set(offered):
            wrong.append(f"{name}: public but not in __all__: {', '.join(sorted(missing))}")
    assert not wrong, "\n".join(wrong)


def test_every_module_says_what_it_is_for(modules: dict[str, ast.Module]) -> None:
    silent = [name for name, tree in modules.items() if not ast.get_docstring(tree)]
    assert not silent, "\n".join(silent)


def test_every_parameter_of_a_public_function_is_documented(modules: dict[str, ast.Module]) -> None:
    wrong = []
    for name, tree in modules.items():
        offered = _offered(tree) or []
        for node in _defined(tree):
            if node.name not in offered or isinstance(node, ast.ClassDef) or name.startswith("whycell.cli"):
                continue  # the options of a command have their help, which tests/cli checks
            text = ast.get_docstring(node) or ""
            # What a module's functions share is told once, at its top; what all share, on one page.
            spoken = f"{text}\n{ast.get_docstring(tree)}\n{SHARED}"
            parameters = _parameters(node)
            missing = [each for each in parameters if not re.search(rf"\b{re.escape(each)}\b", spoken)]
            if not text:
                wrong.append(f"{name}.{node.name}: no docstring")
            elif missing and any(name == front or name.startswith(f"{front}.") for front in FRONT):
                wrong.append(f"{name}.{node.name}: not spoken of: {', '.join(missing)}")
    assert not wrong, "\n".join(wrong)


def test_nothing_takes_arbitrary_keywords(modules: dict[str, ast.Module]) -> None:
    assert [where for where, node in _functions(modules) if node.args.kwarg] == []


def test_public_functions_take_few_things_by_position(modules: dict[str, ast.Module]) -> None:
    wrong = []
    for name, tree in modules.items():
        # What a person calls takes two things by position at most; the rooms below may pass a matrix by its parts.
        most = 2 if name.startswith(("whycell.tl", "whycell.pl")) else 5
        for node in _defined(tree):
            if isinstance(node, ast.ClassDef) or node.name.startswith("_") or name.startswith("whycell.cli"):
                continue  # typer calls the commands by name
            if any(isinstance(d, ast.Name) and d.id == "compiled" for d in node.decorator_list):
                continue  # a compiled inner loop: numba knows arguments by position only
            if len(node.args.posonlyargs) + len(node.args.args) > most:
                wrong.append(f"{name}.{node.name} (line {node.lineno})")
    assert not wrong, "\n".join(wrong)
