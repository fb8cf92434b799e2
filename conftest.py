"""
Run the examples of README.md, docs/ and the docstrings of eventbus/ as tests.

One mechanism, sybil, for all of them:

- In a page, each ```` ```python ```` fence runs, in order, in one namespace: the page is a module.
- A fence whose first line is a comment that names a file, `# shop/events.py`, is that file: it is
  written, not run, and the fences after it import it.
- A page runs in an empty folder of its own, with a queue of its own in it, and leaves nothing behind. One
  that speaks of `QUEUE_URL` gets a Redis server there; without `redis-server` the variable is empty.
- `<!-- skip: next -->` before a fence leaves it out, `<!-- skip: next if(condition, reason="...") -->`
  where something is missing.
- In a docstring, `>>>` lines run with the names of their module.
"""

from __future__ import annotations

import doctest
import importlib
import os
import re
import shutil
import sys
import tempfile
from contextlib import ExitStack, chdir, contextmanager
from doctest import ELLIPSIS
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from sybil import Document, Sybil
from sybil.document import PythonDocStringDocument
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.myst import CodeBlockParser, SkipParser
from sybil.parsers.rest import DocTestParser

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sybil import Example

#: What a page has in its namespace that speaks of `QUEUE_URL`.
_WANTS_REDIS = "__wants_redis__"
FILE_NAME = re.compile(r"# (?P<path>[\w./-]+\.py)\b")
ROOT = Path(__file__).parent


class Page(Document):
    """A page whose examples share the namespace of a real module, so that their hints resolve."""

    def __init__(self, text: str, path: str) -> None:
        super().__init__(text, path)
        name = "page_" + re.sub(r"\W", "_", str(Path(path).relative_to(ROOT).with_suffix("")))
        module = sys.modules[name] = ModuleType(name)
        self.namespace = module.__dict__
        self.namespace[_WANTS_REDIS] = "QUEUE_URL" in text


def run_fence(example: Example) -> None:
    """Write the fence if it is a file, else run it."""
    named = FILE_NAME.match(example.parsed)
    if example.parsed.startswith(">>>"):
        run_prompts(example)
        return
    if named is None:
        PythonEvaluator()(example)
        return
    path = Path(named["path"])
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        forget_modules(path.absolute())
    path.write_text(example.parsed, encoding="utf-8")


#: From where modules came before any test ran: a command that was run here may have added its folder.
_PATH = tuple(sys.path)


def run_prompts(example: Example) -> None:
    """Run the `>>>` lines of a fence, and compare what they print."""
    parser = doctest.DocTestParser()
    test = parser.get_doctest(
        example.parsed, example.namespace, example.path, example.path, example.line
    )
    # Not the copy that a DocTest makes: the fences after this one know its names, too.
    test.globs = example.namespace
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=ELLIPSIS)
    if runner.run(test, out=said.append, clear_globs=False).failed:
        raise AssertionError("".join(said))


def forget_modules(folder: Path) -> None:
    """Drop what was imported from a folder, or a file: what comes next may be another `shop/app.py`."""
    # Found before any is dropped: a namespace package asks its parent for its own path.
    for name in [one for one, module in sys.modules.items() if lies_in(folder, module)]:
        del sys.modules[name]


def lies_in(folder: Path, module: ModuleType) -> bool:
    """Tell whether a module was imported from `folder`, and from there alone."""
    found = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
    places = [Path(place) for place in found if place]
    # The namespace package `tests` may be a page's and ours at once: then it stays.
    return bool(places) and all(place.is_relative_to(folder) for place in places)


def enter_page(namespace: dict[str, Any]) -> None:
    """Give the page a folder to be in and to import from, with a queue in it."""
    ending = ExitStack()
    namespace["__ending__"] = ending
    folder = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="eventbus-"))).resolve()
    settings = ending.enter_context(pytest.MonkeyPatch.context())
    settings.setenv("EVENTBUS_URL", f"sqlite:///{folder}/eventbus.db")
    settings.setattr(sys, "path", [str(folder), *_PATH])
    importlib.invalidate_caches()
    if namespace[_WANTS_REDIS]:
        namespace["QUEUE_URL"] = ending.enter_context(page_server(folder))
        settings.setenv("QUEUE_URL", namespace["QUEUE_URL"])
    # Another test's shop is not this page's.
    for name in [one for one in sys.modules if one.partition(".")[0] == "shop"]:
        settings.delitem(sys.modules, name)
    ending.enter_context(chdir(folder))
    ending.callback(forget_modules, folder)


@contextmanager
def page_server(folder: Path) -> Iterator[str]:
    """Start a Redis server; give its URL, and nothing where there is no `redis-server`."""
    from tests.servers import server

    if shutil.which("redis-server") is None and os.environ.get("CI") != "true":
        yield ""
        return
    with server(folder / "redis") as started:
        yield started.url


def leave_page(namespace: dict[str, Any]) -> None:
    """Put everything back as it was before the page."""
    namespace.pop("__ending__").close()


pages = Sybil(
    parsers=[CodeBlockParser("python", run_fence), SkipParser()],
    pattern="*.md",
    document_types={".md": Page},
    setup=enter_page,
    teardown=leave_page,
)
docstrings = Sybil(
    parsers=[DocTestParser(optionflags=ELLIPSIS)],
    path="eventbus",
    pattern="*.py",
    document_types={".py": PythonDocStringDocument},
)

pytest_collect_file = (pages + docstrings).pytest()
