"""Fingerprint of the code behind an executor, read from syntax trees; nothing is imported or run.

What counts: the executor's class with everything in its module that it refers to, every module of the sky,
methods and analysis (or of the user's own package) that these import, and the versions of the numerical
packages in use. Comments, docstrings and layout do not count; neither does the machinery around the science.
"""

import ast
import hashlib
import inspect
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from cmbml.core.errors import PipelineError, did_you_mean

MACHINERY = ("cmbml.core", "cmbml.cli", "tasks")
_NAMED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_LOOPS = ("process_sim", "process_split", "execute")


@dataclass(frozen=True)
class Code:
    """The code behind one executor.

    Attributes
    ----------
    modules
        Hash of each part: of the executor with what it refers to, and of every module it uses.
    packages
        major.minor of every other package that these import.
    files
        Source files, for DVC to watch.
    loop
        Method by which the executor owns the loop: ``process_sim``, ``process_split`` or ``execute``.
    """

    modules: dict[str, str]
    packages: dict[str, str]
    files: tuple[Path, ...]
    loop: str


@cache
def code_of(executor: str | type) -> Code:
    """Fingerprint an executor, named by its dotted path or given as a class.

    Raises
    ------
    PipelineError
        Where there is no such module or class.
    """
    if isinstance(executor, type):
        file = _class_file(executor)
        # A script is the same code whether it is run or imported.
        script = file.stem if file and executor.__module__ == "__main__" else None
        module, name = script or executor.__module__, executor.__name__
        tree = _parse(file) if file else ast.parse(inspect.cleandoc(inspect.getsource(executor)))
    else:
        module, _, name = executor.rpartition(".")
        file = _module_file(module)
        if file is None:
            raise PipelineError(f"executor '{executor}': no module '{module}'")
        tree = _parse(file)
    closure = _Closure(home=module.partition(".")[0])
    names = _Names(module, tree)
    if name not in names.definitions:
        raise PipelineError(
            f"executor '{executor}': no class '{name}': {did_you_mean(name, names.definitions)}"
        )
    used = closure.add_definition(names, name)
    modules = {f"{module}:{name}": _digest(used), **closure.modules}
    files = ([file] if file else []) + closure.files
    return Code(dict(sorted(modules.items())), _versions(closure.packages), tuple(files), _loop(names, name))


def _class_file(executor: type) -> Path | None:
    """The file of a class; None for one that was typed into a notebook."""
    try:
        source = inspect.getsourcefile(executor)
    except TypeError:
        return None
    return Path(source) if source and Path(source).is_file() else None


@cache
def _module_file(name: str) -> Path | None:
    """Source file of a module, found without importing it or its packages."""
    top, *rest = name.split(".")
    try:
        spec = find_spec(top)
    except ValueError:  # __main__ of a notebook has no source file
        return None
    if spec is None:
        return None
    if not rest:
        return Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None
    for folder in spec.submodule_search_locations or ():
        for file in (Path(folder, *rest).with_suffix(".py"), Path(folder, *rest, "__init__.py")):
            if file.is_file():
                return file
    return None


@cache
def _is_beside(top: str, home: str) -> bool:
    """Whether a top-level module belongs to the same repository as the module `home`."""
    if top in ("cmbml", home):
        return True
    file, other = _module_file(top), _module_file(home)
    if file is None or other is None or "site-packages" in file.parts:
        return False
    return file.is_relative_to(other.parent.parent if other.name == "__init__.py" else other.parent)


@cache
def _parse(file: Path) -> ast.Module:
    try:
        return ast.parse(file.read_text(encoding="utf-8"), str(file))
    except SyntaxError as error:
        raise PipelineError(f"{file}:{error.lineno}: {error.msg}: mend it") from None


class _Names:
    """The top-level names of a module: the statements behind each, and what is imported."""

    def __init__(self, module: str, tree: ast.Module) -> None:
        self.module = module
        self.definitions: dict[str, list[ast.stmt]] = {}
        self.imports: dict[str, ast.Import | ast.ImportFrom] = {}
        for statement in tree.body:
            for name in _touched(statement):
                self.definitions.setdefault(name, []).append(statement)
            for node in _imports_of(statement):
                self.imports |= {a.asname or a.name.partition(".")[0]: node for a in node.names}

    def class_named(self, name: str) -> ast.ClassDef | None:
        """Find the definition of a class."""
        classes = (node for node in self.definitions.get(name, []) if isinstance(node, ast.ClassDef))
        return next(classes, None)


def _touched(statement: ast.stmt) -> set[str]:
    """Names that a top-level statement defines, or may change: `TABLE.update(...)` belongs to `TABLE`."""
    if isinstance(statement, _NAMED):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return set()
    simple = isinstance(statement, ast.Assign | ast.AnnAssign)
    names = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
    inner = (node.name for node in ast.walk(statement) if isinstance(node, _NAMED))
    return {*inner, *(node.id for node in names if isinstance(node.ctx, ast.Store) or not simple)}


def _imports_of(statement: ast.stmt) -> list[ast.Import | ast.ImportFrom]:
    """Imports that run with the module, also those under `if` and `try`."""
    inside = ast.walk(statement) if not isinstance(statement, _NAMED) else []
    return [node for node in inside if isinstance(node, ast.Import | ast.ImportFrom)]


