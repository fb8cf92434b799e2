"""
A proxy between a client and a server that does to their messages what networks do.

It knows where a message of Redis' protocol ends, so a fault can be put at the k-th one, or at any byte.
Messages are counted over all connections, from one, since the proxy was last told to count anew.
`up` is the way to the server, `down` the way back.
"""

from __future__ import annotations

import itertools
import random
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from enum import Enum
from typing import Any, Self

from attrs import define, field

from tests.servers import await_that, free_port

__all__ = ["Deed", "Proxy", "Way", "end_of_message"]

#: Seconds after which a thread of the proxy that does not end is a failure.
DEADLINE = 10.0


class Deed(Enum):
    """What becomes of a message."""

    PASS = "pass"
    #: It is swallowed, and the connection goes on.
    DROP = "drop"
    #: It is swallowed, and the connection is reset.
    CUT = "cut"
    #: It is passed on, but its answer is not: the connection is reset once there is one. Of requests.
    LOSE = "lose"


@define
class Way:
    """One direction: what is done to everything that goes there, and how much has gone."""

    #: Swallow everything, its end too, and say nothing.
    black_hole: bool = False
    #: Seconds that each message takes, and seconds that it may take more, by chance.
    delay: float = 0.0
    jitter: float = 0.0
    #: Most bytes that are written at once; 0 is no limit.
    slices: int = 0
    #: Bytes a second; 0 is no limit.
    rate: float = 0.0
    #: After so many more bytes the connection is reset, in the middle of a message or not.
    cut_after: int | None = None
    #: Asked about each message, by its number; and what to do with certain numbers. Bytes are an answer
    #: to a request, which the server then does not hear.
    judge: Callable[[int, bytes], Deed | bytes | None] | None = None
    deeds: dict[int, Callable[[], Deed | bytes | None]] = field(factory=dict)
    messages: int = 0
    bytes: int = 0


