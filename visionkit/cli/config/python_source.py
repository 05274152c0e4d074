"""Analysis of Python source without importing it: modules, meaning of their names, and parameters of classes.

Importing torch takes seconds. The command line therefore reads the source of the code that a recipe configures. Names
are resolved as in Python, through the imports, assignments and re-exports of the module that uses them.
"""

import ast
import functools
import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

Node = ast.ClassDef | ast.FunctionDef

ROOTS: dict[str, Path] = {"visionkit": Path(__file__).resolve().parents[2]}
"""Folder or file of top-level modules that are not on the import path or need no search on it."""


@dataclass(frozen=True)
class Module:
    """Source of a module.

    Attributes:
        name: dotted name.
        path: file of the module, `__init__.py` for a package.
    """

    name: str
    path: Path

    @property
    def is_package(self) -> bool:
        """Whether the module has submodules."""
        return self.path.name == "__init__.py"

    @property
    def tree(self) -> ast.Module:
        """Syntax tree of the file."""
        return parse(self.path)


@dataclass(frozen=True)
class Expression:
    """Expression with the module that defines its names. None represents a missing annotation."""

    module: Module
    node: ast.expr | None


@dataclass(frozen=True)
class Definition:
    """Definition of a class or function.

    Attributes:
        module: module of the definition.
        node: syntax tree of the definition.
    """

    module: Module
    node: Node

    @property
    def name(self) -> str:
        """Name of the definition in the module."""
        return self.node.name

    @property
    def summary(self) -> str:
        """First line of the docstring; "" without a docstring."""
        return (ast.get_docstring(self.node) or "").split("\n", 1)[0]


@dataclass(frozen=True)
class Variable:
    """Module-level variable whose value is neither another name nor an attribute."""

    module: Module
    name: str
    value: ast.expr


Meaning = Definition | Variable | Module


@functools.cache
def parse(path: Path) -> ast.Module:
    """Return the syntax tree of a file. It is parsed once per process."""
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def find_module(name: str) -> Module | None:
    """Return the source of a module without importing it or its packages; None if there is no such module."""
    top, _, inner = name.partition(".")
    root = ROOTS.get(top) or _on_import_path(top)
    if root is None:
        return None
    path = root.joinpath(*inner.split(".")) if inner else root
    files = [path / "__init__.py", path.with_name(f"{path.name}.py")] if inner else [root, root / "__init__.py"]
    return next((Module(name, file) for file in files if os.path.isfile(file)), None)  # False for a long name


def _on_import_path(top: str) -> Path | None:
    """Return the folder of a top-level package, or the file of a top-level module."""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    path = Path(spec.origin)
    return path.parent if path.name == "__init__.py" else path


