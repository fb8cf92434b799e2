"""F21, A14: whatever a Redis server answers is a retry, an error of ours or a pause, never a raw exception."""

from __future__ import annotations

import asyncio
import resource
import select
import socket
import threading
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial

import pytest
import redis
from redis._parsers import _AsyncRESP2Parser, _RESP2Parser

from eventbus.backends.base import Claim
from eventbus.backends.port import Port
from eventbus.backends.redis import RedisBackend
from eventbus.backends.redis_calls import scripts
from eventbus.backends.redis_clients import linked
from eventbus.backends.redis_cluster import ClusterLink
from eventbus.backends.redis_lines import Maker, OwnLine
from eventbus.backends.redis_link import ServerLink
from eventbus.errors import (
    AccessDenied,
    BackendError,
    BackendUnavailable,
    StoreDamaged,
    StoredUnknown,
    UnsupportedOption,
)
from eventbus.queue.envelope import Envelope
from tests.servers import read_answer

pytestmark = pytest.mark.timeout(60)

OK = b"+OK\r\n"
ENVELOPE = Envelope(id="a", queue="jobs", body=b"{}")
OTHER = Envelope(id="b", queue="more", body=b"{}")
CLAIM = Claim(envelope=ENVELOPE, token="0" * 32, pushed_at=datetime.now(UTC))


class Last(bytes):
    """An answer after which the server hangs up."""

    __slots__ = ()


