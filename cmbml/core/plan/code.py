"""Fingerprint of the code behind an executor, read from syntax trees; nothing is imported or run.

What counts is what the code says: the executor's class with everything in its module that it refers to, every
module of the sky, methods and analysis, or of the user's own, that these import, and the versions of the
packages in use.  A module is known by its content, never by its name or place, so that it can be renamed or
moved freely.  Comments, docstrings, layout and the text of import lines do not count; neither does the
machinery around the science.
"""

import ast
import hashlib
import inspect
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, distribution, version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from cmbml.core.errors import PipelineError, did_you_mean
from cmbml.core.spec.signature import Signature, signature

# Packages that run the science without being part of it; "cmbml" is the package's own door.
MACHINERY = ("cmbml.core", "cmbml.cli", "tasks")
# Part of the code that is no module: how the modules are joined.
JOINTS = "imports"
_DOORS = ("cmbml", "cmbml.core")
_NAMED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_IMPORTS = (ast.Import, ast.ImportFrom)
_LOOPS = ("process_sim", "process_split", "execute")
# By these, code reaches names that it does not spell.
_REACHES_ANYTHING = frozenset({"globals", "locals", "vars", "eval", "exec", "__import__", "import_module"})

ImportNode = ast.Import | ast.ImportFrom


@dataclass(frozen=True)
class Code:
    """The code behind one executor.

    Attributes
    ----------
    modules
        Hash of what each part says: the executor with what it refers to, and every module it uses; last, how
        they are joined: what each imported name stands for.
    packages
        major.minor of every other package that these import.
    imports
        Modules of these packages, by their dotted names.
    files
        Source files, for DVC to watch.
    loop
        Method by which the executor owns the loop: ``process_sim``, ``process_split`` or ``execute``.
    """

    modules: dict[str, str]
    packages: dict[str, str]
    imports: tuple[str, ...]
    files: tuple[Path, ...]
    loop: str


@cache
def code_of(executor: str | type) -> Code:
    """Fingerprint an executor, named by its dotted path or given as a class; also a function or a handler.

    Raises
    ------
    PipelineError
        Where there is no such module or class.
    """
    source, name = _source_of_class(executor) if isinstance(executor, type) else _source_at(executor)
    if name not in source.definitions:
        raise PipelineError(
            f"executor '{executor}': no class '{name}': {did_you_mean(name, source.definitions)}"
        )
    closure = _Closure()
    said = closure.add_definition(source, name)
    modules = dict(sorted({f"{source.name}:{name}": said, **closure.modules}.items()))
    modules[JOINTS] = _hash(sorted(closure.joints))
    files = ([source.file] if source.file else []) + closure.files
    imports = tuple(sorted(closure.imports))
    packages = {module.partition(".")[0] for module in imports}
    return Code(modules, _versions(packages), imports, tuple(files), _loop(source, name))


def forget() -> None:
    """Forget all source that was read, so that edits are seen by a process that goes on."""
    for cached in (code_of, _read, _module_file, _is_own, _source, _content, _whole, _version):
        cached.cache_clear()


class _Source:
    """A module as it is written: its top-level names, and what it imports.

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

    def says(self, *words: str) -> bool:
        """Whether any of some words may stand in its code: a quick look before a slow one."""
        return self.file is None or any(word in _read(self.file)[1] for word in words)

    @cached_property
    def hides_names(self) -> bool:
        """Whether any of its code reaches names without spelling them, so that only all of it is safe."""
        hides = self.says("global", "modules", *_REACHES_ANYTHING) and any(
            map(_hides_names, ast.walk(self.tree))
        )
        return hides or any(map(self._registers, self.tree.body))

    def _registers(self, statement: ast.stmt) -> bool:
        """Whether a decorator of the repository's own may have put a definition where no name leads."""
        decorators = statement.decorator_list if isinstance(statement, _NAMED) else []
        bases = {_base_name(decorator) for decorator in decorators}
        imports = [node for base in bases for node in self.imports.get(base, [])]
        targets = [target for node in imports for target in _bindings(self, node).values()]
        return bool(bases & self.definitions.keys()) or any(
            _is_own(target.module.partition(".")[0]) for target in targets
        )

    def class_named(self, name: str) -> ast.ClassDef | None:
        """Find the definition of a class."""
        classes = (node for node in self.definitions.get(name, []) if isinstance(node, ast.ClassDef))
        return next(classes, None)


