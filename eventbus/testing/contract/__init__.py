"""
The suite that every backend passes, ours and third parties'.

Subclass `BackendContract` in a test module, give it a `backend`, and pytest runs it. Its parts stand
beside this module, the tests in each in the order of `eventbus.backends.base`. For each capability
both answers are tested: what a backend declares it must do, and what it does not declare it must
refuse.
"""

from __future__ import annotations

from eventbus.testing.contract.batching import Batching
from eventbus.testing.contract.chaining import Chaining
from eventbus.testing.contract.claiming import Claiming
from eventbus.testing.contract.exchanging import Exchanging
from eventbus.testing.contract.failing import Failing
from eventbus.testing.contract.limiting import Limiting
from eventbus.testing.contract.looking import Looking
from eventbus.testing.contract.nesting import Nesting
from eventbus.testing.contract.pushing import Pushing
from eventbus.testing.contract.settling import Settling
from eventbus.testing.contract.telling import Telling
from eventbus.testing.contract.uniqueness import Uniqueness

__all__ = ["BackendContract"]


class BackendContract(
    Pushing,
    Claiming,
    Settling,
    Exchanging,
    Failing,
    Looking,
    Telling,
    Limiting,
    Uniqueness,
    Chaining,
    Batching,
    Nesting,
):
    """
    The tests. A subclass gives the fixtures `backend` and `another`.

    Example:
        >>> import pytest
        >>> from eventbus.backends.memory import MemoryBackend
        >>> from eventbus.testing import ManualClock
        >>> class TestMemory(BackendContract):
        ...     @pytest.fixture
        ...     def backend(self, clock: ManualClock) -> MemoryBackend:
        ...         return MemoryBackend(clock=clock)
        ...
        ...     @pytest.fixture
        ...     def another(self) -> type[MemoryBackend]:
        ...         return MemoryBackend
    """
