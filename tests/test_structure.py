"""The rules that hold for the whole package: who imports whom, and what nobody does."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from spin_fairseq.commands import VERBS

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "spin_fairseq"
FILES = sorted(PACKAGE.rglob("*.py"))
MOST_LINES_OF_A_VERB = 120
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}


def nodes(kind):
    """Every node of a kind, with where it stands: [("room/file.py:3", path, node)]."""
    return [
        (f"{path.relative_to(PACKAGE)}:{node.lineno}", path, node)
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, kind)
    ]


def test_imports_go_one_way():
    """`.importlinter` says which way; a circle of rooms cannot be read, moved or tested room by room."""
    pytest.importorskip("importlinter", reason="comes with the extra `test`")
    program = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    process = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-2000:]


def room_of(module):
    return module.split(".")[1] if "." in module else ""


def test_no_private_name_leaves_its_room():
    """What another room uses is public: its name says so, and its docstring says what it is."""
    found = []
    for where, path, node in nodes(ast.ImportFrom):
        package = ["spin_fairseq", *path.relative_to(PACKAGE).parts[:-1]]
        base = package[: len(package) - node.level + 1] if node.level else []
        module = ".".join([*base, *([node.module] if node.module else [])])
        private = [name.name for name in node.names if name.name.startswith("_") and not name.name.startswith("__")]
        # A file of the folder, or of a folder inside it, is of the same room.
        if private and module.startswith("spin_fairseq") and not module.startswith(".".join(package)):
            found.append(f"{where}: {', '.join(private)} of {module}")
    assert not found


def test_no_object_changes_its_class():
    """An object with another class than its maker gave it has state that its methods do not expect."""
    found = [
        where
        for where, _, node in nodes((ast.Attribute, ast.Call))
        if (isinstance(node, ast.Attribute) and node.attr == "__class__" and isinstance(node.ctx, ast.Store))
        or (isinstance(node, ast.Call) and [getattr(arg, "value", None) for arg in node.args[1:2]] == ["__class__"])
    ]
    assert not found


def test_no_method_is_put_on_an_object():
    """A method that is set from outside is found in no class. `compat` alone does it, to libraries, and says why."""
    methods = {
        function.name
        for _, _, owner in nodes(ast.ClassDef)
        for function in owner.body
        if isinstance(function, ast.FunctionDef) and not function.decorator_list
    }
    found = []
    for where, path, node in nodes(ast.Assign):
        for target in node.targets:
            own = isinstance(target, ast.Attribute) and ast.unparse(target.value) in ("self", "cls")
            if not isinstance(target, ast.Attribute) or own or "compat" in path.parts:
                continue
            if target.attr in methods or isinstance(node.value, ast.Lambda):
                found.append(f"{where}: {ast.unparse(target)}")
    assert not found


def test_verbs_are_thin():
    """Work that is done in a verb's file can be called by nobody else, and is tested through a command line alone."""
    lengths = {verb: len((PACKAGE / "commands" / f"{verb}.py").read_text("utf-8").splitlines()) for verb in VERBS}
    assert {verb: length for verb, length in lengths.items() if length > MOST_LINES_OF_A_VERB} == {}


def public_functions(body):
    """The functions of a module, and the methods of its classes, whose names say that they are for others."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node.body)
        elif isinstance(node, ast.FunctionDef) and (node.name == "__init__" or not node.name.startswith("_")):
            yield node


def test_public_signatures_have_types():
    """What a function takes and gives back is read in its signature, and not guessed from its body."""
    found = []
    for path, tree in TREES.items():
        for function in public_functions(tree.body):
            given = function.args
            untyped = [
                arg.arg
                for arg in [*given.posonlyargs, *given.args, *given.kwonlyargs]
                if arg.annotation is None and arg.arg not in ("self", "cls")
            ]
            if untyped or (function.returns is None and function.name != "__init__"):
                found.append(f"{path.relative_to(PACKAGE)}:{function.lineno} {function.name}: {', '.join(untyped)}")
    assert not found
