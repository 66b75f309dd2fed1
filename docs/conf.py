"""How the documentation is built.

    uv run --extra docs sphinx-build -nW -j 2 docs docs/_build/html

Offline and without a warning: every link inside leads somewhere.
"""

import sys
from pathlib import Path

import probrev

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "extensions"))

project = "probrev"
author = "The probrev developers"
release = probrev.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "plain_docstrings",
    "mathml",
]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}
templates_path = []

html_theme = "furo"
html_title = "probrev"
html_static_path = ["static"]
html_css_files = ["wide_tables.css"]
html_math_renderer = "mathml"
html_show_sphinx = False
html_copy_source = False

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False
napoleon_google_docstring = False  # plain_docstrings does
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
toc_object_entries_show_parents = "hide"

# A name in single backticks is code, and a link where there is an entry.
default_role = "py:obj"

# There is no fetching other libraries' inventories, so their types have no page to link to.
nitpick_ignore_regex = [("py:(class|obj)", r".*")]
