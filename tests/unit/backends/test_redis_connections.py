"""Connections to real Redis servers: TLS, local sockets, logins, time-outs, Sentinels."""

from __future__ import annotations

import asyncio
import os
import select
import shutil
import signal
import socket
import subprocess
import threading
from contextlib import closing, suppress
from pathlib import Path
from secrets import token_hex

import pytest

from eventbus.backends.base import Charge, Sizes
from eventbus.errors import AccessDenied, BackendUnavailable, ListenerTimeout, StoredUnknown
from eventbus.values import new_id
from tests.faults.proxy import Proxy
from tests.servers import (
    RedisServer,
    await_that,
    free_port,
    sentinels,
    server,
)
from tests.unit.backends.redis_life import is_copied, job, live, opened

# TLS.


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A folder with an authority, and what it has signed for `localhost`; for no other name."""
    program = shutil.which("openssl")
    if program is None:
        reason = "needs openssl (Debian: apt-get install openssl)"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    folder = tmp_path_factory.mktemp("certificates")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]

    def run(*words):
        subprocess.run([program, *words], cwd=folder, check=True, capture_output=True)

    # Python 3.13 asks strictly for what a certificate must say of itself.
    usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    files = ["-keyout", "ca.key", "-out", "ca.pem"]
    run("req", "-x509", *key, *files, "-subj", "/CN=ca", "-days", "2", *usage)
    said = [
        "subjectAltName=DNS:localhost",
        "authorityKeyIdentifier=keyid",
        "keyUsage=digitalSignature",
    ]
    (folder / "names").write_text("\n".join(said))
    for name in ("server", "client"):
        run("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        ca = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"]
        names = ["-extfile", "names"]
        run("x509", "-req", "-in", f"{name}.csr", *ca, *names, "-out", f"{name}.pem")
    return folder


def over_tls(certificates, port, *, clients="no"):
    """Settings of a server that has another port for TLS."""
    return [
        *("--tls-port", port, "--tls-auth-clients", clients),
        *("--tls-cert-file", certificates / "server.pem"),
        *("--tls-key-file", certificates / "server.key"),
        *("--tls-ca-cert-file", certificates / "ca.pem"),
    ]


@pytest.fixture(scope="module")
def tls_port(certificates, tmp_path_factory):
    port = free_port()
    with server(tmp_path_factory.mktemp("redis"), *over_tls(certificates, port)):
        yield port


def test_a_job_lives_over_tls(certificates, tls_port):
    with opened(f"rediss://localhost:{tls_port}?ssl_ca_certs={certificates}/ca.pem") as backend:
        live(backend)


@pytest.mark.parametrize(
    "host, authority", [("localhost", False), ("127.0.0.1", True)], ids=["unknown", "another name"]
)
@pytest.mark.parametrize("waits", [False, True])
def test_a_certificate_that_is_not_to_be_trusted_is_refused(
    certificates, tls_port, host, authority, waits
):
    option = f"?ssl_ca_certs={certificates}/ca.pem" if authority else ""
    with (
        opened(f"rediss://{host}:{tls_port}{option}") as backend,
        pytest.raises(BackendUnavailable, match="certificate verify failed"),
    ):
        asyncio.run(backend.apush([job()])) if waits else backend.push([job()])


def test_a_client_shows_a_certificate_where_it_is_asked_for(certificates, tmp_path):
    port = free_port()
    own = f"&ssl_certfile={certificates}/client.pem&ssl_keyfile={certificates}/client.key"
    url = f"rediss://localhost:{port}?ssl_ca_certs={certificates}/ca.pem"
    with server(tmp_path, *over_tls(certificates, port, clients="yes")):
        with opened(url + own) as backend:
            live(backend)
        with opened(url) as backend, pytest.raises(BackendUnavailable):
            backend.push([job()])


@pytest.mark.parametrize("option", ["ssl_ca_certs", "ssl_certfile"])
@pytest.mark.parametrize("waits", [False, True])
def test_a_file_that_is_not_there_is_an_error_of_ours(tls_port, option, waits):
    with (
        opened(f"rediss://localhost:{tls_port}?{option}=/none/of.pem") as backend,
        pytest.raises(BackendUnavailable),
    ):
        asyncio.run(backend.apush([job()])) if waits else backend.push([job()])


def test_who_speaks_no_tls_is_not_answered(tls_port):
    with (
        opened(f"redis://localhost:{tls_port}?timeout=1") as backend,
        pytest.raises(BackendUnavailable),
    ):
        backend.push([job()])


@pytest.mark.timeout(120)  # servers that have to agree
def test_a_master_under_sentinels_over_tls(certificates, tmp_path):
    """One Sentinel, which knows the port for TLS, and asks over it."""
    port, watching = free_port(), free_port()
    tls = over_tls(certificates, port)
    folder = tmp_path / "sentinel"
    folder.mkdir()
    lines = [
        f"port 0\ntls-port {watching}\ntls-replication yes\ntls-auth-clients no",
        f"tls-cert-file {certificates}/server.pem\ntls-key-file {certificates}/server.key",
        f"tls-ca-cert-file {certificates}/ca.pem",
        f"sentinel resolve-hostnames yes\nsentinel announce-hostnames yes\ndir {folder}",
        f"sentinel monitor main localhost {port} 1",
    ]
    (folder / "sentinel.conf").write_text("\n".join([*lines, ""]))
    watcher = RedisServer(folder, port=watching, program=(folder / "sentinel.conf", "--sentinel"))
    options = f"ssl_ca_certs={certificates}/ca.pem"
    with server(tmp_path / "master", *tls):
        watcher.launch()
        try:
            with opened(f"rediss+sentinel://localhost:{watching}/main?{options}") as backend:
                await_that(lambda: is_answered(backend), said="the Sentinel knows the master")
                live(backend)
        finally:
            watcher.kill()


def is_answered(backend):
    """Ask for a size, which nobody cares for; tell whether the server can say it."""
    with suppress(BackendUnavailable):
        return isinstance(backend.size("jobs"), Sizes)
    return False


@pytest.mark.timeout(120)  # servers that have to agree
def test_a_cluster_over_tls(certificates, tmp_path):
    """Its nodes tell their ports for TLS to who asks over it."""
    port = free_port()
    own = ("--cluster-enabled", "yes", "--cluster-port", free_port(), "--tls-cluster", "yes")
    announced = ("--cluster-announce-hostname", "localhost")
    named = ("--cluster-preferred-endpoint-type", "hostname")
    settings = [*over_tls(certificates, port), *own, *announced, *named]
    with server(tmp_path, *settings) as started:
        started.ask("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        await_that(lambda: b"cluster_state:ok" in started.ask("CLUSTER", "INFO"), said="it serves")
        url = f"rediss+cluster://localhost:{port}?ssl_ca_certs={certificates}/ca.pem"
        with opened(url) as backend:
            live(backend)


# A local socket; databases; who may what.


def test_a_job_lives_over_a_local_socket(tmp_path):
    path = tmp_path / "redis.sock"
    with server(tmp_path, "--unixsocket", path) as started:
        started.ask("CONFIG", "SET", "requirepass", "p@w")
        with opened(f"unix://:p%40w@{path}?db=2") as backend:
            live(backend)
            backend.push([job()])
        with opened(f"redis://:p%40w@127.0.0.1:{started.port}/2") as backend:
            assert backend.size("jobs") == Sizes(ready=1)
        with opened(f"redis://:p%40w@127.0.0.1:{started.port}") as backend:
            assert backend.size("jobs") == Sizes()


def test_two_prefixes_are_two_stores(redis_server):
    redis_server.ask("FLUSHALL")
    with opened(redis_server.url) as one, opened(redis_server.url, prefix="shop") as other:
        one.push([job("a")])
        other.push([job("a"), job("b")])
        one.flag("restart", "1")

        assert (one.size("jobs").ready, other.size("jobs").ready) == (1, 2)
        assert other.flags() == {}
        assert one.clear("jobs") == 1
        assert (one.queues(), other.queues()) == ([], ["jobs"])
        with closing(one.bell(["jobs"])) as bell:
            other.push([job("c")])
            assert not select.select([bell], [], [], 0.05)[0]


@pytest.mark.parametrize("waits", [False, True])
def test_who_is_not_let_in_or_may_not_is_told_so(tmp_path, waits):
    with server(tmp_path) as started:
        started.ask("ACL", "SETUSER", "shop", "on", ">secret", "~*", "&*", "+@all", "-evalsha")
        for login in ("shop:wrong", "nobody:secret", "shop:secret"):
            with (
                opened(f"redis://{login}@127.0.0.1:{started.port}") as backend,
                pytest.raises(AccessDenied),
            ):
                asyncio.run(backend.apush([job()])) if waits else backend.push([job()])


@pytest.mark.timeout(120)  # servers that have to agree
def test_sentinels_may_ask_for_a_user_of_their_own(tmp_path):
    """With no more rights than the page of Redis gives it."""
    page = Path(__file__).parents[3] / "docs/howto/redis.md"
    [line] = [one for one in page.read_text("utf-8").splitlines() if "+sentinel|get" in one]
    rights = line.replace("ACL SETUSER shop", "watcher").replace("PASSWORD", "secret").split()
    with sentinels(tmp_path) as group:
        for one in group.sentinels:
            one.ask("ACL", "SETUSER", *rights)
            one.ask("ACL", "SETUSER", "default", "resetpass")
        hosts = ",".join(f"127.0.0.1:{port}" for port in group.ports)
        url = f"redis+sentinel://{hosts}/{group.NAME}"
        with opened(f"{url}?sentinel_username=watcher&sentinel_password=secret") as backend:
            live(backend)
        with opened(url) as backend, pytest.raises(AccessDenied):
            backend.push([job()])


# Whoever is not there, or does not answer.


@pytest.fixture
def silent():
    """The port of a server that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


