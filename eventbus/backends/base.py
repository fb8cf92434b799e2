"""
The contract of a backend: about ten operations on records.

A backend stores; it does not validate, log or decide. `eventbus.backends.port.Port` checks the
arguments before they get here, and `eventbus.testing.contract` tests that a backend keeps its word.

Life of an envelope, one verb per arrow:

```
push -> ready -> claim -> leased -> ack      -> gone
          ^ |               |  |--- release  -> ready (again, after a delay)
          | '-> cancel      |  |--- bury     -> failed -> revive -> ready
          |     -> gone     |                         '-> purge  -> gone
          '-- lease ends ---'  (a loss: the worker died)
```
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import ClassVar, Protocol

from attrs import frozen

from eventbus.backends.limits import LimitStore
from eventbus.backends.plans import PlanStore
from eventbus.errors import UnsupportedOption
from eventbus.queue.envelope import Envelope, UniqueKey
from eventbus.structs import FrozenStruct

__all__ = [
    "Backend",
    "Bell",
    "Capabilities",
    "Charge",
    "Claim",
    "Clock",
    "Examination",
    "FailedJob",
    "Finding",
    "Promise",
    "Sizes",
    "State",
    "StoredJob",
    "SystemClock",
    "Verdict",
]


class Clock(Protocol):
    """What a backend without a server of its own asks for the time."""

    def now(self) -> datetime:
        """Return the instant, aware and in UTC."""
        ...


class SystemClock:
    """The machine's own clock, the one that rules unless a test brings another."""

    def now(self) -> datetime:
        """Return the instant, aware and in UTC."""
        return datetime.now(UTC)


@frozen(kw_only=True)
class Capabilities:
    """What a backend can do beyond storing. The suite tests both values of each."""

    #: Envelopes outlive the process that pushed them.
    durable: bool
    #: Other processes see what this one pushed.
    shared: bool
    #: A stale ack, release, bury or extend is refused.
    fenced: bool
    #: `push` of an id that is stored already stores nothing.
    idempotent_push: bool
    #: A delay is honoured.
    delay: bool
    #: Buried envelopes are kept, listed and revived.
    failed_jobs: bool
    #: Values are kept beside the jobs for a while: results and progress.
    results: bool = False
    #: Of envelopes with one `unique` key it stores one.
    unique: bool = False
    #: It counts against limits, and holds slots: `limits`.
    limits: bool = False
    #: It keeps chains and batches: envelopes with a `Member`, and `plans`.
    plans: bool = False
    #: `apush` stores on the event loop itself; without it, async code pushes in a thread.
    async_push: bool = False
    #: `exchange` acks and claims in one step; without it, a worker takes one step for each.
    exchange: bool = False


class Charge(StrEnum):
    """What a run that ended counts as, when its envelope goes back or is buried."""

    #: It raised, or took too long: an attempt, and an exception.
    ERROR = "error"
    #: The listener gave it back and asked that the run counts: an attempt.
    ATTEMPT = "attempt"
    #: The listener gave it back: a release.
    RELEASE = "release"
    #: It never ran, or was interrupted through no fault of its own.
    NOTHING = "nothing"


class State(StrEnum):
    """Where an envelope that is stored and not failed is in its life."""

    READY = "ready"
    DELAYED = "delayed"
    LEASED = "leased"
    #: It waits for its turn in a plan.
    HELD = "held"


class Claim(FrozenStruct, frozen=True, kw_only=True):
    """The temporary right to run one envelope."""

    hidden: ClassVar[frozenset[str]] = frozenset({"token"})

    envelope: Envelope
    #: The fence: whoever holds a newer token has the job. Opaque.
    token: str
    #: Tries spent by errors before this run, >= 0.
    attempts: int = 0
    #: Runs whose worker died, >= 0.
    losses: int = 0
    #: Of the attempts, those that raised or took too long, >= 0.
    exceptions: int = 0
    #: Times its listener gave it back without spending a try, >= 0.
    releases: int = 0
    #: It was lost once, and is handed out by itself since.
    alone: bool = False
    #: The batch that it is a member of was canceled: it is not to run.
    canceled: bool = False
    #: Said by whoever acks it: it was not carried out.
    skipped: bool = False
    #: When it was pushed, by the store's clock.
    pushed_at: datetime


@frozen(kw_only=True)
class FailedJob:
    """A job that used up its attempts, kept with its envelope and error."""

    envelope: Envelope
    attempts: int
    losses: int
    releases: int
    pushed_at: datetime
    failed_at: datetime
    #: The error as text: type, message, traceback. Never rebuilt into an exception.
    error: str
    #: Where to go on from: `failed(after=...)`. Opaque.
    cursor: str
    #: Bytes of the body that are stored and not in `envelope`: beyond `defaults.BODY_SIZE_LIMIT` it
    #: has only the first `defaults.BODY_HEAD`.
    left_out: int = 0


