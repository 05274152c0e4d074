"""What the toolkit has, read from its source without importing it: torch alone takes seconds."""

import ast
import functools
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent


@dataclass
class Entry:
    """Something that a registry's decorator names.

    Attributes:
        registry: variable of the registry ("backbones").
        name: its name there.
        node: the decorated class or function.
        summary: first line of its docstring.
    """

    registry: str
    name: str
    node: ast.ClassDef | ast.FunctionDef
    summary: str


@functools.cache
def entries() -> list[Entry]:
    """Everything in visionkit's source that stands under a `@<registry>.register("name", ...)`."""
    return [entry for path in _sources(".register(") for node in _definitions(path) for entry in _entries_of(node)]


def registered(registry: str) -> dict[str, Entry]:
    """The entries of one registry by name."""
    return {entry.name: entry for entry in entries() if entry.registry == registry}


@functools.cache
def options_classes() -> dict[str, ast.ClassDef]:
    """The dataclasses in visionkit's source by name."""
    return {
        node.name: node
        for path in _sources("@dataclass")
        for node in _definitions(path)
        if isinstance(node, ast.ClassDef) and any(_called(mark) == "dataclass" for mark in node.decorator_list)
    }


def definition(path: Path, *names: str) -> ast.ClassDef | ast.FunctionDef:
    """The class or function called `names[-1]` inside those before it, in the source file `path`."""
    body: list[ast.stmt] = _parse(path).body
    for name in names:
        node = next(found for found in body if isinstance(found, Definition) and found.name == name)
        body = node.body
    return node


def parameters(node: ast.ClassDef | ast.FunctionDef) -> dict[str, ast.expr | None]:
    """Annotation of each parameter of a function, or of each setting of a class (its fields or its __init__).

    A class that passes further keywords on takes those of the classes it derives from, too.
    """
    if isinstance(node, ast.FunctionDef):
        return {given.arg: given.annotation for given in [*node.args.args, *node.args.kwonlyargs]}
    makers = [found for found in node.body if isinstance(found, ast.FunctionDef) and found.name == "__init__"]
    if makers:
        own = {name: kind for name, kind in parameters(makers[0]).items() if name != "self"}
        inherited = [parameters(base) for base in _bases(node)] if takes_any(node) else []
        return {name: kind for settings in (*inherited, own) for name, kind in settings.items()}
    fields = [found for found in node.body if isinstance(found, ast.AnnAssign)]
    return {field.target.id: field.annotation for field in fields if isinstance(field.target, ast.Name)}


def _bases(node: ast.ClassDef) -> list[ast.ClassDef]:
    """The classes of visionkit's source that a class derives from."""
    found = [_class_called(base.id) for base in node.bases if isinstance(base, ast.Name)]
    return [base for base in found if base is not None]


@functools.cache
def _class_called(name: str) -> ast.ClassDef | None:
    """A class of visionkit's source by its name."""
    nodes = [node for path in _sources(f"class {name}") for node in _definitions(path)]
    return next((node for node in nodes if isinstance(node, ast.ClassDef) and node.name == name), None)


def takes_any(node: ast.ClassDef | ast.FunctionDef) -> bool:
    """Whether a function, or the `__init__` of a class, passes further keywords on (`**options`)."""
    if isinstance(node, ast.FunctionDef):
        return node.args.kwarg is not None
    return any(
        takes_any(found) for found in node.body if isinstance(found, ast.FunctionDef) and found.name == "__init__"
    )


def class_constant(node: ast.ClassDef | ast.FunctionDef, name: str) -> str | None:
    """A string that the body of a class, or of one that it derives from, assigns to `name`."""
    for found in node.body:
        target = found.target if isinstance(found, ast.AnnAssign) else None
        value = found.value if isinstance(found, (ast.AnnAssign, ast.Assign)) else None
        if isinstance(found, ast.Assign):
            target = found.targets[0]  # type: ignore[assignment]
        if isinstance(target, ast.Name) and target.id == name and isinstance(value, ast.Constant):
            return str(value.value)
    bases = _bases(node) if isinstance(node, ast.ClassDef) else []
    return next((value for base in bases if (value := class_constant(base, name)) is not None), None)


Definition = (ast.ClassDef, ast.FunctionDef)


def _sources(mark: str) -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if mark in path.read_text(encoding="utf-8")]


@functools.cache
def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _definitions(path: Path) -> list[ast.ClassDef | ast.FunctionDef]:
    return [node for node in _parse(path).body if isinstance(node, Definition)]


def _entries_of(node: ast.ClassDef | ast.FunctionDef) -> list[Entry]:
    summary = (ast.get_docstring(node) or "").split("\n")[0]
    return [
        Entry(mark.func.value.id, str(argument.value), node, summary)
        for mark in node.decorator_list
        if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Attribute) and mark.func.attr == "register"
        if isinstance(mark.func.value, ast.Name)
        for argument in mark.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    ]


def _called(mark: ast.expr) -> str | None:
    """Name of a decorator, with or without arguments."""
    function = mark.func if isinstance(mark, ast.Call) else mark
    return function.id if isinstance(function, ast.Name) else None
