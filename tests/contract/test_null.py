"""What `null://` does instead of keeping the contract: it stores nothing, and says so."""

from __future__ import annotations

from datetime import UTC, datetime
from secrets import token_hex

import pytest

from eventbus.backends.base import Charge, Claim, Sizes
from eventbus.backends.null import NullBackend
from eventbus.errors import UnsupportedOption
from eventbus.queue.envelope import Envelope

ENVELOPE = Envelope(id="a", queue="jobs", body=b"{}", delay=3)
CLAIM = Claim(envelope=ENVELOPE, token="t", pushed_at=datetime.now(UTC))


@pytest.fixture
def backend():
    backend = NullBackend()
    yield backend
    backend.close()
    backend.close()


def test_what_is_pushed_is_never_seen_again(backend):
    backend.push([ENVELOPE])

    assert backend.claim(["jobs"], limit=10, lease=60, token=token_hex(16)) == []
    assert backend.size("jobs") == Sizes()
    assert backend.next_due(["jobs"]) is None
    assert backend.clear("jobs") == 0
    assert backend.cancel(["a"]) == []
    assert backend.queues() == []
    assert backend.peek(limit=10) == []
    assert backend.find(["a"]) == []
    backend.keep("result:a", b"1", life=60)
    assert backend.kept("result:a") is None


def test_every_claim_is_stale(backend):
    assert backend.extend([CLAIM], lease=60) == [CLAIM]
    assert backend.ack([CLAIM]) == [CLAIM]
    assert backend.release([CLAIM], delay=0, charge=Charge.ATTEMPT, parked="why") == [CLAIM]
    assert backend.bury([CLAIM], error="boom", charge=Charge.ERROR) == [CLAIM]


def test_nobody_can_be_told_anything(backend):
    """A pause or restart that no worker would hear is refused."""
    with pytest.raises(UnsupportedOption, match="flags"):
        backend.flag("restart", "1")
    assert backend.flags() == {}
    assert backend.bell(["jobs"]) is None


def test_failed_jobs_are_declared_unsupported(backend):
    assert not backend.capabilities.failed_jobs
    for ask in (
        lambda: backend.failed(limit=1),
        lambda: backend.revive(["a"]),
        lambda: backend.purge(["a"]),
    ):
        with pytest.raises(UnsupportedOption):
            ask()
