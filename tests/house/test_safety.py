"""Rules about what the code may never do."""

import ast
import inspect
import re

from whycell import errors

FORBIDDEN_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "shelve", "marshal"}
FORBIDDEN_CALLS = {"torch.load", "torch.save", "joblib.load", "joblib.dump"}
FORBIDDEN_METHODS = {"read_pickle", "to_pickle"}


def test_no_pickle_is_written_or_read(modules: dict[str, ast.Module]) -> None:
    wrong = []
    for name, tree in modules.items():
        for node in ast.walk(tree):
            where = f"{name} (line {getattr(node, 'lineno', 0)})"
            if isinstance(node, ast.Import) and {each.name.split(".")[0] for each in node.names} & FORBIDDEN_MODULES:
                wrong.append(where)
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in FORBIDDEN_MODULES:
                wrong.append(where)
            if isinstance(node, ast.Attribute) and (
                node.attr in FORBIDDEN_METHODS or ast.unparse(node) in FORBIDDEN_CALLS
            ):
                wrong.append(where)
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False":
                wrong.append(where)
    assert wrong == []


def test_no_assert_stands_between_a_person_and_an_error(modules: dict[str, ast.Module]) -> None:
    found = [
        f"{name} (line {node.lineno})"
        for name, tree in modules.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Assert)
    ]
    assert found == []


def test_nothing_is_printed_below_the_command_line(modules: dict[str, ast.Module]) -> None:
    found = [
        f"{name} (line {node.lineno})"
        for name, tree in modules.items()
        if not name.startswith("whycell.cli")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert found == []


def test_the_drawing_of_the_error_tree_is_true() -> None:
    drawn, above = {}, []
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"^([ │├└─]*)(\w+Error)(?: \((\w+)\))?", line.removeprefix("    ")):
            depth = len(match[1]) // 4
            above[depth:] = [match[2]]
            bases = [above[depth - 1]] if depth else ["Exception"]
            drawn[match[2]] = bases + ([match[3]] if match[3] else [])
    built = {
        name: [base.__name__ for base in each.__bases__]
        for name, each in inspect.getmembers(errors, inspect.isclass)
        if each.__module__ == errors.__name__
    }
    assert drawn == built
    assert sorted(built) == errors.__all__
