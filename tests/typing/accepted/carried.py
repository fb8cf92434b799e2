"""Context variables that travel are named as such."""

from __future__ import annotations

from contextvars import ContextVar

from eventbus import EventBus

tenant: ContextVar[str] = ContextVar("tenant")
tags: ContextVar[list[str]] = ContextVar("tags")

bus = EventBus(connections={"default": "memory://"}, carry=[tenant, tags])
