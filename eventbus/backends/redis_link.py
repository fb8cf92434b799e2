"""
Talk to a Redis server, or to whichever one is the master.

A link sends calls and returns what was answered. It takes another connection where one was cut, and knows
what may be sent once more. It is of a driver's sync or of its async form, as its lines are; what it does is
written once.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final

from typing_extensions import override

from eventbus.backends.redis_calls import (
    Answer,
    Call,
    Moved,
    Nonsense,
    NotSent,
    Unanswered,
    is_refusal,
    means_nothing_was_done,
    refusal,
    told,
)
from eventbus.backends.redis_lines import Line, Maker, at_once, raise_if_ours
from eventbus.errors import BackendError, BackendUnavailable

__all__ = ["Link", "ServerLink"]

_REPLICA: Final = "it is a replica now"
_NONSENSE: Final = "its answer is none to what was asked"


class Link(ABC):
    """
    What the verbs ask.

    Args:
        name: What the server is called in errors.
        twin: Makes a link of the async form to the same server, if there can be one.
    """

    #: Whether a call may touch the keys of several queues.
    spans: bool

    def __init__(self, *, name: str, twin: Callable[[], Link] | None = None) -> None:
        self.name = name
        self.twin = twin

    def ask(self, operation: str, calls: Sequence[Call], *, repeat: bool = True) -> Answer:
        """Do what `asked` does, on a link of the sync form."""
        return at_once(self.asked(operation, calls, repeat=repeat))

    async def asked(self, operation: str, calls: Sequence[Call], *, repeat: bool = True) -> Answer:
        """
        Send calls; return what was answered to each.

        Args:
            operation: What it is for, in errors.
            calls: They go one after the other, and none waits for the answer to the one before.
            repeat: Whether to send them once more when they were cut off. What the first time did may then
                have been done already.

        Raises:
            BackendUnavailable: The server cannot be reached, or cannot do it now. It did nothing.
            Unanswered: It may have been done.
            BackendError: The server refused.
        """
        unknown = False
        for last in (not repeat, True):
            try:
                replies = await self._asked(calls)
            except Unanswered as error:
                # One that never answers is not asked again: whoever waits has waited long enough.
                if last or _is_timeout(error.__cause__):
                    raise
                unknown = True
            except (Moved, NotSent) as error:
                if isinstance(error, NotSent) or last:
                    raise self._undone(operation, error, unknown=unknown) from error.__cause__
            else:
                try:
                    return Answer(self._checked(operation, calls, replies), unknown)
                except BackendError as error:
                    if unknown:  # whatever is said of the second time
                        raise Unanswered(told(error)) from error.__cause__
                    raise
        raise AssertionError  # the second of two rounds is the last

    def _undone(self, operation: str, error: Exception, *, unknown: bool) -> Exception:
        """Return what is raised where the server was not asked, or not the right one."""
        if unknown:
            return Unanswered(told(error))
        if isinstance(error, NotSent):
            return self._not_sent(operation, error)
        return self._unavailable(operation, error)

    @abstractmethod
    def _asked(self, calls: Sequence[Call]) -> Coroutine[Any, Any, list[Any]]:
        """Send calls; return replies, refusals too. Raise as `_talk`."""

    @abstractmethod
    def _any_maker(self) -> Maker:
        """Return what makes a connection to any server that passes on what is published."""

    @abstractmethod
    def _lines(self) -> Iterable[Line]:
        """Return what has connections that may be idle."""

    def subscriber(self) -> Any:
        """Return a connection of its own to a server that passes on what is published."""
        return at_once(self._any_maker().made())

    def release(self, connection: Any) -> None:
        """Close what `subscriber` returned."""
        at_once(self._any_maker().drop(connection))

    @property
    def errors(self) -> Any:
        """The module with the driver's exceptions."""
        return self._any_maker().errors

    def sentinels(self) -> tuple[str, Sequence[Maker]]:
        """Return what Sentinels call the servers, and what makes connections to each of them, if there are."""
        maker = self._any_maker()
        return maker.service, maker.sentinels

    @abstractmethod
    def servers(self) -> Mapping[str, Maker]:
        """
        Return what makes connections to each server that has jobs, by its name.

        Raises:
            BackendUnavailable: It is not known which they are.
        """

    def close(self) -> None:
        """Close the connections of a link of the sync form. The next call opens new ones."""
        at_once(self.aclose())

    async def aclose(self) -> None:
        """Close the connections. The next call opens new ones."""
        for line in list(self._lines()):
            await line.empty()

    def _not_sent(self, operation: str, error: NotSent) -> BackendError:
        cause = error.__cause__
        if cause is not None and means_nothing_was_done(cause):
            return refusal(cause, backend=self.name, operation=operation)
        return self._unavailable(operation, error)

    def _unavailable(self, operation: str, error: Exception) -> BackendUnavailable:
        return BackendUnavailable(backend=self.name, operation=operation, reason=told(error))

    async def _talk(self, line: Line, calls: Sequence[Call], *, asking: bool = False) -> list[Any]:
        """Send calls to one server; return replies, refusals too. Raise `NotSent`, `Moved` or `Unanswered`."""
        since = sys.exc_info()[1]
        connection = await line.take()
        try:
            replies = await line.maker.say(connection, calls, asking=asking)
            for call, reply in zip(calls, replies, strict=True):
                if isinstance(reply, Exception) or not call.is_answered_by(reply):
                    await self._mend(line.maker, connection, calls, replies, asking=asking)
                    break
        except BaseException as error:
            # An alarm, a cancellation, a time-out, or nonsense: the answer may still be to come, and would
            # be taken for that to the next call.
            await line.drop(connection)
            raise_if_ours(error, since)
            if isinstance(error, Moved):
                await line.empty()
                raise
            if means_nothing_was_done(error):
                raise NotSent(told(error)) from error
            if not _is_timeout(error):
                await line.empty()  # what has cut one off has cut off the others
            raise Unanswered(told(error)) from error
        await line.keep(connection)
        return replies

    async def _mend(
        self,
        maker: Maker,
        connection: Any,
        calls: Sequence[Call],
        replies: list[Any],
        *,
        asking: bool,
    ) -> None:
        """Teach the server the scripts that it did not know, and ask again; raise where it is not to be asked."""
        unknown = [i for i, reply in enumerate(replies) if is_refusal(reply, "NOSCRIPT")]
        if unknown:
            # It was started anew, or told to forget.
            missing = {calls[i].script for i in unknown}
            loads = [Call("", ("SCRIPT", "LOAD", one.source)) for one in missing if one is not None]
            loaded = await maker.say(connection, loads)
            again = await maker.say(connection, [calls[i] for i in unknown], asking=asking)
            refused = [reply for reply in loaded if isinstance(reply, Exception)]
            for i, reply in zip(unknown, refused[:1] * len(again) or again, strict=True):
                replies[i] = reply
        for call, reply in zip(calls, replies, strict=True):
            if is_refusal(reply, "READONLY", "MASTERDOWN"):
                raise Moved(_REPLICA) from reply
            if not (isinstance(reply, Exception) or call.is_answered_by(reply)):
                raise Nonsense(_NONSENSE)

    def _checked(self, operation: str, calls: Sequence[Call], replies: list[Any]) -> list[Any]:
        """Return replies; raise what the server refused."""
        for refused in replies:
            if isinstance(refused, Exception):
                break
        else:
            return replies
        meaning = refusal(refused, backend=self.name, operation=operation)
        is_partly_done = any(
            call.script is not None and not isinstance(reply, Exception)
            for call, reply in zip(calls, replies, strict=True)
        )
        if is_partly_done and meaning.retryable:
            part = f"a part was refused: {told(refused)}"
            raise Unanswered(part) from refused
        raise meaning from refused


class ServerLink(Link):
    """
    One server; behind Sentinels, the one that is the master when a connection is made.

    Args:
        line: Lends connections to it.
        name: What the server is called in errors.
        twin: As that of a `Link`.
    """

    spans = True

    def __init__(self, line: Line, *, name: str, twin: Callable[[], Link] | None = None) -> None:
        super().__init__(name=name, twin=twin)
        self._line = line

    @override
    def _asked(self, calls: Sequence[Call]) -> Coroutine[Any, Any, list[Any]]:
        return self._talk(self._line, calls)

    @override
    def _any_maker(self) -> Maker:
        return self._line.maker

    @override
    def _lines(self) -> Iterable[Line]:
        return (self._line,)

    @override
    def servers(self) -> Mapping[str, Maker]:
        return {self.name: self._line.maker}


def _is_timeout(error: BaseException | None) -> bool:
    """Tell whether an error says that time has run out: Python's, or that of any driver."""
    return type(error).__name__ == "TimeoutError"
