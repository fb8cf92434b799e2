from __future__ import annotations

from eventbus import EventBus

EventBus(carry=["tenant"])  # error: mypy pyright
