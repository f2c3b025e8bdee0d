"""A module as it is written: its top-level names, and what every import stands for."""

import ast
import inspect
from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

from cmbml.core.errors import PipelineError
from cmbml.core.plan.modules import file_of, is_own, is_source, text_of

ImportNode = ast.Import | ast.ImportFrom
NAMED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
IMPORTS = (ast.Import, ast.ImportFrom)

# What hands on names of the machinery; "cmbml" is the package's own door.
_DOORS = ("cmbml", "cmbml.core")
# By these, code reaches names that it does not spell.
_REACHES_ANYTHING = frozenset({"globals", "locals", "vars", "eval", "exec", "__import__", "import_module"})
_BY_NAME = ("import_module", "__import__")


class Target(NamedTuple):
    """What a name is imported from: a module, and the attribute of it that is meant, where it is one."""

    module: str
    attribute: str


class Source:
    """A module as it is written.

    Attributes
    ----------
    name
        Dotted name, which relative imports start from.
    file
        Where it lies; None for what was typed into a notebook.
    tree
        Its syntax.
    definitions
        The statements behind each top-level name.
    imports
        Every import of each top-level name: there may be several, under `try` or `if`.
    """

    def __init__(self, name: str, file: Path | None, tree: ast.Module) -> None:
        self.name = name
        self.file = file
        self.tree = tree
        self.definitions: dict[str, list[ast.stmt]] = {}
        self.imports: dict[str, list[ImportNode]] = {}
        for statement in tree.body:
            for defined in _touched(statement):
                self.definitions.setdefault(defined, []).append(statement)
            for node in _imports_at_start(statement):
                for alias in node.names:
                    self.imports.setdefault(_bound_name(alias), []).append(node)

    @property
    def is_package(self) -> bool:
        """Whether it is a package's ``__init__``."""
        return self.file is not None and self.file.name == "__init__.py"

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing: a docstring at most."""
        return all(
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in self.tree.body
        )

    def says(self, *words: str) -> bool:
        """Whether any of some words may stand in its code: a quick look before a slow one."""
        return self.file is None or any(word in text_of(self.file) for word in words)

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """All nodes of its syntax."""
        return list(ast.walk(self.tree))

    @cached_property
    def optional(self) -> set[int]:
        """Imports that may fail, since something else is done then, by id."""
        tries = [node for node in self.nodes if isinstance(node, ast.Try)]
        caught = [node for node in tries if any("Error" in ast.unparse(h.type or h) for h in node.handlers)]
        return {id(each) for node in caught for part in node.body for each in imports_in(part)}

    @cached_property
    def hides_names(self) -> bool:
        """Whether any of its code reaches names without spelling them, so that only all of it is safe."""
        hides = self.says("global", "modules", *_REACHES_ANYTHING) and any(map(_hides_names, self.nodes))
        return hides or any(map(self._registers, self.tree.body))

    def _registers(self, statement: ast.stmt) -> bool:
        """Whether a decorator of the repository's own may have put a definition where no name leads."""
        decorators = statement.decorator_list if isinstance(statement, NAMED) else []
        bases = {base_name(decorator) for decorator in decorators}
        imports = [node for base in bases for node in self.imports.get(base, [])]
        targets = [target for node in imports for target in bindings(self, node).values()]
        return bool(bases & self.definitions.keys()) or any(is_own(target.module) for target in targets)

    @cached_property
    def aliases(self) -> dict[str, str]:
        """What every imported name stands for, dotted, wherever in the module it is imported."""
        found: dict[str, str] = {}
        for node in (each for each in self.nodes if isinstance(each, IMPORTS)):
            for alias in node.names:
                whole = alias.name if alias.asname else _bound_name(alias)
                inner = f"{_absolute(self, node)}." if isinstance(node, ast.ImportFrom) else ""
                found[_bound_name(alias)] = f"{inner}{whole}"
        return found

    @cached_property
    def stars(self) -> list[str]:
        """Modules of which all names are imported."""
        return [
            _absolute(self, node) for node in self.imports.get("*", []) if isinstance(node, ast.ImportFrom)
        ]

    def class_named(self, name: str) -> ast.ClassDef | None:
        """Find the definition of a class."""
        classes = (node for node in self.definitions.get(name, []) if isinstance(node, ast.ClassDef))
        return next(classes, None)


def source_at(path: str) -> tuple[Source, str]:
    """Module and name behind the dotted path of a class or function.

    Raises
    ------
    PipelineError
        Where there is no such module.
    """
    module, _, name = path.rpartition(".")
    source = source_of(module)
    if source is None:
        raise PipelineError(f"executor '{path}': no module '{module}'")
    return source, name


