"""The application that a command is about."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Generator

from attrs import frozen

from eventbus.bus import EventBus
from eventbus.console.exits import misused, say
from eventbus.errors import ApplicationNotFound
from eventbus.locate import configured_application, find_bus

__all__ = ["Application"]


@frozen
class Application:
    """
    An application by name; it is loaded once a command needs it, so `--help` never does.

    Args:
        name: "MODULE:BUS". Default: what the surroundings name.
    """

    name: str | None = None

    def named(self) -> str:
        """
        Return its name.

        Raises:
            click.UsageError: Nobody named an application.
            ApplicationNotFound: The nearest `pyproject.toml` cannot be read.
        """
        named = self.name or configured_application()
        if named is None:
            misused("which application? Write eventbus --app shop.app:bus, or set EVENTBUS_APP")
        return named

    @contextlib.contextmanager
    def bus(self, *, scanned: bool = False) -> Generator[EventBus]:
        """
        Give the bus, and close it.

        Args:
            scanned: With its listeners. Whoever mends failed jobs needs none, and one of them may
                be what is broken.

        Raises:
            click.UsageError: Nobody named an application.
            ApplicationNotFound: It cannot be loaded.
            DiscoveryError: Its listeners cannot.
        """
        named = self.named()
        with _loading():
            try:
                bus = find_bus(named)
            except SystemExit as error:
                raise ApplicationNotFound(
                    application=named, reason=f"loading it ended the program ({error!r})"
                ) from error
            if scanned:
                bus.discover()
        with bus:
            yield bus


@contextlib.contextmanager
def _loading() -> Generator[None]:
    """Keep what modules print while they are imported out of the data, and warnings on one line."""
    with (
        contextlib.redirect_stdout(sys.stderr),
        warnings.catch_warnings(record=True) as told,
    ):
        try:
            yield
        finally:
            for warning in told:
                say(f"warning: {warning.message}")
