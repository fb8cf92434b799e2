"""What the pages say is so: their tables are those of the code, their links and commands lead somewhere."""

from __future__ import annotations

import inspect
import logging
import re
import shlex
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click
import pytest
from msgspec.structs import replace

import eventbus
from eventbus import Attempt, EventBus, defaults, event
from eventbus.backends.base import Backend, Capabilities, Charge, Claim
from eventbus.backends.port import Port
from eventbus.backends.urls import open_backend
from eventbus.console.command import command as console
from eventbus.dispatch.waiting import drive
from eventbus.errors import JobInterrupted, LimitExceeded, ListenerTimeout, MissingRecord
from eventbus.queue.envelope import Member
from eventbus.queue.execution import Execution
from eventbus.queue.lifecycle import LIFECYCLE, Outcome
from eventbus.queue.options import QueueOptions, ShouldQueue
from eventbus.testing import ManualClock
from eventbus.worker.command import command as worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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

    of_jobs = {"keep_result", "run_if_canceled"}
    options = {one.name for one in attrs.fields(QueueOptions)} - of_jobs
    assert sorted(documented) == sorted(options)
    assert set(ShouldQueue.__annotations__) <= set(documented)


def test_the_page_of_queued_listeners_has_every_event_about_jobs():
    from eventbus.queue import lifecycle

    rows = table("docs/howto/queued-listeners.md", "event")
    documented = {name for row in rows for name in coded(row[0])}

    events = {name for name in lifecycle.__all__ if name not in {"LIFECYCLE", "Outcome"}}
    assert documented == events


@pytest.mark.parametrize("scheme", ["SQLite", "Redis", "memory://", "null://"])
def test_the_page_of_guarantees_claims_no_more_than_a_backend_declares(scheme: str, tmp_path: Path):
    rows = [
        row
        for row in table("docs/explain/guarantees.md", "store")
        if row[0].strip("`").startswith(scheme)
    ]
    urls = {"SQLite": f"sqlite:///{tmp_path}/eventbus.db", "Redis": "redis://localhost"}
    can: Capabilities = open_backend(urls.get(scheme, scheme)).backend.capabilities

    assert rows
    for _, _, killed, _, _, _, stale in rows:
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
    while isinstance(parsed, click.Group):
        chosen, part, rest = parsed.resolve_command(context, context._protected_args + context.args)
        assert part is not None
        parsed, context = part, part.make_context(chosen, rest, parent=context)


# The life of a job.


@event("house.ordered")
@attrs.frozen
class Ordered:
    way: str


class Living(ShouldQueue):
    """Ends in the way that its event says."""

    tries = 5
    max_releases = 0
    no_retry = PermissionError
    fail_on_timeout = True

    def handle(self, event: Ordered, attempt: Attempt) -> None:
        WAYS[event.way](attempt)

    def failed(self, event: Ordered, error: BaseException) -> None:
        raise KeyError(HOOK)


class Discarding(Living):
    discard_on_missing = True


class Releasing(Living):
    max_releases = None


class Once(Living):
    tries = 1


class Dated(Living):
    retry_until = 100


class Excepting(Living):
    max_exceptions = 1


HOOK = "the hook was called"


def raising(error: BaseException) -> Callable[[Attempt], None]:
    def way(attempt: Attempt) -> None:
        raise error

    return way


MISSING = MissingRecord(record="order", key=1)

#: How each run of the page is brought about: by the listener, what it does, and what was before it.
WAYS: dict[str, Callable[[Attempt], object]] = {
    "the listener returns": lambda attempt: None,
    "it deletes its job": lambda attempt: attempt.delete(),
    "it releases its job": lambda attempt: attempt.release(),
    "it releases its job, and the try counts": lambda attempt: attempt.release(spend=True),
    "it releases its job once too often": lambda attempt: attempt.release(),
    "a limit has no room for it": raising(LimitExceeded(limit="api", retry_in=1)),
    "it fails its job": lambda attempt: attempt.fail(),
    "it raises, and has a try left": raising(ValueError()),
    "it raises, and has none": raising(ValueError()),
    "it raises an error of `no_retry`": raising(PermissionError()),
    "it raises for the last allowed time": raising(ValueError()),
    "it takes too long, with `fail_on_timeout`": raising(ListenerTimeout(listener="a", seconds=1)),
    "its record is missing": raising(MISSING),
    "its record is missing, with `discard_on_missing`": raising(MISSING),
    "its worker has to stop": raising(JobInterrupted(listener="a", reason="a signal")),
    "it has no try left when it is claimed": lambda attempt: None,
    "its deadline has passed when it is claimed": lambda attempt: None,
    "its worker died three times": lambda attempt: None,
    "its batch was canceled": lambda attempt: None,
    "its bytes are no job": lambda attempt: None,
    "its names are not known here": lambda attempt: None,
    "its lease was lost meanwhile": lambda attempt: None,
}
LIVING: dict[str, type[Living]] = {
    "it releases its job": Releasing,
    "a limit has no room for it": Releasing,
    "it raises, and has none": Once,
    "it raises for the last allowed time": Excepting,
    "its record is missing, with `discard_on_missing`": Discarding,
    "it has no try left when it is claimed": Once,
    "its deadline has passed when it is claimed": Dated,
}