@frozen(kw_only=True)
class StoredJob:
    """An envelope that waits or is leased, as `peek` shows it."""

    envelope: Envelope
    state: State
    #: When it may be claimed; of a leased one, when its lease ends.
    due: datetime
    attempts: int
    losses: int
    releases: int
    pushed_at: datetime
    #: Why it is parked; empty for one that is not.
    parked: str = ""
    #: Where to go on from: `peek(after=...)`. Opaque.
    cursor: str
    #: As that of a `FailedJob`.
    left_out: int = 0


@frozen(kw_only=True)
class Sizes:
    """How many envelopes of a queue are in which state."""

    ready: int = 0
    delayed: int = 0
    leased: int = 0
    failed: int = 0
    held: int = 0


class Verdict(StrEnum):
    """What something that was found means for the jobs of a store."""

    #: It is as it should be.
    OK = "ok"
    #: Jobs may be lost in a power cut or when another server takes over, others may read along, or it
    #: could not be seen how it is.
    WARNING = "warning"
    #: Jobs that were acknowledged may be lost, forged or never run although no power fails.
    BROKEN = "broken"


@frozen(kw_only=True)
class Finding:
    """One setting or state of a store, and what it means."""

    #: What was looked at, in a word or two; the same in every examination.
    subject: str
    #: How it is. May repeat what the store says, so nothing of it is trusted; holds no password.
    found: str
    verdict: Verdict = Verdict.OK
    #: What it means and what to do; empty where nothing need be done.
    advice: str = ""


@frozen(kw_only=True)
class Promise:
    """What a store promises with some of its settings: a row of the table in the guarantees."""

    #: The store and the settings.
    store: str
    #: What it means that `dispatch` returned.
    dispatched: str
    #: What becomes of jobs when a worker is killed, ...
    worker_killed: str
    #: ... the server's process, ...
    server_killed: str
    #: ... when the power fails, ...
    power_cut: str
    #: ... and when another server takes over.
    failover: str
    #: What becomes of the ack of a claim that another worker has taken over.
    stale_ack: str


@frozen(kw_only=True)
class Examination:
    """What a store looks like as it is set now."""

    #: What holds with these settings; None where they cannot be read.
    promise: Promise | None = None
    findings: tuple[Finding, ...] = ()


class Bell(Protocol):
    """Rings in a waiting worker when there is something to do; made by `Backend.bell`."""

    def fileno(self) -> int:
        """Return what to wait for with `select`: readable once it has rung."""
        ...

    def silence(self) -> bool:
        """Forget the rings until now; return whether one concerned the queues of this bell."""
        ...

    def close(self) -> None:
        """Take the bell down. Closing twice is allowed."""
        ...