class Scripted:
    """
    A server that answers what it is told to.

    Args:
        answer: Called with the words of each command; returns the bytes of its answer, or None for `OK`.
    """

    def __init__(self, answer):
        self.answer = answer
        #: The commands that came, the first word of each.
        self.heard = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]

    def __enter__(self):
        self._threads = [threading.Thread(target=self._listen, daemon=True)]
        self._threads[0].start()
        return self

    def __exit__(self, *_):
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()

    def _listen(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._threads.append(
                threading.Thread(target=self._serve, args=(connection,), daemon=True)
            )
            self._threads[-1].start()

    def _serve(self, connection):
        with suppress(OSError, ValueError), connection, connection.makefile("rb") as said:
            while True:
                words = read_answer(said)
                self.heard.append(words[0].decode())
                answer = self.answer(words) or OK
                connection.sendall(answer)
                if isinstance(answer, Last):
                    return


def verbs_answered(answer):
    """Answer what a verb says with these bytes, and all else as a server does."""

    def say(words):
        if words[0] == b"EVALSHA":
            return answer
        if words[:2] == [b"SCRIPT", b"LOAD"]:
            return b"$40\r\n" + b"0" * 40 + b"\r\n"
        if words[0] == b"SADD":
            return b":1\r\n"
        return None

    return say


# How it is asked: by each form of the driver, with and without hiredis.


def link_to(port, *, waits=False, plain=False, timeout=5.0):
    driver = redis.asyncio if waits else redis
    settings = {"host": "127.0.0.1", "port": port, "protocol": 2}
    settings |= {"socket_timeout": timeout, "socket_connect_timeout": 5}
    if plain:
        settings["parser_class"] = _AsyncRESP2Parser if waits else _RESP2Parser
    maker = Maker(driver.Connection, settings, redis.exceptions, waits)
    twin = None if waits else lambda: link_to(port, waits=True, plain=plain, timeout=timeout)
    return ServerLink(OwnLine(maker), name="redis://", twin=twin)


PUSHES = {
    "push": lambda port: port.push([ENVELOPE]),
    "apush": lambda port: asyncio.run(port.apush([ENVELOPE])),
}
OTHERS = {
    "claim": lambda port: port.claim(["jobs"]),
    "ack": lambda port: port.ack_all([CLAIM]),
}
VERBS = PUSHES | OTHERS


@contextmanager
def served(answer, url="", **how):
    """A connection to a server that answers so; to where a URL leads, or as `link_to` is told."""
    with Scripted(answer) as server:
        link = linked(url.format(server.port)) if url else link_to(server.port, **how)
        with closing(RedisBackend(link, name="redis://")) as backend:
            yield Port(backend, name="default"), server


def error_of(verb, answer, **how):
    """Return the error that a verb raises where it is answered so; and what the server has heard."""
    with served(verbs_answered(answer), **how) as (port, server):
        with pytest.raises(BackendError) as caught:
            VERBS[verb](port)
        return caught.value, server.heard


#: What a server says where it does not do what it is asked, and what it is for us.
REFUSALS = {
    "NOSCRIPT No matching script. Please use EVAL.": BackendUnavailable,
    "READONLY You can't write against a read only replica.": BackendUnavailable,
    "LOADING Redis is loading the dataset in memory": BackendUnavailable,
    "OOM command not allowed when used memory > 'maxmemory'.": BackendUnavailable,
    "OOM command not allowed, script: 0, on @user_script:3.": BackendUnavailable,
    "MISCONF Redis is configured to save RDB snapshots": BackendUnavailable,
    "TRYAGAIN Multiple keys request during rehashing of slot": BackendUnavailable,
    "CLUSTERDOWN Hash slot not served": BackendUnavailable,
    "MASTERDOWN Link with MASTER is down": BackendUnavailable,
    "NOREPLICAS Not enough good replicas to write.": BackendUnavailable,
    "BUSY Redis is busy running a script.": BackendUnavailable,
    "UNKILLABLE Sorry the script already executed write commands": BackendUnavailable,
    "EXECABORT Transaction discarded because of previous errors.": BackendUnavailable,
    "ERR max number of clients reached": BackendUnavailable,
    "ERR something that nobody has heard of": BackendUnavailable,
    "": BackendUnavailable,
    "MOVED 3999 127.0.0.1:6381": UnsupportedOption,
    "ASK 3999 127.0.0.1:6381": UnsupportedOption,
    "CROSSSLOT Keys in request don't hash to the same slot": UnsupportedOption,
    "ERR Error compiling script (new function): user_script:1": UnsupportedOption,
    "NOAUTH Authentication required.": AccessDenied,
    "WRONGPASS invalid username-password pair or user is disabled.": AccessDenied,
    "NOPERM User shop has no permissions to run the 'evalsha' command": AccessDenied,
    "ERR invalid password": AccessDenied,
    "DENIED Redis is running in protected mode": AccessDenied,
    "WRONGTYPE Operation against a key holding the wrong kind of value": StoreDamaged,
    "ERR user_script:9: Wrong type, script: 0, on @user_script:9.": StoreDamaged,
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("said", REFUSALS)
def test_what_a_server_refuses_has_a_meaning(said, verb):
    error, _ = error_of(verb, f"-{said}\r\n".encode())

    assert type(error) is REFUSALS[said]
    assert error.retryable is (REFUSALS[said] is BackendUnavailable)


def test_scripts_that_a_server_has_not_are_loaded_once():
    _, heard = error_of("claim", b"-NOSCRIPT No matching script.\r\n")

    assert heard[-3:] == ["EVALSHA", "SCRIPT", "EVALSHA"]


def test_a_script_that_cannot_be_loaded_is_told_as_that():
    answers = {
        b"EVALSHA": b"-NOSCRIPT No matching script.\r\n",
        b"SCRIPT": b"-NOPERM no permissions to run 'script|load'\r\n",
    }
    with (
        served(lambda words: answers.get(words[0])) as (port, _),
        pytest.raises(AccessDenied, match="no permissions to run 'script"),
    ):
        port.claim(["jobs"])


@pytest.mark.parametrize("said", ["READONLY You can't write.", "MASTERDOWN Link is down."])
def test_a_replica_is_asked_once_more_on_another_connection(said):
    """It may lead to the master by now."""
    _, heard = error_of("ack", f"-{said}\r\n".encode())

    assert heard.count("EVALSHA") == 2
    assert heard.count("CLIENT") > 2  # said by each connection as it is made


def test_what_was_done_in_part_is_not_told_as_not_done():
    """In one queue it is done, in the other the server has no room: nobody can say 'nothing happened'."""
    answers = iter([b"*0\r\n", b"-OOM no room\r\n", b"*2\r\n:1\r\n$4\r\ngone\r\n", b"*0\r\n"])
    more = Claim(envelope=OTHER, token="0", pushed_at=CLAIM.pushed_at)

    with served(lambda words: next(answers) if words[0] == b"EVALSHA" else None) as (port, _):
        with pytest.raises(BackendUnavailable, match="a part was refused"):
            port.ack_all([CLAIM, more])

        assert port.ack_all([CLAIM, more]) == []  # the one that is gone is so by us


# Answers that are none.

GARBAGE = {
    "an end": Last(b"\r\n"),
    "text": Last(b"hello\r\n"),
    "another protocol": Last(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "bytes": Last(bytes(range(256)) * 4),
    "a huge string": Last(b"$2147483647\r\nxx"),
    "a string beyond everything": Last(b"$9223372036854775807\r\nxx"),
    "a length that is none": Last(b"$many\r\nxx\r\n"),
    "a length below nothing": Last(b"$-5\r\n"),
    "a list that does not come": Last(b"*1000000\r\n:1\r\n"),
    "a list below nothing": Last(b"*-7\r\n"),
    "lists in lists": Last(b"*1\r\n" * 100_000),
    "lists in lists, in the end": Last(b"*1\r\n" * 500 + b":1\r\n"),
    "a number that is none": Last(b":one\r\n"),
    "a string that is not ended": Last(b"$2\r\nxxyy\r\n"),
    "no string": Last(b"$-1\r\n"),
    "OK": Last(b"+OK\r\n"),
    "a string": Last(b"$5\r\nhello\r\n"),
    "newer forms": Last(b"%1\r\n+a\r\n:1\r\n"),
    "a push": Last(b">2\r\n+message\r\n+a\r\n"),
    "an error within": Last(b"*2\r\n-ERR no\r\n-LOADING no\r\n"),
}

#: What is no answer to a claim, and of the right kind.
NO_CLAIMS = {
    "too few": b"*2\r\n:0\r\n$1\r\na\r\n",
    "numbers": b"*4\r\n:1\r\n:1\r\n:1\r\n:1\r\n",
    "another queue": b"*4\r\n:7\r\n$1\r\na\r\n$1\r\na\r\n$0\r\n\r\n",
    "nothings": b"*4\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n",
    "errors": b"*1\r\n-ERR no\r\n",
    "lists": b"*4\r\n*0\r\n*0\r\n*0\r\n*0\r\n",
}


def used():
    """Return the most memory this process ever had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def ways(answers):
    """Each answer, read by hiredis and by the driver's own parser."""
    for name, answer in answers.items():
        yield pytest.param(answer, False, id=f"{name}-hiredis")
        # The driver's own makes an empty list of one, and raises what is in the other.
        if name not in ("a list below nothing", "an error within"):
            yield pytest.param(answer, True, id=f"{name}-plain")


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("answer, plain", list(ways(GARBAGE)))
def test_what_is_no_answer_is_an_error_of_ours(answer, verb, plain):
    """A14: what a push was answered so may have been stored; nobody hangs, and memory is bounded."""
    before = used()

    error, _ = error_of(verb, answer, plain=plain)

    assert type(error) is (StoredUnknown if verb in PUSHES else BackendUnavailable)
    assert used() - before < 100_000_000


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("answer", [b"$2147483647\r\nxx", b"*1000000\r\n:1\r\n"])
def test_an_answer_that_is_begun_and_does_not_end_is_given_up(answer, verb):
    """A14: nobody waits for what was announced."""
    error, _ = error_of(verb, answer, timeout=0.2)

    assert error.retryable


@pytest.mark.parametrize("answer", NO_CLAIMS.values(), ids=NO_CLAIMS)
def test_what_cannot_be_claims_is_given_back(answer):
    """A14: what was claimed with it is not left to its lease."""
    asked = []

    def answered(words):
        if words[0] != b"EVALSHA":
            return None
        asked.append(words[1].decode())
        return {1: answer}.get(len(asked), b"*0\r\n")

    with served(answered) as (port, _):
        with pytest.raises(BackendUnavailable):
            port.claim(["jobs"])
        assert port.claim(["jobs"]) == []

    known = scripts()
    assert asked == [known[name].sha for name in ("claim", "held", "claim")]


LOOKS = {
    "size": lambda port: port.size("jobs"),
    "queues": lambda port: port.queues(),
    "peek": lambda port: port.peek(queues=["jobs"]),
    "failed": lambda port: port.failed(queues=["jobs"]),
    "next_due": lambda port: port.next_due(["jobs"]),
    "orders": lambda port: port.orders(),
    "revive": lambda port: port.revive(["a"]),
    "clear": lambda port: port.clear("jobs"),
    "pause": lambda port: port.pause(["jobs"]),
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
@pytest.mark.parametrize(
    "answer",
    [
        b"*2\r\n:1\r\n:1\r\n",
        b"*1\r\n*-1\r\n",
        b"$3\r\nabc\r\n",
        b":1\r\n",
        b"$-1\r\n",
        b"*1\r\n$1\r\n\xff\r\n",
    ],
)
def test_lies_end_in_errors_of_ours_or_in_nothing(look, answer):
    """A14: of whatever is looked at."""
    lying = served(lambda words: None if words[0] == b"CLIENT" else answer)
    with lying as (port, _), suppress(BackendError):
        look(port)


@pytest.mark.parametrize(
    "answer",
    [
        *(answer for answer in GARBAGE.values() if answer != OK),
        b"-LOADING no\r\n",
        b"-ERR max number of clients reached\r\n",
    ],
)
@pytest.mark.parametrize("verb", PUSHES)
def test_nonsense_as_a_connection_is_made_is_told_as_nothing_done(answer, verb):
    made = (b"CLIENT", b"AUTH", b"SELECT")
    lying = served(
        lambda words: answer if words[0] in made else b"",
        "redis://:secret@127.0.0.1:{}/1?timeout=5",
    )
    with lying as (port, server):
        with pytest.raises((BackendUnavailable, AccessDenied)):
            PUSHES[verb](port)
        assert "EVALSHA" not in server.heard


@pytest.mark.parametrize(
    "answer",
    [
        *GARBAGE.values(),
        b"-ERR No such master with that name\r\n",
        b"*-1\r\n",
        b"*2\r\n$1\r\nh\r\n$1\r\nx\r\n",
    ],
)
@pytest.mark.parametrize("verb", PUSHES)
def test_a_sentinel_that_lies(answer, verb):
    lying = served(
        lambda words: answer if words[0] == b"SENTINEL" else None,
        "redis+sentinel://127.0.0.1:{}/main?timeout=5",
    )
    with lying as (port, _), pytest.raises(BackendUnavailable):
        PUSHES[verb](port)


@pytest.mark.parametrize(
    "answer", [b"-NOPERM no permissions to access a channel\r\n", Last(b"hello\r\n")]
)
def test_a_bell_that_is_refused_is_mute(answer):
    refusing = served(lambda words: answer if words[0] == b"SUBSCRIBE" else None)
    with refusing as (port, _), closing(port.bell(["jobs"])) as bell:
        assert not bell.silence()
        assert not select.select([bell], [], [], 0)[0]


# A cluster.


@contextmanager
def one_node(verbs):
    """A connection to the only node of a cluster, which answers `verbs`; the port's number is filled in."""

    def answer(words):
        place = b"*2\r\n$9\r\n127.0.0.1\r\n:%d\r\n" % server.port
        owners = b"*1\r\n*3\r\n:0\r\n:16383\r\n" + place
        said = owners if words[0] == b"CLUSTER" else verbs(words)
        return said and type(said)(said.replace(b"PORT", b"%d" % server.port))

    def link(*, waits=False):
        maker = link_to(0, waits=waits)._any_maker()
        twin = None if waits else partial(link, waits=True)
        return ClusterLink(maker, [("127.0.0.1", server.port)], name="cluster", twin=twin)

    with Scripted(answer) as server, closing(RedisBackend(link(), name="cluster")) as backend:
        yield Port(backend, name="default"), server


def cluster_error_of(verb, said):
    with one_node(verbs_answered(said)) as (port, server):
        with pytest.raises(BackendError) as caught:
            VERBS[verb](port)
        return caught.value, server.heard


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr("eventbus.backends.redis_cluster.REDIS_CLUSTER_PATIENCE", 0.05)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    "said",
    [
        "MOVED 1 127.0.0.1:PORT",
        "MOVED 1 :PORT",
        "ASK 1 127.0.0.1:PORT",
        "TRYAGAIN Multiple keys request",
        "CLUSTERDOWN The cluster is down",
        "LOADING no",
        "READONLY no",
        "NOSCRIPT no",
    ],
)
def test_what_a_cluster_cannot_do_now_is_told_as_not_done(said, verb):
    """A14: a node that sends us to itself, for ever."""
    error, heard = cluster_error_of(verb, f"-{said}\r\n".encode())

    # The names of queues lie on a node as well, and had been written down.
    assert type(error) in (BackendUnavailable, StoredUnknown)
    assert verb in PUSHES or type(error) is BackendUnavailable
    assert heard.count("EVALSHA") < 50


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("verb", ["push", "apush", "claim"])
@pytest.mark.parametrize("said", ["MOVED here", "MOVED 1 127.0.0.1:1", "ASK 1 127.0.0.1:1", "ASK"])
def test_a_cluster_that_leads_nowhere(said, verb):
    error, _ = cluster_error_of(verb, f"-{said}\r\n".encode())

    assert type(error) in (BackendUnavailable, StoredUnknown)


@pytest.mark.parametrize(
    "answer",
    [
        *GARBAGE.values(),
        b"*0\r\n",
        b"-NOPERM this user has no permissions\r\n",
        b"*1\r\n*3\r\n:0\r\n:2147483647\r\n*2\r\n$-1\r\n:70000\r\n",
        b"*1\r\n*3\r\n:-5\r\n:-1\r\n*2\r\n$1\r\nh\r\n:1\r\n",
        b"*1\r\n*3\r\n$1\r\na\r\n$1\r\nb\r\n*2\r\n$1\r\nh\r\n:1\r\n",
    ],
)
@pytest.mark.parametrize("verb", ["push", "apush"])
def test_a_node_that_lies_about_the_others(answer, verb):
    lying = served(
        lambda words: answer if words[0] == b"CLUSTER" else None,
        "redis+cluster://127.0.0.1:{}?timeout=5",
    )
    with lying as (port, _), pytest.raises((BackendUnavailable, AccessDenied)):
        VERBS[verb](port)


@pytest.mark.parametrize("second", [b"-OOM no room\r\n", b"-TRYAGAIN no\r\n", b"nonsense\r\n"])
@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.usefixtures("impatient")
def test_a_push_of_which_a_part_was_stored_is_told_as_unknown(second, waits):
    """Of two queues, which are two slots."""
    first = ENVELOPE.queue.encode()

    def answer(words):
        if words[0] == b"EVALSHA":
            return b":0\r\n" if first in words[3] else second
        return None

    with one_node(answer) as (port, _), pytest.raises(StoredUnknown) as caught:
        asyncio.run(port.apush([ENVELOPE, OTHER])) if waits else port.push([ENVELOPE, OTHER])

    assert caught.value.ids == ("a", "b")
