"""One simulation made anew, anywhere, bit by bit as it was: for datasets that keep only the draws."""

import tempfile
from dataclasses import replace
from pathlib import Path

from cmbml.core.engine.make import Engine, Reporter
from cmbml.core.errors import ConfigError, DataError, did_you_mean
from cmbml.core.files.checksums import md5_of
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.plan.pieces import Piece, Portion
from cmbml.core.record.facts import Facts
from cmbml.core.spec.config import Config
from cmbml.core.spec.repository import RAW


def regenerate(
    config: Config, stage: str, split: str, sim: int, into: Path, reporter: Reporter | None = None
) -> list[Path]:
    """Make the files of one simulation of a stage, with all that they are made from, outside of the dataset.

    Parameters
    ----------
    config
        The dataset.
    stage, split, sim
        Which simulation of which stage.
    into
        Folder for the files; what they are made from is thrown away.
    reporter
        Told of every simulation that is made.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    ConfigError
        Where there is no such simulation.
    DataError
        Where the dataset has it, or something that it is made from, with other bytes or from other code and
        parameters.
    """
    wanted = _piece(Plan(config), stage, split, sim)
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=into, prefix=".cmbml-") as folder:
        root = Path(folder)
        if (config.root / RAW).is_dir():
            (root / RAW).parent.mkdir(parents=True)
            (root / RAW).symlink_to((config.root / RAW).resolve())
        engine = Engine(Plan(replace(config, root=root)), reporter)
        for piece in _ancestry(engine.plan, wanted):
            engine.run_block([piece])
            _compare(engine.plan, Facts(Plan(config), piece.portion), piece)
        return [_keep(root / name, into) for name in engine.plan.files(wanted)]


def _piece(plan: Plan, stage: str, split: str, sim: int) -> Piece:
    if stage not in plan.stages:
        raise ConfigError(f"no stage '{stage}': {did_you_mean(stage, plan.stages)}")
    piece = Piece(Portion(stage, None, split), sim)
    portions = plan.portions(plan.stages[stage])
    if piece.portion not in portions or piece not in plan.pieces(piece.portion):
        raise ConfigError(f"{piece}: no such simulation of a single stage: see `cmbml stages`")
    return piece


def _ancestry(plan: Plan, piece: Piece) -> list[Piece]:
    """A piece after all that it is made from."""
    found: dict[Piece, None] = {}

    def visit(one: Piece) -> None:
        for sources in plan.inputs(one).values():
            for source in sources:
                for other in [source] if isinstance(source, Piece) else plan.pieces(source):
                    visit(other)
        found.setdefault(one)

    visit(piece)
    return list(found)


def _compare(plan: Plan, facts: Facts, piece: Piece) -> None:
    """Refuse what differs from what the dataset remembers of a piece."""
    kept = facts.manifest.facts.get(piece.sim)
    if kept is None:
        return
    if kept.fingerprint != plan.fingerprint(piece):
        reason = facts.stale(piece)
        raise DataError(f"{piece}: the dataset was made otherwise ({reason}): go back to its commit")
    for name, (_, md5) in kept.files.items():
        if md5_of(plan.config.root / name) != md5:
            raise DataError(
                f"{piece}: {name} came out with other bytes: another processor, or other packages?"
            )


def _keep(path: Path, into: Path) -> Path:
    return path.replace(into / path.name)
