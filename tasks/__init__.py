"""Luigi tasks, one family for every stage of pipeline/: ``luigi --module tasks RunAll``.

Importing this package reads the configuration of the repository around the working directory.  A mistake
in it ends the program with one line for each problem.
"""

import sys

from cmbml.core.engine.console import interrupt_again, one_line_errors, tell_in_one_line
from tasks.family import build_family

sys.excepthook = tell_in_one_line
sys.unraisablehook = interrupt_again
with one_line_errors():
    globals().update(build_family())
