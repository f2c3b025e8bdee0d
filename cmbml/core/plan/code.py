"""Fingerprint of the code behind an executor, read from syntax trees; nothing is imported or run.

What counts is what the code says: the executor's class with everything in its module that it refers to, every
module of the sky, methods and analysis, or of the user's own, that these import, and the versions of the
packages in use.  A module is known by its content, never by its name or place, so that it can be renamed or
moved freely.  Comments, docstrings, layout and the text of import lines do not count; neither does the
machinery around the science.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

from cmbml.core.errors import PipelineError, did_you_mean
from cmbml.core.plan.hidden import Hidden, forget_names, hidden_in
from cmbml.core.plan.modules import forget_modules, is_machinery, is_own, standing_of, versions_of
from cmbml.core.plan.source import (
    IMPORTS,
    ImportNode,
    Source,
    bindings,
    imported_by_text,
    imports_in,
    source_at,
    source_of,
    source_of_class,
)

# Part of the code that is no module: how the modules are joined.
JOINTS = "imports"
_LOOPS = ("process_sim", "process_split", "execute")


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
    hidden
        What it reads that its text does not show.
    """

    modules: dict[str, str]
    packages: dict[str, str]
    imports: tuple[str, ...]
    files: tuple[Path, ...]
    loop: str
    hidden: tuple[Hidden, ...]


# What was worked out before, in this process or, by `code_memo`, in another.
CODES: dict[str | type, Code] = {}


def code_of(executor: str | type) -> Code:
    """Fingerprint an executor, named by its dotted path or given as a class; also a function or a handler.

    Raises
    ------
    PipelineError
        Where there is no such module or class.
    """
    if executor not in CODES:
        CODES[executor] = _code_of(executor)
    return CODES[executor]


def _code_of(executor: str | type) -> Code:
    source, name = source_of_class(executor) if isinstance(executor, type) else source_at(executor)
    if name not in source.definitions:
        raise PipelineError(
            f"executor '{executor}': no class '{name}': {did_you_mean(name, source.definitions)}"
        )
    closure = _Closure()
    said = closure.add_definition(source, name)
    modules = dict(sorted({f"{source.name}:{name}": said, **closure.modules}.items()))
    modules[JOINTS] = _hash(sorted(closure.joints))
    return Code(
        modules=modules,
        packages=packages_of(closure.imports),
        imports=tuple(sorted(closure.imports)),
        files=tuple(([source.file] if source.file else []) + closure.files),
        loop=_loop(source, name),
        hidden=tuple(closure.hidden),
    )


def packages_of(imports: Iterable[str]) -> dict[str, str]:
    """major.minor of the packages behind some modules, of those that have a version."""
    return {name: version for name, version in versions_of(imports).items() if version}