def _source_of_class(executor: type) -> tuple[_Source, str]:
    try:
        found = inspect.getsourcefile(executor)
    except TypeError:  # typed into a notebook
        found = None
    file = Path(found) if found and Path(found).is_file() else None
    if file is None:
        tree = ast.parse(inspect.cleandoc(inspect.getsource(executor)))
        return _Source(executor.__module__, None, tree), executor.__name__
    # A script is the same code whether it is run or imported.
    module = file.stem if executor.__module__ == "__main__" else executor.__module__
    return _Source(module, file, _parse(file)), executor.__name__


def _source_at(path: str) -> tuple[_Source, str]:
    module, _, name = path.rpartition(".")
    source = _source(module)
    if source is None:
        raise PipelineError(f"executor '{path}': no module '{module}'")
    return source, name


@cache
def _source(module: str) -> _Source | None:
    file = _module_file(module)
    return None if file is None else _Source(module, file, _parse(file))


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
def _is_own(top: str) -> bool:
    """Whether a top-level module is the user's own or ours, wherever it lies: not installed, not Python's."""
    if top == "cmbml":
        return True
    if top in sys.stdlib_module_names:
        return False
    try:
        spec = find_spec(top)
    except ValueError:
        return False
    places = [] if spec is None else [*(spec.submodule_search_locations or ()), spec.origin]
    return bool(places and places[0]) and not _is_installed(top, Path(str(places[0])))


def _is_installed(top: str, place: Path) -> bool:
    """Whether a package was installed, so that its version says what it is; one that is linked to was not."""
    if {"site-packages", "dist-packages"} & set(place.parts):
        return True
    try:
        return place.is_relative_to(str(distribution(top).locate_file("")))
    except PackageNotFoundError:
        return False


@cache
def _read(file: Path) -> tuple[Signature | None, str]:
    """Signature and text of a source file, as they were when it was read first."""
    before = signature(file)
    return before, file.read_text(encoding="utf-8")


def read_at(file: Path) -> Signature | None:
    """Signature of a source file when its text was taken into a fingerprint."""
    return _read(file)[0]


def _parse(file: Path) -> ast.Module:
    try:
        return ast.parse(_read(file)[1], str(file))
    except SyntaxError as error:
        raise PipelineError(f"{file}:{error.lineno}: {error.msg}: correct it") from None
    except UnicodeDecodeError:
        raise PipelineError(f"{file}: is not UTF-8: save it as UTF-8") from None


def _touched(statement: ast.stmt) -> set[str]:
    """Names that a top-level statement defines or may change: `TABLE.update(...)` belongs to `TABLE`."""
    if isinstance(statement, _NAMED):
        return {statement.name}
    if isinstance(statement, _IMPORTS):
        return set()
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return {name for target in targets for name in _changed_names(target)}
    names = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
    return names | {node.name for node in ast.walk(statement) if isinstance(node, _NAMED)}


def _changed_names(target: ast.expr) -> Iterator[str]:
    """Names behind the target of an assignment: of `a, b.c, d[0]` these are a, b and d."""
    parts = target.elts if isinstance(target, ast.Tuple | ast.List) else [target]
    for part in parts:
        if isinstance(part, ast.Tuple | ast.List):
            yield from _changed_names(part)
        elif name := _base_name(part):
            yield name


def _base_name(node: ast.AST) -> str:
    """First name of an expression such as `a.b[0](c)`; empty where it does not begin with one."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Starred | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def _hides_names(node: ast.AST) -> bool:
    if isinstance(node, ast.Global):
        return True
    if isinstance(node, ast.Attribute):
        return node.attr == "import_module" or (node.attr == "modules" and _base_name(node) == "sys")
    return isinstance(node, ast.Name) and node.id in _REACHES_ANYTHING


def _imports_at_start(statement: ast.stmt) -> list[ImportNode]:
    """Imports that run with the module, also those under `if` and `try`."""
    return [] if isinstance(statement, _NAMED) else _imports_in(statement)


def _imports_in(tree: ast.AST) -> list[ImportNode]:
    return [node for node in ast.walk(tree) if isinstance(node, _IMPORTS)]


def _bound_name(alias: ast.alias) -> str:
    return alias.asname or alias.name.partition(".")[0]


class _Target(NamedTuple):
    """What a name is imported from: a module, and the attribute of it that is meant, where it is one."""

    module: str
    attribute: str


def _bindings(source: _Source, node: ImportNode) -> dict[str, _Target]:
    """What every name of an import stands for."""
    if isinstance(node, ast.Import):
        return {alias.asname or alias.name: _Target(alias.name, "") for alias in node.names}
    module = _absolute(source, node)
    return {alias.asname or alias.name: _behind_door(module, alias.name) for alias in node.names}


def _imported_by_call(source: _Source, tree: ast.AST) -> Iterator[str]:
    """Modules that `import_module("name")` or `__import__("name")` brings in."""
    for node in ast.walk(tree) if source.says("import_module", "__import__") else ():
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            named = (each.value for each in node.args[:1] if isinstance(each, ast.Constant))
            yield from (name for name in named if isinstance(name, str))


def _behind_door(module: str, name: str) -> _Target:
    """Where a name really comes from: a submodule, or what the machinery's door hands on."""
    if _is_own(module.partition(".")[0]) and _module_file(f"{module}.{name}") is not None:
        return _Target(f"{module}.{name}", "")
    door = _source(module) if module in _DOORS else None
    for node in door.imports.get(name, []) if door else []:
        if isinstance(node, ast.ImportFrom) and door is not None:
            return _Target(_absolute(door, node), name)
    return _Target(module, name)


