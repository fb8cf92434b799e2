"""
The pytest plugin: fixtures that fake events and queues.

pytest loads it in every run of every user, so nothing of eventbus is imported before a fixture
needs it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from eventbus.bus import EventBus
    from eventbus.testing.fakes import FakeEvents, FakeQueue

__all__ = ["eventbus_app", "fake_events", "fake_queue"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the ini option that says which bus the fixtures fake."""
    parser.addini(
        "eventbus_app",
        "the bus that the fixtures fake, as MODULE:BUS; default: EVENTBUS_APP, or the app of"
        " [tool.eventbus]",
        default="",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker that narrows `fake_events`."""
    config.addinivalue_line(
        "markers",
        "eventbus(only=[...], except_=[...]): which events the fixture fake_events fakes",
    )


@pytest.fixture
def eventbus_app(pytestconfig: pytest.Config) -> EventBus:
    """
    Return the bus that `fake_events` and `fake_queue` fake; override it to choose another.

    It is named by the ini option `eventbus_app`, by `EVENTBUS_APP`, or by `[tool.eventbus]`.
    """
    from eventbus.errors import ApplicationNotFound
    from eventbus.locate import configured_application, find_bus

    named = pytestconfig.getini("eventbus_app") or configured_application(pytestconfig.rootpath)
    if not named:
        raise ApplicationNotFound(
            application="",
            reason='name it: `eventbus_app = "shop.app:bus"` under [tool.pytest.ini_options], or'
            " write a fixture `eventbus_app` that returns your bus",
        )
    return find_bus(str(named))


@pytest.fixture
def fake_events(eventbus_app: EventBus, request: pytest.FixtureRequest) -> Iterator[FakeEvents]:
    """
    Record the events of a test; their listeners do not run.

    `@pytest.mark.eventbus(only=[OrderShipped])` fakes some, `except_=[...]` all but some.
    """
    from eventbus.testing import fakes

    marker = request.node.get_closest_marker("eventbus")
    options: dict[str, Any] = dict(marker.kwargs) if marker is not None else {}
    with fakes.fake_events(eventbus_app, **options) as fake:
        yield fake


@pytest.fixture
def fake_queue(eventbus_app: EventBus) -> Iterator[FakeQueue]:
    """Keep the queued jobs of a test in memory; `fake_queue.drain()` runs them."""
    from eventbus.testing import fakes

    with fakes.fake_queue(eventbus_app) as fake:
        yield fake
