"""The page on the wire format says what the code does."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest
from msgspec.structs import replace

from eventbus.defaults import (
    DATA_DEPTH_LIMIT,
    DATA_KEYS_LIMIT,
    DATA_SIZE_LIMIT,
    DOCUMENT_SIZE_LIMIT,
    EQUAL_HASHES_LIMIT,
)
from eventbus.dispatch.names import event
from eventbus.errors import DecodeError
from eventbus.queue.codec.document import KINDS, WIRE_VERSION, read, write
from eventbus.queue.codec.forms import SCALARS
from eventbus.queue.codec.typed import EventTypes
from eventbus.queue.fixed import Fixed

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "wire-format.md").read_text("utf-8")
EXAMPLE = re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)[1].encode()


@event("pay.card")
@attrs.frozen
class Card:
    last_digits: str


@event("pay.cash")
@attrs.frozen
class Cash:
    received: Decimal


@event("order.shipped", version=2)
@attrs.frozen
class OrderShipped:
    order_id: int
    email: str
    total: Decimal
    shipped_at: datetime
    paid_by: Card | Cash | None


def rows(title: str) -> dict[str, str]:
    """The table under a heading: its first column to its second."""
    section = re.split(r"\n###? ", PAGE.split(f"\n## {title}\n")[1])[0]
    cells = [
        line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")
    ]
    return {row[0].strip("`"): row[1] for row in cells[2:]}


def test_the_example_is_read_and_decoded():
    document = read(EXAMPLE)
    types = EventTypes()
    types.add(OrderShipped)
    codec = types.lookup(str(document.event), document.version)

    assert codec.decode(document.data, document.version) == OrderShipped(
        order_id=1,
        email="a@example.com",
        total=Decimal("19.90"),
        shipped_at=datetime(2026, 1, 31, 12, tzinfo=UTC),
        paid_by=Card("4242"),
    )


def test_the_example_is_what_we_write():
    document = read(EXAMPLE)
    types = EventTypes()
    types.add(OrderShipped)
    codec = types.codec_for(OrderShipped)
    data = codec.encode(codec.decode(document.data, 2))

    assert json.loads(write(replace(document, data=data))) == json.loads(EXAMPLE)


def test_the_table_of_keys_is_that_of_the_document():
    assert list(rows("The document")) == list(json.loads(EXAMPLE))


@pytest.mark.parametrize("key", json.loads(EXAMPLE))
def test_each_key_is_required(key: str):
    fields = {name: value for name, value in json.loads(EXAMPLE).items() if name != key}

    with pytest.raises(DecodeError):
        read(json.dumps(fields).encode())


def test_the_table_of_types_has_every_scalar():
    table = " ".join(rows("Types"))

    missing = [one.__name__ for one in SCALARS if one not in (None, type(None))]
    assert [name for name in missing if name not in table] == []


def test_the_examples_of_the_types_are_json():
    section = PAGE.split("\n## Types\n")[1].split("\n**Unions")[0]
    examples: list[Any] = re.findall(r"\| `([^`]+)` \|$", section, re.MULTILINE)

    assert len(examples) == len(rows("Types"))
    for example in examples:
        json.loads(example)


def test_the_limits_are_those_of_the_code():
    assert list(rows("Limits").values()) == [
        f"{DATA_SIZE_LIMIT:,} bytes",
        f"{DOCUMENT_SIZE_LIMIT:,} bytes",
        f"{DATA_DEPTH_LIMIT} arrays and objects",
        f"{DATA_KEYS_LIMIT:,} keys",
        f"{EQUAL_HASHES_LIMIT} items",
    ]


def test_the_version_and_the_kinds_are_those_of_the_code():
    assert f"Wire version: **{WIRE_VERSION}**" in PAGE
    assert all(f'`"{kind}"`' in rows("The document")["kind"] + PAGE for kind in KINDS)


def test_the_example_of_a_job_is_what_we_write():
    @attrs.frozen
    class ProcessPodcast:
        podcast_id: int
        language: str = "en"

    example = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)[1].encode()
    document = read(example)
    codec = EventTypes().codec_for_jobs(ProcessPodcast, document.name)

    assert codec.decode(document.data, document.version) == ProcessPodcast(17, "de")
    data = codec.encode(ProcessPodcast(17, "de"))
    assert json.loads(write(replace(document, data=data))) == json.loads(example)


def test_the_table_of_options_is_what_a_dispatch_fixes():
    fixed = Fixed(
        wildcard=True,
        deadline=datetime.now(UTC),
        display_name="a",
        hops=1,
        trail=("b",),
        context={"c": 1},
        batch="d",
    )
    section = PAGE.split("\n### Options\n")[1].split("\n### ")[0]

    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(fixed.written())