def _absolute(source: _Source, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    # Seen from a package, one dot is the package itself.
    depth = node.level - source.is_package
    parts = source.name.split(".")
    parent = parts[: len(parts) - depth]
    return ".".join([*parent, *([node.module] if node.module else [])])


@dataclass
class _Closure:
    """Modules and packages that some code leads to.

    Attributes
    ----------
    modules
        Hash of what each module says.
    joints
        Of each part, its hash with what the names that it imports stand for.
    imports
        Modules of packages of others.
    files
        Source files.
    """

    modules: dict[str, str] = field(default_factory=dict)
    joints: list[str] = field(default_factory=list)
    imports: set[str] = field(default_factory=set)
    files: list[Path] = field(default_factory=list)

    def add_definition(self, source: _Source, first: str) -> str:
        """Follow a definition and all others of its module that it refers to; return their hash."""
        if source.hides_names:
            return self._add_parts(source, [source.tree], [], set())
        names = _reached(source, first)
        imports = {id(node): node for name in (*names, "*") for node in source.imports.get(name, [])}
        statements = [node for name in names for node in source.definitions.get(name, [])]
        return self._add_parts(source, statements, list(imports.values()), {*names, "*"})

    def _add_parts(
        self, source: _Source, parts: Sequence[ast.AST], imports: Sequence[ImportNode], names: set[str]
    ) -> str:
        """Follow parts of a module, and those names of its imports that they use; return their hash."""
        for node in imports:
            self._follow(source, node, names)
        for part in parts:
            self._follow_all(source, part)
        described = [_described(source, [node], names) for node in imports]
        described += [_described(source, run) for part in parts for run in _runs(part)]
        said = _hash([_plain(part) for part in parts])
        self.joints.append(_hash([said, described]))
        return said

    def add_module(self, name: str) -> None:
        """Collect a whole module and all that it imports."""
        top = name.partition(".")[0]
        if name in self.modules or _is_machinery(name):
            return
        if not _is_own(top):
            if top and top not in sys.stdlib_module_names:
                self.imports.add(name)
            return
        # A package runs before its modules.
        self._add_parents(name)
        source = _source(name)
        if source is None or source.file is None:
            return
        self._add(source)

    def _add_parents(self, name: str) -> None:
        parent = name.rpartition(".")[0]
        if parent:
            self.add_module(parent)

    def _add(self, source: _Source) -> None:
        if source.file is None or (source.is_package and _is_empty(source.tree)):
            return
        whole = _whole(source.name)
        # Known before it is followed: modules may import each other.
        self.modules[source.name] = whole.said
        self.joints.append(whole.joint)
        self.files.append(source.file)
        for module in whole.leads_to:
            self.add_module(module)

    def _follow_all(self, source: _Source, tree: ast.AST) -> None:
        for node in _imports_in(tree):
            self._follow(source, node)
        for module in _imported_by_call(source, tree):
            self.add_module(module)

    def _follow(self, source: _Source, node: ImportNode, only: set[str] | None = None) -> None:
        for name, target in _bindings(source, node).items():
            if only is None or name.partition(".")[0] in only:
                self.add_module(target.module)


def _reached(source: _Source, first: str) -> list[str]:
    """Names of a module that a definition leads to, in alphabetical order."""
    wanted, found = [first], set[str]()
    while wanted:
        name = wanted.pop()
        if name not in found:
            found.add(name)
            for node in source.definitions.get(name, []):
                wanted += [inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)]
    return sorted(found)