class Backend(ABC):
    """
    What bus and worker need of a store.

    Calls may come from several threads at once. An implementation translates its driver's
    exceptions into `BackendUnavailable` (nothing happened), `StoredUnknown` (a push whose outcome
    is not known) or another `BackendError`. Methods that take claims return those whose token was
    stale, and change nothing for them: the port makes `LeaseLost` of it.
    """

    #: Shown in errors, logs and lists; holds no password.
    name: str
    capabilities: Capabilities

    @abstractmethod
    def push(self, envelopes: Sequence[Envelope]) -> dict[str, str]:
        """
        Store all of `envelopes`, or none.

        When it returns they are stored as durably as the store is configured. An id that is
        stored already, waiting, leased or failed, is passed over.

        One whose `unique` key another in its queue has is not stored, or takes the place of that one. Returns,
        by the id of each of these, its own where it is not stored, or that of the one that gave way.
        """

    def free(self, claims: Sequence[Claim]) -> None:  # noqa: ARG002 - this one cannot
        """
        Let others have the `unique` keys of claims that are still held: their jobs have begun.

        Raises:
            UnsupportedOption: `unique` is not declared; this is what a backend does that does not
                override it.
        """
        raise UnsupportedOption(backend=self.name, capability="unique")

    def take(self, claim: Claim, unique: UniqueKey) -> bool:  # noqa: ARG002 - this one cannot
        """
        Let a claim that is still held have a key that its envelope was stored without; False if another has it.

        Members of plans are stored long before their turn: they are looked at as they begin. One that has the key
        already, from an attempt before, keeps it.

        Raises:
            UnsupportedOption: As `free`.
        """
        raise UnsupportedOption(backend=self.name, capability="unique")

    async def apush(self, envelopes: Sequence[Envelope]) -> dict[str, str]:  # noqa: ARG002 - this one cannot
        """
        Do what `push` does, on the event loop that runs.

        Where it is cancelled, the envelopes are stored or not, all of them, and nothing is left that
        would disturb the next call.

        Raises:
            UnsupportedOption: `async_push` is not declared; this is what a backend does that does not
                override it.
        """
        raise UnsupportedOption(backend=self.name, capability="async_push")

    @abstractmethod
    def claim(self, queues: Sequence[str], *, limit: int, lease: float, token: str) -> list[Claim]:
        """
        Take up to `limit` due envelopes and hold them for `lease` seconds; `token` is never used twice.

        Queues are looked at in the order given; within a queue the longest due comes first.
        Atomic: no envelope is in two live claims. Does not block. An envelope whose lease has
        ended is due again and has one loss more; one that was lost as a member of a larger claim
        is then handed out alone, without that loss.
        """

    def exchange(
        self,
        done: Sequence[Claim],  # noqa: ARG002 - this one cannot
        queues: Sequence[str],  # noqa: ARG002
        *,
        limit: int,  # noqa: ARG002
        lease: float,  # noqa: ARG002
        token: str,  # noqa: ARG002
    ) -> tuple[list[Claim], list[Claim]]:
        """
        Do what `ack` of `done`, and then `claim`, do, in one step: both, or nothing. Return the stale, and the claims.

        What comes by the acks, the next of a chain, may be claimed at once.

        Raises:
            UnsupportedOption: It is not declared; this is what a backend does that does not override it.
        """
        raise UnsupportedOption(backend=self.name, capability="exchange")

    @abstractmethod
    def unclaim(self, queues: Sequence[str], *, token: str) -> int:
        """
        Give back what a claim of `queues` with `token` still holds; return how many envelopes.

        As a release that is charged nothing and has no delay. What it took is known to nobody: its
        answer never came, or whoever claimed has died.
        """

    @abstractmethod
    def extend(self, claims: Sequence[Claim], *, lease: float) -> list[Claim]:
        """Hold `claims` for `lease` seconds from now; return those that are no longer held."""

    @abstractmethod
    def ack(self, claims: Sequence[Claim]) -> list[Claim]:
        """Remove the envelopes of `claims`: they are done. Return the stale claims."""

    @abstractmethod
    def release(
        self, claims: Sequence[Claim], *, delay: float, charge: Charge, parked: str = ""
    ) -> list[Claim]:
        """
        Give envelopes back, due in `delay` seconds. Return the stale claims.

        `charge` says what the run counts as. One that is charged nothing and has no delay keeps its
        place in the line: it is due again since it was first due. `parked` says why the job cannot
        run yet; the next claim forgets it.
        """

    @abstractmethod
    def bury(self, claims: Sequence[Claim], *, error: str, charge: Charge) -> list[Claim]:
        """
        Move envelopes to the failed jobs with `error`, in one step. Return the stale claims.

        `charge` says what the run counts as.
        """

    @abstractmethod
    def failed(
        self,
        *,
        ids: Sequence[str] | None = None,
        queues: Sequence[str] | None = None,
        limit: int,
        after: str = "",
    ) -> list[FailedJob]:
        """
        Return up to `limit` failed jobs, the oldest failure first, and change nothing.

        Args:
            ids: Only these; one that is not there is left out.
            queues: Only those of these queues.
            limit: Most to return.
            after: The `cursor` of the last one that was returned, to go on from there. The order is
                fixed: whoever goes on until nothing is returned has seen every failed job that was
                there all the while.
        """

    @abstractmethod
    def revive(self, ids: Sequence[str]) -> list[str]:
        """
        Move failed jobs back to their queues, due now, counters at zero; return the ids that moved.

        One step: a job is never in both places or in neither.
        """

    @abstractmethod
    def purge(self, ids: Sequence[str]) -> list[str]:
        """Delete failed jobs for good; return the ids that were there."""

    @abstractmethod
    def cancel(self, ids: Sequence[str]) -> list[str]:
        """Delete envelopes that wait, delayed ones too, leased ones not; return the ids that went."""

    @abstractmethod
    def clear(self, queue: str) -> int:
        """Delete everything that waits in `queue`, delayed too, leased not; return how many."""

    @abstractmethod
    def size(self, queue: str) -> Sizes:
        """Count the envelopes of `queue`."""

    @abstractmethod
    def queues(self) -> list[str]:
        """Return the names of the queues in which something waits, is leased or has failed, sorted."""

    @abstractmethod
    def peek(
        self,
        *,
        queues: Sequence[str] | None = None,
        parked: bool = False,
        limit: int,
        after: str = "",
    ) -> list[StoredJob]:
        """
        Return up to `limit` envelopes that wait or are leased, and change nothing.

        Args:
            queues: Of these, by default of all.
            parked: Only those that are parked.
            limit: Most to return.
            after: The `cursor` of the last one that was returned, to go on from there. The order is
                the backend's, and fixed: whoever goes on until nothing is returned has seen every
                envelope that was there all the while.
        """

    @abstractmethod
    def find(self, ids: Sequence[str], *, queues: Sequence[str] | None = None) -> list[StoredJob]:
        """
        Return the envelopes of these ids that wait or are leased, and change nothing.

        Args:
            ids: In whose order they come; one that is not there, or has failed, is left out.
            queues: Where to look, by default in all: they are found by their ids, and not gone through.
        """

    @abstractmethod
    def next_due(self, queues: Sequence[str], *, leased: bool = False) -> float | None:
        """
        Return in how many seconds the next envelope of `queues` may be claimed.

        0 if one is due now; None if there is none. Leased ones count, with the end of their lease, if
        `leased` says so.
        """

    @abstractmethod
    def flag(self, name: str, value: str | None, *, life: float | None = None) -> None:
        """
        Set a flag that all processes of this store see, for `life` seconds; None takes it away.

        Workers look at them: `restart`, and `pause:` with a queue's name.
        """

    @abstractmethod
    def flags(self) -> dict[str, str]:
        """Return the flags that are set."""

    def keep(self, name: str, value: bytes, *, life: float) -> None:  # noqa: ARG002 - this one cannot
        """
        Keep `value` under `name` for `life` seconds, in place of what was kept there.

        It is no job, and no verb of jobs touches it. `name` has 1 to 80 printable ASCII characters.

        Raises:
            UnsupportedOption: `results` is not declared; this is what a backend does that does not
                override it.
        """
        raise UnsupportedOption(backend=self.name, capability="results")

    def kept(self, name: str) -> bytes | None:  # noqa: ARG002 - this one cannot
        """
        Return what is kept under `name`; None if nothing is, or its life is over.

        Raises:
            UnsupportedOption: As `keep`.
        """
        raise UnsupportedOption(backend=self.name, capability="results")

    @property
    def limits(self) -> LimitStore:
        """
        What keeps limits, beside the jobs.

        Raises:
            UnsupportedOption: `limits` is not declared; this is what a backend does that does not
                override it.
        """
        raise UnsupportedOption(backend=self.name, capability="limits")

    @property
    def plans(self) -> PlanStore:
        """
        What keeps batches, and the order of chains.

        Raises:
            UnsupportedOption: `plans` is not declared; this is what a backend does that does not
                override it.
        """
        raise UnsupportedOption(backend=self.name, capability="plans")

    def bell(self, queues: Sequence[str]) -> Bell | None:  # noqa: ARG002 - this one has none
        """
        Return what rings when something comes to one of `queues`, or a flag is set.

        Comes: is pushed, delayed or not, given back or revived. A lease that ends rings nothing.
        None where the store cannot call: then workers look again every few seconds, as they also do
        where it can.
        """
        return None

    def trouble(self) -> str:
        """
        Return what an operator should see to although the store works; empty if it is well.

        In the same words for as long as it is the same trouble: workers log it when it changes. They
        ask once a second, so it is cheap.
        """
        return ""

    def schema(self) -> str:
        """
        Return the statements that make the store's tables.

        Raises:
            UnsupportedOption: It has none; this is what a backend does that does not override it.
        """
        raise UnsupportedOption(backend=self.name, capability="schema")

    def apply_schema(self) -> list[str]:
        """
        Make the store's tables, or bring those of an older version up to this one, in one step.

        Returns what was done, a sentence each; nothing where they were up to date.

        Raises:
            UnsupportedOption: It has none; this is what a backend does that does not override it.
            SchemaMismatch: They are of a newer version, or not ours. Nothing was changed.
        """
        raise UnsupportedOption(backend=self.name, capability="schema")

    def examine(self, *, integrity: bool = False) -> Examination:  # noqa: ARG002 - of this one nothing is known
        """
        Look at the store as it is set now, and say what that means; change nothing.

        What cannot be looked at is a finding, no error: only a store that cannot be reached at all raises.
        A backend that does not override it says nothing.

        Args:
            integrity: Also read everything that is stored, and see whether it is whole.
        """
        return Examination()

    @abstractmethod
    def close(self) -> None:
        """Close every connection to the store. Closing twice is allowed."""

    async def aclose(self) -> None:
        """Close what `apush` opened on the event loop that runs, then do what `close` does, in a thread."""
        import asyncio

        await asyncio.to_thread(self.close)