FORMS = {
    "a server": "redis://127.0.0.1:{}?timeout=0.1",
    "TLS": "rediss://127.0.0.1:{}?timeout=0.1",
    "Sentinels": "redis+sentinel://127.0.0.1:{}/main?timeout=0.1",
    "a cluster": "redis+cluster://127.0.0.1:{}?timeout=0.1",
}


@pytest.mark.timeout(10)
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("waits", [False, True])
def test_a_server_that_never_answers_is_given_up(silent, form, waits):
    with opened(form.format(silent)) as backend:
        with pytest.raises(BackendUnavailable):
            asyncio.run(backend.apush([job()])) if waits else backend.push([job()])
        with pytest.raises(BackendUnavailable):
            backend.claim(["jobs"], limit=1, lease=60, token=token_hex(16))
        with closing(backend.bell(["jobs"])) as bell:
            assert not bell.silence()


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("waits", [False, True])
def test_nobody_listens(form, waits):
    with opened(form.format(free_port())) as backend, pytest.raises(BackendUnavailable):
        asyncio.run(backend.apush([job()])) if waits else backend.push([job()])


def test_a_socket_that_is_not_there(tmp_path):
    with opened(f"unix://{tmp_path}/none.sock") as backend, pytest.raises(BackendUnavailable):
        backend.push([job()])


