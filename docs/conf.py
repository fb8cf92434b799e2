"""How Sphinx builds the documentation; every warning is an error (see the Makefile)."""

from importlib.metadata import version as installed_version

from sphinx.application import Sphinx

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
autodoc_member_order = "bysource"
autodoc_typehints = "description"
napoleon_numpy_docstring = False
napoleon_use_ivar = True


def prepare(
    _app: object, what: str, _name: str, _object: object, _options: object, lines: list[str]
) -> None:
    """Make of a docstring what Sphinx reads as it is meant."""
    inside = False
    shown: list[str] = []
    for line in lines:
        if line.strip().startswith("```"):
            # A fence, which editors show as Markdown, is a literal block here.
            inside = not inside
            shown += ["", "::", ""] if inside else [""]
        else:
            shown.append(f"   {line}" if inside and line else line)
    if what in {"attribute", "data", "property"}:
        # Napoleon takes what stands before a colon in the first line for a type: give it another.
        shown[:0] = ["..", ""]
    lines[:] = shown


def setup(app: Sphinx) -> None:
    """Look at docstrings before napoleon does."""
    app.connect("autodoc-process-docstring", prepare, priority=400)
