"""What code reads that its text does not show: the environment, files, programs, modules that nobody names.

No fingerprint can hold these unless the stage declares them.  Names are followed through every import of
them; a name that is only mentioned counts as used, since it may be handed on.
"""

import ast
import re
from collections.abc import Iterable
from functools import cache
from typing import Literal, NamedTuple

from cmbml.core.plan.modules import file_of, is_machinery, is_own, is_source, standing_of
from cmbml.core.plan.source import ImportNode, Source, base_name, bindings, source_of

Kind = Literal["environment", "file", "program", "module"]

_WORDS = ("environ", "getenv", "open", "read", "load", "fetch", "file", "glob", "dir", "walk", "subprocess",
          "system", "exec", "spawn", "CDLL", "cdll", "import", "eval", "path", "File", "connect")  # fmt: skip
_ENVIRONMENT = ("os.environ", "os.environb")
_VARIABLES = re.compile(r"os\.(environb?(\..+)?|getenvb?|path\.expandvars)")
_OF_VARIABLE = ("get", "pop", "setdefault", "__getitem__")
_PROGRAM = re.compile(
    r"subprocess\.(run|Popen|call|check_\w+|get\w*output)|asyncio\.create_subprocess_\w+|pty\.spawn"
    r"|os\.(system|popen|exec\w+|posix_spawn\w*|spawn\w+|startfile)|ctypes\.(\w*DLL|[cp]ydll|cdll)\b.*"
)
_FILE = re.compile(
    r"open|(os|io|codecs)\.open|os\.(listdir|scandir|walk|fwalk)|glob\.i?glob|linecache\.\w+|fileinput\.\w+"
    r"|pkgutil\.get_data|importlib\.resources\.\w+|urllib\.request\.\w+|requests\.\w+|sqlite3\.connect"
    r"|numpy\.(\w+\.)*(fromfile|genfromtxt|fromregex|memmap|DataSource)|(h5py|zipfile|tarfile)\.\w*File"
    r"|zipfile\.ZipFile|netCDF4\.Dataset|fitsio\.FITS|zarr\.\w+|cmbml\.torch_dataset"
    r"|astropy\.io\.fits(\.\w+)?\.get(data|header|val)|cmbml\.core\.handlers\.get_handler"
    r"|(.+\.)(im)?(read|load|open|fetch)(?!er|ing|s\b)\w*"
)  # fmt: skip
_HANDLER = re.compile(r"cmbml\.core\.handlers\.(get_handler|\w+\.[A-Z]\w*)")
_OF_TEXT = re.compile(r".*(json|yaml|pickle|tomllib|marshal)\.\w+")
_FILE_METHODS = ("read_text", "read_bytes", "iterdir", "glob", "rglob")
_MODULE = re.compile(
    r"sys\.path(\..+)?|exec|eval|__import__|importlib\.import_module|runpy\.\w+|importlib\.util\.spec_from_\w+"
    r"|importlib\.machinery\.\w+Loader|importlib\.reload"
)
_BY_TEXT = ("exec", "eval", "__import__", "importlib.import_module")
_BUILT_IN = ("open", "exec", "eval", "__import__")
_DECLARED = ("files", "programs", "environment", "assets_in")


def forget_names() -> None:
    """Follow names anew the next time."""
    _kind_of.cache_clear()
    _real.cache_clear()


class Hidden(NamedTuple):
    """Something that code reads and its text does not show.

    Attributes
    ----------
    kind
        What it is.
    name
        Name of the variable or module, or of what reads it; empty where it is not written out.
    file, line
        Where it stands.
    literal
        Whether it is named on the spot, so that nothing that is declared can be meant.
    """

    kind: Kind
    name: str
    file: str
    line: int
    literal: bool


def hidden_in(source: Source, parts: Iterable[ast.AST]) -> list[Hidden]:
    """Find what some parts of a module hide."""
    if not source.says(*_WORDS):
        return []
    finder = _Finder(source)
    for part in parts:
        finder.visit(part)
    for statement in source.tree.body if source.says("sys.path") else ():
        # It counts for every import, whoever refers to it.
        if isinstance(statement, ast.Expr | ast.Assign | ast.AugAssign | ast.If):
            finder.visit(statement)
    return finder.found


