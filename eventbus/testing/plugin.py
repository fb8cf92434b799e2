"""
The pytest plugin of eventbus: fixtures that fake events and queues.

pytest loads it in every run of everybody who has eventbus installed, whether they test with it or
not. So it imports nothing before a fixture is used, and neither do the two packages that it lies in.
`-p no:eventbus` switches it off.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from eventbus.bus import EventBus
    from eventbus.testing.fakes import FakeEvents, FakeQueue

__all__ = ["eventbus_app", "fake_events", "fake_queue"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the ini option that says which bus the fixtures fake."""
    parser.addini(
        "eventbus_app",
        "the bus that fake_events and fake_queue fake, as MODULE:BUS; default: EVENTBUS_APP, or"
        " `app` of [tool.eventbus] in pyproject.toml",
        default="",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker that narrows `fake_events`."""
    config.addinivalue_line(
        "markers",
        "eventbus(only=[...], except_=[...]): which events the fixture fake_events fakes;"
        " default: all",
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
            reason="the fixtures need one to fake. Write `eventbus_app = shop.app:bus` among"
            " pytest's settings, or a fixture `eventbus_app` that returns your bus",
        )
    # pytest may run in a folder below the one that its configuration, and so the name, is about.
    root = str(pytestconfig.rootpath)
    if root not in sys.path:
        sys.path.append(root)
    return find_bus(str(named))


@pytest.fixture
def fake_events(eventbus_app: EventBus, request: pytest.FixtureRequest) -> Generator[FakeEvents]:
    """
    Record the events of a test; their listeners do not run.

    `@pytest.mark.eventbus(only=[OrderShipped])` fakes some, `except_=[...]` all but some.
    """
    from eventbus.testing import fakes

    marker = request.node.get_closest_marker("eventbus") or pytest.mark.eventbus().mark
    with fakes.fake_events(eventbus_app, *marker.args, **marker.kwargs) as fake:
        yield fake


@pytest.fixture
def fake_queue(eventbus_app: EventBus) -> Generator[FakeQueue]:
    """Keep the queued jobs of a test in memory; `fake_queue.drain()` runs them."""
    from eventbus.testing import fakes

    with fakes.fake_queue(eventbus_app) as fake:
        yield fake
