"""What the pages say is so: their tables are those of the code, their links and commands lead somewhere."""

from __future__ import annotations

import inspect
import re
import shlex
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click
import pytest

import eventbus
from eventbus import EventBus, defaults
from eventbus.backends.base import Capabilities
from eventbus.backends.urls import open_backend
from eventbus.console.command import command as console
from eventbus.queue.options import QueueOptions, ShouldQueue
from eventbus.worker import ExitCode
from eventbus.worker.command import command as worker

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts),
]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
FENCE = re.compile(r"^```(?P<kind>\S*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)


def page(path: str) -> str:
    return (ROOT / path).read_text("utf-8")


def tables(text: str) -> list[list[list[str]]]:
    """The tables of a page: rows of cells, the first row the heads."""
    found: list[list[list[str]]] = [[]]
    for line in text.splitlines():
        if not line.startswith("|"):
            found.append([])
        elif not re.fullmatch(r"[|\s:-]+", line):
            found[-1].append([cell.strip() for cell in line.strip("|").split("|")])
    return [table for table in found if table]


def table(path: str, first_head: str) -> list[list[str]]:
    """The rows of the one table of a page whose first column is headed so."""
    (found,) = [one for one in tables(page(path)) if one[0][0] == first_head]
    return found[1:]


def coded(cell: str) -> list[str]:
    """What stands in back quotes in a cell."""
    return re.findall(r"`([^`]+)`", cell)


# The tables.


def comments_of_defaults() -> dict[str, str]:
    """The comment above each constant: its lines, joined."""
    text = page("eventbus/defaults.py")
    return {
        match["name"]: re.sub(r"\s*\n#: ", "\n", match["comment"].removeprefix("#: ")).strip()
        for match in re.finditer(
            r"^(?P<comment>(?:#: .*\n)+)(?P<name>[A-Z_]+): Final = ", text, re.MULTILINE
        )
    }


def row_of_default(name: str, comment: str) -> str:
    what, _, rest = comment.partition("\nUnit: ")
    unit, _, source = rest.partition("\nSource: ")
    value = getattr(defaults, name)
    shown = f'"{value}"' if isinstance(value, str) else f"{value:,}"
    cells = [f"`{name}`", what, shown, unit, source]
    return f"| {' | '.join(' '.join(cell.split()) for cell in cells)} |"


@pytest.mark.parametrize("name, comment", list(comments_of_defaults().items()))
def test_the_page_of_defaults_says_what_the_code_says(name: str, comment: str):
    assert row_of_default(name, comment) in page("docs/reference/defaults.md").splitlines()


def test_the_page_of_defaults_has_all_of_them_and_no_other():
    named = [coded(row[0])[0] for row in table("docs/reference/defaults.md", "name")]

    assert sorted(named) == defaults.__all__
    assert sorted(comments_of_defaults()) == defaults.__all__


def test_the_page_of_the_worker_has_its_exit_codes():
    rows = table("docs/howto/worker.md", "code")

    assert [(int(code), coded(name)[0]) for code, name, _ in rows] == [
        (code.value, code.name) for code in ExitCode
    ]


def test_the_page_of_the_worker_has_its_options_and_their_defaults():
    rows = table("docs/howto/worker.md", "option")
    documented = {
        tuple(one.split()[0] for one in coded(option)): default for option, _, default in rows
    }

    options = [one for one in worker.params if isinstance(one, click.Option)]
    assert set(documented) == {tuple(one.opts) for one in options if one.name != "version"}
    for one in options:
        if isinstance(one.default, int | float) and not one.is_flag:
            assert documented[tuple(one.opts)] == f"{one.default:g}"


def test_the_page_of_queued_listeners_has_every_option():
    documented = [coded(row[0])[0] for row in table("docs/howto/queued-listeners.md", "option")]

    assert sorted(documented) == sorted(one.name for one in attrs.fields(QueueOptions))
    assert set(ShouldQueue.__annotations__) <= set(documented)


def test_the_page_of_queued_listeners_has_every_event_about_jobs():
    from eventbus.queue import lifecycle

    rows = table("docs/howto/queued-listeners.md", "event")
    documented = {name for row in rows for name in coded(row[0])}

    assert documented == {name for name in lifecycle.__all__ if name.startswith(("Job", "Worker"))}


@pytest.mark.parametrize("scheme", ["sqlite", "memory", "null"])
def test_the_page_of_guarantees_claims_no_more_than_a_backend_declares(scheme: str, tmp_path: Path):
    rows = [
        row
        for row in table("docs/explain/guarantees.md", "store")
        if any(one.startswith(f"{scheme}://") for one in coded(row[0]))
    ]
    url = f"sqlite:///{tmp_path}/eventbus.db" if scheme == "sqlite" else f"{scheme}://"
    can: Capabilities = open_backend(url).backend.capabilities

    assert rows
    for _, _, killed, _, stale in rows:
        assert can.durable or killed != "no loss"
        assert can.fenced or stale != "refused"


# The signatures that are written by hand, where overloads would hide what a reader looks for.

WRITTEN = re.findall(
    r"\.\. (?:automethod|decorator):: (?P<name>\w+)\((?P<parameters>.*)\)",
    page("docs/reference/api.md"),
)


@pytest.mark.parametrize("name, parameters", WRITTEN)
def test_a_signature_of_the_reference_is_that_of_the_code(name: str, parameters: str):
    found = eventbus.listens if name == "listens" else getattr(EventBus, name)
    real = inspect.signature(found).parameters.values()

    written = [one.partition("=")[0].lstrip("*") for one in parameters.split(", ") if one != "*"]
    assert written == [one.name for one in real if one.name != "self"]


# The links.


def prose(text: str) -> str:
    return FENCE.sub("", text)


def links() -> Iterator[Any]:
    for path in PAGES:
        targets = {match["target"] for match in LINK.finditer(prose(path.read_text("utf-8")))}
        for target in sorted(one for one in targets if "://" not in one):
            yield pytest.param(path, target, id=f"{path.relative_to(ROOT)}->{target}")


@pytest.mark.parametrize("path, target", list(links()))
def test_a_link_leads_somewhere(path: Path, target: str):
    place, _, anchor = target.partition("#")
    found = (path.parent / place).resolve() if place else path

    assert found.exists()
    if anchor:
        heads = re.findall(r"^#+ (.+)$", prose(found.read_text("utf-8")), re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in heads}


# The commands.


def commands() -> Iterator[Any]:
    """Every line of ours that a reader is told to type."""
    for path in PAGES:
        fences = FENCE.finditer(path.read_text("utf-8"))
        typed = "\n".join(fence["text"] for fence in fences if fence["kind"] == "console")
        lines = set(re.findall(r"^\$ (.+)$", typed, re.MULTILINE))
        for words in sorted(shlex.split(line, comments=True) for line in lines):
            if words[0] in {"make", "eventbus", "eventbus-worker"}:
                yield pytest.param(words, id=f"{path.relative_to(ROOT)}: {' '.join(words)}")


@pytest.mark.parametrize("words", list(commands()))
def test_a_command_exists(words: list[str]):
    name, *arguments = words
    if name == "make":
        assert re.search(rf"^{re.escape(arguments[0])}:", page("Makefile"), re.MULTILINE)
        return
    scripts = tomllib.loads(page("pyproject.toml"))["project"]["scripts"]
    assert name in scripts

    parsed = {"eventbus": console, "eventbus-worker": worker}[name]
    context = parsed.make_context(name, list(arguments))
    if isinstance(parsed, click.Group):
        chosen, part, rest = parsed.resolve_command(context, context._protected_args + context.args)
        assert part is not None
        part.make_context(chosen, rest, parent=context)
