"""How Sphinx builds the documentation; every warning is an error (see the Makefile)."""

from importlib.metadata import version as installed_version

project = "eventbus"
author = "The eventbus authors"
project_copyright = "2026, The eventbus authors"
release = installed_version("eventbus")
version = release

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
# The pages of the example shop are read where they lie.
exclude_patterns = ["_build", "examples/**"]
html_theme = "furo"
html_title = f"eventbus {release}"

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

# A docstring's `name` is code, not a title in italics.
default_role = "code"
add_module_names = False
autodoc_class_signature = "separated"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
