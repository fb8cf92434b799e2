"""Habits that a linter has no rule for."""

from __future__ import annotations

import ast
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Source

#: Names that say nothing about what is inside.
EMPTY_NAMES = frozenset(
    {"common", "helper", "helpers", "manager", "managers", "misc", "util", "utils"}
)

#: Calls whose result somebody will change, or wait on, behind everybody's back.
MUTABLE = frozenset(
    {
        "Condition",
        "ContextVar",
        "Counter",
        "Event",
        "Lock",
        "OrderedDict",
        "RLock",
        "Semaphore",
        "WeakKeyDictionary",
        "WeakSet",
        "WeakValueDictionary",
        "bytearray",
        "count",
        "defaultdict",
        "deque",
        "dict",
        "list",
        "local",
        "set",
    }
)
DISPLAYS = ast.Dict | ast.List | ast.Set | ast.DictComp | ast.ListComp | ast.SetComp

#: A wait for time instead of for a fact. Yielding to the loop, with 0, is none.
SLEEP = re.compile(r"\bsleep\((?!0\))")

#: Files that may sleep, how often, and why. An entry may shrink and go, never grow.
SLEEPS: dict[str, int] = {}

#: A place on one machine, and words about how the text came to be.
PRIVATE = re.compile(
    r"(?<![\w.~$}])/(root|home|Users|work)/\w|\b(written|generated|made) (by|with) (an? )?(AI|model|assistant)\b",
    re.IGNORECASE,
)
TEXTS = frozenset(
    {"", ".cfg", ".csv", ".ini", ".lua", ".md", ".py", ".sh", ".sql", ".toml", ".txt", ".yml"}
)


def test_no_module_has_an_empty_name(
    package_sources: tuple[Source, ...], test_sources: tuple[Source, ...]
):
    nameless = [
        source.path
        for source in (*package_sources, *test_sources)
        if EMPTY_NAMES & set(PurePosixPath(source.path).with_suffix("").parts)
    ]

    assert nameless == []


def test_no_test_sleeps_to_synchronise(
    package_sources: tuple[Source, ...], test_sources: tuple[Source, ...]
):
    kit = [source for source in package_sources if source.path.startswith("eventbus/testing/")]
    sleeps = {
        source.path: len(SLEEP.findall(source.text))
        for source in (*test_sources, *kit)
        if SLEEP.search(source.text)
    }

    assert sleeps == SLEEPS


def test_no_module_keeps_state(package_sources: tuple[Source, ...]):
    kept = [
        f"{source.path}:{node.lineno} {ast.unparse(node).splitlines()[0]}"
        for source in package_sources
        for node in source.tree.body
        if keeps_state(node)
    ]

    assert kept == []


def test_no_function_changes_a_global(package_sources: tuple[Source, ...]):
    changes = [
        f"{source.path}:{node.lineno}"
        for source in package_sources
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Global)
    ]

    assert changes == []


def keeps_state(node: ast.stmt) -> bool:
    if isinstance(node, ast.FunctionDef):
        # A cache on a function of a module is a dictionary of the module.
        names = [ast.unparse(decorator).split("(")[0] for decorator in node.decorator_list]
        return any(name.rpartition(".")[2] in {"cache", "lru_cache"} for name in names)
    if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
        return False
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
        return False
    # A type checker keeps everybody from changing a table that is declared `Final[Mapping[...]]`.
    if isinstance(node, ast.AnnAssign) and "Final[Mapping[" in ast.unparse(node.annotation):
        return False
    if isinstance(node.value, ast.Call):
        return ast.unparse(node.value.func).rpartition(".")[2] in MUTABLE
    return isinstance(node.value, DISPLAYS)


def project_files(root: Path) -> Iterator[Path]:
    """Every file of the project; what running something has made here is none."""
    for top in sorted(root.iterdir()):
        is_hidden = top.name.startswith(".") and top.name != ".ci"
        if not is_hidden and top.name not in {"build", "dist"}:
            found = [top] if top.is_file() else sorted(top.rglob("*"))
            yield from (path for path in found if path.is_file() and "_build" not in path.parts)


def test_no_file_speaks_of_one_machine_or_of_how_it_was_written(root: Path):
    spoken = [
        f"{path.relative_to(root)}: {found.group()}"
        for path in project_files(root)
        if path.suffix in TEXTS
        for found in PRIVATE.finditer(path.read_text("utf-8", errors="replace"))
    ]

    assert spoken == []
