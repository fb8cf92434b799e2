"""
The poison corpus: what somebody who can write into the store may put there (F34).

Each `Poison` is one row, written straight into the file; its body or one of its columns is wrong.
None of them may run, end a worker, harm another job, or be lost. The application of the tests has the
listeners `good.mark`, which runs the good jobs, and `trap.*`, none of which may ever be called.
"""

from __future__ import annotations

import base64
import bz2
import gzip
import json
import marshal
import pickle
import zlib
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Self

from attrs import field, frozen

from eventbus.backends.sqlite import load_driver

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

#: Most bytes of data and levels of nesting that a job may have (docs/reference/wire-format.md).
DATA, DEPTH = 256 * 1024, 64

#: What the tests' application says, for a module `shop`; `HERE` is its folder.
APPLICATION = """
import datetime, os
from attrs import frozen
from eventbus import EventBus, ShouldQueue, event

HERE = os.path.dirname(os.path.abspath(__file__))
URL = os.environ.get("TRAP_URL", f"sqlite:///{HERE}/queue.db")
log = os.open(f"{HERE}/ran", os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)

def ran(what):
    os.write(log, f"{what}\\n".encode())

@event("good.done")
@frozen
class Done:
    number: int

@event("trap.sprung", aliases=["trap.old"], version=2, upcast={1: lambda data: {"number": data["n"]}})
@frozen
class Sprung:
    number: int
    flag: bool = False
    ratio: float = 0.0
    text: str = ""
    at: datetime.datetime | None = None
    tags: tuple[str, ...] = ()

class Mark(ShouldQueue):
    name = "good.mark"
    def handle(self, event: Done) -> None:
        ran(event.number)

class Spring(ShouldQueue):
    name = "trap.spring"
    aliases = ("trap.former",)
    def handle(self, event: Sprung) -> None:
        ran("trap.spring")
    def failed(self, event: Sprung, error: BaseException) -> None:
        ran("failed of trap.spring")

class Named(ShouldQueue):
    name = "trap.one"
    def handle(self, count: int, note: str) -> None:
        ran("trap.one")

class Wild(ShouldQueue):
    name = "trap.all"
    def handle(self, name: str, payload: tuple[object, ...]) -> None:
        ran("trap.all")

bus = EventBus(
    connections={"default": URL},
    listen={Done: [Mark], Sprung: [Spring], "trap.named": [Named], "trap.wild.*": [Wild]},
)
"""


class Fate(StrEnum):
    """What becomes of a row once workers have nothing to do."""

    #: Among the failed jobs, its bytes unchanged, no attempt spent.
    FAILED = "failed"
    #: Back in the queue for later, its bytes unchanged, no attempt spent.
    PARKED = "parked"
    #: Where it was, untouched: it is not due, or in no queue that is served.
    LEFT = "left"
    #: Its job is sound and only a column is not: run once, failed or left, but never lost.
    KEPT = "kept"


@frozen(kw_only=True)
class Poison:
    """One row that somebody wrote."""

    name: str
    fate: Fate = Fate.FAILED
    #: What the column `body` is set to: bytes, or another value that SQLite keeps.
    body: Any = field(repr=False)
    #: What other columns are set to.
    columns: Mapping[str, Any] = field(factory=dict)

    def stored(self, key: object) -> Any:
        """Return what is written into the column `body` of the row with this id."""
        if isinstance(self.body, bytes) and isinstance(key, str):
            return self.body.replace(b"{id}", key.encode())
        return self.body


def document(**changes: Any) -> dict[str, Any]:
    """Return the document of a job that would spring the trap."""
    sound = {
        "v": 1,
        "id": "{id}",
        "kind": "listener",
        "name": "trap.spring",
        "event": "trap.sprung",
        "version": 2,
        "payload": "class",
        "data": {"number": 1},
        "options": {},
        "dispatched_at": "2026-01-01T00:00:00Z",
    }
    return {**sound, **changes}