class _Finder(ast.NodeVisitor):
    """Collects what is hidden, from the outside inwards: what is understood as a whole is not looked into."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.found: list[Hidden] = []
        self.in_handler = False

    def _add(self, kind: Kind, name: str, node: ast.AST, *, literal: bool = False) -> None:
        line = getattr(node, "lineno", 0)
        self.found.append(Hidden(kind, name, str(self.source.file or self.source.name), line, literal))

    def _name(self, node: ast.AST) -> str:
        """What an expression names, dotted and followed through imports; empty where nothing is known."""
        if isinstance(node, ast.Name):
            return self._bound(node.id)
        node = _got(node) or node
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            base, key = self._name(node.value), str(node.slice.value)
            if base == "sys.modules":
                return _real(key)
            return _real(base.replace("__dict__", key)) if base.endswith(".__dict__") else ""
        if isinstance(node, ast.Attribute):
            base = self._name(node.value)
            return _real(f"{base}.{node.attr}") if base else ""
        return ""

    def _bound(self, name: str) -> str:
        alias = self.source.aliases.get(name)
        if alias is not None:
            return _real(alias)
        if name in self.source.definitions:
            return ""
        if name in _BUILT_IN:
            return name
        starred = (_real(f"{module}.{name}") for module in self.source.stars)
        return next((each for each in starred if _kind_of(each)), "")

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """A handler opens the file that it is given."""
        outer = self.in_handler
        bases = (base.value if isinstance(base, ast.Subscript) else base for base in node.bases)
        self.in_handler |= any(self._name(base).endswith("AssetHandler") for base in bases)
        self.generic_visit(node)
        self.in_handler = outer

    def visit_If(self, node: ast.If) -> None:
        """What only decides whether a note is written changes no result."""
        if not self._only_notes(node):
            self.visit(node.test)
        for part in (*node.body, *node.orelse):
            self.visit(part)

    def _only_notes(self, node: ast.If) -> bool:
        return not node.orelse and all(map(self._is_note, node.body))

    def _is_note(self, node: ast.stmt) -> bool:
        """Whether a statement opens files to write, and does nothing but call what it has opened."""
        if not isinstance(node, ast.With):
            return False
        opened = [item.context_expr for item in node.items]
        files = {item.optional_vars.id for item in node.items if isinstance(item.optional_vars, ast.Name)}
        return all(isinstance(each, ast.Call) and self._writes(each) for each in opened) and all(
            isinstance(each, ast.Expr) and isinstance(each.value, ast.Call) and base_name(each.value) in files
            for each in node.body
        )

    def visit_Import(self, node: ast.Import) -> None:
        """A module must be known by its text or by its version."""
        self._check_import(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """The same."""
        self._check_import(node)

    def _check_import(self, node: ImportNode) -> None:
        for target in bindings(self.source, node).values() if id(node) not in self.source.optional else ():
            if (reason := _unknown(target.module)) is not None:
                self._add("module", f"{target.module}, {reason}", node, literal=reason != "which is compiled")

    def visit_Call(self, node: ast.Call) -> None:
        """A call that says what it reads, or that cannot change a result."""
        name = self._name(node.func)
        if name == "time.sleep" or self._writes(node):
            return
        if (
            self._uses_handler(node, name)
            or self._reads_variable(node, name)
            or self._runs_text(node, name)
            or self._opens(node, name)
        ):
            self._visit_arguments(node)
            return
        self.visit(node.func)
        self._visit_arguments(node)

    def _visit_arguments(self, node: ast.Call) -> None:
        for part in node.args:
            self.visit(part)
        for keyword in node.keywords:
            # A program is given the environment that it would have anyway.
            if not (keyword.arg == "env" and _PROGRAM.fullmatch(self._name(node.func))):
                self.visit(keyword.value)

    def _uses_handler(self, node: ast.Call, name: str) -> bool:
        """Whether it reads by a handler past the assets, or writes by one, which is no reading."""
        func = node.func
        if isinstance(func, ast.Attribute) and isinstance(func.value, ast.Call):
            used = _HANDLER.fullmatch(self._name(func.value.func)) and func.attr in ("read", "write")
            if used and func.attr == "read":
                self._add("file", "read", node, literal=bool(node.args) and self._is_literal(node.args[0]))
            return bool(used)
        if _HANDLER.fullmatch(name):
            self._add("file", name.rpartition(".")[2], node)
            return True
        return False

    def _reads_variable(self, node: ast.Call, name: str) -> bool:
        called, _, method = name.rpartition(".")
        if name in ("os.getenv", "os.getenvb") or (called in _ENVIRONMENT and method in _OF_VARIABLE):
            self._add("environment", self._text(node.args[0]) if node.args else "", node)
            return True
        return called in _ENVIRONMENT and method == "update"

    def _runs_text(self, node: ast.Call, name: str) -> bool:
        """Whether it is code, or the name of a module, in a text that stands there."""
        return name in _BY_TEXT and bool(node.args) and isinstance(node.args[0], ast.Constant)

    def _opens(self, node: ast.Call, name: str) -> bool:
        func = _got(node.func) or node.func
        if _is_file(name):
            opened: ast.AST | None = node.args[0] if node.args else None
        elif isinstance(func, ast.Attribute) and not name and _is_file_method(func):
            name, opened = func.attr, func.value
            self.visit(func.value)
        elif isinstance(func, ast.Attribute) and func.attr == "read" and node.args:
            # A parser of its own, which is told the name of a file.
            name, opened = "read", node.args[0]
            if not self._is_literal(opened):
                return False
            self.visit(func.value)
        else:
            return False
        literal = opened is not None and self._is_literal(opened)
        if literal or not self.in_handler:
            self._add("file", name, node, literal=literal)
        return True

    def _writes(self, node: ast.Call) -> bool:
        """Whether it opens a file only to write it."""
        func, name = node.func, self._name(node.func)
        if not name.endswith("open") and getattr(func, "attr", "") != "open":
            return False
        if name == "os.open":
            return any("O_CREAT" in ast.unparse(flags) for flags in node.args[1:2])
        place = 1 if name else 0
        given = [k.value for k in node.keywords if k.arg == "mode"] or node.args[place : place + 1]
        mode = given[0].value if given and isinstance(given[0], ast.Constant) else ""
        return isinstance(mode, str) and mode[:1] in ("w", "a", "x") and "+" not in mode

    def visit_Subscript(self, node: ast.Subscript) -> None:
        """A variable by its name."""
        if self._name(node.value) not in _ENVIRONMENT:
            self.generic_visit(node)
        elif isinstance(node.ctx, ast.Load):
            self._add("environment", self._text(node.slice), node)

    def visit_Compare(self, node: ast.Compare) -> None:
        """Whether a variable is set."""
        if isinstance(node.ops[0], ast.In | ast.NotIn) and self._name(node.comparators[0]) in _ENVIRONMENT:
            self._add("environment", self._text(node.left), node)
        else:
            self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """Anything else by its dotted name."""
        if not self._mentioned(node):
            self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        """Anything else by its name."""
        self._mentioned(node)

    def _mentioned(self, node: ast.Name | ast.Attribute) -> bool:
        name = self._name(node)
        kind = _kind_of(name) if name else None
        if kind is not None:
            literal = name.startswith("sys.path")
            self._add(kind, "" if kind == "environment" else name, node, literal=literal)
        return bool(name)

    def _value(self, node: ast.AST) -> ast.AST:
        """What a constant of the module stands for; anything else as it is."""
        if isinstance(node, ast.Name):
            defined = self.source.definitions.get(node.id, [])
            values = [each.value for each in defined if isinstance(each, ast.Assign | ast.AnnAssign)]
            return values[0] if len(values) == len(defined) == 1 and values[0] is not None else node
        return node

    def _text(self, node: ast.AST) -> str:
        """Value of a text that is written out, here or as a constant of the module; else empty."""
        node = self._value(node)
        return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""

    def _is_literal(self, node: ast.AST) -> bool:
        """Whether a path is written out, rather than handed over or taken from what is declared."""
        parts = list(ast.walk(node))
        if any(isinstance(part, ast.Attribute) and part.attr in _DECLARED for part in parts):
            return False
        # A name below a folder that is handed over is as unknown as the folder.
        while isinstance(node, ast.BinOp):
            node = node.left
        return any(
            (isinstance(part, ast.Name) and part.id == "__file__") or bool(self._text(part))
            for part in ast.walk(self._value(node))
        )


@cache
def _kind_of(name: str) -> Kind | None:
    """What it reads that a name is mentioned for."""
    if _VARIABLES.fullmatch(name):
        return "environment"
    if _PROGRAM.fullmatch(name):
        return "program"
    if _MODULE.fullmatch(name):
        return "module"
    return "file" if _is_file(name) else None


def _is_file(name: str) -> bool:
    """Whether a function opens a file; one of the repository's own is followed instead."""
    if not _FILE.fullmatch(name):
        return False
    machinery = is_machinery(name) or is_machinery(name.rpartition(".")[0])
    return machinery or not (is_own(name) or _OF_TEXT.fullmatch(name))


