"""Luigi tasks, one family for every stage of pipeline/: ``luigi --module tasks RunAll``.

Importing this package reads the configuration of the repository around the working directory.  A mistake
in it ends the program with one line for each problem.
"""

from cmbml.core.engine.console import one_line_errors
from tasks.family import build_family

with one_line_errors():
    globals().update(build_family())