def source_of_class(executor: type) -> tuple[Source, str]:
    """Module and name of a class that is there already, of a script or notebook too."""
    try:
        found = inspect.getsourcefile(executor)
    except TypeError:  # typed into a notebook
        found = None
    file = Path(found) if found and Path(found).is_file() else None
    if file is None:
        tree = ast.parse(inspect.cleandoc(inspect.getsource(executor)))
        return Source(executor.__module__, None, tree), executor.__name__
    # A script is the same code whether it is run or imported.
    module = file.stem if executor.__module__ == "__main__" else executor.__module__
    return Source(module, file, _parse(file)), executor.__name__


@cache
def source_of(module: str) -> Source | None:
    """A module; None where it has no source."""
    file = file_of(module)
    return Source(module, file, _parse(file)) if file is not None and is_source(file) else None


def _parse(file: Path) -> ast.Module:
    try:
        return ast.parse(text_of(file), str(file))
    except SyntaxError as error:
        raise PipelineError(f"{file}:{error.lineno}: {error.msg}: correct it") from None
    except UnicodeDecodeError:
        raise PipelineError(f"{file}: is not UTF-8: save it as UTF-8") from None


def _touched(statement: ast.stmt) -> set[str]:
    """Names that a top-level statement defines or may change: `TABLE.update(...)` belongs to `TABLE`."""
    if isinstance(statement, NAMED):
        return {statement.name}
    if isinstance(statement, IMPORTS):
        return set()
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return {name for target in targets for name in _changed_names(target)}
    names = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
    return names | {node.name for node in ast.walk(statement) if isinstance(node, NAMED)}


def _changed_names(target: ast.expr) -> Iterator[str]:
    """Names behind the target of an assignment: of `a, b.c, d[0]` these are a, b and d."""
    parts = target.elts if isinstance(target, ast.Tuple | ast.List) else [target]
    for part in parts:
        if isinstance(part, ast.Tuple | ast.List):
            yield from _changed_names(part)
        elif name := base_name(part):
            yield name


def base_name(node: ast.AST) -> str:
    """First name of an expression such as `a.b[0](c)`; empty where it does not begin with one."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Starred | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def _hides_names(node: ast.AST) -> bool:
    if isinstance(node, ast.Global):
        return True
    if isinstance(node, ast.Attribute):
        return node.attr == "import_module" or (node.attr == "modules" and base_name(node) == "sys")
    return isinstance(node, ast.Name) and node.id in _REACHES_ANYTHING


def _imports_at_start(statement: ast.stmt) -> list[ImportNode]:
    """Imports that run with the module, also those under `if` and `try`."""
    return [] if isinstance(statement, NAMED) else imports_in(statement)


def imports_in(tree: ast.AST) -> list[ImportNode]:
    """All imports in a part of a module."""
    return [node for node in ast.walk(tree) if isinstance(node, IMPORTS)]


def _bound_name(alias: ast.alias) -> str:
    return alias.asname or alias.name.partition(".")[0]


def bindings(source: Source, node: ImportNode) -> dict[str, Target]:
    """What every name of an import stands for."""
    if isinstance(node, ast.Import):
        return {alias.asname or alias.name: Target(alias.name, "") for alias in node.names}
    module = _absolute(source, node)
    return {alias.asname or alias.name: _behind_door(module, alias.name) for alias in node.names}


def imported_by_text(source: Source, tree: ast.AST) -> Iterator[str]:
    """Modules that `import_module("name")` or `__import__("name")` brings in, and those of `exec("...")`."""
    for node in ast.walk(tree) if source.says(*_BY_NAME, "exec", "eval") else ():
        given = node.args[0] if isinstance(node, ast.Call) and node.args else None
        if not isinstance(node, ast.Call) or not isinstance(given, ast.Constant):
            continue
        called, text = ast.unparse(node.func), given.value
        if isinstance(text, str) and called.endswith(_BY_NAME):
            yield text
        elif isinstance(text, str) and called in ("exec", "eval"):
            inner = parsed(text)
            yield from (t.module for each in imports_in(inner) for t in bindings(source, each).values())
            yield from imported_by_text(source, inner)


def parsed(text: str) -> ast.Module:
    """Syntax of code in a text; empty where it is none."""
    try:
        return ast.parse(text.strip())
    except SyntaxError:
        return ast.Module([], [])


def _behind_door(module: str, name: str) -> Target:
    """Where a name really comes from: a submodule, or what the machinery's door hands on."""
    if is_own(module) and file_of(f"{module}.{name}") is not None:
        return Target(f"{module}.{name}", "")
    door = source_of(module) if module in _DOORS else None
    for node in door.imports.get(name, []) if door else []:
        if isinstance(node, ast.ImportFrom) and door is not None:
            return Target(_absolute(door, node), name)
    return Target(module, name)


def _absolute(source: Source, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    # Seen from a package, one dot is the package itself.
    depth = node.level - source.is_package
    parts = source.name.split(".")
    parent = parts[: len(parts) - depth]
    return ".".join([*parent, *([node.module] if node.module else [])])