def _is_file_method(func: ast.Attribute) -> bool:
    """Whether a method of something unknown opens a file; `self.open` is a method of one's own."""
    own = isinstance(func.value, ast.Name) and func.value.id in ("self", "cls")
    return func.attr in _FILE_METHODS or (func.attr == "open" and not own)


def _got(node: ast.AST) -> ast.Attribute | None:
    """`getattr(a, "b")` as `a.b`, and `vars(a)` as `a.__dict__`."""
    match node:
        case ast.Call(ast.Name("getattr"), [owner, ast.Constant(str(name)), *_]):
            return ast.Attribute(owner, name, ast.Load())
        case ast.Call(ast.Name("vars"), [owner]):
            return ast.Attribute(owner, "__dict__", ast.Load())
    return None


def _unknown(module: str) -> str | None:
    """Why neither text nor version says what a module is; None where one does."""
    top = module.partition(".")[0]
    if not top or is_machinery(module):
        return None
    standing = standing_of(top)
    if standing == "unknown":
        return "which is neither installed nor found"
    file = file_of(module) if standing == "own" else None
    return "which is compiled" if file is not None and not is_source(file) else None


@cache
def _real(name: str) -> str:
    """Where a dotted name really comes from, through modules of one's own that only hand it on."""
    for _ in range(8):
        parts = name.split(".")
        handed = next(filter(None, (_handed_on(parts, i) for i in range(len(parts) - 1, 0, -1))), None)
        if handed is None or handed == name:
            return name
        name = handed
    return name


def _handed_on(parts: list[str], depth: int) -> str | None:
    module = ".".join(parts[:depth])
    source = source_of(module) if is_own(module) else None
    alias = source.aliases.get(parts[depth]) if source is not None else None
    return None if alias is None else ".".join([alias, *parts[depth + 1 :]])
