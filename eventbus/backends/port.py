"""What bus and worker call: any backend, with its arguments checked and its errors made ours."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from secrets import token_hex
from typing import Final

from eventbus.backends.base import (
    Backend,
    Bell,
    Charge,
    Claim,
    Examination,
    FailedJob,
    Sizes,
    StoredJob,
)
from eventbus.backends.limit_port import LimitPort
from eventbus.backends.orders import ALL_QUEUES, PAUSE, RESTART, Orders
from eventbus.backends.plan_port import PlanPort
from eventbus.defaults import (
    BODY_SIZE_LIMIT,
    DURATION_LIMIT,
    ERROR_TEXT_LIMIT,
    LEASE,
    NAME_LENGTH,
    PEEK_LIMIT,
    QUEUE,
)
from eventbus.errors import (
    BackendError,
    BackendUnavailable,
    EventBusError,
    InvalidOption,
    LeaseLost,
    StoredUnknown,
    UnsupportedOption,
)
from eventbus.queue.envelope import Envelope, UniqueKey
from eventbus.values import seconds, valid_id, valid_name

__all__ = ["Port"]

_CUT: Final = "\n... (cut)"


class Port:
    """
    A connection: a backend under a name. Written once, so that no backend need check anything.

    Every method may raise `BackendUnavailable`, `StoredUnknown` (only `push`), another
    `BackendError`, or `InvalidOption` for an argument; nothing else gets out.

    Args:
        backend: Where envelopes lie.
        name: The connection's name.
        default_queue: The queue for what names none.

    Raises:
        InvalidOption: A name is none.

    Defaults:
        default_queue = `defaults.QUEUE`.

    Example:
        >>> from eventbus.backends.memory import MemoryBackend
        >>> port = Port(MemoryBackend(), name="default")
        >>> port.push([Envelope(id="a", queue="emails", body=b"{}")])
        {}
        >>> [claim] = port.claim(["emails"])
        >>> port.ack(claim)
        >>> port.size("emails").ready
        0
    """

    def __init__(self, backend: Backend, *, name: str, default_queue: str = QUEUE) -> None:
        self.backend = backend
        self.name = valid_name(name, option="connection")
        self.default_queue = valid_name(default_queue, where=f"connection {name!r}")
        #: The queue of the last push, known to be a name.
        self._known = self.default_queue

    def __repr__(self) -> str:
        return f"Port({self.name!r}, {self.backend.name})"

    def push(self, envelopes: Sequence[Envelope]) -> dict[str, str]:
        """
        Store all of `envelopes`, or none; one whose id is stored already is passed over.

        Returns:
            By its id, of each envelope whose `unique` key another had: its own, where it is not stored, or that
            of the other one, which gave way.

        Raises:
            StoredUnknown: It cannot be told whether they were stored. Push the same ones again.
            UnsupportedOption: One is `unique`, and the backend does not look at that.
        """
        self._envelopes(envelopes)
        if not envelopes:
            return {}
        try:
            return self.backend.push(envelopes)
        except EventBusError:
            raise
        except Exception as error:
            raise self._untranslated(error, "push", envelopes) from error

    @property
    def pushes_async(self) -> bool:
        """Whether `apush` can be used."""
        return self.backend.capabilities.async_push

    async def apush(self, envelopes: Sequence[Envelope]) -> dict[str, str]:
        """
        Do what `push` does, on the event loop that runs.

        Raises:
            StoredUnknown: It cannot be told whether they were stored. Push the same ones again.
            UnsupportedOption: The backend needs a thread for it.
        """
        self._envelopes(envelopes)
        if not envelopes:
            return {}
        with self._errors("push", envelopes):
            return await self.backend.apush(envelopes)

    def free(self, claim: Claim) -> None:
        """Let others have the `unique` key of a claim, if it is still held."""
        with self._errors("free"):
            self.backend.free([claim])

    def take(self, claim: Claim, unique: UniqueKey) -> bool:
        """
        Let a claim that is still held have a `unique` key; False if another in its queue has it.

        Raises:
            UnsupportedOption: The backend does not look at keys.
        """
        with self._errors("take"):
            return self.backend.take(claim, unique)

    def claim(
        self,
        queues: Sequence[str],
        *,
        limit: int = 1,
        lease: float | timedelta = LEASE,
        token: str = "",
    ) -> list[Claim]:
        """
        Take up to `limit` due envelopes from `queues`, looked at in this order.

        Args:
            queues: Names; one that nothing was pushed to is empty, not an error.
            limit: Most claims to return, >= 1.
            lease: Seconds, or a `timedelta`, until others may take them.
            token: A new one, for who has to know it before it is used.

        Defaults:
            limit = 1: a crash then delays one job.
            lease = `defaults.LEASE`.
            token = one of its own.
        """
        names = self._queues(queues)
        self._limit(limit)
        seconds = self._positive("lease", lease)
        with self._errors("claim"):
            return self.backend.claim(
                names, limit=limit, lease=seconds, token=token or token_hex(16)
            )

    def exchange(
        self,
        done: Sequence[Claim],
        queues: Sequence[str],
        *,
        limit: int = 1,
        lease: float | timedelta = LEASE,
        token: str = "",
    ) -> tuple[list[Claim], list[Claim]]:
        """
        Remove the envelopes of `done`, and take others as `claim` does, in one step: both, or nothing.

        Returns:
            Those of `done` that are no longer ours, and the claims.

        Raises:
            UnsupportedOption: The backend takes one step for each.
        """
        names = self._queues(queues)
        self._limit(limit)
        seconds = self._positive("lease", lease)
        with self._errors("exchange"):
            return self.backend.exchange(
                done, names, limit=limit, lease=seconds, token=token or token_hex(16)
            )

    def unclaim(self, queues: Sequence[str], *, token: str) -> int:
        """Give back what a claim of `queues` with `token` still holds, as `give_back`; return how many."""
        with self._errors("unclaim"):
            return self.backend.unclaim(queues, token=token)

    def extend(self, claims: Sequence[Claim], *, lease: float | timedelta = LEASE) -> list[Claim]:
        """
        Hold `claims` for `lease` seconds from now; return those that are no longer ours.

        Defaults:
            lease = `defaults.LEASE`.
        """
        seconds = self._positive("lease", lease)
        if not claims:
            return []
        with self._errors("extend"):
            return self.backend.extend(claims, lease=seconds)

    def ack(self, claim: Claim) -> None:
        """
        Remove the envelope of `claim`: its job is done.

        Raises:
            LeaseLost: The claim is no longer ours; nothing was removed.
        """
        self._kept("ack", self.ack_all([claim]))

    def ack_all(self, claims: Sequence[Claim]) -> list[Claim]:
        """Remove the envelopes of `claims`; return those that are no longer ours."""
        if not claims:
            return []
        with self._errors("ack"):
            return self.backend.ack(claims)

    def release(
        self,
        claim: Claim,
        *,
        delay: float | timedelta = 0.0,
        charge: Charge = Charge.RELEASE,
        parked: str = "",
    ) -> None:
        """
        Give the envelope of `claim` back, due in `delay` seconds.

        Args:
            claim: What was claimed.
            delay: Seconds, or a `timedelta`, >= 0.
            charge: What the run counts as.
            parked: Why the job cannot run yet, as text; cut at `defaults.ERROR_TEXT_LIMIT`
                characters.

        Raises:
            LeaseLost: The claim is no longer ours; nothing changed.

        Defaults:
            delay = 0.
            charge = a release: only an error spends an attempt.
            parked = empty: it can.
        """
        seconds = self._seconds("delay", delay)
        self._charge(charge)
        text = _storable(parked)
        with self._errors("release"):
            lost = self.backend.release([claim], delay=seconds, charge=charge, parked=text)
        self._kept("release", lost)

    def give_back(self, claims: Sequence[Claim]) -> list[Claim]:
        """
        Give the envelopes of `claims` back as if they had never been claimed, losses apart.

        They are due at once and keep their places in the line. Returns those that are no longer
        ours.
        """
        if not claims:
            return []
        with self._errors("release"):
            return self.backend.release(claims, delay=0.0, charge=Charge.NOTHING)

    def bury(self, claim: Claim, *, error: str, charge: Charge = Charge.ERROR) -> None:
        """
        Move the envelope of `claim` to the failed jobs.

        Args:
            claim: What was claimed.
            error: Why, as text; cut at `defaults.ERROR_TEXT_LIMIT` characters.
            charge: What the run counts as; nothing where the job never ran.

        Raises:
            LeaseLost: The claim is no longer ours; nothing changed.

        Defaults:
            charge = an error.
        """
        text = _storable(error)
        self._charge(charge)
        with self._errors("bury"):
            lost = self.backend.bury([claim], error=text, charge=charge)
        self._kept("bury", lost)

    def failed(
        self,
        *,
        ids: Sequence[str] | None = None,
        queues: Sequence[str] | None = None,
        limit: int = PEEK_LIMIT,
        after: str = "",
    ) -> list[FailedJob]:
        """
        Return failed jobs, the oldest failure first.

        Args:
            ids: Only these; one that is not there is left out.
            queues: Only those of these queues.
            limit: Most to return, >= 1.
            after: The `cursor` of the last one that was returned, to go on from there.

        Raises:
            UnsupportedOption: The backend keeps no failed jobs.

        Defaults:
            ids, queues = None: all.
            limit = `defaults.PEEK_LIMIT`.
            after = empty: from the first.
        """
        names = None if queues is None else self._queues(queues)
        self._limit(limit)
        with self._errors("failed"):
            return self.backend.failed(ids=ids, queues=names, limit=limit, after=after)

    def each_failed(
        self, *, ids: Sequence[str] | None = None, queues: Sequence[str] | None = None
    ) -> Iterator[FailedJob]:
        """
        Go through all failed jobs, the oldest failure first, some at a time.

        Args:
            ids: Only these; one that is not there is left out.
            queues: Only those of these queues.

        Raises:
            UnsupportedOption: The backend keeps no failed jobs.

        Defaults:
            ids, queues = None: all.
        """
        after = ""
        while page := self.failed(ids=ids, queues=queues, after=after):
            yield from page
            after = page[-1].cursor

    def revive(self, ids: Sequence[str]) -> list[str]:
        """
        Move failed jobs back to their queues, due now, counters at zero; return the ids that moved.

        One that is no failed job is left out: somebody else may have been quicker.

        Raises:
            UnsupportedOption: The backend keeps no failed jobs.
        """
        with self._errors("revive"):
            return self.backend.revive(list(dict.fromkeys(ids)))

    def purge(self, ids: Sequence[str]) -> list[str]:
        """
        Delete failed jobs for good; return the ids that were there.

        Raises:
            UnsupportedOption: The backend keeps no failed jobs.
        """
        with self._errors("purge"):
            return self.backend.purge(list(dict.fromkeys(ids)))

    def cancel(self, ids: Sequence[str]) -> list[str]:
        """
        Delete envelopes that wait, delayed ones too; return the ids that went.

        One that is leased or failed, or not there, is left out.
        """
        with self._errors("cancel"):
            return self.backend.cancel(list(dict.fromkeys(ids)))

    def clear(self, queue: str) -> int:
        """Delete what waits in `queue`, delayed too, leased not; return how many."""
        valid_name(queue)
        with self._errors("clear"):
            return self.backend.clear(queue)

    def size(self, queue: str) -> Sizes:
        """Count the envelopes of `queue`, by state."""
        valid_name(queue)
        with self._errors("size"):
            return self.backend.size(queue)

    def queues(self) -> list[str]:
        """Return the names of the queues in which something waits, is leased or has failed."""
        with self._errors("queues"):
            return self.backend.queues()

    def peek(
        self,
        *,
        queues: Sequence[str] | None = None,
        parked: bool = False,
        limit: int = PEEK_LIMIT,
        after: str = "",
    ) -> list[StoredJob]:
        """
        Return envelopes that wait or are leased, and change nothing.

        Args:
            queues: Only those of these queues.
            parked: Only those that are parked.
            limit: Most to return, >= 1.
            after: The `cursor` of the last one that was returned, to go on from there.

        Defaults:
            queues = None: all.
            parked = False: all.
            limit = `defaults.PEEK_LIMIT`.
            after = empty: from the first.
        """
        names = None if queues is None else self._queues(queues)
        self._limit(limit)
        with self._errors("peek"):
            return self.backend.peek(queues=names, parked=parked, limit=limit, after=after)

    def each_stored(
        self, *, queues: Sequence[str] | None = None, parked: bool = False
    ) -> Iterator[StoredJob]:
        """
        Go through all envelopes that wait or are leased, some at a time.

        Args:
            queues: Only those of these queues.
            parked: Only those that are parked.

        Defaults:
            queues = None: all.
            parked = False: all.
        """
        after = ""
        while page := self.peek(queues=queues, parked=parked, after=after):
            yield from page
            after = page[-1].cursor

    def find(self, ids: Sequence[str], *, queues: Sequence[str] | None = None) -> list[StoredJob]:
        """
        Return the envelopes of these ids that wait or are leased, in this order; change nothing.

        Args:
            ids: One that is not there, or has failed, is left out.
            queues: Where to look; who knows it spares some stores the search.

        Defaults:
            queues = None: all.
        """
        names = None if queues is None else self._queues(queues)
        with self._errors("find"):
            return self.backend.find(list(dict.fromkeys(ids)), queues=names)

    def next_due(self, queues: Sequence[str], *, leased: bool = False) -> float | None:
        """
        Return in how many seconds the next envelope of `queues` may be claimed, or None.

        Args:
            queues: Names.
            leased: Whether those count that somebody holds now: their leases may end.

        Defaults:
            leased = False.
        """
        names = self._queues(queues)
        with self._errors("next_due"):
            return self.backend.next_due(names, leased=leased)

    def restart(self) -> None:
        """Tell the workers of this connection, wherever they run, to end after their jobs."""
        with self._errors("restart"):
            self.backend.flag(RESTART, token_hex(8))

    def pause(self, queues: Sequence[str], *, life: float | timedelta | None = None) -> None:
        """
        Let nothing more be claimed from `queues` by the workers of this connection.

        Args:
            queues: Names; `"*"` stands for all queues.
            life: Seconds, or a `timedelta`, after which the pause ends by itself.

        Defaults:
            life = None: until it is resumed.
        """
        seconds = None if life is None else self._positive("life", life)
        names = self._queues(queues, pattern=True)
        with self._errors("pause"):
            for queue in names:
                self.backend.flag(PAUSE + queue, "1", life=seconds)

    def resume(self, queues: Sequence[str]) -> None:
        """
        End the pauses of `queues`.

        Args:
            queues: The names that were paused; `"*"` ends the pause of all queues, not that of one.
        """
        names = self._queues(queues, pattern=True)
        with self._errors("resume"):
            for queue in names:
                self.backend.flag(PAUSE + queue, None)

    def orders(self) -> Orders:
        """Return what the workers of this connection were told to do."""
        with self._errors("orders"):
            return Orders.of(self.backend.flags())

    def keep(self, name: str, value: bytes, *, life: float) -> None:
        """Keep `value` beside the jobs under `name` for `life` seconds, in place of what was there."""
        with self._errors("keep"):
            self.backend.keep(name, value, life=life)

    def kept(self, name: str) -> bytes | None:
        """Return what is kept beside the jobs under `name`; None if nothing is."""
        with self._errors("kept"):
            return self.backend.kept(name)

    @property
    def limits(self) -> LimitPort:
        """The limits that are kept beside the jobs."""
        return LimitPort(self.backend, self._errors, f"connection {self.name!r}")

    @property
    def plans(self) -> PlanPort:
        """The chains and batches that are kept with the jobs."""
        return PlanPort(self.backend, self._errors, self._envelopes)

    def bell(self, queues: Sequence[str]) -> Bell | None:
        """Return what rings when `queues` get something or an order is given, if the store can."""
        names = self._queues(queues)
        with self._errors("bell"):
            return self.backend.bell(names)

    def trouble(self) -> str:
        """Return what an operator should see to although the store works; empty if it is well."""
        with self._errors("trouble"):
            return self.backend.trouble()

    def schema(self) -> str:
        """
        Return the statements that make the store's tables.

        Raises:
            UnsupportedOption: The store has none.
        """
        with self._errors("schema"):
            return self.backend.schema()

    def apply_schema(self) -> list[str]:
        """
        Make the store's tables, or bring those of an older version up to this one.

        Returns what was done, a sentence each; nothing where they were up to date.

        Raises:
            UnsupportedOption: The store has none.
            SchemaMismatch: They are of a newer version, or not ours.
        """
        with self._errors("apply_schema"):
            return self.backend.apply_schema()

    def examine(self, *, integrity: bool = False) -> Examination:
        """
        Look at the store as it is set now, and say what that means; nothing is changed.

        Args:
            integrity: Also read everything that is stored, and see whether it is whole.

        Defaults:
            integrity = False: of a large store it takes long.
        """
        with self._errors("examine"):
            return self.backend.examine(integrity=integrity)

    def close(self) -> None:
        """Close every connection to the store. Closing twice is allowed."""
        with self._errors("close"):
            self.backend.close()

    async def aclose(self) -> None:
        """Close every connection to the store, those of the event loop that runs too, and block it not."""
        with self._errors("close"):
            await self.backend.aclose()

    @contextmanager
    def _errors(self, operation: str, pushed: Sequence[Envelope] = ()) -> Generator[None]:
        try:
            yield
        except EventBusError:
            raise
        except Exception as error:
            raise self._untranslated(error, operation, pushed) from error

    def _untranslated(
        self, error: Exception, operation: str, pushed: Sequence[Envelope] = ()
    ) -> BackendError:
        """Return ours for a driver's exception that its backend did not translate."""
        # Its type is told, since the text alone may be as little as a number.
        name, reason = self.backend.name, f"{type(error).__name__}: {error}"
        if pushed:  # before or after they were stored: nobody says
            return StoredUnknown(backend=name, ids=[one.id for one in pushed], reason=reason)
        return BackendUnavailable(backend=name, operation=operation, reason=reason)

    def _kept(self, operation: str, lost: Sequence[Claim]) -> None:
        if lost:
            raise LeaseLost(id=lost[0].envelope.id, operation=operation)

    def _queues(self, queues: Sequence[str], *, pattern: bool = False) -> list[str]:
        if isinstance(queues, str) or not queues:
            raise self._invalid(
                option="queues", value=queues, expected="a sequence of at least one queue's name"
            )
        return list(
            dict.fromkeys(
                queue if pattern and queue == ALL_QUEUES else valid_name(queue) for queue in queues
            )
        )

    def _charge(self, value: object) -> None:
        if not isinstance(value, Charge):
            raise self._invalid(option="charge", value=value, expected="a Charge")

    def _limit(self, value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self._invalid(option="limit", value=value, expected="a whole number >= 1")

    def _envelopes(self, envelopes: Sequence[Envelope]) -> None:
        for envelope in envelopes:
            queue, delay = envelope.queue, envelope.delay
            # Each dispatch pays for this, and mostly with the very object that it has named before.
            if queue is not self._known:
                valid_name(queue)
                self._known = queue
            self._id(envelope.id)
            if type(delay) is not float or not 0.0 <= delay <= DURATION_LIMIT:
                self._seconds("delay", delay)
            self._body(envelope.body)
            if envelope.unique is not None and not self.backend.capabilities.unique:
                raise UnsupportedOption(backend=self.backend.name, capability="unique")
            if envelope.member is not None and not self.backend.capabilities.plans:
                raise UnsupportedOption(backend=self.backend.name, capability="plans")

    def _id(self, value: object) -> None:
        if not valid_id(value):
            expected = f"1 to {NAME_LENGTH} printable ASCII characters"
            raise self._invalid(option="id", value=value, expected=expected)

    def _body(self, value: bytes) -> None:
        if len(value) > BODY_SIZE_LIMIT:
            expected = f"at most {BODY_SIZE_LIMIT:,} bytes"
            raise self._invalid(option="body", value=f"{len(value):,} bytes", expected=expected)

    def _positive(self, option: str, value: float | timedelta) -> float:
        if found := self._seconds(option, value):
            return found
        raise self._invalid(option=option, value=value, expected="more than 0 seconds")

    def _seconds(self, option: str, value: object) -> float:
        return seconds(value, option=option, where=f"connection {self.name!r}")

    def _invalid(self, *, option: str, value: object, expected: str) -> InvalidOption:
        return InvalidOption(
            option=option, value=value, expected=expected, where=f"connection {self.name!r}"
        )


def _storable(error: str) -> str:
    """Return `error` as text that every store takes: short enough, and encodable."""
    if len(error) > ERROR_TEXT_LIMIT:
        error = error[: ERROR_TEXT_LIMIT - len(_CUT)] + _CUT
    # An exception's text may hold half a surrogate pair (a file's name), and PostgreSQL takes no NUL.
    return error.encode("utf-8", "replace").decode("utf-8").replace("\0", "?")
