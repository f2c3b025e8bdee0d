"""How Sphinx builds the site: `make docs`.

The whole repository is the source: links between documents, notebooks and README lead on the site where they
lead in the repository.
"""

import sys
from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import reference  # noqa: E402

project = "cmbml"
author = copyright = "the cmbml authors"  # noqa: A001
html_title = "cmbml"
html_theme = "furo"
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}

root_doc = "docs/index"
include_patterns = [
    *("docs/**", "notebooks/*.ipynb", "pipeline/README.md", "cluster/README.md"),
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md"),
]
# Folders are not even looked into.
exclude_patterns = [
    *("docs/_build", "notebooks/.ipynb_checkpoints"),
    *("data", "reports", "tests", "cmbml", "tasks", "plots", "metrics", "benchmarks", "schema", "profiles"),
    *(".*", "build", "cards"),
]
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

# Notebooks are shown as they were last run; `make notebooks` runs them.
nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 4
suppress_warnings = [
    "myst.header",  # notebooks begin with headings of their own
    "mystnb.unknown_mime_type",
    "ref.python",  # short names in signatures, such as Config, may have several owners
]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = False
napoleon_use_ivar = True

html_math_renderer = "mathml"


def inline_math(translator: HTML5Translator, node: nodes.math) -> None:
    """MathML: browsers draw it without a network."""
    translator.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def block_math(translator: HTML5Translator, node: nodes.math_block) -> None:
    """The same for an equation of its own."""
    translator.body.append(f'<div class="equation">{tex2mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Write the reference before it is read."""
    app.add_html_math_renderer("mathml", (inline_math, None), (block_math, None))
    reference.write(HERE / "reference")
