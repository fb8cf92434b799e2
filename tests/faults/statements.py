"""Drivers of SQLite that break off, or kill their process, at a statement of one's choice."""

from __future__ import annotations

from types import ModuleType
from typing import Any


class Breaking:
    """
    A driver whose connections raise at their nth statement from now.

    Before the statement, or after it: then it was done, and only the answer is lost.
    """

    def __init__(self, driver: ModuleType) -> None:
        self._driver = driver
        self._left: int | None = None
        self._done = False
        told = self

        class Connection(driver.Connection):  # type: ignore[misc]
            def execute(self, sql: str, *arguments: Any) -> Any:
                return told._say(super().execute, sql, *arguments)

            def executemany(self, sql: str, *arguments: Any) -> Any:
                return told._say(super().executemany, sql, *arguments)

        self._factory = Connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    def connect(self, *arguments: Any, **options: Any) -> Any:
        return self._driver.connect(*arguments, factory=self._factory, **options)

    def break_at(self, statement: int, *, done: bool) -> None:
        self._left, self._done = statement, done

    def mend(self) -> None:
        self._left = None

    def _say(self, call: Any, sql: str, *arguments: Any) -> Any:
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                if self._done:
                    call(sql, *arguments)
                raise self._driver.OperationalError("disk I/O error")
        return call(sql, *arguments)
