"""The keys of a store in Redis, and how it is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from eventbus.backends.base import Clock
from eventbus.backends.instants import micros
from eventbus.backends.redis_calls import Call, Unanswered, scripts
from eventbus.backends.redis_link import Link
from eventbus.defaults import REDIS_STEP
from eventbus.errors import BackendUnavailable

__all__ = ["Store", "steps"]

_Value = TypeVar("_Value")


class Store:
    """
    What is said in terms of queues and scripts, in the server's words.

    Args:
        link: Says it.
        name: What it is called in errors.
        prefix: What the names of all keys begin with.
        clock: What judges delays and leases in place of the server's own; None for that.
    """

    def __init__(self, link: Link, *, name: str, prefix: str, clock: Clock | None) -> None:
        self.link = link
        self.name = name
        self.prefix = prefix
        self._clock = clock
        self._scripts = scripts()
        #: The first words of a command: by script and queues.
        self._words: dict[tuple[str, tuple[str, ...]], tuple[Any, ...]] = {}

    def key(self, queue: str, part: str) -> str:
        """Return the name of a key of a queue."""
        return f"{self.prefix}:{{{queue}}}:{part}"

    def bell(self, queue: str) -> str:
        """Return the channel on which it is told that something came to a queue."""
        return self.key(queue, "bell")

    @property
    def everybody(self) -> str:
        """The channel on which it is told that a flag was set."""
        return f"{self.prefix}:bell"

    def call(self, script: str, queues: Sequence[str], *values: Any) -> Call:
        """Return the call of a script for the keys of some queues; of none for those of the whole store."""
        chosen = self._scripts[script]
        words = self._words.get((script, tuple(queues)))
        if words is None:
            keys = [self.key(queue, part) for queue in queues for part in chosen.parts]
            keys = keys or [f"{self.prefix}:{part}" for part in chosen.parts]
            words = ("EVALSHA", chosen.sha, len(keys), *keys)
            if len(self._words) < REDIS_STEP:
                self._words[script, tuple(queues)] = words
        return Call(str(words[3]), (*words, self._instant(), *values), chosen)

    def call_kept(self, script: str, name: str, *values: Any) -> Call:
        """Return the call of a script for what is kept under a name."""
        return self.call_keys(script, [f"{self.prefix}:kept:{name}"], *values)

    def call_keys(self, script: str, keys: Sequence[str], *values: Any) -> Call:
        """Return the call of a script for these keys, which a cluster keeps in one slot."""
        chosen = self._scripts[script]
        words = ("EVALSHA", chosen.sha, len(keys), *keys, self._instant(), *values)
        return Call(keys[0], words, chosen)

    def _instant(self) -> str:
        return "" if self._clock is None else str(micros(self._clock.now()))

    def groups(self, queues: Sequence[str]) -> list[list[str]]:
        """Return which queues can be spoken of in one call: in a cluster, each by itself."""
        return [list(queues)] if self.link.spans else [[queue] for queue in queues]

    def ask(self, operation: str, calls: Sequence[Call], *, repeat: bool = True) -> list[Any]:
        """
        Send what may be sent twice: it reads, or does the same again.

        Args:
            operation: What it is for, in errors.
            calls: In their order.
            repeat: Whether it may.

        Raises:
            BackendError: The server cannot be asked, or refused.
        """
        try:
            return self.link.ask(operation, calls, repeat=repeat).replies
        except Unanswered as error:
            raise self.unavailable(operation, error) from error.__cause__

    def ask_one(self, operation: str, call: Call) -> Any:
        """Do what `ask` does, for one call."""
        return self.ask(operation, [call])[0]

    def move(self, operation: str, call: Call) -> Any:
        """Send what moves jobs, once: said twice, it would answer that there was nothing to move."""
        return self.ask(operation, [call], repeat=False)[0]

    def unavailable(self, operation: str, error: Exception) -> BackendUnavailable:
        """Return the error that an operation cannot be done now."""
        return BackendUnavailable(backend=self.name, operation=operation, reason=f"{error}")

    def listing(self, queue: str) -> Call:
        """Return the call that writes a queue's name down."""
        key = f"{self.prefix}:queues"
        return Call(key, ("SADD", key, queue))

    def listed(self) -> list[str]:
        """Return the names of the queues that something was ever pushed to, sorted."""
        key = f"{self.prefix}:queues"
        found = self.ask_one("queues", Call(key, ("SMEMBERS", key)))
        return sorted(name.decode() for name in found)

    def queues(self) -> list[str]:
        """Return the names of the queues in which something waits, is leased or has failed, sorted."""
        names = self.listed()
        calls = [
            Call(self.key(name, part), (word, self.key(name, part)))
            for name in names
            for word, part in (("ZCARD", "line"), ("HLEN", "failures"))
        ]
        counts = self.ask("queues", calls) if calls else []
        pairs = zip(names, counts[::2], counts[1::2], strict=True)
        return [name for name, waiting, failed in pairs if waiting or failed]


def steps(values: Sequence[_Value]) -> Iterator[Sequence[_Value]]:
    """Return values some at a time, a pair never cut in two."""
    for first in range(0, len(values), REDIS_STEP):
        yield values[first : first + REDIS_STEP]
