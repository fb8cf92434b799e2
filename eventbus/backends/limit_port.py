"""What bus and worker call for limits: a store's, with arguments checked and errors made ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from attrs import frozen

from eventbus.backends.base import Backend
from eventbus.backends.limits import Window
from eventbus.defaults import LIMIT_KEY_LENGTH
from eventbus.errors import InvalidOption
from eventbus.values import seconds

__all__ = ["LimitPort"]


@frozen
class LimitPort:
    """
    The limits of a connection.

    Every method may raise `BackendUnavailable`, another `BackendError` (`UnsupportedOption` where the
    store keeps none), or `InvalidOption` for an argument.

    Args:
        backend: Where limits lie.
        errors: Makes a driver's exceptions ours, given the operation.
        where: Who it is, for errors.

    Example:
        >>> from eventbus.backends.memory import MemoryBackend
        >>> from eventbus.backends.port import Port
        >>> limits = Port(MemoryBackend(), name="default").limits
        >>> once = Window(key="ada", allow=1, every=60.0)
        >>> limits.spend("mail", [once]), limits.spend("mail", [once]) > 59
        (0.0, True)
    """

    _backend: Backend
    _errors: Callable[[str], AbstractContextManager[None]]
    _where: str

    def spend(self, name: str, windows: Sequence[Window], *, take: bool = True) -> float:
        """
        Count one in each of `windows` and return 0, or in none and return in how many seconds there is room.

        Args:
            name: Of the limit.
            windows: Of which no two have the same key, allowance and length; without any there is room.
            take: Count; else only look.

        Defaults:
            take = True.
        """
        checked = self._windows(name, windows)
        if not checked:
            return 0.0
        with self._errors("spend"):
            return self._backend.limits.spend(name, checked, take=take)

    def turn(self, name: str, windows: Sequence[Window]) -> float:
        """Return in how many seconds whoever was refused may come back; each call gives a later answer."""
        checked = self._windows(name, windows)
        if not checked:
            return 0.0
        with self._errors("turn"):
            return self._backend.limits.turn(name, checked)

    def refund(self, name: str, windows: Sequence[Window]) -> None:
        """Forget what was counted in `windows`."""
        checked = self._windows(name, windows)
        if checked:
            with self._errors("refund"):
                self._backend.limits.refund(name, [one.key for one in checked])

    def enter(self, name: str, owner: str, *, limit: int, life: float) -> float:
        """
        Take one of `limit` slots for `life` seconds and return 0, or return when the first of them ends.

        Args:
            name: Of the place.
            owner: Whose slot it is; one that has it gets it for longer.
            limit: How many slots there are, >= 1.
            life: Seconds, > 0.
        """
        self._text("name", name)
        self._text("owner", owner)
        self._whole("limit", limit)
        length = self._positive("life", life)
        with self._errors("enter"):
            return self._backend.limits.enter(name, owner, limit=limit, life=length)

    def leave(self, name: str, owner: str) -> bool:
        """Give a slot back; return whether it was still the owner's."""
        self._text("name", name)
        self._text("owner", owner)
        with self._errors("leave"):
            return self._backend.limits.leave(name, owner)

    def _windows(self, name: str, windows: Sequence[Window]) -> list[Window]:
        self._text("name", name)
        found: list[Window] = []
        for one in windows:
            self._whole("allow", one.allow)
            self._positive("every", one.every)
            if one.key:
                self._text("key", one.key)
            # Two lengths under one key are counted apart.
            key = f"{one.every:g}:{one.key}" if one.key else f"{one.every:g}"
            found.append(Window(key=key, allow=one.allow, every=float(one.every)))
        return found

    def _text(self, option: str, value: Any) -> None:
        if not (
            isinstance(value, str) and 0 < len(value) <= LIMIT_KEY_LENGTH and value.isprintable()
        ):
            self._refuse(option, value, f"1 to {LIMIT_KEY_LENGTH} printable characters")

    def _whole(self, option: str, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            self._refuse(option, value, "a whole number >= 1")

    def _positive(self, option: str, value: Any) -> float:
        found = seconds(value, option=option, where=self._where)
        if not found:
            self._refuse(option, value, "more than 0 seconds")
        return found

    def _refuse(self, option: str, value: Any, expected: str) -> None:
        raise InvalidOption(option=option, value=value, expected=expected, where=self._where)
