"""Routes: where the jobs go of listeners, and of classes of jobs, that do not say themselves."""

from __future__ import annotations

import inspect
from typing import Any

from attrs import evolve, frozen

from eventbus.dispatch.targets import Target, describe, load, target_of
from eventbus.errors import InvalidOption
from eventbus.values import valid_name

__all__ = ["Route", "Routes"]


@frozen(kw_only=True)
class Route:
    """A place for jobs. None means that it does not say."""

    queue: str | None = None
    connection: str | None = None


class Routes:
    """The routes of a bus."""

    def __init__(self) -> None:
        #: By class, or by what a function or method is known by.
        self._routes: dict[object, Route] = {}

    def add(self, listener: Any, *, queue: str | None, connection: str | None) -> None:
        """
        Add a route, or what it says to the one that is there.

        Raises:
            InvalidOption: It says nothing, or a name is none.
            ListenError: `listener` is nothing that could listen.
        """
        if isinstance(listener, str):
            listener = load(listener)
        where = f"the route of {describe(listener)}"
        if queue is None and connection is None:
            raise InvalidOption(
                option="queue", value=None, expected="given, or connection=", where=where
            )
        said = {
            option: valid_name(value, option=option, where=where)
            for option, value in {"queue": queue, "connection": connection}.items()
            if value is not None
        }
        key: object = listener if inspect.isclass(listener) else target_of(listener).identity
        self._routes[key] = evolve(self._routes.get(key, Route()), **said)

    def of(self, target: Target) -> Route:
        """Return where the jobs of a target go: the nearest that says so, its method before its class."""
        return self._of(
            target.identity, *(target.owner.__mro__ if target.owner is not None else ())
        )

    def of_job(self, cls: type) -> Route:
        """Return where the jobs of a class of jobs go: the nearest of its parents that says so."""
        return self._of(*cls.__mro__)

    def _of(self, *keys: object) -> Route:
        if not self._routes:
            return Route()
        found = [self._routes[key] for key in keys if key in self._routes]
        return Route(
            queue=next((one.queue for one in found if one.queue), None),
            connection=next((one.connection for one in found if one.connection), None),
        )
