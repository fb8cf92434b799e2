"""
What is asked of a Redis server, and what its refusals mean.

Three things are said apart that a driver does not: nothing was sent, it is not known what the server did, the
server refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha1
from typing import Any, Final, NamedTuple

from attrs import field, frozen

from eventbus.backends.sections import sections
from eventbus.errors import (
    AccessDenied,
    BackendError,
    BackendUnavailable,
    EventBusError,
    StoreDamaged,
    UnsupportedOption,
)

__all__ = [
    "Answer",
    "Call",
    "Moved",
    "Nonsense",
    "NotSent",
    "Script",
    "Unanswered",
    "code_of",
    "driver_error",
    "is_refusal",
    "means_nothing_was_done",
    "ours_in",
    "refusal",
    "scripts",
    "told",
]

#: Before each part of the prelude; its name.
_PART: Final = re.compile(r"^(?=local (?:function )?(\w+))", re.MULTILINE)
_WORD: Final = re.compile(r"\w+")

#: What only reads may be asked of a server that is full, and what frees room must be.
_FLAGS: Final[Mapping[str, str]] = {
    "push": "",
    "push_unique": "",
    "push_members": "",
    "open": "",
    "revive": "",
    "flag": "",
    # A replica is asked as well, and one that lost its master.
    "allowed": " flags=no-writes,allow-oom,allow-stale",
}

#: What a script answers, where it is no list.
_ANSWERS: Final[Mapping[str, tuple[type, ...]]] = {
    "push": (int,),
    "push_members": (int,),
    "open": (int,),
    "link": (int,),
    "take": (int,),
    "cancel_batch": (int,),
    "ack_counted": (list, type(None)),
    "next_due": (bytes, type(None)),
    "kept": (bytes, type(None)),
    "spend": (bytes,),
    "turn": (bytes,),
    "enter": (bytes,),
    "leave": (int,),
}


@frozen
class Script:
    """A section of `scripts/redis.lua`, as the server keeps it."""

    name: str
    #: The last part of each key that it gets for a queue.
    parts: tuple[str, ...]
    source: bytes = field(repr=False)
    sha: str = field(repr=False)
    #: What it answers.
    answers: tuple[type, ...]


def scripts() -> Mapping[str, Script]:
    """
    Return what the server does by itself, by its name.

    Example:
        >>> scripts()["share"].parts
        ('leases',)
    """
    found = dict(sections("redis.lua"))
    prelude = _PART.split(found.pop("prelude"))
    parts = [
        (name, code, set(_WORD.findall(code)))
        for name, code in zip(prelude[1::2], prelude[2::2], strict=True)
    ]
    return {name: _script(name, parts, text) for name, text in found.items()}


def _script(name: str, prelude: Sequence[tuple[str, str, set[str]]], text: str) -> Script:
    keys, _, body = text.partition("\n")
    # Only what it needs: the server makes each function anew whenever it runs the script.
    needed = set(_WORD.findall(body))
    for part, code, words in reversed(prelude):
        if part in needed:
            body = code + body
            needed |= words
    # Without a flag a server that is full refuses it before it has begun; the others free room, or take none,
    # or, as `keep`, are what has to be done first.
    flags = _FLAGS.get(name, " flags=allow-oom")
    source = f"#!lua{flags}\n{body}".encode()
    parts = tuple(keys.removeprefix("-- keys:").split())
    sha = sha1(source, usedforsecurity=False).hexdigest()
    return Script(name, parts, source, sha, answers=_ANSWERS.get(name, (list,)))


class Call(NamedTuple):
    """One command: what routes it, its words, and the script that it runs, if it runs one."""

    key: str
    words: tuple[Any, ...]
    script: Script | None = None

    def followed_by(self, words: Iterable[Any]) -> Call:
        """Return the call with more words."""
        return self._replace(words=(*self.words, *words))

    def is_answered_by(self, reply: object) -> bool:
        """Tell whether a reply can be one to this call."""
        return self.script is None or isinstance(reply, self.script.answers)


class Answer(NamedTuple):
    """What was answered to each call; and whether they were sent twice, the first time with no answer."""

    replies: list[Any]
    repeated: bool = False


class Unanswered(Exception):  # noqa: N818 -- says what it is; it never leaves the backend
    """It was sent, and what the server did with it is not known."""


class NotSent(Exception):  # noqa: N818 -- as above
    """There is no connection: the server knows nothing of it."""


class Moved(Exception):  # noqa: N818 -- as above
    """The server is not, or not any more, the one to ask; it has done nothing."""


class Nonsense(Exception):  # noqa: N818 -- as above
    """What the server answered is no answer to what was asked."""


#: What a driver calls some refusals, and their first words on the wire, which it keeps to itself. Which of them
#: it knows depends on its version.
_CODES: Final[Mapping[str, str]] = {
    "AskError": "ASK",
    "AuthenticationError": "NOAUTH",
    "AuthenticationWrongNumberOfArgsError": "NOAUTH",
    "AuthorizationError": "NOAUTH",
    "BusyLoadingError": "LOADING",
    "ClusterCrossSlotError": "CROSSSLOT",
    "ClusterDownError": "CLUSTERDOWN",
    "MasterDownError": "MASTERDOWN",
    "MovedError": "MOVED",
    "NoPermissionError": "NOPERM",
    "NoScriptError": "NOSCRIPT",
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
    "TryAgainError": "TRYAGAIN",
}

#: By that word: what a refusal means for us. What is in none of these is like the first.
_LATER: Final = (
    *("BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF", "NOREPLICAS", "NOSCRIPT", "OOM"),
    *("READONLY", "TRYAGAIN", "UNKILLABLE"),
)
_DENIED: Final = ("DENIED", "NOAUTH", "NOPERM", "WRONGPASS")
_ELSEWHERE: Final = ("ASK", "CROSSSLOT", "MOVED")
_CROWDED: Final = "max number of clients reached"


def code_of(error: BaseException) -> str:
    """
    Return the first word of a refusal.

    Example:
        >>> code_of(Exception("MISCONF disk"))
        'MISCONF'
    """
    return _CODES.get(type(error).__name__) or told(error).partition(" ")[0]


def is_refusal(reply: object, *codes: str) -> bool:
    """Tell whether a reply is a refusal that begins with one of these words."""
    return isinstance(reply, Exception) and code_of(reply) in codes


def refusal(error: BaseException, *, backend: str, operation: str) -> BackendError:
    """
    Return what an error that the server answered means.

    Example:
        >>> refusal(Exception("MISCONF disk"), backend="redis://h", operation="push").retryable
        True
    """
    code, text = code_of(error), told(error)
    if code in _DENIED:
        return AccessDenied(backend=backend, operation=operation, reason=text)
    if code in _ELSEWHERE:
        known = "being asked alone, as a node of a cluster (its URL begins with redis+cluster://)"
        return UnsupportedOption(backend=backend, capability=known)
    if code not in _LATER:
        if "compiling script" in text:
            return UnsupportedOption(backend=backend, capability="scripts of Redis 7")
        if "WRONGTYPE" in text or "script" in text.lower():
            return StoreDamaged(backend=backend, operation=operation, reason=text)
    return BackendUnavailable(backend=backend, operation=operation, reason=text)


def means_nothing_was_done(error: BaseException | None) -> bool:
    """Tell whether an error with which a driver cuts a connection off is the server's refusal."""
    if error is None:
        return False
    return code_of(error) in (*_DENIED, *_LATER) or _CROWDED in told(error)


def driver_error(errors: Any) -> type[Exception]:
    """Return the class of all errors of a driver; each library has a name of its own for it."""
    found: type[Exception] = errors.ResponseError.__base__
    return found


def told(error: BaseException) -> str:
    """Return the text of an error, or its class where it has none."""
    return f"{error}" or type(error).__name__


def ours_in(error: BaseException, *, since: BaseException | None) -> EventBusError | None:
    """
    Return the error of ours that a driver's came of, if it did.

    A run that is over its time is ended by an error that is raised in the midst of whatever it does. Drivers
    take one that is a `TimeoutError` for their own.

    Args:
        error: What the driver raised.
        since: What was being handled before the driver was called: all that came after it is of the driver.
    """
    seen: BaseException | None = error
    while seen is not None and seen is not since:
        if isinstance(seen, EventBusError):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None
