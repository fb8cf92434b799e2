"""What the parts of the suite share: the fixtures that a backend gives, and how to say the verbs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from secrets import token_hex
from threading import Barrier, Event
from typing import Final, TypeVar

import pytest

from eventbus.backends.base import Backend, Charge, Claim, FailedJob
from eventbus.queue.envelope import Envelope
from eventbus.testing.clock import ManualClock
from eventbus.values import new_id

__all__ = [
    "LONG",
    "SHORT",
    "Suite",
    "claim_all",
    "claim_from",
    "claim_one",
    "fail",
    "ids",
    "job",
    "needs",
    "pass_time",
    "settle",
]

#: A lease that ends within a test, in seconds: really waited for where a server's clock rules.
SHORT: Final = 0.2
LONG: Final = 600.0

_Answer = TypeVar("_Answer")


class Suite:
    """What each part builds on: the fixtures that a subclass gives or changes."""

    #: Threads that race in the tests of concurrency.
    threads: int = 4

    @pytest.fixture
    @abstractmethod
    def backend(self) -> Backend:
        """Return a backend whose store is empty."""
        raise NotImplementedError

    @pytest.fixture
    def clock(self) -> ManualClock | None:
        """Return the clock of `backend`; override it to return None where a server's clock rules."""
        return ManualClock()

    @pytest.fixture
    @abstractmethod
    def another(self) -> Callable[[], Backend]:
        """Return what makes a backend over the store of `backend`, as another process would."""
        raise NotImplementedError

    def race(self, act: Callable[[int], _Answer]) -> list[_Answer]:
        """Let all threads do `act` at once; return their answers, or raise what one raised."""
        start = Barrier(self.threads)

        def run(thread: int) -> _Answer:
            start.wait()
            return act(thread)

        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(run, range(self.threads)))


def job(
    id: str | None = None, *, queue: str = "jobs", body: bytes = b"{}", delay: float = 0.0
) -> Envelope:
    """Return an envelope, by default with an id of its own."""
    return Envelope(id=new_id() if id is None else id, queue=queue, body=body, delay=delay)


def ids(claims: list[Claim]) -> list[str]:
    """Return the ids of what was claimed, in order."""
    return [claim.envelope.id for claim in claims]


def claim_from(
    backend: Backend,
    queues: Sequence[str],
    *,
    limit: int = 100,
    lease: float = LONG,
    token: str | None = None,
) -> list[Claim]:
    """Claim from these queues, by default with a token of its own."""
    return backend.claim(queues, limit=limit, lease=lease, token=token or token_hex(16))


def claim_one(backend: Backend, *, queue: str = "jobs", lease: float = LONG) -> Claim:
    """Claim the one envelope that must be due."""
    [claim] = claim_from(backend, [queue], limit=1, lease=lease)
    return claim


def claim_all(backend: Backend, *, limit: int = 100, lease: float = LONG) -> list[Claim]:
    """Claim what is due, in one claim."""
    return claim_from(backend, ["jobs"], limit=limit, lease=lease)


def fail(backend: Backend, *, id: str = "a", queue: str = "jobs") -> FailedJob:
    """Have a failed job; nothing else may be due in `queue`."""
    backend.push([job(id, queue=queue)])
    backend.bury([claim_one(backend, queue=queue)], error="boom", charge=Charge.ERROR)
    [failed] = backend.failed(ids=[id], limit=10)
    return failed


def settle(backend: Backend, verb: str, claims: list[Claim]) -> list[Claim]:
    """Say one of the verbs that take claims; return what was stale."""
    verbs: dict[str, Callable[[], list[Claim]]] = {
        "extend": lambda: backend.extend(claims, lease=LONG),
        "ack": lambda: backend.ack(claims),
        "release": lambda: backend.release(claims, delay=0, charge=Charge.ATTEMPT),
        "bury": lambda: backend.bury(claims, error="stale", charge=Charge.ERROR),
    }
    return verbs[verb]()


def needs(backend: Backend, **capabilities: bool) -> None:
    """Skip a test of what `backend` declares not to do; the refusal has tests of its own."""
    lacking = [
        name
        for name, needed in capabilities.items()
        if needed and not getattr(backend.capabilities, name)
    ]
    if lacking:
        pytest.skip(f"declared unsupported: {', '.join(lacking)}")


def pass_time(clock: ManualClock | None, seconds: float) -> None:
    """Let `seconds` pass on the clock that rules."""
    if clock is None:
        # A server's clock cannot be moved; a little more, since it need not tick with ours.
        Event().wait(seconds * 1.1)
    else:
        clock.advance(seconds)
