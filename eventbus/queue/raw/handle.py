"""The low-level handle: push JSON into a queue, claim it, look at what lies there and move it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import Any

from eventbus.backends.base import Sizes
from eventbus.backends.port import Port
from eventbus.defaults import IDLE, LEASE, PEEK_LIMIT
from eventbus.dispatch.hints import is_async
from eventbus.dispatch.waiting import Blocking, Walk, adrive
from eventbus.errors import InvalidOption
from eventbus.queue.checks import whole_number
from eventbus.queue.connections import Connections
from eventbus.queue.envelope import Envelope
from eventbus.queue.raw.claims import Lookout, RawClaim, next_claim
from eventbus.queue.raw.jobs import written
from eventbus.queue.raw.stored import BuriedJob, WaitingJob, buried_job, waiting_job
from eventbus.queue.raw.work import RawWork
from eventbus.values import seconds, valid_name

__all__ = ["RawQueue"]


class RawQueue:
    """
    One queue of raw jobs, or several that are watched together; made by `bus.queue`.

    Nothing is opened before it is used, and it may be used from several threads.

    Args:
        connections: Those of the bus.
        names: The queues, in the order in which claims look at them.
        connection: Where they lie. Default: the bus's default connection.

    Raises:
        InvalidOption: A name is none.
        UnknownConnection: Nobody configured `connection`.

    Example:
        >>> from eventbus import EventBus
        >>> bus = EventBus(connections={"default": "memory://"})
        >>> emails = bus.queue("emails")
        >>> emails.push({"to": "a@example.com"}, id="welcome-17")
        'welcome-17'
        >>> job = emails.claim()
        >>> job.payload
        {'to': 'a@example.com'}
        >>> job.ack()
        >>> emails.claim() is None
        True
    """

    def __init__(
        self, connections: Connections, names: Sequence[str], connection: str | None = None
    ) -> None:
        #: The queues, in the order in which claims look at them.
        self.names = tuple(dict.fromkeys(valid_name(one) for one in names))
        #: The name of the connection.
        self.connection = connections.checked(connection)
        self._connections = connections

    def __repr__(self) -> str:
        return f"<RawQueue {', '.join(self.names)} of {self.connection}>"

    @property
    def _port(self) -> Port:
        # Asked for anew each time: a fake may stand in for it, and a closed bus opens it again.
        return self._connections.port(self.connection)

    # Pushing.

    def push(self, payload: Any, *, delay: float | timedelta = 0.0, id: str | None = None) -> str:
        """
        Store one job, as durably as the connection is configured; return its id.

        Args:
            payload: A JSON value: None, a bool, a number, a text, or a list or dict of these, within
                the limits of all stored data.
            delay: Seconds, or a `timedelta`, until it may be claimed.
            id: Its id. One that is stored already, waiting, claimed or buried, stores nothing.

        Raises:
            EncodeError: It is no JSON, or is too large; nothing was stored.
            InvalidOption: `delay` or `id` is none; or there are several queues.
            StoredUnknown: It cannot be told whether it was stored. Push it again, with its id.
            BackendError: The store cannot be used.

        Defaults:
            delay = 0: at once.
            id = None: a new one.
        """
        [job] = self.push_many([payload], delay=delay, ids=None if id is None else [id])
        return job

    def push_many(
        self,
        payloads: Sequence[Any],
        *,
        delay: float | timedelta = 0.0,
        ids: Sequence[str] | None = None,
    ) -> list[str]:
        """
        Store several jobs, all of them or none; return their ids, in the same order.

        Args:
            payloads: JSON values, as for `push`.
            delay: Seconds, or a `timedelta`, until they may be claimed.
            ids: One for each.

        Raises:
            EncodeError: One of them is no JSON, or is too large; nothing was stored.
            InvalidOption: `delay` or `ids` is none; or there are several queues.
            StoredUnknown: It cannot be told whether they were stored. Push them again, with their ids.
            BackendError: The store cannot be used.

        Defaults:
            delay = 0: at once.
            ids = None: new ones.
        """
        envelopes = self._written(payloads, delay=delay, ids=ids)
        self._port.push(envelopes)
        return [one.id for one in envelopes]

    def _written(
        self,
        payloads: Sequence[Any],
        *,
        delay: float | timedelta,
        ids: Sequence[str] | None,
    ) -> list[Envelope]:
        queue, *others = self.names
        if others:
            raise InvalidOption(
                option="queue",
                value=self.names,
                expected="one queue to push to; several are for claims",
            )
        given: Sequence[str | None] = [None] * len(payloads) if ids is None else ids
        if len(given) != len(payloads):
            raise InvalidOption(option="ids", value=ids, expected=f"{len(payloads)} ids")
        wait = seconds(delay, option="delay")
        return [
            written(payload, queue=queue, delay=wait, id=chosen)
            for payload, chosen in zip(payloads, given, strict=True)
        ]

    async def apush(
        self, payload: Any, *, delay: float | timedelta = 0.0, id: str | None = None
    ) -> str:
        """Store one job, as `push` does, without blocking the loop."""
        [job] = await self.apush_many([payload], delay=delay, ids=None if id is None else [id])
        return job

    async def apush_many(
        self,
        payloads: Sequence[Any],
        *,
        delay: float | timedelta = 0.0,
        ids: Sequence[str] | None = None,
    ) -> list[str]:
        """
        Store several jobs, as `push_many` does, without blocking the loop.

        If it is cancelled meanwhile, they are stored all the same, or none of them is.
        """
        envelopes = self._written(payloads, delay=delay, ids=ids)
        await adrive(_pushing(self._port, envelopes))
        return [one.id for one in envelopes]

    # Claiming.

    def claim(
        self, *, lease: float | timedelta = LEASE, wait: float | timedelta | None = 0.0
    ) -> RawClaim | None:
        """
        Claim the next job that is due: of the first queue that has one, the longest due.

        Args:
            lease: Seconds, or a `timedelta`, until others may claim it. Nothing renews it but
                `RawClaim.extend`; `work` does so by itself.
            wait: How long to wait for one, in seconds or as a `timedelta`; None is for ever.

        Returns:
            The claim, or None if nothing came in time.

        Raises:
            InvalidOption: `lease` or `wait` is none.
            BackendError: The store cannot be used.

        Defaults:
            lease = `defaults.LEASE`.
            wait = 0: not at all.
        """
        limit = math.inf if wait is None else seconds(wait, option="wait")
        until = time.monotonic() + limit
        port = self._port
        found = next_claim(port, self.names, lease=lease)
        if found is not None or not limit:
            return found
        with Lookout(port, self.names) as lookout:
            while True:
                lookout.silence()
                found = next_claim(port, self.names, lease=lease)
                if found is not None or time.monotonic() >= until:
                    return found
                lookout.wait(until)

    def __iter__(self) -> Iterator[RawClaim]:
        """Claim one job after the other, until none is due; whoever iterates settles each."""
        while (found := self.claim()) is not None:
            yield found

    def work(
        self,
        handler: Callable[[RawClaim], object],
        *,
        lease: float | timedelta = LEASE,
        idle: float | timedelta = IDLE,
        stop: Callable[[], bool] | None = None,
        stop_when_empty: bool = False,
    ) -> int:
        """
        Claim jobs one by one and hand each to `handler`, until there is a reason to stop.

        The job is done if the handler returns exactly True. If it returns anything else, or raises, the
        job is buried with that as its error. What the handler settles itself stays as it settled it.
        Where it raises KeyboardInterrupt or SystemExit, the job is given back, and `work` raises that.

        While the handler runs its job's lease is renewed, so it may take as long as it likes. While the
        store is away, it is waited for. `eventbus pause` and `eventbus restart` are obeyed: after the
        latter it returns.

        Args:
            handler: A function of the claim; not async.
            lease: Seconds, or a `timedelta`, after which others take over what a process that died had.
            idle: Seconds, or a `timedelta`: the longest wait before empty queues, and `stop`, are looked
                at again.
            stop: Asked before each claim, and while it waits; True ends the work.
            stop_when_empty: End the work when nothing is due.

        Returns:
            How many jobs the handler was given.

        Raises:
            InvalidOption: One of these cannot be.
            BackendError: The store cannot be used, and trying again would not help.

        Defaults:
            lease = `defaults.LEASE`; idle = `defaults.IDLE`.
            stop = None, stop_when_empty = False: it goes on for ever.

        Example:
            >>> from eventbus import EventBus
            >>> emails = EventBus(connections={"default": "memory://"}).queue("emails")
            >>> _ = emails.push({"to": "a@example.com"}), emails.push({"to": ""})
            >>> emails.work(lambda job: bool(job.payload["to"]), stop_when_empty=True)
            2
            >>> [job.payload for job in emails.buried()]
            [{'to': ''}]
        """
        if not callable(handler) or is_async(handler):
            raise InvalidOption(option="handler", value=handler, expected="a function, not async")
        return RawWork(
            self._port,
            self.names,
            handler,
            lease=_positive(lease, option="lease"),
            idle=_positive(idle, option="idle"),
            stop=stop or _never,
            stop_when_empty=stop_when_empty,
        ).run()

    # Looking.

    def peek(self, limit: int = PEEK_LIMIT) -> list[WaitingJob]:
        """
        Return raw jobs that wait, delayed ones too, or that somebody has claimed; nothing changes.

        They come in the order of the store. What is no raw job is left out: `eventbus peek` shows all.

        Args:
            limit: Most to return, >= 1.

        Raises:
            InvalidOption: `limit` is none.
            BackendError: The store cannot be used.

        Defaults:
            limit = `defaults.PEEK_LIMIT`.
        """
        most = whole_number(limit, option="limit", least=1, where="peek")
        shown = map(waiting_job, self._port.each_stored(queues=self.names))
        return list(islice((one for one in shown if one is not None), most))

    def size(self) -> Sizes:
        """
        Count what lies in the queues, by state, jobs of listeners too; of several, the sum.

        Raises:
            BackendError: The store cannot be used.
        """
        port = self._port
        each = [port.size(one) for one in self.names]
        return Sizes(
            ready=sum(one.ready for one in each),
            delayed=sum(one.delayed for one in each),
            leased=sum(one.leased for one in each),
            failed=sum(one.failed for one in each),
            held=sum(one.held for one in each),
        )

    def buried(self) -> Iterator[BuriedJob]:
        """
        Go through the buried jobs, the one buried first before the others, some at a time.

        Raises:
            UnsupportedOption: The store keeps no failed jobs.
            BackendError: The store cannot be used.
        """
        return self._each_buried(None)

    def _each_buried(self, ids: Sequence[str] | None) -> Iterator[BuriedJob]:
        for one in self._port.each_failed(ids=ids, queues=self.names):
            shown = buried_job(one)
            if shown is not None:
                yield shown

    # Moving.

    def revive(self, which: int | Sequence[str]) -> list[str]:
        """
        Put buried jobs back into their queues, due now, counters at zero; return the ids that moved.

        Args:
            which: How many, those buried first; or their ids, of which one that is not buried in these
                queues is left out.

        Raises:
            InvalidOption: `which` is neither.
            UnsupportedOption: The store keeps no failed jobs.
            BackendError: The store cannot be used.
        """
        return self._port.revive(self._picked(which))

    def purge(self, which: int | Sequence[str]) -> list[str]:
        """
        Delete buried jobs for good; return the ids that went.

        Args:
            which: As for `revive`.

        Raises:
            InvalidOption: `which` is neither.
            UnsupportedOption: The store keeps no failed jobs.
            BackendError: The store cannot be used.
        """
        return self._port.purge(self._picked(which))

    def _picked(self, which: int | Sequence[str]) -> list[str]:
        if isinstance(which, str | bool) or not isinstance(which, int | Sequence):
            raise InvalidOption(option="which", value=which, expected="a number, or several ids")
        if isinstance(which, int):
            whole_number(which, option="which", least=0, where="buried jobs")
            return [one.id for one in islice(self.buried(), which)]
        return [one.id for one in self._each_buried(list(which))] if which else []

    def clear(self) -> int:
        """
        Delete everything that waits in the queues, delayed too, claimed and buried not; return how many.

        Jobs of listeners go as well, if there are any.

        Raises:
            BackendError: The store cannot be used.
        """
        port = self._port
        return sum(port.clear(one) for one in self.names)


def _pushing(port: Port, envelopes: Sequence[Envelope]) -> Walk:
    call = partial(port.push, envelopes)
    yield Blocking(call, partial(port.apush, envelopes) if port.pushes_async else None)


def _never() -> bool:
    return False


def _positive(value: float | timedelta, *, option: str) -> float:
    found = seconds(value, option=option)
    if not found:
        raise InvalidOption(option=option, value=value, expected="more than 0 seconds")
    return found
