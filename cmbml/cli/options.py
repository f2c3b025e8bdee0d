"""How the command line reads its options: numbers by their types, and a mistake told in one line."""

import argparse
from collections.abc import Callable
from typing import NoReturn

from cmbml.core.errors import ConfigError
from cmbml.core.spec.numbers import parsed


class Parser(argparse.ArgumentParser):
    """A parser that says what is wrong with an option, and not the usage of all of them."""

    def error(self, message: str) -> NoReturn:
        """Tell a mistake in one line."""
        raise ConfigError(f"{message.removeprefix('argument ')}: see `{self.prog} --help`")


def number(kind: object) -> Callable[[str], object]:
    """Reader of an option whose value is a type of `cmbml.core.spec.numbers`."""

    def read(text: str) -> object:
        try:
            return parsed(kind, text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read