def body(**changes: Any) -> bytes:
    return json.dumps(document(**changes)).encode()


def without(key: str) -> bytes:
    return json.dumps({name: of for name, of in document().items() if name != key}).encode()


def data(text: bytes, **changes: Any) -> bytes:
    """Return the document with `text` as its data, whether or not it is JSON."""
    return body(data="@", **changes).replace(b'"@"', text)


def fields(**changes: Any) -> bytes:
    return body(data={"number": 1, **changes})


def named(args: Any, name: str = "trap.one", event: str = "trap.named", **changes: Any) -> bytes:
    changes = {"version": 1, "payload": "args", **changes}
    return body(name=name, event=event, data=args, **changes)


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def good(number: int) -> bytes:
    """Return the document of a job that is to run."""
    return body(name="good.mark", event="good.done", version=1, data={"number": number})


SOUND: Final = body()

_NOT_JSON: Final = {
    "nothing": b"",
    "spaces": b" \t\r\n",
    "one NUL": b"\0",
    "null": b"null",
    "true": b"true",
    "an array": b"[]",
    "a number": b"17",
    "a string": b'"trap.spring"',
    "an empty object": b"{}",
    "an array of the document": b"[" + SOUND + b"]",
    "cut in half": SOUND[: len(SOUND) // 2],
    "without the last byte": SOUND[:-1],
    "without the first byte": SOUND[1:],
    "two documents": SOUND + SOUND,
    "two documents, a line each": SOUND + b"\n" + SOUND,
    "rubbish behind": SOUND + b"x",
    "a NUL behind": SOUND + b"\0",
    "a byte order mark": b"\xef\xbb\xbf" + SOUND,
    "UTF-16": SOUND.decode().encode("utf-16"),
    "UTF-16 without a mark": SOUND.decode().encode("utf-16-be"),
    "UTF-32": SOUND.decode().encode("utf-32"),
    "UTF-7": b"+AHs-" + SOUND[1:],
    "latin-1": data('"é"'.encode("latin-1")),
    "an overlong slash": data(b'"\xc0\xaf"'),
    "a surrogate in UTF-8": data(b'"\xed\xa0\x80"'),
    "a byte beyond UTF-8": data(b'"\xff"'),
    "a high surrogate alone": data(b'"\\ud800"'),
    "a low surrogate alone": data(b'{"number": 1, "text": "\\udfff"}'),
    "a surrogate as a key": data(b'{"\\ud83d": 1}'),
    "a NUL in a string": data(b'"\0"'),
    "a line feed in a string": data(b'"\n"'),
    "NaN": data(b"NaN"),
    "Infinity": data(b"Infinity"),
    "-Infinity": data(b'{"number": -Infinity}'),
    "1e999": data(b'{"number": 1, "ratio": 1e999}'),
    "-1e999": data(b'{"number": 1, "ratio": -1e999}'),
    "5,000 digits": data(b'{"number": ' + b"9" * 5_000 + b"}"),
    "2**64": data(b'{"number": 18446744073709551616}'),
    "-2**63 - 1": data(b'{"number": -9223372036854775809}'),
    "a leading zero": data(b'{"number": 01}'),
    "a hexadecimal number": data(b'{"number": 0x1}'),
    "a number with a plus": data(b'{"number": +1}'),
    "a comment": data(b'{"number": 1 /* one */}'),
    "a trailing comma": data(b'{"number": 1,}'),
    "single quotes": SOUND.replace(b'"', b"'"),
    "a key twice": SOUND.replace(b'"v": 1', b'"v": 1, "v": 1'),
    "a name twice": SOUND.replace(b'"name"', b'"name": "good.mark", "name"'),
    "a key twice in the data": data(b'{"number": 1, "number": 2}'),
    "a key twice, once escaped": data(b'{"number": 1, "\\u006eumber": 2}'),
    "a key twice in the options": SOUND.replace(b'"options": {}', b'"options": {"a": 1, "a": 2}'),
    "65 levels": data(nested(DEPTH + 1)),
    "1,000 levels": data(nested(1_000)),
    "100,000 levels": data(nested(100_000)),
    "100,000 levels, never closed": b"[" * 100_000,
    "100,000 objects, never closed": b'{"a":' * 40_000,
    "escaped quotes, never closed": b"[" * 70 + b'"' + b'\\"' * 120_000,
    "200,000 keys": data(json.dumps(dict.fromkeys(map(str, range(200_000)))).encode()),
    "data of the limit and one": data(b'"' + b"x" * (DATA - 1) + b'"'),
    "1 MiB and a byte": b" " * (1024 * 1024 + 1),
    "10**6 escaped NULs": data(b'"' + b"\\u0000" * 1_000_000 + b'"'),
    "YAML": b"!!python/object/apply:os.system ['true']",
    "XML": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
    "Python": b"__import__('os').system('true')",
    "a shell": b"#!/bin/sh\ntrue\n",
    "a pickle of version 0": pickle.dumps(document(), protocol=0),
    "a pickle of version 2": pickle.dumps(document(), protocol=2),
    "a pickle of version 5": pickle.dumps(document(), protocol=5),
    "a pickle that calls": b"cos\nsystem\n(S'true'\ntR.",
    "a pickle in base64": base64.b64encode(pickle.dumps(document())),
    "marshal": marshal.dumps(document()),
    "zlib": zlib.compress(SOUND),
    "gzip": gzip.compress(SOUND),
    "a bomb of gzip": gzip.compress(b"0" * 1_000_000),
    "a bomb of bzip2": bz2.compress(b"0" * 1_000_000),
    "base64": base64.b64encode(SOUND),
    "ANSI": b"\x1b[2J\x1b]0;owned\x07" + SOUND,
    "a terminal's answer-back": b"\x05\x9b5n\x1b[6n",
}

_NO_DOCUMENT: Final = {
    **{f"without {key}": without(key) for key in document()},
    **{f"{key} null": body(**{key: None}) for key in document() if key != "data"},
    **{
        f"with {key}": body(**{key: "os.system"})
        for key in ("__class__", "__proto__", "__init__", "py/object", "$type", "callable", "func")
    },
    "with __reduce__": body(__reduce__=["os.system", ["true"]]),
    "a key in capitals": without("kind").replace(b'"name"', b'"Kind": "listener", "name"'),
    "version of the wire: 0": body(v=0),
    "version of the wire: -1": body(v=-1),
    "version of the wire: true": body(v=True),
    "version of the wire: text": body(v="1"),
    "version of the wire: 1.0": body(v=1.0),
    "an id with a line break": body(id="a\r\ndelete 1"),
    "an id with a last line break": body(id="{id}\n"),
    "an id of 64 letters": body(id="a" * 64),
    "an empty id": body(id=""),
    "a number as an id": body(id=7),
    "an empty name": body(name=""),
    "a list as a name": body(name=["os", "system"]),
    "a payload of another kind": body(payload="pickle"),
    "version 0": body(version=0),
    "version -1": body(version=-1),
    "version true": body(version=True),
    "version as text": body(version="2"),
    "version 1.5": body(version=1.5),
    "version 2**64": body(version=2**64),
    "options that are a list": body(options=[]),
    "options that are text": body(options="wildcard"),
    "a day without a zone": body(dispatched_at="2026-01-01T00:00:00"),
    "a number as an instant": body(dispatched_at=1767225600),
    "yesterday": body(dispatched_at="yesterday"),
    "an instant before all": body(dispatched_at="0001-01-01T00:00:00+23:59"),
    "an instant after all": body(dispatched_at="9999-12-31T23:59:59-23:59"),
}

_LIES: Final = {
    "no field at all": body(data={}),
    "a list for an object": body(data=[1]),
    "a field too many": fields(priority=1),
    "a renamed field": body(data={"nummer": 1}),
    "a field in capitals": body(data={"Number": 1}),
    **{
        f"a field {key}": fields(**{key: {}})
        for key in (
            "__class__",
            "__proto__",
            "__init__",
            "__dict__",
            "__class__.__init__.__globals__",
        )
    },
    "text for int": fields(number="1"),
    "bool for int": fields(number=True),
    "float for int": fields(number=1.0),
    "null for int": fields(number=None),
    "an object for int": fields(number={"__index__": 1}),
    "int for bool": fields(flag=1),
    "text for bool": fields(flag="true"),
    "text for float": fields(ratio="1.5"),
    "NaN as text": fields(ratio="nan"),
    "int for text": fields(text=1),
    "a list for text": fields(text=["a"]),
    "a number for an instant": fields(at=0),
    "a day for an instant": fields(at="2026-13-45T00:00:00Z"),
    "an instant of year 10,000": fields(at="10000-01-01T00:00:00Z"),
    "text for a list": fields(tags="abc"),
    "a list with a number": fields(tags=["a", 1]),
    "an upcast without its field": body(version=1),
    "an upcast of a list": body(version=1, data=[1]),
    "an upcast to a wrong type": body(version=1, data={"n": "1"}),
    "another event's listener": body(name="good.mark", data={"number": 1}),
    "a listener of another event": body(event="good.done", version=1),
    "a listener of a named event": body(name="trap.one"),
    "a named event for a typed listener": body(event="trap.named", payload="args", data=[1]),
    "an event as its own arguments": body(payload="args", data=[{"number": 1}]),
    "arguments as an event": named({"count": 1, "note": ""}),
    "arguments of other types": named(["1", 2]),
    "arguments as text": named("ab"),
    "a number for arguments": named(7),
    "a wildcard's name as an event": named([1, ""], event="trap.*"),
    "a named listener as a wildcard": named([1, ""], options={"wildcard": True}),
    "a typed listener as a wildcard": body(options={"wildcard": True}),
    "a wildcard listener as none": named([], name="trap.all", event="trap.wild.a"),
    "a wildcard for what it does not hear": named(
        [], name="trap.all", event="trap.tame", options={"wildcard": True}
    ),
    "a wildcard that is text": named(
        [], name="trap.all", event="trap.wild.a", options={"wildcard": "yes"}
    ),
    "a wildcard that is a number": named(
        [], name="trap.all", event="trap.wild.a", options={"wildcard": 1}
    ),
    "a wildcard that is a list": named(
        [], name="trap.all", event="trap.wild.a", options={"wildcard": [False]}
    ),
    "an end that is text": body(options={"retry_until": "whenever"}),
    "an end that is a number": body(options={"retry_until": -1}),
    "an end without a zone": body(options={"retry_until": "2026-01-01T00:00:00"}),
    "an end out of range": body(options={"retry_until": "0001-01-01T00:00:00+23:59"}),
    "hops of -1": body(options={"hops": -1}),
    "hops of true": body(options={"hops": True}),
    "hops of 1.5": body(options={"hops": 1.5}),
    "hops that are text": body(options={"hops": "1"}),
    "a trail that is text": body(options={"hops": 1, "trail": "trap.sprung"}),
    "a trail of numbers": body(options={"hops": 1, "trail": [1]}),
    "a display name that is a list": body(options={"display_name": ["x"]}),
    "a signature": body(signature="AAAA", key="k1"),
    "another job's document": body(id="0" * 32),
}

_UNKNOWN: Final = {
    "a later version of the wire": body(v=2),
    "a later version with other keys": json.dumps({"v": 9, "everything": "else"}).encode(),
    "a kind that comes later": body(kind="closure"),
    "a kind of 10,000 letters": body(kind="x" * 10_000),
    "a later version of the event": body(version=3),
    "the last version of the event": body(version=2**63 - 1),
    "an unknown event": body(event="trap.new"),
    "an unknown listener": body(name="trap.new"),
    "a listener in capitals": body(name="Trap.Spring"),
    "a listener with a space": body(name="trap.spring "),
    "a listener that ends in a NUL": body(name="trap.spring\0"),
    "a listener in Cyrillic": body(name="tr\u0430p.spring"),
    "a listener of full width": body(name="\uff54rap.spring"),
    "a pattern as a listener": body(name="trap.*"),
    "a listener of 10,000 letters": body(name="x" * 10_000),
    "a listener that paints": body(name="\x1b[31mtrap\x1b[0m\r\n\u202e"),
    "a builtin": body(name="builtins:eval"),
    "a module": body(name="os.system"),
    "a class of ours": body(name="shop:Spring"),
    "an event of a module": body(event="os:system"),
    "an event that formats": body(event="{0.__class__}%s%n${jndi:ldap://x}"),
}

_FAR: Final = 2**62
_COLUMNS: Final = {
    # The jobs are sound, so that nothing but the column is wrong.
    "attempts that are text": {"attempts": "x"},
    "attempts that are bytes": {"attempts": b"\xff"},
    "attempts of 1.5": {"attempts": 1.5},
    "attempts of -5": {"attempts": -5},
    "attempts of 2**63 - 1": {"attempts": 2**63 - 1},
    "attempts without end": {"attempts": float("inf")},
    "losses that are text": {"losses": "x"},
    "losses of -5": {"losses": -5},
    "losses of 2**63 - 1": {"losses": 2**63 - 1},
    "releases that are text": {"releases": "x"},
    "releases of -5": {"releases": -5},
    "releases of 2**63 - 1": {"releases": 2**63 - 1},
    "exceptions that are text": {"exceptions": "x"},
    "exceptions of 2**63 - 1": {"exceptions": 2**63 - 1},
    "pushed at text": {"pushed_at": "x"},
    "pushed at bytes": {"pushed_at": b"\0"},
    "pushed at 2**63 - 1": {"pushed_at": 2**63 - 1},
    "pushed at -2**63": {"pushed_at": -(2**63)},
    "pushed at 1e300": {"pushed_at": 1e300},
    "a delay that is text": {"delay": "x"},
    "a delay without end": {"delay": float("inf")},
    "a delay of -1": {"delay": -1.0},
    "due at text": {"due": "x"},
    "due at bytes": {"due": b"\0"},
    "due at 1e300": {"due": 1e300},
    "due in 2**62 microseconds": {"due": _FAR},
    "due at -2**63": {"due": -(2**63)},
    "an id that is bytes": {"id": b"\xff\x00"},
    "an id that paints": {"id": "\x1b[31mred\r\nnext"},
    "an id of 100,000 letters": {"id": "i" * 100_000},
    "an empty key in the row": {"id": ""},
    "an id with quotes": {"id": "'; DROP TABLE envelopes; --"},
    "an id with a NUL": {"id": "a\0b"},
    "an key in Thai digits": {"id": "\u0e51\u0e52\u0e53"},
    "a token already": {"token": "mine"},
    "a token that is bytes": {"token": b"\0"},
    "a token, leased for ever": {"token": "mine", "due": _FAR},
    "shared that is text": {"shared": "x"},
    "alone that is text": {"alone": "x"},
    "parked that is bytes": {"parked": b"\xff"},
    "parked that paints": {"parked": "\x1b[31m\r\n" + "x" * 100_000},
    "a checksum that is text": {"crc": "x"},
    "a checksum of other bytes": {"crc": 17},
    "no checksum": {"crc": None},
    "a queue with a line break": {"queue": "default\r\nx"},
    "a queue that is bytes": {"queue": b"default"},
    "a queue with a NUL": {"queue": "default\0"},
    "a queue of 100,000 letters": {"queue": "q" * 100_000},
    "a queue called *": {"queue": "*"},
    "another queue": {"queue": "elsewhere"},
}
_LEFT: Final = {name for name in _COLUMNS if name.startswith(("a queue", "another queue"))}

#: Options that there are not: what they would change is not for a document to say.
_UNREAD: Final = {
    "tries": "many",
    "backoff": {"a": 1},
    "timeout": -1,
    "max_exceptions": [],
    "middleware": ["os.system"],
    "signature": "AAAA",
    "queue": "elsewhere",
    "connection": "elsewhere",
    "__class__": "os.system",
    "unknown": None,
}

_BODIES: Final = {
    # A body is read as bytes whatever it is.
    "text as a body": "not JSON",
    "text with a NUL as a body": "{\0}",
    "a number as a body": 17,
    "a float as a body": 1.5,
}


def _corpus() -> Iterable[Poison]:
    for some in (_NOT_JSON, _NO_DOCUMENT, _LIES, _BODIES):
        for name, stored in some.items():
            yield Poison(name=name, body=stored)
    for name, stored in _UNKNOWN.items():
        yield Poison(name=name, body=stored, fate=Fate.PARKED)
    for name, value in _UNREAD.items():
        yield Poison(name=f"an option {name}", body=body(options={name: value}))
    huge = body(options={"hops": 2**63, "trail": ["x" * 1_000] * 20, "display_name": "x" * 20_000})
    yield Poison(name="hops of 2**63", body=huge, fate=Fate.KEPT)
    for name, columns in _COLUMNS.items():
        fate = Fate.LEFT if name in _LEFT else Fate.KEPT
        yield Poison(name=name, body=SOUND, columns=columns, fate=fate)


CORPUS: Final = tuple(_corpus())


class StoreFile:
    """
    A queue's file, opened with nothing but a driver.

    The product's own one: two builds of SQLite in one process take each other's locks away.
    """

    def __init__(self, path: Path) -> None:
        self._db = load_driver().connect(path, timeout=20)
        self._columns = {row[1] for row in self._db.execute("PRAGMA table_info(envelopes)")}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def knows(self, poison: Poison) -> bool:
        """Tell whether the table has the columns that `poison` sets."""
        return self._columns >= poison.columns.keys()

    def write(self, rows: Iterable[tuple[Any, Poison]]) -> None:
        """Write each poison under an key, all in one transaction."""
        now = int(datetime.now(UTC).timestamp() * 1_000_000)
        for name, poison in rows:
            row = {
                "id": name,
                "queue": "default",
                "body": poison.stored(name),
                "delay": 0.0,
                "pushed_at": now,
                "due": now,
                **poison.columns,
            }
            names, marks = ", ".join(row), ", ".join("?" * len(row))
            self._db.execute(
                f"INSERT INTO envelopes ({names}) VALUES ({marks})",
                list(row.values()),
            )
        self._db.commit()

    def set_flag(self, **columns: Any) -> None:
        """Write a row of the table of flags."""
        names, marks = ", ".join(columns), ", ".join("?" * len(columns))
        self._db.execute(f"INSERT INTO flags ({names}) VALUES ({marks})", list(columns.values()))
        self._db.commit()

    def change(self, table: str, key: object, **columns: Any) -> None:
        """Change columns of the row with this id."""
        marks = ", ".join(f"{name} = ?" for name in columns)
        self._db.execute(f"UPDATE {table} SET {marks} WHERE id = ?", [*columns.values(), key])
        self._db.commit()

    def rows(self, table: str) -> dict[object, dict[str, Any]]:
        """Return the rows of a table by their ids."""
        return {row["id"]: row for row in self.all(table)}

    def all(self, table: str) -> list[dict[str, Any]]:
        """Return the rows of a table, bodies as bytes."""
        found = self._db.execute(f"SELECT *, CAST(body AS BLOB) AS body FROM {table}")
        names = [one[0] for one in found.description]
        # The last of two with one name counts: the body as bytes.
        return [dict(zip(names, row, strict=True)) for row in found]

    def is_sound(self) -> bool:
        return self._db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
