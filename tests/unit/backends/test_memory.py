"""What the contract cannot see of the memory backend: forks."""

from __future__ import annotations

import os

from eventbus.backends.base import Sizes
from eventbus.backends.memory import MemoryBackend
from eventbus.queue.envelope import Envelope


def test_a_forked_child_has_nothing_to_run_a_second_time():
    backend = MemoryBackend()
    backend.push([Envelope(id="a", queue="jobs", body=b"{}")])

    child = os.fork()
    if not child:
        backend._own.lock.acquire()  # as a thread that the child does not have would have
        backend.push([Envelope(id="b", queue="jobs", body=b"{}")])
        os._exit(backend.size("jobs") != Sizes(ready=1))

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert backend.size("jobs") == Sizes(ready=1)