def _is_machinery(name: str) -> bool:
    return name == "cmbml" or any(name == part or name.startswith(f"{part}.") for part in MACHINERY)


def _is_empty(tree: ast.Module) -> bool:
    """Whether a package's ``__init__`` says nothing: a docstring at most."""
    return all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in tree.body)


class _Whole(NamedTuple):
    """A module as a whole: its hash, the same with what its imports stand for, and what it imports."""

    said: str
    joint: str
    leads_to: tuple[str, ...]


@cache
def _whole(module: str) -> _Whole:
    source = _source(module)
    if source is None:
        return _Whole("", "", ())
    said = _content(module)
    runs = list(_runs(source.tree))
    bound = [target.module for run in runs for node in run for target in _bindings(source, node).values()]
    described = [_described(source, run) for run in runs]
    leads_to = dict.fromkeys([*bound, *_imported_by_call(source, source.tree)])
    return _Whole(said, _hash([said, described]), tuple(leads_to))


@cache
def _content(module: str) -> str:
    """Hash of what a module says itself, without what it imports."""
    source = _source(module)
    return "" if source is None else _hash([_plain(source.tree)])


def _runs(tree: ast.AST) -> Iterator[list[ImportNode]]:
    """Imports that stand one after the other, whose order does not matter: sorting them changes nothing."""
    for node in ast.walk(tree):
        for _, value in ast.iter_fields(node):
            if isinstance(value, list) and (run := [item for item in value if isinstance(item, _IMPORTS)]):
                yield run


def _described(
    source: _Source, nodes: Iterable[ImportNode], only: set[str] | None = None
) -> list[tuple[str, str, str]]:
    """What each imported name stands for: own code by its content, a package by its name."""
    return sorted(
        (name, target.attribute, _identity(target.module))
        for node in nodes
        for name, target in _bindings(source, node).items()
        if only is None or name.partition(".")[0] in only
    )


def _identity(module: str) -> str:
    if _is_machinery(module):
        return "machinery"
    return _content(module) if _is_own(module.partition(".")[0]) else module


def _hash(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


def _plain(value: object) -> object:
    """A syntax tree without docstrings, imports and what differs between versions of Python."""
    if isinstance(value, list):
        return [_plain(item) for item in value if not isinstance(item, _IMPORTS)]
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
    return {name: found for name in sorted(packages) if (found := _version(name))}


@cache
def _version(package: str) -> str:
    """major.minor of a package; empty where it has no version."""
    try:
        return ".".join(version(package).split(".")[:2])
    except PackageNotFoundError:
        return ""


def _loop(source: _Source, name: str) -> str:
    """Find which method of the walk a class or its bases override; the machinery's own does not count."""
    return _overridden(source, name) or _LOOPS[0]


def _overridden(source: _Source, name: str) -> str | None:
    """The same, or None where they override none of them."""
    node = source.class_named(name)
    if node is None:
        return _overridden_elsewhere(source, name)
    own = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
    for method in reversed(_LOOPS):
        if method in own:
            return method
    found = (_overridden_by_base(source, name, base) for base in node.bases)
    return next((method for method in found if method), None)


def _overridden_by_base(source: _Source, name: str, base: ast.expr) -> str | None:
    """The same for a base class, written `Base`, `module.Base` or `Base[T]`."""
    spelt = ast.unparse(base.value if isinstance(base, ast.Subscript) else base)
    # A class may have the name of the one that it extends.
    here = spelt != name and source.class_named(spelt) is not None
    return _overridden(source, spelt) if here else _overridden_elsewhere(source, spelt)


def _overridden_elsewhere(source: _Source, spelt: str) -> str | None:
    """The same for a class that is imported."""
    for node in (*source.imports.get(spelt.partition(".")[0], []), *source.imports.get("*", [])):
        for name, target in _bindings(source, node).items():
            if name == "*":
                module, path = target.module, spelt
            elif spelt == name or spelt.startswith(f"{name}."):
                inner = [target.attribute] if target.attribute else []
                module = target.module
                path = ".".join([*inner, *spelt.removeprefix(name).split(".")[1:]])
            else:
                continue
            found = None if _is_machinery(module) else _source(module)
            if found is not None and path and (method := _overridden(found, path)):
                return method
    return None
