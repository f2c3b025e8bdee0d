"""Commands for those who add to the repository: new, schema, completion."""

import argparse
from collections.abc import Callable
from pathlib import Path

from cmbml.core.engine.console import Add
from cmbml.core.engine.dvc import dvc_yaml
from cmbml.core.plan.fingerprints import Plan
from cmbml.core.spec.repository import DVC_YAML


def add_commands(
    add: Add, plan: Callable[[], Plan], root: Callable[[], Path], parser: argparse.ArgumentParser
) -> None:
    """Add the commands to the command line.

    Parameters
    ----------
    add
        Makes a subparser from name, function and description.
    plan
        Gives the plan of the repository at hand.
    root
        Finds the repository at hand.
    parser
        The whole command line.
    """
    new = add("new", lambda options: _new(options, plan, root()), "write a new method that runs, with a test")
    new.add_argument("kind", choices=("method",), help="what to write")
    new.add_argument("name", help="its name: small letters, digits and _")
    add("schema", lambda _: _schema(plan()), "write schema/, by which editors complete and check yaml files")
    completion = add(
        "completion", lambda options: _completion(options, parser), "print the completion for a shell"
    )
    completion.add_argument("shell", choices=("bash", "zsh"), help="which shell")


def _new(options: argparse.Namespace, plan: Callable[[], Plan], root: Path) -> None:
    from cmbml.authoring.new_method import new_method
    from cmbml.authoring.schemas import write_schemas

    written = new_method(root, options.name)
    made = plan()
    (root / DVC_YAML).write_text(dvc_yaml(made), encoding="utf-8")
    for path in [*written, root / DVC_YAML, *write_schemas(root, made.config.pipeline)]:
        print(path.relative_to(root))
    print(f"\n{options.name} is switched on. Next: `cmbml check`, `make demo`, then write your own function")


def _schema(plan: Plan) -> None:
    from cmbml.authoring.schemas import write_schemas

    for path in write_schemas(plan.config.root, plan.config.pipeline):
        print(f"wrote {path.relative_to(plan.config.root)}")


def _completion(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    from cmbml.authoring.completion import completion

    print(completion(parser, options.shell))
