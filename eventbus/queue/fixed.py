"""What is fixed when a job is dispatched, and travels in its document's `options`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from attrs import field, frozen

from eventbus.errors import DecodeError
from eventbus.queue.codec.jsontext import JSON
from eventbus.text import short

__all__ = ["Fixed", "read_fixed"]


@frozen(kw_only=True)
class Fixed:
    """What one dispatch has fixed for one job; only what differs from this is written."""

    #: The listener gets the name and the payload.
    wildcard: bool = False
    #: Until when the job is tried, in UTC.
    deadline: datetime | None = None
    #: What lists call the listener, where they do not know its class.
    display_name: str = ""
    #: How many jobs in a row have each queued the next, until this one.
    hops: int = 0
    #: The events of the latest of them, the oldest first.
    trail: tuple[str, ...] = ()
    #: The context variables that travel with it, by name.
    context: Mapping[str, JSON] = field(factory=dict[str, JSON])
    #: The id of the batch about which it is, where it is no member of it.
    batch: str = ""

    def written(self) -> dict[str, JSON]:
        """Return it as it is stored."""
        found: dict[str, JSON] = {}
        if self.wildcard:
            found["wildcard"] = True
        if self.deadline is not None:
            found["retry_until"] = self.deadline.isoformat()
        if self.display_name:
            found["display_name"] = self.display_name
        if self.hops:
            found["hops"] = self.hops
            found["trail"] = list(self.trail)
        if self.context:
            found["context"] = dict(self.context)
        if self.batch:
            found["batch"] = self.batch
        return found


_NOTHING: Final = Fixed()

_OPTIONS: Final = frozenset({
    "wildcard", "retry_until", "display_name", "hops", "trail", "context", "batch",
})  # fmt: skip


def read_fixed(options: Mapping[str, Any], *, envelope: str = "") -> Fixed:
    """
    Return what a document's `options` fix.

    Raises:
        DecodeError: One of them is not what was ever written there, or is none: a later form of the
            document, with other options, has another "v".
    """
    if not options:
        return _NOTHING
    if unknown := options.keys() - _OPTIONS:
        names = ", ".join(sorted(map(short, unknown)))
        raise DecodeError(reason=f"it has unknown options: {short(names)}", envelope=envelope)
    wildcard = options.get("wildcard", False)
    hops = options.get("hops", 0)
    trail = options.get("trail", [])
    name = options.get("display_name", "")
    context = options.get("context", {})
    batch = options.get("batch", "")
    if type(wildcard) is not bool:
        raise DecodeError(reason="its wildcard is neither true nor false", envelope=envelope)
    if type(hops) is not int or hops < 0:
        raise DecodeError(reason="its hops are no number", envelope=envelope)
    if not isinstance(trail, list) or not all(isinstance(one, str) for one in trail):
        raise DecodeError(reason="its trail is no list of names", envelope=envelope)
    if not isinstance(name, str):
        raise DecodeError(reason="its display name is no text", envelope=envelope)
    if not isinstance(context, dict):
        raise DecodeError(reason="its context is no object", envelope=envelope)
    if not isinstance(batch, str):
        raise DecodeError(reason="its batch is no text", envelope=envelope)
    return Fixed(
        wildcard=wildcard,
        deadline=_instant(options["retry_until"], envelope) if "retry_until" in options else None,
        display_name=short(name),
        hops=hops,
        trail=tuple(short(one) for one in trail),
        context=context,
        batch=short(batch),
    )


def _instant(value: object, envelope: str) -> datetime:
    try:
        found = datetime.fromisoformat(value)  # type: ignore[arg-type]
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        pass  # refused below
    raise DecodeError(reason="its retry_until is no instant with an offset", envelope=envelope)