@dataclass
class _Closure:
    """Modules and packages that some code leads to."""

    home: str
    modules: dict[str, str] = field(default_factory=dict)
    packages: set[str] = field(default_factory=set)
    files: list[Path] = field(default_factory=list)

    def add_definition(self, names: _Names, first: str) -> list[ast.AST]:
        """Collect the definition of `first` and all others of its module that it refers to."""
        wanted, used = [first], dict[str, list[ast.stmt]]()
        if "*" in names.imports:
            self._add_imported(names.module, names.imports["*"], None)
        while wanted:
            name = wanted.pop()
            if name in used:
                continue
            if name in names.imports:
                self._add_imported(names.module, names.imports[name], name)
            if name in names.definitions:
                used[name] = names.definitions[name]
                for node in used[name]:
                    wanted += [n.id for n in ast.walk(node) if isinstance(n, ast.Name)]
                    self._add_imports(names.module, node)
        return [node for name in sorted(used) for node in used[name]]

    def add_module(self, name: str) -> None:
        """Collect a whole module and all that it imports."""
        top = name.partition(".")[0]
        if name in self.modules or any(name == m or name.startswith(f"{m}.") for m in MACHINERY):
            return
        if not _is_beside(top, self.home):
            if top not in sys.stdlib_module_names:
                self.packages.add(top)
            return
        file = _module_file(name)
        if file is None:
            return
        self.modules[name] = _module_digest(file)
        self.files.append(file)
        for node in _imports_in(file):
            self._add_imported(name, node, None)

    def _add_imports(self, module: str, tree: ast.AST) -> None:
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                self._add_imported(module, node, None)

    def _add_imported(self, module: str, node: ast.Import | ast.ImportFrom, only: str | None) -> None:
        for alias in node.names:
            if only is not None and only != (alias.asname or alias.name.partition(".")[0]):
                continue
            if isinstance(node, ast.Import):
                self.add_module(alias.name)
                continue
            source = _absolute(module, node)
            inner = f"{source}.{alias.name}"
            self.add_module(source)
            if _is_beside(source.partition(".")[0], self.home) and _module_file(inner) is not None:
                self.add_module(inner)


@cache
def _module_digest(file: Path) -> str:
    return _digest([_parse(file)])


@cache
def _imports_in(file: Path) -> tuple[ast.Import | ast.ImportFrom, ...]:
    return tuple(node for node in ast.walk(_parse(file)) if isinstance(node, ast.Import | ast.ImportFrom))


def _absolute(module: str, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    file = _module_file(module)
    # Seen from a package, one dot is the package itself.
    depth = node.level - (file is not None and file.name == "__init__.py")
    parts = module.split(".")
    parent = parts[: len(parts) - depth]
    return ".".join([*parent, *([node.module] if node.module else [])])


def _digest(nodes: Iterable[ast.AST]) -> str:
    return hashlib.sha256(repr([_plain(node) for node in nodes]).encode()).hexdigest()[:16]


def _plain(value: object) -> object:
    """A syntax tree without docstrings and without what differs between versions of Python."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, ast.AST):
        return value
    fields = dict(ast.iter_fields(value))
    body = fields.get("body")
    documented = isinstance(value, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    if documented and isinstance(body, list) and ast.get_docstring(value, clean=False) is not None:  # type: ignore[arg-type]
        fields["body"] = body[1:]
    given = ((name, _plain(item)) for name, item in fields.items() if item is not None and item != [])
    return (type(value).__name__, *((name, item) for name, item in given if name not in ("ctx", "kind")))


def _versions(packages: Iterable[str]) -> dict[str, str]:
    found = {}
    for name in sorted(packages):
        try:
            found[name] = ".".join(version(name).split(".")[:2])
        except PackageNotFoundError:
            continue
    return found


def _loop(names: _Names, name: str) -> str:
    """Find which method of the walk a class or its bases override."""
    return _overridden(names, name) or _LOOPS[0]


def _overridden(names: _Names, name: str) -> str | None:
    """The same, or None where they override none of them."""
    node = names.class_named(name)
    if node is None:
        return _overridden_elsewhere(_dotted(names, ast.Name(name)))
    own = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
    for method in reversed(_LOOPS):
        if method in own:
            return method
    found = (_overridden_by_base(names, name, base) for base in node.bases)
    return next((method for method in found if method), None)


def _overridden_by_base(names: _Names, name: str, base: ast.expr) -> str | None:
    if isinstance(base, ast.Name) and base.id != name:
        return _overridden(names, base.id)
    return _overridden_elsewhere(_dotted(names, base))


def _overridden_elsewhere(path: str) -> str | None:
    """The same for a class of another module; what the machinery's own does is the default."""
    module, _, name = path.rpartition(".")
    ours = f"{module}.".startswith(tuple(f"{part}." for part in MACHINERY))
    file = None if ours else _module_file(module)
    return None if file is None else _overridden(_Names(module, _parse(file)), name)


def _dotted(names: _Names, node: ast.expr) -> str:
    """Dotted path of what ``Base``, ``module.Base`` or ``Base[T]`` is; empty where nothing imports it."""
    if isinstance(node, ast.Subscript):
        return _dotted(names, node.value)
    if isinstance(node, ast.Attribute):
        owner = _dotted(names, node.value)
        return f"{owner}.{node.attr}" if owner else ""
    name = node.id if isinstance(node, ast.Name) else ""
    statement = names.imports.get(name, names.imports.get("*"))
    if statement is None:
        return ""
    given = next((a.name for a in statement.names if a.asname == name), name)
    return f"{_absolute(names.module, statement)}.{given}" if isinstance(statement, ast.ImportFrom) else given