class Proxy:
    """
    Listens at a loopback port for as long as its `with` block, and passes on to another.

    Args:
        target: The port of the server.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.up, self.down = Way(), Way()
        #: How many connections were made to it, ever.
        self.accepted = 0
        self._lock = threading.Lock()
        self._flows = threading.Event()
        self._flows.set()
        self._over = threading.Event()
        self._links: list[_Link] = []
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None
        self.port = free_port()

    def __enter__(self) -> Self:
        self.accept()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._flows.set()
        self.refuse()
        self.reset()
        for thread in self._threads:
            thread.join(DEADLINE)
            assert not thread.is_alive()

    # What is done to connections.

    def refuse(self) -> None:
        """Refuse new connections, as a port where nothing listens does."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(OSError):  # wakes the thread that waits
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def accept(self) -> None:
        """Accept connections, again, at the port it had."""
        self._listener = listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        self._run(self._listen, listener)

    def reset(self) -> None:
        """Reset all connections there are."""
        with self._lock:
            links, self._links = self._links, []
        for link in links:
            link.reset()

    def await_end(self) -> None:
        """Wait until all that was said has come through, of clients that are dead or have ended."""
        await_that(lambda: not self._links, said="every connection has ended", deadline=DEADLINE)

    def pause(self) -> None:
        """Hold everything back."""
        self._flows.clear()

    def resume(self) -> None:
        """Let go what was held back."""
        self._flows.set()

    # What is done to messages.

    def mend(self) -> None:
        """Pass everything on, from the next message on, and count anew."""
        self.up, self.down = Way(), Way()
        self.resume()

    def at(self, way: Way, number: int, deed: Callable[[], Deed | bytes | None]) -> None:
        """Call `deed` as the message of this number is about to be passed on; it may say what to do."""
        way.deeds[way.messages + number] = deed

    @contextmanager
    def black_hole(self, *ways: Way) -> Generator[None]:
        """Swallow everything in this block, both ways by default; what was swallowed is reset then."""
        holes = ways or (self.up, self.down)
        for way in holes:
            way.black_hole = True
        yield
        for way in holes:
            way.black_hole = False
        # What comes back half is no protocol: a network that is whole again would send it all anew.
        self.reset()

    # How it works.

    def _run(self, work: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        with self._lock:
            self._threads = [one for one in self._threads if one.is_alive()]
            thread.start()
            self._threads.append(thread)

    def _listen(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                _reset(client)
                continue
            link = _Link(client, server)
            with self._lock:
                self.accepted += 1
                self._links.append(link)
            if self._listener is not listener:
                self.reset()  # it was told to refuse just then
            self._run(self._pump, link, True)
            self._run(self._pump, link, False)

    def _pump(self, link: _Link, is_up: bool) -> None:
        source, sink = (link.client, link.server) if is_up else (link.server, link.client)
        try:
            self._pass_on(link, source, sink, is_up=is_up)
        except OSError:  # reset, by us or by the other side
            link.broken(is_up=is_up)
        if link.way_ended():
            link.close()
            with self._lock:
                self._links = [one for one in self._links if one is not link]

    def _pass_on(
        self, link: _Link, source: socket.socket, sink: socket.socket, *, is_up: bool
    ) -> None:
        held = b""
        while chunk := source.recv(65_536):
            arrived = time.monotonic()
            held += chunk
            while end := end_of_message(held):
                message, held = held[:end], held[end:]
                if not self._deliver(link, message, sink, arrived, is_up=is_up):
                    return
        if not link.is_reset and not (self.up if is_up else self.down).black_hole:
            sink.shutdown(socket.SHUT_WR)

    def _deliver(
        self, link: _Link, message: bytes, sink: socket.socket, arrived: float, *, is_up: bool
    ) -> bool:
        """Do with a message what is to be done; False once the connection is gone."""
        self._flows.wait()
        with self._lock:
            way = self.up if is_up else self.down
            way.messages += 1
            number = way.messages
        deed = self._deed(way, number, message)
        if isinstance(deed, bytes):
            link.client.sendall(deed)
            return True
        if is_up:
            link.asked(deed)
        elif link.loses():
            deed = Deed.CUT
        self._over.wait(
            max(0.0, arrived + way.delay + random.random() * way.jitter - time.monotonic())
        )
        if deed in (Deed.PASS, Deed.LOSE):
            return self._write(link, way, message, sink)
        if deed is Deed.CUT:
            link.reset()
        return deed is Deed.DROP

    def _deed(self, way: Way, number: int, message: bytes) -> Deed | bytes:
        wanted = way.deeds.pop(number, None)
        deed = wanted() if wanted is not None else None
        if deed is None and way.judge is not None:
            deed = way.judge(number, message)
        if deed is None:
            deed = Deed.DROP if way.black_hole else Deed.PASS
        return deed

    def _write(self, link: _Link, way: Way, message: bytes, sink: socket.socket) -> bool:
        with self._lock:
            is_cut = way.cut_after is not None and way.cut_after < len(message)
            if is_cut:
                message, way.cut_after = message[: way.cut_after], None
            elif way.cut_after is not None:
                way.cut_after -= len(message)
            way.bytes += len(message)
        size = way.slices or len(message)
        for place in range(0, len(message), size or 1):
            sink.sendall(message[place : place + size])
            if way.rate:
                self._over.wait(size / way.rate)
        if is_cut:
            link.reset()
        return not is_cut


class _Link:
    """A connection of a client, and the one to the server that belongs to it."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        #: Of the requests that are not answered yet, whether the answer is to be lost.
        self._asked: deque[bool] = deque()
        self._ended = itertools.count(1)
        self.is_reset = False

    def way_ended(self) -> bool:
        """Note that nothing goes one way any more; return whether that is true of both."""
        return next(self._ended) == 2

    def asked(self, deed: Deed) -> None:
        if deed in (Deed.PASS, Deed.LOSE):
            self._asked.append(deed is Deed.LOSE)

    def loses(self) -> bool:
        return bool(self._asked) and self._asked.popleft()

    def broken(self, *, is_up: bool) -> None:
        """Pass on that the one side has broken it off."""
        if is_up:
            with suppress(OSError):  # an end, not a reset: what it had said before is still heard
                self.server.shutdown(socket.SHUT_WR)
        else:
            self.reset()

    def reset(self) -> None:
        self.is_reset = (
            True  # first: whoever reads from it sees an end, which is not to be passed on
        )
        _reset(self.client)
        _reset(self.server)

    def close(self) -> None:
        self.client.close()
        self.server.close()


def _reset(end: socket.socket) -> None:
    """Close it in a way that the other side sees as a reset."""
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.shutdown(socket.SHUT_RD)  # wakes the thread that reads from it
    end.close()


def end_of_message(held: bytes, at: int = 0) -> int:
    """Return where the message that begins at `at` ends, 0 if it has not come to its end."""
    line = held.find(b"\r\n", at)
    if line < 0:
        return 0
    kind, rest, place = held[at : at + 1], held[at + 1 : line], line + 2
    if kind in b"$=!" and rest != b"-1":
        place += int(rest) + 2
        return place if place <= len(held) else 0
    if kind in b"*~>%|" and rest != b"-1":
        for _ in range(int(rest) * (2 if kind in b"%|" else 1)):
            place = end_of_message(held, place)
            if not place:
                return 0
    return place
