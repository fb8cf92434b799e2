"""Talk to the nodes of a Redis cluster: who has which slot is asked of them, and followed where it moves."""

from __future__ import annotations

import time
from binascii import crc_hqx
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from typing_extensions import override

from eventbus.backends.redis_calls import Call, Moved, NotSent, Unanswered, is_refusal, told
from eventbus.backends.redis_lines import Line, Maker, OwnLine, at_once
from eventbus.backends.redis_link import Link
from eventbus.defaults import REDIS_CLUSTER_PATIENCE, REDIS_CLUSTER_PAUSE

__all__ = ["ClusterLink", "slot_of"]

_SLOTS: Final = 16_384

#: What becomes right by itself in a moment.
_AGAIN: Final = ("ASK", "MOVED", "TRYAGAIN")

_MOVING: Final = "its slots are being moved"
_NO_OWNER: Final = "no node has the slot"

#: Where a node is.
Place = tuple[str, int]


class ClusterLink(Link):
    """
    The nodes of a cluster: each call goes to the one that has the slot of its key.

    Args:
        maker: Makes connections to a node, once it is told where that is.
        seeds: Where some nodes are; the others are found by asking them.
        name: What the cluster is called in errors.
        twin: As that of a `Link`.
    """

    spans = False

    def __init__(
        self,
        maker: Maker,
        seeds: Sequence[Place],
        *,
        name: str,
        twin: Callable[[], Link] | None = None,
    ) -> None:
        super().__init__(name=name, twin=twin)
        self._maker = maker
        self._seeds = tuple(seeds)
        self._nodes: dict[Place, Line] = {}
        #: Who has which slot, as far as is known.
        self._owners: dict[int, Place] = {}
        #: Whether that may have changed.
        self._is_stale = True
        #: The node that did not answer last; it is asked last.
        self._silent: Place | None = None

    @override
    def _any_maker(self) -> Maker:
        return self._maker.at(*next(self._places()))

    @override
    def _lines(self) -> Iterable[Line]:
        return self._nodes.values()

    @override
    def servers(self) -> Mapping[str, Maker]:
        operation = "examine"
        try:
            self._owners = at_once(self._learnt())
        except NotSent as error:
            raise self._not_sent(operation, error) from error.__cause__
        places = sorted(set(self._owners.values()))
        return {f"{host}:{port}": self._maker.at(host, port) for host, port in places}

    def _places(self) -> Iterator[Place]:
        """Return where nodes are, those first that are most likely to answer."""
        known = dict.fromkeys((*self._nodes, *self._owners.values(), *self._seeds))
        yield from sorted(known, key=lambda place: place == self._silent)

    @override
    async def _asked(self, calls: Sequence[Call]) -> list[Any]:
        """Ask node after node; what has moved is followed, until patience ends."""
        ends = time.monotonic() + REDIS_CLUSTER_PATIENCE
        replies: list[Any] = [None] * len(calls)
        left = list(range(len(calls)))
        try:
            while True:
                by_place: dict[Place, list[int]] = {}
                for index in left:
                    by_place.setdefault(await self._owner(calls[index]), []).append(index)
                for place, indexes in by_place.items():
                    await self._ask_node(place, calls, indexes, replies)
                left = [index for index in left if is_refusal(replies[index], *_AGAIN)]
                if not left:
                    return replies
                if time.monotonic() > ends:
                    raise Moved(_MOVING) from replies[left[0]]
                await self._maker.pause(REDIS_CLUSTER_PAUSE)
        except (NotSent, Moved) as error:
            if all(reply is None or isinstance(reply, Exception) for reply in replies):
                raise
            raise Unanswered(told(error)) from error.__cause__

    async def _ask_node(
        self, place: Place, calls: Sequence[Call], indexes: Sequence[int], replies: list[Any]
    ) -> None:
        """Send some of the calls to a node, and put its replies where they belong."""
        try:
            found = await self._talk(self._line(place), [calls[index] for index in indexes])
        except (NotSent, Moved, Unanswered):
            self._is_stale, self._silent = True, place
            await self._forget(place)
            raise
        for index, reply in zip(indexes, found, strict=True):
            replies[index] = reply
            if is_refusal(reply, "MOVED"):
                self._owners[slot_of(calls[index].key)] = _place_in(reply, place)
            elif is_refusal(reply, "ASK"):
                other = self._line(_place_in(reply, place))
                [replies[index]] = await self._talk(other, [calls[index]], asking=True)

    def _line(self, place: Place) -> Line:
        line = self._nodes.get(place)
        if line is None:
            line = self._nodes[place] = OwnLine(self._maker.at(*place))
        return line

    async def _forget(self, place: Place) -> None:
        line = self._nodes.pop(place, None)
        if line is not None:
            await line.empty()

    async def _owner(self, call: Call) -> Place:
        """Return which node has the slot of a call's key."""
        if self._is_stale:
            self._owners = await self._learnt()
            self._is_stale = False
            for place in set(self._nodes).difference(self._owners.values()):
                await self._forget(place)
        owner = self._owners.get(slot_of(call.key))
        if owner is None:
            self._is_stale = True
            raise NotSent(_NO_OWNER)
        return owner

    async def _learnt(self) -> dict[int, Place]:
        """Ask the nodes, one after the other, who of them has which slot, until one knows."""
        last = NotSent("no node is known")
        for place in self._places():
            try:
                [reply] = await self._talk(self._line(place), [Call("", ("CLUSTER", "SLOTS"))])
            except (NotSent, Moved, Unanswered) as error:
                last = NotSent(told(error))
                last.__cause__ = error.__cause__
                await self._forget(place)
                continue
            if isinstance(reply, Exception):
                last = NotSent(told(reply))
                last.__cause__ = reply
                continue
            if owners := _owners_in(reply, place):
                return owners
            last = NotSent("a node knows no owner of any slot")
        raise last


def _place_in(reply: Exception, asked: Place) -> Place:
    """Return where a node sends us: to another port of its own host, or nowhere, where it does not say."""
    host, _, port = told(reply).rpartition(" ")[2].rpartition(":")
    return (host or asked[0], int(port)) if port.isdecimal() else asked


def slot_of(key: str) -> int:
    """
    Return the slot of a key: that of what is in braces.

    Example:
        >>> slot_of("eventbus:{emails}:line") == slot_of("emails")
        True
    """
    _, _, rest = key.partition("{")
    tag, brace, _ = rest.partition("}")
    return crc_hqx((tag if brace and tag else key).encode(), 0) % _SLOTS


def _owners_in(reply: Any, asked: Place) -> dict[int, Place]:
    """Return who has which slot, as a node tells it; nothing of what it cannot mean."""
    owners: dict[int, Place] = {}
    with suppress(AttributeError, TypeError, ValueError):
        for first, last, (host, port, *_), *_ in reply:
            # A node that does not know its own name is where it was asked.
            place = (host.decode() if host else asked[0], int(port))
            owners.update(dict.fromkeys(range(max(first, 0), min(last, _SLOTS - 1) + 1), place))
    return owners