VERBS = {
    "push": lambda backend, _: backend.push([job()]),
    "claim": lambda backend, _: backend.claim(["jobs"], limit=1, lease=60, token=token_hex(16)),
    "extend": lambda backend, claim: backend.extend([claim], lease=60),
    "ack": lambda backend, claim: backend.ack([claim]),
    "release": lambda backend, claim: backend.release([claim], delay=0, charge=Charge.ERROR),
    "bury": lambda backend, claim: backend.bury([claim], error="", charge=Charge.ERROR),
    "failed": lambda backend, _: backend.failed(limit=1),
    "revive": lambda backend, _: backend.revive(["a"]),
    "purge": lambda backend, _: backend.purge(["a"]),
    "cancel": lambda backend, _: backend.cancel(["a"]),
    "clear": lambda backend, _: backend.clear("jobs"),
    "size": lambda backend, _: backend.size("jobs"),
    "queues": lambda backend, _: backend.queues(),
    "peek": lambda backend, _: backend.peek(limit=1),
    "next_due": lambda backend, _: backend.next_due(["jobs"]),
    "flag": lambda backend, _: backend.flag("restart", "1"),
    "flags": lambda backend, _: backend.flags(),
}


@pytest.mark.timeout(10)
@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
def test_an_answer_that_never_comes_is_given_up(redis_server, verb):
    prefix = new_id()
    with (
        Proxy(redis_server.port) as proxy,
        opened(redis_server.url, prefix=prefix) as patient,
        opened(f"redis://127.0.0.1:{proxy.port}?timeout=0.3", prefix=prefix) as backend,
    ):
        patient.push([job()])
        [claim] = patient.claim(["jobs"], limit=1, lease=60, token=token_hex(16))
        await_that(lambda: is_answered(backend), said="it has a connection")
        with proxy.black_hole(proxy.down):
            expected = StoredUnknown if verb is VERBS["push"] else BackendUnavailable
            with pytest.raises(expected) as caught:
                verb(backend, claim)
            assert caught.value.retryable
        await_that(lambda: is_answered(backend), said="it has another connection")
        verb(patient, claim)


