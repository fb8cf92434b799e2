"""Context variables travel with jobs where they are allowed to, and end with the run."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar, copy_context

import pytest
from attrs import frozen

from eventbus import EventBus, Job, JobProcessed, listens
from eventbus.errors import EncodeError, InvalidOption
from eventbus.queue.carried import Carried
from eventbus.queue.codec.document import read
from eventbus.queue.fixed import read_fixed

tenant: ContextVar[object] = ContextVar("tenant")
secret: ContextVar[str] = ContextVar("secret")
traceparent: ContextVar[object] = ContextVar("traceparent")

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@frozen
class Ordered:
    number: int = 0


def seen():
    return tenant.get(None), secret.get(None), traceparent.get(None)


@pytest.fixture
def runs():
    return []


@pytest.fixture
def bus(make_bus, runs):
    """A bus that carries `tenant`; its listeners note what is set where they run."""

    @listens(queue=True, name="sync")
    def in_sync(event: Ordered) -> None:
        runs.append(seen())

    @listens(queue=True, name="async")
    async def in_async(event: Ordered) -> None:
        await asyncio.sleep(0)
        runs.append(seen())

    return make_bus(in_sync, in_async, carry=[tenant, traceparent])


def dispatching(bus, event=None, **values):
    """Dispatch in a context in which these are set, and end it."""

    def there():
        for variable in (tenant, secret, traceparent):
            if variable.name in values:
                variable.set(values[variable.name])
        return bus.dispatch(event or Ordered())

    return copy_context().run(there)


def stored(bus):
    """What the next job has fixed."""
    [one, *_] = bus.connections.port().peek()
    return read_fixed(read(one.envelope.body).options)


def test_what_is_carried_is_set_where_the_job_runs_and_nothing_else(bus, work, runs):
    dispatching(bus, tenant="acme", secret="hush", traceparent=TRACE)

    work(bus)

    assert runs == [("acme", None, TRACE)] * 2
    assert seen() == (None, None, None)


def test_what_is_not_set_is_not_written(bus, work, runs):
    dispatching(bus)
    assert stored(bus).context == {}

    work(bus)

    assert runs == [(None, None, None)] * 2


def test_two_jobs_see_nothing_of_each_other(bus, work, runs):
    @bus.listen
    @listens(queue=True, name="sets")
    def sets(event: Ordered) -> None:
        secret.set("left behind")

    dispatching(bus, tenant="acme")
    dispatching(bus, tenant="globex")
    dispatching(bus)

    work(bus)

    assert sorted(set(runs), key=str) == [
        ("acme", None, None), ("globex", None, None), (None, None, None),
    ]  # fmt: skip


def test_a_job_that_a_job_queues_carries_on(make_bus, work, runs):
    @frozen
    class Followed:
        pass

    @listens(queue=True, name="first")
    def first(event: Ordered) -> None:
        bus.dispatch("followed")

    @listens(queue=True, name="second")
    def second() -> None:
        runs.append(seen())

    bus = make_bus(first, ("followed", second), carry=[tenant, traceparent])
    dispatching(bus, tenant={"id": 7, "tags": ["a", None]}, traceparent=TRACE)

    work(bus)

    assert runs == [({"id": 7, "tags": ["a", None]}, None, TRACE)]


class Note(Job):
    def handle(self, runs: list) -> None:
        runs.append(seen())


def test_jobs_carry_as_listeners_do_and_who_hears_of_them_sees_it(make_bus, work, runs):
    heard = []
    bus = make_bus(provide={list: lambda: runs}, carry=[tenant, traceparent])
    bus.listen(JobProcessed, lambda event: heard.append(tenant.get(None)))

    def enqueue():
        tenant.set("acme")
        bus.enqueue(Note())

    copy_context().run(enqueue)
    work(bus)

    assert (runs, heard) == ([("acme", None, None)], ["acme"])


def test_what_runs_at_once_runs_in_the_context_that_it_was_dispatched_in(make_bus, runs):
    @listens(queue=True, name="notes")
    def notes(event: Ordered) -> None:
        runs.append(seen())

    bus = make_bus(notes, connections={"default": "sync://"}, carry=[tenant, traceparent])

    dispatching(bus, tenant="acme", secret="hush")

    assert runs == [("acme", "hush", None)]


@pytest.mark.parametrize("value", [object(), ("a", "b"), {1: "a"}, float("nan"), b"x", {"a": {1}}])
def test_a_value_that_would_not_come_back_is_refused_by_its_name(bus, value):
    with pytest.raises(EncodeError, match="the context variable 'tenant'"):
        dispatching(bus, tenant=value)

    assert bus.connections.port().peek() == []


@pytest.mark.parametrize(
    "header",
    [
        "", "x", TRACE.upper(), TRACE[:-1], TRACE + "\n", "ff" + TRACE[2:], 7,
        f"00-{'0' * 32}-b7ad6b7169203331-01", f"00-{'a' * 32}-{'0' * 16}-01",
        TRACE + "-" + "x" * 65,
    ],
)  # fmt: skip
def test_a_traceparent_of_another_form_goes_no_further(bus, header):
    dispatching(bus, traceparent=header)
    assert stored(bus).context == {}

    def restored():
        Carried([traceparent]).restore({"traceparent": header})
        return traceparent.get(None)

    assert copy_context().run(restored) is None


@pytest.mark.parametrize("header", [TRACE, "01" + TRACE[2:] + "-what.later=says"])
def test_a_traceparent_of_this_version_or_a_later_one_travels(bus, work, runs, header):
    dispatching(bus, traceparent=header)

    work(bus)

    assert runs == [(None, None, header)] * 2


def test_a_name_that_this_program_does_not_carry_is_passed_over(make_bus, bus, work, runs):
    dispatching(bus, tenant="acme")
    [one, *_] = bus.connections.port().peek()

    @listens(queue=True, name="sync")
    def in_sync(event: Ordered) -> None:
        runs.append(seen())

    other = make_bus(in_sync)
    other.connections.port().push([one.envelope])
    work(other)

    assert runs == [(None, None, None)]


def test_the_same_variable_may_be_named_twice_and_two_of_one_name_may_not():
    assert Carried([tenant, tenant, traceparent]).taken() == {}

    with pytest.raises(InvalidOption, match="a name of their own"):
        EventBus(carry=[tenant, ContextVar("tenant")])


@pytest.mark.parametrize("one", ["tenant", None, ContextVar("")])
def test_only_context_variables_are_carried(one):
    with pytest.raises(InvalidOption, match="context variables"):
        EventBus(carry=[one])