def claimed(way: str, port: Port, clock: ManualClock) -> Claim:
    """Claim the one job of a store, after what a way needs to have happened before."""
    if way == "its worker died three times":
        for _ in range(3):
            assert port.claim(["default"], lease=1)
            clock.advance(1)
    elif way == "it has no try left when it is claimed":
        port.release(port.claim(["default"])[0], charge=Charge.ERROR)
    elif way == "its deadline has passed when it is claimed":
        clock.advance(101)
    (claim,) = port.claim(["default"], lease=10)
    if way == "its lease was lost meanwhile":
        clock.advance(11)
        assert port.claim(["default"])
    elif way == "its batch was canceled":
        member = replace(claim.envelope, member=Member(batch="b"))
        return replace(claim, canceled=True, envelope=member)
    elif way == "its bytes are no job":
        return replace(claim, envelope=replace(claim.envelope, body=b"\xff"))
    elif way == "its names are not known here":
        body = claim.envelope.body.replace(b":Living", b":Newer")
        return replace(claim, envelope=replace(claim.envelope, body=body))
    return claim


LIVES = table("docs/explain/job-life.md", "a run ends so")


def test_the_page_of_a_jobs_life_has_every_way_to_end():
    assert [row[0] for row in LIVES] == list(WAYS)
    assert {coded(row[1])[0] for row in LIVES} == {one.value for one in Outcome}


@pytest.mark.parametrize("row", LIVES, ids=[row[0] for row in LIVES])
def test_a_run_is_told_of_in_the_order_of_its_page(
    row: list[str], caplog: pytest.LogCaptureFixture
):
    way, outcome, charge, told = row
    clock = ManualClock()
    heard: list[str] = []
    with EventBus(connections={"default": "memory://"}, clock=clock) as bus:
        bus.listen(Ordered, LIVING.get(way, Living))
        bus.listen(LIFECYCLE[0], lambda event: heard.append(type(event).__name__))
        bus.dispatch(Ordered(way))
        port = bus.connections.port()
        claim = claimed(way, port, clock)
        hooked = LastWords(heard)
        logging.getLogger("eventbus.queue").addHandler(hooked)
        try:
            executor = bus.executor()
            run: Execution = drive(executor.run(executor.begin(claim, port)), bus)
        finally:
            logging.getLogger("eventbus.queue").removeHandler(hooked)

    assert heard == coded(told)
    assert run.outcome == coded(outcome)[0]
    if coded(charge):
        assert run.charge == coded(charge)[0]


class LastWords(logging.Handler):
    """Notes when `failed()` was called: what it raises is logged."""

    def __init__(self, heard: list[str]) -> None:
        super().__init__()
        self._heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and HOOK in str(record.exc_info[1]):
            self._heard.append("failed()")


def test_the_page_of_a_jobs_life_has_the_verbs_of_the_contract():
    verbs = [coded(row[0])[0] for row in table("docs/explain/job-life.md", "verb")]
    drawn = FENCE.search(page("docs/explain/job-life.md"))

    assert all(hasattr(Backend, verb) and hasattr(Port, verb) for verb in verbs)
    asks = {
        "failed", "size", "queues", "peek", "find", "next_due", "flag", "flags", "bell", "close",
    }  # fmt: skip
    assert Backend.__abstractmethods__ - asks == set(verbs)
    assert drawn is not None
    assert [verb for verb in verbs if verb != "extend" and verb not in drawn["text"]] == []