@functools.cache
def _bindings(path: Path) -> dict[str, ast.stmt]:
    """Return the last statement that binds each name of a module."""
    return {name: statement for statement in _statements(parse(path).body) for name in _bound_names(statement)}


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield module-level statements, including those under `if TYPE_CHECKING:` and `try:`."""
    for statement in body:
        if isinstance(statement, ast.If | ast.Try):
            yield from _statements([*statement.orelse, *statement.body])
        else:
            yield statement


def _bound_names(statement: ast.stmt) -> list[str]:
    if isinstance(statement, Node):
        return [statement.name]
    if isinstance(statement, ast.ImportFrom):
        return [alias.asname or alias.name for alias in statement.names if alias.name != "*"]
    if isinstance(statement, ast.Import):
        return [alias.asname or alias.name.partition(".")[0] for alias in statement.names]
    if isinstance(statement, ast.AnnAssign) and statement.value is not None:
        return [statement.target.id] if isinstance(statement.target, ast.Name) else []
    if isinstance(statement, ast.Assign):
        return [target.id for target in statement.targets if isinstance(target, ast.Name)]
    return []


def resolve(expression: Expression) -> Meaning | None:
    """Return the meaning of a name or dotted name; None for other expressions and for unknown names."""
    node = expression.node
    if isinstance(node, ast.Name):
        return member(expression.module, node.id)
    if isinstance(node, ast.Attribute):
        owner = resolve(Expression(expression.module, node.value))
        return member(owner, node.attr) if isinstance(owner, Module) else None
    return None


@functools.cache
def member(module: Module, name: str) -> Meaning | None:
    """Return the class, function, variable or submodule `module.name`; None if it does not exist."""
    statement = _bindings(module.path).get(name)
    if isinstance(statement, Node):
        return Definition(module, statement)
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        assert statement.value is not None
        value = Expression(module, statement.value)
        return resolve(value) or Variable(module, name, statement.value)
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return _imported(module, statement, name)
    return _from_star_imports(module, name) or (find_module(f"{module.name}.{name}") if module.is_package else None)


def _imported(module: Module, statement: ast.Import | ast.ImportFrom, name: str) -> Meaning | None:
    qualified = _target(module, statement, name)
    if isinstance(statement, ast.Import):
        return find_module(qualified)
    source, _, attribute = qualified.rpartition(".")
    found = find_module(source)
    if found is None or found == module:
        return find_module(qualified)
    return member(found, attribute) or find_module(qualified)


def _target(module: Module, statement: ast.Import | ast.ImportFrom, name: str) -> str:
    """Return the dotted name that an import statement binds to `name`."""
    if isinstance(statement, ast.Import):
        alias = next(item for item in statement.names if name in (item.asname, item.name.partition(".")[0]))
        return alias.name if alias.asname else name
    alias = next(item for item in statement.names if name == (item.asname or item.name))
    return f"{_source(module, statement)}.{alias.name}"


def _source(module: Module, statement: ast.ImportFrom) -> str:
    """Return the absolute name of the module in a `from ... import` statement."""
    if not statement.level:
        return statement.module or ""
    parts = module.name.split(".")
    base = parts[: len(parts) - statement.level + module.is_package]
    return ".".join([*base, *([statement.module] if statement.module else [])])


def _from_star_imports(module: Module, name: str) -> Meaning | None:
    if name.startswith("_"):
        return None
    for statement in _statements(module.tree.body):
        if isinstance(statement, ast.ImportFrom) and statement.names[0].name == "*":
            source = find_module(_source(module, statement))
            found = member(source, name) if source is not None and source != module else None
            if found is not None:
                return found
    return None


def imported_modules(module: Module) -> Iterator[Module]:
    """Yield the modules that a module imports at its top level."""
    for statement in _statements(module.tree.body):
        names = []
        if isinstance(statement, ast.Import):
            names = [alias.name for alias in statement.names]
        elif isinstance(statement, ast.ImportFrom):
            source = _source(module, statement)
            names = [source, *(f"{source}.{alias.name}" for alias in statement.names)]
        yield from (found for name in names if (found := find_module(name)) is not None)


def qualified_name(expression: Expression) -> str:
    """Return the dotted name of a name with imports resolved ("dataclasses.dataclass"); "" for other expressions."""
    node = expression.node
    if isinstance(node, ast.Attribute):
        owner = qualified_name(Expression(expression.module, node.value))
        return f"{owner}.{node.attr}" if owner else ""
    if not isinstance(node, ast.Name):
        return ""
    statement = _bindings(expression.module.path).get(node.id)
    return (
        _target(expression.module, statement, node.id)
        if isinstance(statement, ast.Import | ast.ImportFrom)
        else node.id
    )


def definition(module: str, name: str) -> Definition:
    """Return the definition of a class or function that must exist."""
    source = find_module(module)
    found = member(source, name) if source is not None else None
    if not isinstance(found, Definition):
        raise LookupError(f"the source of {module} has no {name}")
    return found


def parameters(found: Definition) -> dict[str, Expression]:
    """Return the annotation of each parameter of a function or of a class's constructor.

    A class without `__init__`, or whose `__init__` passes further keywords on, also has the parameters of its bases.
    The parameters of a dataclass or TypedDict are its fields.
    """
    node = found.node
    if isinstance(node, ast.FunctionDef):
        return {
            argument.arg: Expression(found.module, argument.annotation)
            for argument in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        }
    constructor = _constructor(found)
    if constructor is not None:
        own = {name: kind for name, kind in parameters(constructor).items() if name != "self"}
        return {**_inherited(found), **own} if takes_any(constructor) else own
    return {**_inherited(found), **(_fields(found) if has_fields(found) else {})}


def _constructor(found: Definition) -> Definition | None:
    body = found.node.body
    makers = [node for node in body if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
    return Definition(found.module, makers[-1]) if makers else None


def _fields(found: Definition) -> dict[str, Expression]:
    return {
        node.target.id: Expression(found.module, node.annotation)
        for node in found.node.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and not _is_no_field(found, node)
    }


def _is_no_field(found: Definition, node: ast.AnnAssign) -> bool:
    annotation = node.annotation.value if isinstance(node.annotation, ast.Subscript) else node.annotation
    if qualified_name(Expression(found.module, annotation)).endswith("ClassVar"):
        return True
    call = node.value
    return isinstance(call, ast.Call) and any(
        keyword.arg == "init" and isinstance(keyword.value, ast.Constant) and not keyword.value.value
        for keyword in call.keywords
    )


def _inherited(found: Definition) -> dict[str, Expression]:
    return {name: kind for base in reversed(bases(found)) for name, kind in parameters(base).items()}


def has_fields(found: Definition) -> bool:
    """Return whether a class or one of its bases is a dataclass or a TypedDict."""
    if not isinstance(found.node, ast.ClassDef):
        return False
    marks = [mark.func if isinstance(mark, ast.Call) else mark for mark in found.node.decorator_list]
    if any(qualified_name(Expression(found.module, mark)) == "dataclasses.dataclass" for mark in marks):
        return True
    names = [qualified_name(Expression(found.module, base)) for base in found.node.bases]
    if any(name.rpartition(".")[2] == "TypedDict" for name in names):
        return True
    return any(has_fields(base) for base in bases(found))


def bases(found: Definition) -> list[Definition]:
    """Return the base classes whose source is available."""
    if not isinstance(found.node, ast.ClassDef):
        return []
    names = [base.value if isinstance(base, ast.Subscript) else base for base in found.node.bases]
    meanings = [resolve(Expression(found.module, name)) for name in names]
    classes = [meaning for meaning in meanings if isinstance(meaning, Definition)]
    return [base for base in classes if isinstance(base.node, ast.ClassDef) and base.node is not found.node]


def takes_any(found: Definition) -> bool:
    """Return whether a function or a class's constructor passes further keywords on (`**options`)."""
    if isinstance(found.node, ast.FunctionDef):
        return found.node.args.kwarg is not None
    constructor = _constructor(found)
    return takes_any(constructor) if constructor is not None else any(takes_any(base) for base in bases(found))


def class_constant(found: Definition, name: str) -> str | None:
    """Return the string that a class or its nearest base assigns to `name`; None if there is none."""
    value = _class_value(found, name)
    return str(value.value) if isinstance(value, ast.Constant) else None


def class_strings(found: Definition, name: str) -> list[str] | None:
    """Return the strings of the tuple that a class or its nearest base assigns to `name`; None if there is none."""
    value = _class_value(found, name)
    if not isinstance(value, ast.Tuple):
        return None
    return [str(part.value) for part in value.elts if isinstance(part, ast.Constant)]


def _class_value(found: Definition, name: str) -> ast.Constant | ast.Tuple | None:
    """Return the constant or tuple that a class or its nearest base assigns to `name`; None if there is none."""
    for node in found.node.body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or not isinstance(node.value, ast.Constant | ast.Tuple):
            continue
        target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
        if isinstance(target, ast.Name) and target.id == name:
            return node.value
    return next((value for base in bases(found) if (value := _class_value(base, name)) is not None), None)
