"""The contract, over memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from eventbus.backends.base import Backend
from eventbus.backends.memory import MemoryBackend
from eventbus.testing.clock import ManualClock
from eventbus.testing.contract import BackendContract


class OneProcess(BackendContract):
    @pytest.fixture
    def another(self) -> Callable[[], Backend]:
        return MemoryBackend


class TestMemory(OneProcess):
    @pytest.fixture
    def backend(self, clock: ManualClock) -> Backend:
        return MemoryBackend(clock=clock)


class TestMemoryOnTheMachinesClock(OneProcess):
    """As a backend whose server rules the clock: time is really waited for."""

    @pytest.fixture
    def clock(self) -> None:
        return None

    @pytest.fixture
    def backend(self) -> Backend:
        return MemoryBackend()
