"""What the toolkit has, read from its source without importing it: torch alone takes seconds.

Names are found in the text of the files; only the few files that a recipe asks for are parsed, however many there are.
"""

import ast
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent.parent

_REGISTRATION = re.compile(
    r"""
    ^@(?P<registry>\w+)\.register\((?P<names>[^()]*)\)\n
    (?=                              # what stands below is looked at only, since it may have several such decorators
        (?:[@)\ ][^\n]*\n)*
        (?:class|def)\ (?P<definition>\w+) .*? :\n
        (?:\s+"{3}(?P<summary>.*?) (?:"{3}|\n))?
    )
    """,
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)
_NAME = re.compile(r"""["']([^"']+)["']""")


@dataclass
class Entry:
    """Something that a registry's decorator names.

    Attributes:
        registry: variable of the registry ("backbones").
        name: its name there.
        summary: first line of its docstring.
        path: its source file.
        called: what the decorated class or function is called there.
    """

    registry: str
    name: str
    summary: str
    path: Path
    called: str

    @property
    def node(self) -> ast.ClassDef | ast.FunctionDef:
        """The decorated class or function."""
        return definition(self.path, self.called)


@functools.cache
def entries() -> list[Entry]:
    """Everything in visionkit's source that stands under a `@<registry>.register("name", ...)`."""
    return [
        entry for path, text in _sources(PACKAGE).items() if ".register(" in text for entry in _entries_of(path, text)
    ]


def registered(registry: str) -> dict[str, Entry]:
    """The entries of one registry by name."""
    return {entry.name: entry for entry in entries() if entry.registry == registry}


@functools.cache
def class_called(name: str) -> ast.ClassDef | None:
    """The class of visionkit's source that has this name; None where there is none."""
    heads = (f"\nclass {name}:", f"\nclass {name}(")
    path = next((path for path, text in _sources(PACKAGE).items() if any(head in text for head in heads)), None)
    found = definition(path, name) if path is not None else None
    return found if isinstance(found, ast.ClassDef) else None


def options_class(name: str) -> ast.ClassDef | None:
    """The dataclass of visionkit's source that has this name; None where there is none."""
    node = class_called(name)
    return node if node is not None and _is_dataclass(node) else None


def definition(path: Path, *names: str) -> ast.ClassDef | ast.FunctionDef:
    """The class or function called `names[-1]` inside those before it, in the source file `path`."""
    body: list[ast.stmt] = _parse(path).body
    for name in names:
        node = next(found for found in body if isinstance(found, Definition) and found.name == name)
        body = node.body
    return node


def parameters(node: ast.ClassDef | ast.FunctionDef) -> dict[str, ast.expr | None]:
    """Annotation of each parameter of a function, or of each setting of a class (its fields or its __init__).

    A class that passes further keywords on, or has no __init__ of its own, takes those of the classes it derives from.
    """
    if isinstance(node, ast.FunctionDef):
        return {given.arg: given.annotation for given in [*node.args.args, *node.args.kwonlyargs]}
    makers = [found for found in node.body if isinstance(found, ast.FunctionDef) and found.name == "__init__"]
    if makers:
        own = {name: kind for name, kind in parameters(makers[0]).items() if name != "self"}
        return {**_inherited(node), **own} if takes_any(node) else own
    if not _is_dataclass(node):
        return _inherited(node)
    fields = [found for found in node.body if isinstance(found, ast.AnnAssign)]
    return {field.target.id: field.annotation for field in fields if isinstance(field.target, ast.Name)}


def _inherited(node: ast.ClassDef) -> dict[str, ast.expr | None]:
    return {name: kind for base in _bases(node) for name, kind in parameters(base).items()}


def _is_dataclass(node: ast.ClassDef) -> bool:
    return any(_called(mark) == "dataclass" for mark in node.decorator_list)


def _bases(node: ast.ClassDef) -> list[ast.ClassDef]:
    """The classes of visionkit's source that a class derives from."""
    found = [class_called(base.id) for base in node.bases if isinstance(base, ast.Name)]
    return [base for base in found if base is not None]


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
        if not isinstance(found, ast.Assign | ast.AnnAssign) or not isinstance(found.value, ast.Constant):
            continue
        target = found.target if isinstance(found, ast.AnnAssign) else found.targets[0]
        if isinstance(target, ast.Name) and target.id == name:
            return str(found.value.value)
    bases = _bases(node) if isinstance(node, ast.ClassDef) else []
    return next((value for base in bases if (value := class_constant(base, name)) is not None), None)


Definition = (ast.ClassDef, ast.FunctionDef)


@functools.cache
def _sources(folder: Path) -> dict[Path, str]:
    """The text of each Python file below a folder."""
    return {path: path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.py"))}


@functools.cache
def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _entries_of(path: Path, text: str) -> Iterator[Entry]:
    for found in _REGISTRATION.finditer(text):
        for name in _NAME.findall(found["names"]):
            yield Entry(found["registry"], name, found["summary"] or "", path, found["definition"])


def _called(mark: ast.expr) -> str | None:
    """Name of a decorator, with or without arguments."""
    function = mark.func if isinstance(mark, ast.Call) else mark
    return function.id if isinstance(function, ast.Name) else None
