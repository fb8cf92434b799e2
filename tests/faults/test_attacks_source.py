"""What eventbus never calls, and where the few exceptions are."""

from __future__ import annotations

import ast
from pathlib import Path

import eventbus

PACKAGE = Path(eventbus.__file__).parent

#: Modules that make objects or code of bytes or text, or load code by a name.
MODULES = {
    "cloudpickle", "code", "codeop", "ctypes", "dill", "imp", "importlib", "jsonpickle", "marshal",
    "pickle", "pkgutil", "pty", "runpy", "shelve", "subprocess", "xmlrpc", "yaml", "zipimport",
}  # fmt: skip

#: Built-ins that do.
BUILTINS = {"__import__", "breakpoint", "compile", "eval", "exec"}

#: Functions of `os` that start programs.
OS = ("exec", "fork", "popen", "posix_spawn", "spawn", "startfile", "system")

#: What is used all the same: where, and why.
ALLOWED = {
    # The names come from the application's own code, and from its command line.
    ("dispatch/discovery.py", "importlib"),
    ("dispatch/discovery.py", "pkgutil"),
    ("dispatch/targets.py", "importlib"),
    ("locate.py", "importlib"),
    # Read the files in `scripts/` and `stubs/` of this very package.
    ("backends/sections.py", "importlib"),
    ("console/make.py", "importlib"),
    # Names of ours alone, for those that need them.
    ("__init__.py", "importlib"),
    ("testing/__init__.py", "importlib"),
    # Start the very command that was typed, again.
    ("worker/processes.py", "subprocess"),
    ("worker/reload.py", "subprocess"),
}


def names(tree):
    """Yield what a module imports or calls of the lists above."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (one.name.partition(".")[0] for one in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").partition(".")[0]
        elif isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name) and called.id in BUILTINS:
                yield called.id
            elif isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
                owner, name = called.value.id, called.attr
                if owner == "os" and name.startswith(OS) and name != "forkpty":
                    yield f"os.{name}"
                elif owner == "builtins" and name in BUILTINS:
                    yield name
        # A name by which a built-in is taken along, to be called later.
        elif isinstance(node, ast.Name) and node.id in BUILTINS - {"compile"}:
            yield node.id


def found(source):
    wanted = MODULES | BUILTINS
    return {one for one in names(ast.parse(source)) if one in wanted or one.startswith("os.")}


def test_nothing_is_unpickled_evaluated_or_started():
    """A18: no call to pickle, marshal, eval, exec, __import__ or importlib outside of the list."""
    seen = {
        (path.relative_to(PACKAGE).as_posix(), one)
        for path in PACKAGE.rglob("*.py")
        for one in found(path.read_text("utf-8"))
    }

    assert seen - ALLOWED == set()


def test_the_list_of_exceptions_has_none_that_is_gone():
    """A18: an exception that nobody needs is taken off the list."""
    left = {
        (path, one)
        for path, one in ALLOWED
        if (PACKAGE / path).exists() and one in found((PACKAGE / path).read_text("utf-8"))
    }

    assert left == ALLOWED


def test_the_scan_sees_each_way_to_call():
    """A18: the scan bites."""
    for source, name in {
        "import pickle": "pickle",
        "import os.path, marshal": "marshal",
        "from importlib import import_module": "importlib",
        "from yaml import load as read": "yaml",
        "def f():\n    import subprocess as s": "subprocess",
        "eval('1')": "eval",
        "run = exec": "exec",
        "builtins.eval('1')": "eval",
        "compile('1', '', 'eval')": "compile",
        "__import__('os')": "__import__",
        "os.system('true')": "os.system",
        "os.execv('x', [])": "os.execv",
        "os.posix_spawn('x', [], {})": "os.posix_spawn",
    }.items():
        assert name in found(source), source
    assert found("re.compile('x'); import os; os.fspath('x')") == set()
