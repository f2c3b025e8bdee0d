"""What a stage's code reads and no fingerprint could hold: refused until the stage declares it."""

from collections.abc import Iterator
from pathlib import Path

from cmbml.core.errors import UndeclaredError
from cmbml.core.plan.code import code_of
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.plan.hidden import Hidden
from cmbml.core.spec.formats import BUILT_IN
from cmbml.core.spec.pipeline import AssetOut, Stage

# A handler whose path alone matters: the code opens the file itself.
_OPENED_BY_CODE = "Empty"


def undeclared(plan: Plan, stage: Stage) -> Iterator[UndeclaredError]:
    """Find what the code of a stage, and of its handlers, reads without the stage's declaring it."""
    inputs = plan.input_assets(stage)
    found = [each for each in plan.code(stage).hidden if not _is_declared(each, stage, inputs)]
    for handler in {asset.handler for asset in (*stage.assets_out.values(), *inputs)} - BUILT_IN.keys():
        # It opens the file that it is given.
        hidden = [each for each in code_of(handler).hidden if each.kind != "file" or each.literal]
        found += [each for each in hidden if not _is_declared(each, stage, inputs)]
    said: set[tuple[str, str]] = set()
    for each in found:
        if (each.kind, each.name) not in said:
            said.add((each.kind, each.name))
            yield UndeclaredError(f"{stage.where}: {_place(plan, each)} {_problem(each, stage)}")


def _is_declared(hidden: Hidden, stage: Stage, inputs: list[AssetOut]) -> bool:
    match hidden.kind:
        case "environment":
            return hidden.name in stage.environment or _only_places(hidden, inputs)
        case "program":
            return stage.programs is not None
        case "file":
            opened = stage.files is not None or any(asset.handler == _OPENED_BY_CODE for asset in inputs)
            return opened and not hidden.literal
        case "module":
            return stage.files is not None and not hidden.literal


def _only_places(hidden: Hidden, inputs: list[AssetOut]) -> bool:
    """Whether a variable says no more than where an input lies, which counts by content."""
    return any(
        each.kind == "environment" and each.name == hidden.name != ""
        for asset in inputs
        if asset.locate is not None
        for each in code_of(asset.locate).hidden
    )


def _place(plan: Plan, hidden: Hidden) -> str:
    file = Path(hidden.file)
    root = plan.config.root
    return f"{file.relative_to(root) if file.is_relative_to(root) else file}:{hidden.line}"


def _problem(hidden: Hidden, stage: Stage) -> str:
    """What is wrong, and the line to add; or, for what no line can tell, what to do in its place."""
    name, where = hidden.name, f"of stage '{stage.key}' in {stage.file}"
    match hidden.kind:
        case "environment":
            variable = f"the environment variable {name}" if name else "the environment as a whole"
            name = name or "NAME"
            key, said, read = "environment", f"reads {variable}", f'self.environment["{name}"]'
        case "program":
            key, said, read = "programs", f"starts a program ({name})", 'self.programs["NAME"]'
        case "file":
            key, said, read = "files", f"opens a file ({name})", 'self.files["NAME"]'
        case "module" if hidden.literal and name.startswith("sys.path"):
            return "changes sys.path, so that modules cannot be followed: put the folder on PYTHONPATH"
        case "module" if hidden.literal:
            return f"imports {name}: install it, or put its folder on PYTHONPATH"
        case "module":
            key, said, read = "files", f"runs code that cannot be followed ({name})", 'self.files["NAME"]'
    added = f"'{name}'" if key == "environment" else "`NAME: PATH`"
    spared = (
        "" if hidden.literal or key == "environment" else f"; `{key}: {{}}` where no result depends on it"
    )
    return f"{said}, which no fingerprint holds: add {added} to '{key}' {where}, and use {read}{spared}"
