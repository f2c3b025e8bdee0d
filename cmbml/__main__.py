"""``python -m cmbml``: the command line, with the code of the folder it is called in."""

from cmbml.cli.entry import main

main()
