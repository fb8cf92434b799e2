"""What the pages say of stores is so: their URLs, what they can do and promise, their keys, the user they need."""

from __future__ import annotations

import inspect
import re
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest

from eventbus.backends.base import Capabilities, Promise
from eventbus.backends.memory import IN_MEMORY
from eventbus.backends.null import DISCARDED
from eventbus.backends.redis_examination import PROMISES
from eventbus.backends.redis_permissions import (
    CLUSTER,
    EXAMINING,
    EXAMINING_SENTINELS,
    NEEDED,
    SENTINELS,
)
from eventbus.backends.sqlite_examination import DURABLE, QUICK
from eventbus.backends.urls import _OPENERS, open_backend
from eventbus.console.doctor import AT_ONCE
from eventbus.errors import UnknownOption
from eventbus.queue.connections import SYNC
from eventbus.testing.contract import BackendContract

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
CONNECTIONS = "docs/reference/connections.md"
REDIS = "docs/howto/redis.md"


def rows(path: str, first_head: str) -> list[list[str]]:
    """The rows of the table of a page whose first column is headed so."""
    found: list[list[str]] = []
    inside = False
    for line in (ROOT / path).read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in re.split(r" ?\| ?", line)[1:-1]]
        if not line.startswith("|"):
            inside = False
        elif cells[0] == first_head:
            inside = True
        elif inside and not re.fullmatch(r"[|\s:-]+", line):
            found.append(cells)
    assert found, f"{path} has no table headed {first_head!r}"
    return found


def coded(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


# URLs and their options.


def test_the_page_of_connections_has_every_scheme():
    documented = [
        url.partition("://")[0] for row in rows(CONNECTIONS, "URL") for url in coded(row[0])
    ]

    assert set(documented) == {*_OPENERS, SYNC.removesuffix("://")}


@pytest.mark.parametrize("row", rows(CONNECTIONS, "URL"), ids=lambda row: coded(row[0])[0])
def test_the_page_of_connections_has_the_options_of_each_url(row: list[str]):
    url = coded(row[0])[0]
    if url == SYNC:
        pytest.skip("it takes none, not even a queue")

    with pytest.raises(UnknownOption) as error:
        open_backend(f"{url}?nonsense=1")

    assert sorted(error.value.known) == sorted({*coded(row[2]), "queue"})


def test_the_page_of_connections_tells_what_each_option_is():
    options = {name for row in rows(CONNECTIONS, "URL") for name in coded(row[2])}

    assert {coded(row[0])[0] for row in rows(CONNECTIONS, "option")} == {*options, "queue"}


# What they can do, and promise.


def comments_of_capabilities() -> Iterator[tuple[str, str]]:
    text = (ROOT / "eventbus/backends/base.py").read_text("utf-8")
    body = text.partition("class Capabilities:")[2].partition("\n\n\n")[0]
    for comment, name in re.findall(r"#: (.+)\n    (\w+): bool", body):
        yield name, comment[0].lower() + comment[1:].removesuffix(".")


def test_the_table_of_capabilities_is_what_the_backends_declare(tmp_path: Path):
    text = (ROOT / CONNECTIONS).read_text("utf-8")
    [head] = [line for line in text.splitlines() if line.startswith("| capability |")]
    schemes = coded(head)
    urls = {"sqlite://": f"sqlite:///{tmp_path}/queue.db"}
    declared = [open_backend(urls.get(one, one)).backend.capabilities for one in schemes]

    wanted = [
        [f"`{name}`: {what}", *("yes" if getattr(one, name) else "no" for one in declared)]
        for name, what in comments_of_capabilities()
    ]

    assert rows(CONNECTIONS, "capability") == [
        [cell.replace("A delay", "a delay") for cell in row] for row in wanted
    ]
    assert [name for name, _ in comments_of_capabilities()] == [
        one.name for one in attrs.fields(Capabilities)
    ]
    # Each that a URL leads to is of one of these: TLS, Sentinels and a cluster change nothing.
    families = {scheme.partition("+")[0] for scheme in _OPENERS} - {"rediss", "unix"}
    assert {one.removesuffix("://") for one in schemes} == families


def test_the_table_of_guarantees_is_what_the_stores_promise():
    promises = [DURABLE, QUICK, *PROMISES.values(), IN_MEMORY, AT_ONCE, DISCARDED]

    documented = [
        [cell.replace("`", "") for cell in row]
        for row in rows("docs/explain/guarantees.md", "store")
    ]

    assert documented == [list(attrs.astuple(one)) for one in promises]


def test_the_page_of_redis_tells_of_persistence_as_its_doctor_does():
    documented = [[cell.replace("`", "") for cell in row] for row in rows(REDIS, "settings")]

    assert documented == [persistence(one) for one in PROMISES.values()]


def persistence(promise: Promise) -> list[str]:
    return [promise.store.removeprefix("Redis, "), promise.server_killed, promise.power_cut]


# The keys.


def test_the_page_of_redis_has_the_keys_of_the_scripts():
    script = files("eventbus.backends").joinpath("scripts/redis.lua").read_text("utf-8")
    catalogue = re.findall(
        r"^--   (PREFIX:\S+) +(set|hash|string|sorted set) +(.+)$", script, re.MULTILINE
    )

    assert [(coded(row[0])[0], *row[1:]) for row in rows(REDIS, "key")] == catalogue


def test_the_catalogue_of_keys_is_that_of_the_code():
    script = files("eventbus.backends").joinpath("scripts/redis.lua").read_text("utf-8")
    listed = set(re.findall(r"^--   PREFIX:(?:\{(?:QUEUE|LIMIT)\}:)?(\w+)", script, re.MULTILINE))
    used = {
        part
        for line in re.findall(r"^-- keys: ?(.*)$", script, re.MULTILINE)
        for part in line.split()
    }

    # The list of queues is kept by the verbs.
    assert listed == used | {"queues"}


# The user.


def rights(commands: tuple[str, ...]) -> set[str]:
    """The words of an ACL that allow commands: `+script|load`."""
    found = set[str]()
    for command in commands:
        first, *rest = command.lower().split()
        has_parts = first in {"cluster", "config", "script", "sentinel"}
        found.add(f"+{first}|{rest[0]}" if has_parts else f"+{first}")
    return found


def test_the_page_of_redis_allows_what_is_needed_and_no_more():
    lines = re.findall(r"^ACL SETUSER shop (.+)$", (ROOT / REDIS).read_text("utf-8"), re.MULTILINE)
    user, cluster, sentinels, *examining = [line.split() for line in lines]

    assert user[:5] == ["reset", "on", ">PASSWORD", "~eventbus:*", "&eventbus:*"]
    assert sentinels[:3] == ["reset", "on", ">PASSWORD"]
    assert [set(one) for one in (user[5:], cluster, sentinels[3:], *examining)] == [
        rights(one) for one in (NEEDED, CLUSTER, SENTINELS, EXAMINING, EXAMINING_SENTINELS)
    ]


def test_no_part_of_the_contract_hides_what_another_calls_the_same():
    """Else pytest runs one for both: a test is never run, or a fixture skips what it is not for."""
    said: dict[str, set[str]] = {}
    for part in BackendContract.__mro__[1:-1]:
        for name, one in vars(part).items():
            if name.startswith("test_") or hasattr(one, "_fixture_function"):
                said.setdefault(name, set()).add(
                    inspect.getsource(getattr(one, "_fixture_function", one))
                )

    assert len(said) > 200
    assert [name for name, texts in said.items() if len(texts) > 1] == []