def forget() -> None:
    """Forget all source that was read, so that edits are seen by a process that goes on."""
    forget_modules()
    forget_names()
    CODES.clear()
    for cached in (source_of, _content, _whole):
        cached.cache_clear()


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
    hidden
        What they read that their text does not show.
    """

    modules: dict[str, str] = field(default_factory=dict)
    joints: list[str] = field(default_factory=list)
    imports: set[str] = field(default_factory=set)
    files: list[Path] = field(default_factory=list)
    hidden: list[Hidden] = field(default_factory=list)

    def add_definition(self, source: Source, first: str) -> str:
        """Follow a definition and all others of its module that it refers to; return their hash."""
        if source.hides_names:
            return self._add_parts(source, [source.tree], [], set())
        names = _reached(source, first)
        imports = {id(node): node for name in (*names, "*") for node in source.imports.get(name, [])}
        statements = [node for name in names for node in source.definitions.get(name, [])]
        return self._add_parts(source, statements, list(imports.values()), {*names, "*"})

    def _add_parts(
        self, source: Source, parts: Sequence[ast.AST], imports: Sequence[ImportNode], names: set[str]
    ) -> str:
        """Follow parts of a module, and those names of its imports that they use; return their hash."""
        for node in imports:
            self._follow(source, node, names)
        for part in parts:
            self._follow_all(source, part)
        described = [_described(source, [node], names) for node in imports]
        described += [_described(source, run) for part in parts for run in _runs(part)]
        said = _hash([_plain(part) for part in parts])
        self.hidden += hidden_in(source, [*imports, *parts])
        self.joints.append(_hash([said, described]))
        return said

    def add_module(self, name: str) -> None:
        """Collect a whole module, after the package that it is in, and all that it imports."""
        if not name or name in self.modules or is_machinery(name):
            return
        if not is_own(name):
            if standing_of(name.partition(".")[0]) != "python":
                self.imports.add(name)
            return
        self.add_module(name.rpartition(".")[0])
        source = source_of(name)
        if source is None or source.file is None or (source.is_package and source.is_empty):
            return
        whole = _whole(name)
        # Known before it is followed: modules may import each other.
        self.modules[name] = whole.said
        self.joints.append(whole.joint)
        self.files.append(source.file)
        self.hidden += whole.hidden
        for module in whole.leads_to:
            self.add_module(module)

    def _follow_all(self, source: Source, tree: ast.AST) -> None:
        for node in imports_in(tree):
            self._follow(source, node)
        for module in imported_by_text(source, tree):
            self.add_module(module)

    def _follow(self, source: Source, node: ImportNode, only: set[str] | None = None) -> None:
        for name, target in bindings(source, node).items():
            if only is None or name.partition(".")[0] in only:
                self.add_module(target.module)


def _reached(source: Source, first: str) -> list[str]:
    """Names of a module that a definition leads to, in alphabetical order."""
    wanted, found = [first], set[str]()
    while wanted:
        name = wanted.pop()
        if name not in found:
            found.add(name)
            for node in source.definitions.get(name, []):
                wanted += [inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)]
    return sorted(found)


class _Whole(NamedTuple):
    """A module as a whole: its hash, with what its imports stand for, what it imports, and what it hides."""

    said: str
    joint: str
    leads_to: tuple[str, ...]
    hidden: tuple[Hidden, ...]


@cache
def _whole(module: str) -> _Whole:
    source = source_of(module)
    if source is None:
        return _Whole("", "", (), ())
    said = _content(module)
    runs = list(_runs(source.tree))
    bound = [target.module for run in runs for node in run for target in bindings(source, node).values()]
    described = [_described(source, run) for run in runs]
    leads_to = dict.fromkeys([*bound, *imported_by_text(source, source.tree)])
    return _Whole(said, _hash([said, described]), tuple(leads_to), tuple(hidden_in(source, [source.tree])))


@cache
def _content(module: str) -> str:
    """Hash of what a module says itself, without what it imports."""
    source = source_of(module)
    return "" if source is None else _hash([_plain(source.tree)])


def _runs(tree: ast.AST) -> Iterator[list[ImportNode]]:
    """Imports that stand one after the other, whose order does not matter: sorting them changes nothing."""
    for node in ast.walk(tree):
        for _, value in ast.iter_fields(node):
            if isinstance(value, list) and (run := [item for item in value if isinstance(item, IMPORTS)]):
                yield run


def _described(
    source: Source, nodes: Iterable[ImportNode], only: set[str] | None = None
) -> list[tuple[str, str, str]]:
    """What each imported name stands for: own code by its content, a package by its name."""
    return sorted(
        (name, target.attribute, _identity(target.module))
        for node in nodes
        for name, target in bindings(source, node).items()
        if only is None or name.partition(".")[0] in only
    )


def _identity(module: str) -> str:
    if is_machinery(module):
        return "machinery"
    return _content(module) if is_own(module) else module


def _hash(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


def _plain(value: object) -> object:
    """A syntax tree without docstrings, imports and what differs between versions of Python."""
    if isinstance(value, list):
        return [_plain(item) for item in value if not isinstance(item, IMPORTS)]
    if not isinstance(value, ast.AST):
        return value
    fields = dict(ast.iter_fields(value))
    body = fields.get("body")
    documented = isinstance(value, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    if documented and isinstance(body, list) and ast.get_docstring(value, clean=False) is not None:  # type: ignore[arg-type]
        fields["body"] = body[1:]
    given = ((name, _plain(item)) for name, item in fields.items() if item is not None and item != [])
    return (type(value).__name__, *((name, item) for name, item in given if name not in ("ctx", "kind")))


def _loop(source: Source, name: str) -> str:
    """Find which method of the walk a class or its bases override; the machinery's own does not count."""
    return _overridden(source, name) or _LOOPS[0]


def _overridden(source: Source, name: str) -> str | None:
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


def _overridden_by_base(source: Source, name: str, base: ast.expr) -> str | None:
    """The same for a base class, written `Base`, `module.Base` or `Base[T]`."""
    spelt = ast.unparse(base.value if isinstance(base, ast.Subscript) else base)
    # A class may have the name of the one that it extends.
    here = spelt != name and source.class_named(spelt) is not None
    return _overridden(source, spelt) if here else _overridden_elsewhere(source, spelt)


def _overridden_elsewhere(source: Source, spelt: str) -> str | None:
    """The same for a class that is imported."""
    for node in (*source.imports.get(spelt.partition(".")[0], []), *source.imports.get("*", [])):
        for name, target in bindings(source, node).items():
            if name == "*":
                module, path = target.module, spelt
            elif spelt == name or spelt.startswith(f"{name}."):
                inner = [target.attribute] if target.attribute else []
                module = target.module
                path = ".".join([*inner, *spelt.removeprefix(name).split(".")[1:]])
            else:
                continue
            found = None if is_machinery(module) else source_of(module)
            if found is not None and path and (method := _overridden(found, path)):
                return method
    return None
