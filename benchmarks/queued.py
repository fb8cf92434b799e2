"""
What is stored, timed in one process: a push, a push of many, and both with many jobs waiting.

Each contender has a file of its own in the same folder; all wait for the same disk.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from byhand import ByHand, filled, opened
from interleave import Contender
from journals import JOURNALS, Journal
from listeners import EVENT, OrderShipped
from tables import US, Table

from eventbus import EventBus, ShouldQueue
from eventbus.backends.port import Port
from eventbus.queue.envelope import Envelope
from eventbus.values import new_id

BY_HAND = "by hand"
PORT = f"{US}, `Port.push`"
MANY = 100
WAITING = (1_000, 100_000, 500_000)

#: What a row of huey's is called, by what a push of ours promises; it knows FULL and OFF.
HUEY = {"FULL": "huey, FULL", "NORMAL": "huey, OFF"}


#: What each row has promised when it returns.
_DURABLE = (
    "By hand: the same bytes in one row of the same table, `BEGIN IMMEDIATE`, `INSERT`, `COMMIT`."
    " At FULL what was stored survives a power cut, at NORMAL the last of it may not; huey knows no"
    " NORMAL, and at its OFF a power cut may take the file."
)


class _Queued(ShouldQueue):
    def handle(self, event: OrderShipped) -> None: ...


def _file(name: str) -> Path:
    """Return a path for a contender, in a folder that ends with this process."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder) / f"{name}.db"


def _body() -> bytes:
    """Return what a dispatch of `EVENT` stores."""
    with _bus("memory://") as bus:
        bus.dispatch(EVENT)
        [claim] = bus.connections.port().claim(["default"])
        return claim.envelope.body


def _bus(url: str, listeners: Iterable[type] = (_Queued,)) -> EventBus:
    bus = EventBus(connections={"default": url})
    for one in listeners:
        bus.listen(OrderShipped, one)
    return bus


def _by_hand(statement: str, journal: Journal, synchronous: str, **names: Any) -> Contender:
    path = _file("byhand")
    opened(journal.url(path)).close()
    store = ByHand(path, journal.mode, synchronous)
    return Contender(BY_HAND, statement, {"store": store, **names}, BY_HAND)


def _dispatch(journal: Journal, synchronous: str, listeners: Iterable[type]) -> Contender:
    bus = _bus(journal.url(_file("dispatch"), synchronous), listeners)
    return Contender(US, "bus.dispatch(ev)", {"bus": bus, "ev": EVENT}, BY_HAND)


def _huey(statement: str, journal: Journal, name: str) -> Contender:
    import jobs_huey

    _, task, _ = jobs_huey.made(_file("huey"), journal, fsync=name == HUEY["FULL"])
    return Contender(name, statement, {"task": task}, BY_HAND)


def _enqueue(journal: Journal, synchronous: str) -> Iterable[Any]:
    body = _body()
    yield _by_hand("store.push(body)", journal, synchronous, body=body)
    yield _dispatch(journal, synchronous, [_Queued])
    port = opened(journal.url(_file("port"), synchronous))
    names = {"port": port, "Envelope": Envelope, "new_id": new_id, "body": body}
    statement = "port.push([Envelope(id=new_id(), queue='default', body=body)])"
    yield Contender(PORT, statement, names, BY_HAND)
    yield _huey("task(1, 'a@example.com')", journal, HUEY[synchronous])


def _push_many(journal: Journal) -> Iterable[Any]:
    body = _body()
    yield _by_hand("store.push_many(bodies)", journal, "FULL", bodies=[body] * MANY)
    listeners = [type(f"Queued{index}", (_Queued,), {}) for index in range(MANY)]
    yield _dispatch(journal, "FULL", listeners)
    names = {"port": opened(journal.url(_file("port"))), "body": body}
    names |= {"Envelope": Envelope, "new_id": new_id, "many": range(MANY)}
    statement = "port.push([Envelope(id=new_id(), queue='default', body=body) for _ in many])"
    yield Contender(PORT, statement, names, BY_HAND)


def _waiting(journal: Journal) -> Iterable[Any]:
    """Every sample begins with that many jobs in the file."""
    one = Envelope(id=new_id(), queue="default", body=_body())
    for size in WAITING:
        port = opened(journal.url(_copied(one, size), _quickest(journal)))
        names = {"port": port, "Envelope": Envelope, "new_id": new_id, "body": one.body}
        push = "port.push([Envelope(id=new_id(), queue='default', body=body)])"
        floor = f"push, {WAITING[0]:,}"
        yield Contender(f"push, {size:,}", push, names, floor, partial(taken_out, port))
        claim = "[claim] = port.claim(['default']); port.ack(claim)"
        floor = f"claim and ack, {WAITING[0]:,}"
        yield Contender(
            f"claim and ack, {size:,}", claim, names, floor, partial(put_in, port, one.body)
        )


def _copied(one: Envelope, size: int) -> Path:
    """Return a file with that many jobs waiting, from one that all processes of the run share."""
    kept = Path(tempfile.gettempdir()) / f"waiting-{size}.db"
    if not kept.exists():
        filled(kept, one, size)
    return Path(shutil.copy(kept, _file("waiting")))


def put_in(port: Port, body: bytes, count: int) -> None:
    """Make ready for so many claims."""
    port.push([Envelope(id=new_id(), queue="default", body=body) for _ in range(count)])


def taken_out(port: Port, count: int) -> None:
    """Make room for so many pushes."""
    port.backend.ack(port.claim(["default"], limit=count))


def _quickest(journal: Journal) -> str:
    """Return the setting under which the disk hides least of the rest."""
    return "NORMAL" if journal.mode == "WAL" else "FULL"


def _of(journal: Journal) -> Iterable[Table]:
    yield Table(
        f"queue_full_{journal.name}",
        f"`dispatch` to a queued listener, FULL, {journal.title}",
        partial(_enqueue, journal, "FULL"),
        _DURABLE,
        journal,
    )
    if journal.mode == "WAL":  # else NORMAL is refused: a power cut could tear the file
        yield Table(
            f"queue_normal_{journal.name}",
            f"`dispatch` to a queued listener, NORMAL, {journal.title}",
            partial(_enqueue, journal, "NORMAL"),
            _DURABLE,
            journal,
        )
    yield Table(
        f"queue_many_{journal.name}",
        f"`dispatch` to {MANY} queued listeners, FULL, {journal.title}",
        partial(_push_many, journal),
        "By hand, one `executemany`. huey has no push of many.",
        journal,
    )
    yield Table(
        f"queue_waiting_{journal.name}",
        f"a push, and a claim with its ack, while that many jobs wait, {_quickest(journal)},"
        f" {journal.title}",
        partial(_waiting, journal),
        journal=journal,
    )


TABLES = tuple(table for journal in JOURNALS.values() for table in _of(journal))