@pytest.mark.timeout(120)  # servers that have to agree
def test_a_sentinel_that_does_not_answer_is_asked_last(tmp_path, silent):
    with sentinels(tmp_path) as group:
        one = f"127.0.0.1:{silent},127.0.0.1:{group.ports[0]}"
        with opened(f"redis+sentinel://{one}/{group.NAME}?timeout=1") as backend:
            live(backend)
            ports = [each.settings["port"] for each in backend._link.sentinels()[1]]

    assert ports == [group.ports[0], silent]


def test_a_service_that_no_sentinel_knows(redis_sentinels):
    hosts = ",".join(f"127.0.0.1:{port}" for port in redis_sentinels.ports)
    with (
        opened(f"redis+sentinel://{hosts}/other") as backend,
        pytest.raises(BackendUnavailable, match="knows no 'other'"),
    ):
        backend.push([job()])


@pytest.mark.timeout(120)  # servers that have to agree
def test_a_failover_is_followed(tmp_path):
    """F21: the connection leads to a server that is a replica by now, or is gone."""
    with sentinels(tmp_path) as group:
        hosts = ",".join(f"127.0.0.1:{port}" for port in group.ports)
        with opened(f"redis+sentinel://{hosts}/{group.NAME}") as backend:
            backend.push([job()])
            await_that(lambda: is_copied(group.master), said="the replica has it")
            group.sentinels[0].ask("SENTINEL", "FAILOVER", group.NAME)
            await_that(lambda: group.master_port() == group.replica.port, said="a new master")
            await_that(lambda: group.master.ask("ROLE")[0] == b"slave", said="the old one knows")

            backend.push([job()])
            assert backend.size("jobs") == Sizes(ready=2)

            asyncio.run(backend.apush([job()]))
            assert group.replica.ask("ZCARD", "eventbus:{jobs}:line") == 3


def test_what_was_cut_while_it_rested_is_noticed_before_it_is_used(redis_server, monkeypatch):
    """A claim is not sent twice: it must not find its connection cut."""
    monkeypatch.setattr("eventbus.backends.redis_lines.REDIS_TRUST", 0)
    with opened(redis_server.url, prefix=new_id()) as backend:

        async def push():
            await backend.apush([job("a")])
            redis_server.ask("CLIENT", "KILL", "TYPE", "normal")
            await backend.apush([job("b")])

        asyncio.run(push())
        assert backend.size("jobs") == Sizes(ready=2)
        redis_server.ask("CLIENT", "KILL", "TYPE", "normal")

        assert len(backend.claim(["jobs"], limit=5, lease=60, token=token_hex(16))) == 2


def test_what_was_cut_a_moment_ago_is_noticed_by_who_uses_it(redis_server):
    """F17: a claim is told as not done; what may be sent twice is."""
    with opened(redis_server.url, prefix=new_id()) as backend:
        backend.push([job("a")])
        redis_server.ask("CLIENT", "KILL", "TYPE", "normal")
        with pytest.raises(BackendUnavailable, match="claim did not happen"):
            backend.claim(["jobs"], limit=5, lease=60, token=token_hex(16))
        redis_server.ask("CLIENT", "KILL", "TYPE", "normal")
        [claim] = backend.claim(["jobs"], limit=5, lease=60, token=token_hex(16))
        redis_server.ask("CLIENT", "KILL", "TYPE", "normal")

        assert backend.ack([claim]) == []


@pytest.fixture
def raised():
    """What is raised in the main thread when it is sent SIGUSR1; None for nothing."""
    kept = [None]

    def end(*_):
        raise kept[0]

    before = signal.signal(signal.SIGUSR1, end)
    yield kept
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize(
    "error", [ListenerTimeout(listener="a", seconds=1), KeyboardInterrupt()], ids=["timeout", "^C"]
)
@pytest.mark.parametrize("connected", [False, True])
def test_what_ends_a_run_is_not_taken_for_an_error_of_the_driver(
    redis_server, raised, error, connected
):
    """A run that is over its time is told so, not that its push is unknown; ^C stays what it is."""
    raised[0] = error
    with (
        Proxy(redis_server.port) as proxy,
        opened(f"redis://127.0.0.1:{proxy.port}", prefix=new_id()) as backend,
    ):
        if connected:
            backend.push([job()])
        proxy.pause()
        ending = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1))
        ending.start()

        with pytest.raises(type(error)) as caught:
            backend.push([job()])

        ending.join()
        assert caught.value is error
        proxy.resume()
        # The answer that comes now is not that to what is asked next.
        assert backend.queues() in ([], ["jobs"])
