"""How the documentation is built.

    uv run --extra docs sphinx-build -nW -j 8 docs docs/_build/html

Offline and without a warning: every notebook runs, every link inside leads somewhere. With 8 at a
time, since few pages of 8 chunks are notebooks.
"""

import os
import sys
from pathlib import Path

import probrev

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "extensions"))

# Notebooks are processes of their own; what one has compiled the next need not.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(HERE / "_build" / "compiled"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
# Of tqdm, which looks for widgets that no page needs.
os.environ.setdefault("PYTHONWARNINGS", "ignore:IProgress not found")
# They compile more than they run; a page that runs for longer sets 1 itself.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

project = "probrev"
author = "The probrev developers"
release = probrev.__version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "plain_docstrings",
    "mathml",
]
exclude_patterns = ["_build"]
source_suffix = {".md": "myst-nb"}
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

nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 1200
nb_merge_streams = True

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

# Types of other libraries: there is no fetching their inventories, so no page to link to.
# A name in single backticks is code, and a link where there is an entry.
default_role = "py:obj"

# There is no fetching other libraries' inventories, so their types have no page to link to.
nitpick_ignore_regex = [("py:(class|obj)", r".*")]
