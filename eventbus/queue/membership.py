"""What may be part of a plan, told apart by types without knowing any of it."""

from __future__ import annotations

from typing import ClassVar, Protocol

__all__ = ["PlanMember"]


class PlanMember(Protocol):
    """A job, a chain or a batch."""

    #: Says that it may be part of a chain or a batch.
    __plan_member__: ClassVar[bool]
