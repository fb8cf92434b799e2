"""The proxy does what it is told to, so that what is tested with it has been tested."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from contextlib import closing

import pytest

from tests.faults.proxy import Deed, Proxy, end_of_message
from tests.servers import await_that


class Answers(socketserver.StreamRequestHandler):
    """Answers each message with itself."""

    def handle(self):
        try:
            self.answer()
        except ConnectionError:
            self.server.resets += 1

    def answer(self):
        held = b""
        while chunk := self.request.recv(4096):
            self.server.got += chunk
            held += chunk
            while end := end_of_message(held):
                self.request.sendall(held[:end])
                held = held[end:]


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answers)
        #: Everything that arrived, and how many connections ended by a reset.
        self.got = b""
        self.resets = 0


@pytest.fixture
def server():
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def proxy(server):
    with Proxy(server.server_address[1]) as made:
        yield made


@pytest.fixture
def connect(proxy):
    made = []

    def connect():
        made.append(socket.create_connection(("127.0.0.1", proxy.port), timeout=5))
        return made[-1]

    yield connect
    for one in made:
        one.close()


def said(number):
    return b"*2\r\n$3\r\nSET\r\n$1\r\n%d\r\n" % number


def heard(connection, size):
    """Read so many bytes; fewer if the other side ends before."""
    got = b""
    while len(got) < size and (more := connection.recv(size - len(got))):
        got += more
    return got


def heard_until_it_ends(connection):
    """Return what came, and whether it ended by a reset."""
    got = b""
    try:
        while more := connection.recv(1000):
            got += more
    except ConnectionResetError:
        return got, True
    return got, False


def hears_nothing(connection):
    """Tell whether nothing comes; and nobody hangs up either."""
    connection.settimeout(0.1)
    try:
        connection.recv(1)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(5)
    return False


def ask(connection, number=1):
    connection.sendall(said(number))
    return heard(connection, len(said(number)))


def test_it_passes_on_what_it_hears(connect, proxy, server):
    one, other = connect(), connect()

    assert (ask(one, 1), ask(other, 2)) == (said(1), said(2))
    assert (proxy.accepted, proxy.up.messages, proxy.down.messages) == (2, 2, 2)
    assert proxy.up.bytes == len(server.got) == 2 * len(said(1))


def test_an_end_is_passed_on(connect):
    connection = connect()
    connection.sendall(said(1))
    connection.shutdown(socket.SHUT_WR)

    assert heard(connection, 1000) == said(1)


def test_what_a_client_said_before_it_ended_is_waited_for(connect, proxy, server):
    connection = connect()
    ask(connection, 1)
    proxy.up.delay = 0.1
    connection.sendall(said(2))
    connection.close()

    proxy.await_end()

    assert server.got == said(1) + said(2)


def test_it_refuses_and_accepts_again(connect, proxy):
    port = proxy.port

    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        connect()

    proxy.accept()
    assert ask(connect()) == said(1)
    assert proxy.port == port


def test_it_resets_both_sides(connect, proxy, server):
    connection = connect()
    ask(connection)

    proxy.reset()

    with pytest.raises(ConnectionResetError):
        connection.recv(1)
    await_that(lambda: server.resets == 1, said="the server sees it")
    assert ask(connect(), 2) == said(2)


@pytest.mark.parametrize("way, got", [("up", b""), ("down", said(1))])
def test_a_black_hole_swallows_one_way(connect, proxy, server, way, got):
    connection = connect()

    with proxy.black_hole(getattr(proxy, way)):
        connection.sendall(said(1))
        assert hears_nothing(connection)
        await_that(lambda: proxy.up.messages == 1 and server.got == got, said="as far as it goes")

    assert ask(connect(), 2) == said(2)


def test_nobody_sees_the_end_of_what_is_in_a_black_hole(connect, proxy):
    connection = connect()
    ask(connection)

    with proxy.black_hole(proxy.up):
        connection.shutdown(socket.SHUT_WR)
        assert hears_nothing(connection)


@pytest.mark.parametrize("way", ["up", "down"])
@pytest.mark.parametrize("size", [0, 1, len(said(1)) - 1, len(said(1)), len(said(1)) + 1])
def test_it_cuts_after_any_number_of_bytes(connect, proxy, server, way, size):
    connection = connect()
    getattr(proxy, way).cut_after = size
    connection.sendall(said(1))
    whole = len(said(1))

    if size >= whole:
        assert heard(connection, whole) == said(1)
        connection.sendall(said(2))
    came, is_reset = heard_until_it_ends(connection)

    assert is_reset
    # What came before a reset may be thrown away with it, on either side.
    assert (said(1) + said(2))[:size].endswith(came) or way == "up"
    if way == "up":
        assert (said(1) + said(2))[:size].startswith(server.got)
    assert ask(connect(), 3) == said(3)  # once, not for ever


@pytest.mark.parametrize("number", [1, 2, 3])
def test_it_cuts_before_a_message(connect, proxy, server, number):
    connection = connect()
    proxy.at(proxy.up, number, lambda: Deed.CUT)

    for one in range(1, number):
        assert ask(connection, one) == said(one)
    with pytest.raises(ConnectionResetError):
        ask(connection, number)

    assert server.got == b"".join(said(one) for one in range(1, number))


@pytest.mark.parametrize("number", [1, 2])
def test_it_passes_a_request_on_and_loses_the_answer(connect, proxy, server, number):
    connection = connect()
    proxy.at(proxy.up, number, lambda: Deed.LOSE)

    for one in range(1, number):
        assert ask(connection, one) == said(one)
    with pytest.raises(ConnectionResetError):
        ask(connection, number)

    assert server.got == b"".join(said(one) for one in range(1, number + 1))


def test_the_answer_that_is_lost_is_the_one_to_this_request(connect, proxy):
    """Requests may be sent one after the other, with no answer in between."""
    connection = connect()
    proxy.at(proxy.up, 2, lambda: Deed.LOSE)
    connection.sendall(said(1) + said(2) + said(3))

    got, is_reset = heard_until_it_ends(connection)

    assert is_reset
    assert said(1).startswith(got)  # a reset may throw it away


def test_it_drops_one_message(connect, proxy, server):
    connection = connect()
    proxy.at(proxy.up, 1, lambda: Deed.DROP)
    connection.sendall(said(1))

    assert ask(connection, 2) == said(2)
    assert server.got == said(2)


def test_it_answers_in_the_place_of_the_server(connect, proxy, server):
    connection = connect()
    proxy.at(proxy.up, 2, lambda: b"-NO\r\n")

    assert ask(connection, 1) == said(1)
    connection.sendall(said(2))
    assert heard(connection, 5) == b"-NO\r\n"
    assert ask(connection, 3) == said(3)
    assert server.got == said(1) + said(3)


@pytest.mark.parametrize("way", ["up", "down"])
def test_something_is_done_at_a_message(connect, proxy, server, way):
    """Before it is passed on, and whoever waits for it waits."""
    seen = []
    connection = connect()
    proxy.at(getattr(proxy, way), 2, lambda: seen.append((server.got, proxy.up.messages)))

    for number in range(1, 4):
        ask(connection, number)

    before = said(1) if way == "up" else said(1) + said(2)
    assert seen == [(before, 2)]


def test_each_message_can_be_judged(connect, proxy, server):
    connection = connect()
    proxy.up.judge = lambda number, message: Deed.DROP if b"\r\n7\r\n" in message else None

    connection.sendall(said(7))

    assert ask(connection, 8) == said(8)
    assert server.got == said(8)


def test_what_is_held_back_is_not_lost(connect, proxy):
    connection = connect()
    proxy.pause()
    connection.sendall(said(1))
    assert hears_nothing(connection)

    proxy.resume()

    assert heard(connection, len(said(1))) == said(1)


def test_messages_are_late(connect, proxy):
    connection = connect()
    proxy.up.delay, proxy.down.delay, proxy.down.jitter = 0.1, 0.1, 0.01
    began = time.monotonic()
    connection.sendall(said(1) * 20)

    assert heard(connection, 20 * len(said(1))) == said(1) * 20
    assert time.monotonic() - began >= 0.2


def test_bytes_come_one_by_one(connect, proxy):
    connection = connect()
    proxy.down.slices = 1
    message = b"$10000\r\n%010000d\r\n" % 1
    connection.sendall(message)
    pieces = []

    while sum(map(len, pieces)) < len(message):
        pieces.append(connection.recv(100_000))

    assert b"".join(pieces) == message
    assert len(pieces) > 1


def test_bytes_come_slowly(connect, proxy):
    connection = connect()
    proxy.down.slices, proxy.down.rate = 10, 100.0
    began = time.monotonic()

    assert ask(connection) == said(1)
    assert time.monotonic() - began >= 0.1


def test_a_server_that_is_away_is_a_reset():
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    with Proxy(port) as proxy, socket.create_connection(("127.0.0.1", proxy.port)) as connection:
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
        assert proxy.accepted == 0


@pytest.mark.parametrize(
    "message",
    [
        b"+OK\r\n",
        b"-ERR no\r\n",
        b":1\r\n",
        b"$0\r\n\r\n",
        b"$4\r\n\r\n\r\n\r\n",
        b"$-1\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"*2\r\n*1\r\n:1\r\n$1\r\na\r\n",
        b"%1\r\n+a\r\n*1\r\n:1\r\n",
        b">2\r\n+message\r\n$1\r\na\r\n",
    ],
)
def test_the_end_of_a_message_is_found(message):
    for size in range(len(message)):
        assert end_of_message(message[:size]) == 0
    assert end_of_message(message + b"+more\r\n") == len(message)
