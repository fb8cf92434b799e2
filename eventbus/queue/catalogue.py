"""
The table of names: what a stored name stands for in this program.

Built from the listeners and the classes of jobs at start-up. A name from a store is only ever a key
into it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final, Literal

from attrs import define, field

from eventbus.dispatch.hints import NO_HINT, UnusableHint
from eventbus.dispatch.listeners import Listener, calling
from eventbus.dispatch.names import concerns, declaration, event_name
from eventbus.dispatch.targets import Target, describe
from eventbus.errors import DecodeError, EncodeError, InvalidJob, ListenError, UnknownName
from eventbus.queue.batch_step import BatchStep
from eventbus.queue.codec.document import Document
from eventbus.queue.codec.jsontext import JSON
from eventbus.queue.codec.typed import EventTypes, PayloadCodec, TypeCodec
from eventbus.queue.jobs import (
    Job,
    is_runnable,
    job_target,
    kinds_below,
    names_of,
    read_job,
    stored_name,
)
from eventbus.queue.options import QueueOptions, read_options
from eventbus.queue.results import codec_of
from eventbus.text import short

__all__ = ["Catalogue", "Decoder", "Entry", "is_wildcard"]

#: Wildcards hear names of all kinds, so their payloads are plain JSON.
_ANY: Final = PayloadCodec()

#: Decodes what documents carry that are alike: the event's name, and its payload.
Decoder = Callable[[Document], tuple[str, tuple[Any, ...]]]


@define(kw_only=True, eq=False)
class Entry:
    """A queued listener, or a class of jobs, under its stored name."""

    target: Target
    options: QueueOptions
    #: The class of jobs; None for a listener.
    job: type[Job] | None = None
    #: What it is registered for.
    events: list[type | str] = field(factory=list)
    _codec: PayloadCodec | None = field(init=False, default=None)
    _fields: TypeCodec | None = field(init=False, default=None)
    _answer: PayloadCodec | None = field(init=False, default=None)

    def fields(self, types: EventTypes) -> TypeCodec:
        """
        Return how jobs of this class are written and read; compiled once.

        Raises:
            EncodeError: It has a field of a type that cannot be stored.
        """
        if self._fields is None:
            assert self.job is not None  # asked of a class of jobs only
            self._fields = types.codec_for_jobs(self.job, self.options.name)
        return self._fields

    @property
    def codec(self) -> PayloadCodec:
        """
        How the payloads of names are written and read for this listener; compiled once.

        Raises:
            EncodeError: It has a hint of a type that cannot be stored.
        """
        if self._codec is None:
            # Two threads may do this at once; both make the same.
            self._codec = PayloadCodec(self.payload_hints(), event=self.options.name)
        return self._codec

    @property
    def answer(self) -> PayloadCodec:
        """
        How what it returns is written and read, alone in a list; compiled once.

        Raises:
            EncodeError: It says that it returns a type that cannot be stored.
        """
        if self._answer is None:
            self._answer = codec_of(self.target, self.options.name)
        return self._answer

    def check_hears(self, event: Any, name: str, *, wildcard: bool, envelope: str = "") -> None:
        """Refuse what the listener is not registered for, or not so: nothing of ours stored it."""
        if not concerns((one for one in self.events if is_wildcard(one) is wildcard), event, name):
            raise DecodeError(
                reason=f"{self.options.name} does not listen to {short(name)}", envelope=envelope
            )

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
    The queued listeners, the jobs and the event classes of a bus, by their stored names.

    Args:
        listeners: Every listener of the bus.
        modules: Names of the modules that were scanned for them.
        kinds: Classes of jobs that the bus knows, and what runs them in place of their `handle`.
            Those that become known here are added.

    Raises:
        ListenError: Two listeners, or two classes, have one name.
        InvalidJob: A class of jobs in a scanned module has the name of something else.
    """

    def __init__(
        self,
        listeners: Iterable[Listener],
        modules: Iterable[str],
        kinds: dict[type[Job], Target | None] | None = None,
    ) -> None:
        self.types = EventTypes()
        self._entries: dict[str, Entry] = {}
        self._kinds: Final = {} if kinds is None else kinds
        classes: dict[type, None] = {}
        for listener in listeners:
            if isinstance(listener.event, type):
                classes[listener.event] = None
            options = read_options(listener)
            if options is not None:
                self._add(listener, options)
        scanned = [sys.modules[one] for one in modules if one in sys.modules]
        found = [
            one for module in scanned for one in vars(module).values() if isinstance(one, type)
        ]
        classes |= dict.fromkeys(one for one in found if declaration(one))
        # A subclass counts where a worker is sure to import it: beside its parent, or where listeners are.
        homes = {module.__name__ for module in scanned} | {one.__module__ for one in classes}
        for cls in classes:
            self._add_class(cls, homes)
        #: Classes of jobs that this program has somewhere, by name; of two with one name the later.
        #: Every program has those of ours: a worker runs what others have enqueued.
        self._loaded: dict[str, type[Job]] = dict.fromkeys(names_of(BatchStep), BatchStep)
        # By id: any class of the program may be among them, and not all can be hashed.
        at_home = {id(one) for one in found}
        for kind in kinds_below(Job):
            names = names_of(kind) if is_runnable(kind) or self._kinds.get(kind) else ()
            self._loaded |= dict.fromkeys(names, kind)
            if names and (id(kind) in at_home or kind in self._kinds):
                self.job_entry(kind)

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

    def jobs(self) -> list[Entry]:
        """Return the classes of jobs of the scanned modules, and those that the bus knows."""
        return list({id(one): one for one in self._entries.values() if one.job}.values())

    def job_entry(self, cls: type[Job]) -> Entry:
        """
        Return what runs the jobs of a class, which is known from now on.

        Raises:
            InvalidJob: They cannot be run, or no worker could find their class by its name, or
                something else has that name.
        """
        name = stored_name(cls)
        entry = self._entries.get(name)
        if entry is None:
            target = self._kinds.get(cls) or job_target(cls)
            entry = Entry(target=target, options=read_job(cls), job=cls)
        for one in (name, *entry.options.aliases):
            known = self._entries.setdefault(one, entry)
            if known.job is not cls:
                raise InvalidJob(
                    job=describe(cls),
                    reason=f"{known.target.name} is stored under the name {one!r} as well",
                    remedy='Give one of them another: class Send(Job, name="...")',
                )
        self._kinds.setdefault(cls, None)
        return self._entries[name]

    def _add_class(self, cls: type, homes: set[str]) -> None:
        if cls is not object:
            self.types.add(cls)
        children: list[type] = type.__subclasses__(cls)
        # Of two with one name the later is meant: attrs and dataclasses make a class with slots anew,
        # and its first form lives on until the garbage collector comes by.
        for (module, _), child in {_place(one): one for one in children}.items():
            if module in homes:
                self._add_class(child, homes)

    def entry(self, name: str, kind: str = "listener") -> Entry:
        """
        Return the queued listener, or the class of jobs, of this name.

        Raises:
            UnknownName: There is none, here and now.
            InvalidJob: The class cannot be one of jobs.

        Defaults:
            kind = "listener": one of `KINDS`.
        """
        found = self._entries.get(name)
        if found is None and kind == "job" and name in self._loaded:
            found = self.job_entry(self._loaded[name])
        if found is None or (found.job is None) is (kind == "job"):
            raise UnknownName(kind=kind, name=short(name), known=tuple(self._entries))
        return found

    def document(
        self,
        listener: str,
        payload: tuple[Any, ...],
        *,
        id: str,
        event: str | None,
        options: Mapping[str, JSON],
        dispatched_at: datetime,
    ) -> Document:
        """
        Return the job of a queued listener, with what it carries encoded.

        Args:
            listener: Its stored name.
            payload: What was dispatched: an event object alone, or the arguments of a name.
            id: Of the job.
            event: The name that was dispatched; None for an event object.
            options: What was fixed at dispatch; `wildcard` if it gets name and payload.
            dispatched_at: When, in UTC.

        Raises:
            EncodeError: It cannot be stored.
        """
        version = 1
        if event is None:
            typed = self.types.codec_for(type(payload[0]))
            event, version, data = typed.name, typed.version, typed.encode(payload[0])
            kind: Literal["class", "args"] = "class"
        else:
            codec = _ANY if options.get("wildcard") else self.entry(listener).codec
            kind, data = "args", codec.encode(payload, event=event)
        return Document(
            id=id,
            kind="listener",
            name=listener,
            event=event,
            payload=kind,
            version=version,
            data=data,
            options=options,
            dispatched_at=dispatched_at,
        )

    def job_document(
        self,
        entry: Entry,
        job: Job,
        *,
        id: str,
        options: Mapping[str, JSON],
        dispatched_at: datetime,
    ) -> Document:
        """
        Return a job as it is stored, its fields encoded.

        Args:
            entry: That of its class.
            job: What is to run.
            id: Of the job.
            options: What was fixed when it was enqueued.
            dispatched_at: When, in UTC.

        Raises:
            EncodeError: It cannot be stored.
        """
        typed = entry.fields(self.types)
        return Document(
            id=id,
            kind="job",
            name=entry.options.name,
            event=None,
            payload="class",
            version=typed.version,
            data=typed.encode(job),
            options=options,
            dispatched_at=dispatched_at,
        )

    def payload(self, document: Document, entry: Entry) -> tuple[str, tuple[Any, ...]]:
        """
        Decode what a job carries: the event's name, and its payload, an event object alone in it.

        Of a `Job` these are its own name, and itself.

        Raises:
            DecodeError: It is not what this listener can have been queued with.
            UnknownName: Its event, or the version of it, is not known here.
        """
        return self.decoder(document, entry)(document)

    def decoder(self, document: Document, entry: Entry) -> Decoder:
        """
        Return what does as `payload` for a document, and for those that differ in id and data alone.

        Raises:
            DecodeError: As `payload`, as far as that does not depend on the data.
            UnknownName: As `payload`.
        """
        if entry.job is not None:
            return self._job_decoder(document, entry)
        if document.payload == "class":
            return self._event_decoder(document, entry)
        name, envelope = document.event or "", document.id
        wildcard = bool(document.options.get("wildcard"))
        entry.check_hears(name, name, wildcard=wildcard, envelope=envelope)
        try:
            codec = _ANY if wildcard else entry.codec
        except EncodeError as error:
            # The hint is newer than the job, or is read where it was never written.
            raise _unreadable(entry, error, envelope) from error
        return lambda one: (name, codec.decode(one.data, event=name, envelope=one.id))

    def _event_decoder(self, document: Document, entry: Entry) -> Decoder:
        typed = self.types.lookup(document.event or "", document.version, envelope=document.id)
        wildcard = bool(document.options.get("wildcard"))
        name = event_name(typed.cls)
        heard = False

        def decode(one: Document) -> tuple[str, tuple[Any, ...]]:
            nonlocal heard
            event = typed.decode(one.data, one.version, envelope=one.id)
            if not heard:
                entry.check_hears(event, name, wildcard=wildcard, envelope=one.id)
                heard = type(event) is typed.cls
            return name, (event,)

        return decode

    def _job_decoder(self, document: Document, entry: Entry) -> Decoder:
        try:
            typed = entry.fields(self.types)
        except EncodeError as error:
            # The field is newer than the job, or is read where it was never written.
            raise _unreadable(entry, error, document.id) from error
        name = entry.options.name
        return lambda one: (name, (typed.decode(one.data, one.version, envelope=one.id),))


def _unreadable(entry: Entry, error: EncodeError, envelope: str) -> DecodeError:
    return DecodeError(reason=f"{entry.options.name}: {error.reason}", envelope=envelope)


def _place(cls: type) -> tuple[str, str]:
    """Return module and name of a class, past its metaclass: any class of the program may be asked."""
    found = vars(type)
    return found["__module__"].__get__(cls), found["__qualname__"].__get__(cls)


def is_wildcard(event: type | str) -> bool:
    """Tell whether listeners of `event` get the name and the payload."""
    return calling(event) == "wildcard"
