"""
The table of names: what a stored name stands for in this program.

Built from the listeners at start-up. A name from a store is only ever a key into it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from attrs import define, field

from eventbus.dispatch.hints import NO_HINT, UnusableHint
from eventbus.dispatch.listeners import Listener, calling
from eventbus.dispatch.names import concerns, declaration, event_name
from eventbus.dispatch.targets import Target
from eventbus.errors import DecodeError, ListenError, UnknownName
from eventbus.queue.codec.document import Document
from eventbus.queue.codec.typed import EventTypes, decode_payload
from eventbus.queue.options import QueueOptions, read_options

__all__ = ["Catalogue", "Entry", "is_wildcard"]


@define(kw_only=True, eq=False)
class Entry:
    """A queued listener, under its stored name."""

    target: Target
    options: QueueOptions
    #: What it is registered for.
    events: list[type | str] = field(factory=list)

    def check_hears(self, event: Any, name: str, *, wildcard: bool) -> None:
        """Refuse what the listener is not registered for, or not so: nothing of ours stored it."""
        if not concerns((one for one in self.events if is_wildcard(one) is wildcard), event, name):
            raise DecodeError(reason=f"{self.options.name} does not listen to {name}")

    def payload_hints(self) -> tuple[Any, ...] | None:
        """Return the hints of the parameters that a name's payload goes to; None if one has none."""
        hints: list[Any] = []
        for one in self.target.parameters or ():
            if not one.positional:
                continue
            try:
                hint = self.target.hint(one.name)
            except UnusableHint:
                return None
            if one.variadic or hint is NO_HINT:
                return None
            hints.append(hint)
        return tuple(hints)


class Catalogue:
    """
    The queued listeners and the event classes of a bus, by their stored names.

    Args:
        listeners: Every listener of the bus.
        modules: Names of the modules that were scanned for them.

    Raises:
        ListenError: Two listeners, or two classes, have one name.
    """

    def __init__(self, listeners: Iterable[Listener], modules: Iterable[str]) -> None:
        self.types = EventTypes()
        self._entries: dict[str, Entry] = {}
        classes: dict[type, None] = {}
        for listener in listeners:
            if isinstance(listener.event, type):
                classes[listener.event] = None
            options = read_options(listener)
            if options is not None:
                self._add(listener, options)
        scanned = [sys.modules[one] for one in modules if one in sys.modules]
        for module in scanned:
            for thing in vars(module).values():
                if isinstance(thing, type) and declaration(thing):
                    classes[thing] = None
        # A subclass counts where a worker is sure to import it: beside its parent, or where listeners are.
        homes = {module.__name__ for module in scanned} | {one.__module__ for one in classes}
        for cls in classes:
            self._add_class(cls, homes)

    def _add(self, listener: Listener, options: QueueOptions) -> None:
        entry = self._entries.get(options.name)
        if entry is None:
            entry = Entry(target=listener.target, options=options)
        elif entry.target.identity != listener.target.identity:
            raise ListenError(
                listener=listener.name,
                reason=f"{entry.target.name} is stored under the name {options.name!r} as well",
                remedy='Give one of them another: `name = "..."`',
            )
        entry.events.append(listener.event)
        for name in (options.name, *options.aliases):
            known = self._entries.setdefault(name, entry)
            if known is not entry:
                raise ListenError(
                    listener=listener.name,
                    reason=f"its alias {name!r} is the name of {known.target.name}",
                    remedy="Every name stands for one listener",
                )

    def _add_class(self, cls: type, homes: set[str]) -> None:
        if cls is not object:
            self.types.add(cls)
        children: list[type] = type.__subclasses__(cls)
        # Of two with one name the later is meant: attrs and dataclasses make a class with slots anew,
        # and its first form lives on until the garbage collector comes by.
        for child in {(one.__module__, one.__qualname__): one for one in children}.values():
            if child.__module__ in homes:
                self._add_class(child, homes)

    def entry(self, name: str) -> Entry:
        """
        Return the queued listener of this name.

        Raises:
            UnknownName: There is none, here and now.
        """
        try:
            return self._entries[name]
        except KeyError:
            raise UnknownName(kind="listener", name=name, known=tuple(self._entries)) from None

    def payload(self, document: Document, entry: Entry) -> tuple[str, tuple[Any, ...]]:
        """
        Decode what a job carries: the event's name, and its payload, an event object alone in it.

        Raises:
            DecodeError: It is not what this listener can have been queued with.
            UnknownName: Its event, or the version of it, is not known here.
        """
        name = document.event or ""
        wildcard = bool(document.options.get("wildcard"))
        if document.payload == "class":
            codec = self.types.lookup(name, document.version)
            event = codec.decode(document.data, document.version, envelope=document.id)
            name = event_name(type(event))
            entry.check_hears(event, name, wildcard=wildcard)
            return name, (event,)
        entry.check_hears(name, name, wildcard=wildcard)
        hints = None if wildcard else entry.payload_hints()
        return name, decode_payload(document.data, hints, event=name, envelope=document.id)

    def entries(self) -> list[Entry]:
        """Return every queued listener once."""
        return list({id(one): one for one in self._entries.values()}.values())


def is_wildcard(event: type | str) -> bool:
    """Tell whether listeners of `event` get the name and the payload."""
    return calling(event) == "wildcard"
