"""What the tests of dispatch share."""

from __future__ import annotations

import asyncio

import pytest

from eventbus.dispatch.local import LocalBus
from eventbus.dispatch.resolver import Resolver


def make_bus(
    *,
    discover=(),
    listen=None,
    subscribe=(),
    provide=None,
    resolver=None,
    collect=False,
    bus=LocalBus,
):
    return bus(
        discover=discover,
        listen=listen or {},
        subscribe=subscribe,
        resolver=Resolver(provide or {}, resolver),
        collect=collect,
    )


@pytest.fixture(name="make_bus")
def make_bus_fixture():
    """Makes a bus without a queue."""
    buses = []

    def make(**options):
        buses.append(make_bus(**options))
        return buses[-1]

    yield make
    for bus in buses:
        bus._close_runner()


@pytest.fixture
def bus(make_bus):
    """A bus without a queue and without listeners."""
    return make_bus()


def dispatch_sync(bus, event, *payload):
    return bus.dispatch(event, *payload)


def dispatch_async(bus, event, *payload):
    return asyncio.run(bus.adispatch(event, *payload))


@pytest.fixture(params=[dispatch_sync, dispatch_async], ids=["dispatch", "adispatch"])
def dispatch(request):
    """Both ways to dispatch: what holds for one holds for the other."""
    return request.param


def until_sync(bus, event, *payload):
    return bus.until(event, *payload)


def until_async(bus, event, *payload):
    return asyncio.run(bus.auntil(event, *payload))


@pytest.fixture(params=[until_sync, until_async], ids=["until", "auntil"])
def until(request):
    """Both ways to ask until somebody answers."""
    return request.param
