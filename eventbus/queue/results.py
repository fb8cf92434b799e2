"""What a job leaves beside its queue for a while: its result, and how far it has come."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from eventbus.dispatch.hints import NO_HINT, UnusableHint
from eventbus.errors import BackendError
from eventbus.queue.codec.typed import PayloadCodec
from eventbus.text import short

if TYPE_CHECKING:
    from eventbus.backends.port import Port
    from eventbus.dispatch.targets import Target

__all__ = ["Kept", "codec_of", "kept", "progress_of", "report", "result_of"]

#: Progress is of any type that travels: there is no hint.
_PROGRESS: Final = PayloadCodec()
_OF_PROGRESS: Final = "the progress of a job"

_log = logging.getLogger("eventbus.queue")


@frozen(kw_only=True)
class Kept:
    """A result, as its job leaves it."""

    name: str
    value: bytes
    #: Seconds for which it is kept.
    life: float

    def keep(self, port: Port) -> None:
        """Keep it beside the jobs of a connection."""
        port.keep(self.name, self.value, life=self.life)


def codec_of(target: Target, name: str) -> PayloadCodec:
    """
    Return how what a target returns is written and read, alone in a list.

    Raises:
        EncodeError: It says that it returns a type that cannot be stored.
    """
    try:
        hint = target.hint("return")
    except UnusableHint:
        hint = NO_HINT
    return PayloadCodec(None if hint is NO_HINT else (hint,), event=_title(name))


def kept(answer: object, id: str, *, codec: PayloadCodec, name: str, life: float) -> Kept:
    """
    Return what is to be kept of what a job returned.

    Raises:
        EncodeError: It cannot be stored, or is not of the type that it says.
    """
    return Kept(name=f"result:{id}", value=codec.encode((answer,), event=_title(name)), life=life)


def result_of(port: Port, id: str, *, codec: PayloadCodec, name: str) -> tuple[Any, ...]:
    """
    Return the result of a job, by itself in a tuple; nothing in it where none is kept.

    Raises:
        DecodeError: What is kept is no such result.
    """
    found = port.kept(f"result:{id}")
    return () if found is None else codec.decode(found, event=_title(name), envelope=id)[:1]


def progress_of(port: Port, id: str) -> Any:
    """
    Return what a job said last of its progress; None where it said nothing.

    Raises:
        DecodeError: What is kept is nothing that it said.
    """
    found = port.kept(f"progress:{id}")
    if found is None:
        return None
    said = _PROGRESS.decode(found, event=_OF_PROGRESS, envelope=id)
    return said[0] if said else None


def report(port: Port, id: str, life: float, value: Any) -> None:
    """Keep what a job says of its progress; where the store is away, that is a warning in the log."""
    said = _PROGRESS.encode((value,), event=_OF_PROGRESS)
    try:
        port.keep(f"progress:{id}", said, life=life)
    except BackendError as error:
        # The work goes on: it is only that nobody sees how far it is.
        _log.warning(
            "the progress of job %s was not kept: %s",
            short(id),
            short(str(error)),
            extra={"job": {"id": id}},
        )


def _title(name: str) -> str:
    return f"the result of {name}"
