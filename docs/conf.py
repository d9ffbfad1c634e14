"""How the book is built: ``uv run --group docs sphinx-build -W -n -b html docs docs/_build/html``."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "balancekit"
author = "The balancekit authors"
project_copyright = author
release = version = metadata.version("balancekit")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "book",
    "llms",
    "signatures",
    "tasks",
]
exclude_patterns = ["_build", "changelog.d", "_extensions", "observability", "pictures"]
html_theme = "furo"
html_title = f"balancekit {release}"
html_static_path = ["_static"]
html_css_files = ["pictures.css"]
html_extra_path = ["observability/grafana-dashboard.json"]

myst_enable_extensions = ["colon_fence"]
suppress_warnings = ["ref.python"]  # names that several packages have, such as Source, in annotations
myst_heading_anchors = 3

autodoc_default_options = {"members": True}
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = False  # values, not the names of private constants
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_preprocess_types = False

# What is documented elsewhere, or named by a type that is internal, is not linked.
nitpick_ignore_regex = [
    ("py:.*", r"(?!balancekit\.).*"),
    ("py:.*", r"balancekit\..*\.T(_co)?"),
    ("py:.*", r"balancekit\.(\w+\.)*_\w+\..*"),  # private modules
    ("py:.*", r"balancekit\.(engine\..*|snapshot\.D|lease\.LeaseExtras)"),
    ("py:.*", r"balancekit\.(testing\.laws\.Subject|(\w+\.)*_\w+)"),
]
