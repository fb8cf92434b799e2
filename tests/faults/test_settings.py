"""F15: bad settings of a store are flagged by `eventbus doctor`, each of them; good ones are not."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from eventbus.backends.sqlite import SqliteBackend, load_driver, wal_is_safe
from eventbus.backends.urls import open_backend
from eventbus.console.command import command
from eventbus.queue.envelope import Envelope
from tests.servers import (
    Cluster,
    RedisServer,
    Sentinels,
    await_that,
    cluster,
    free_port,
    redis_binary,
    sentinels,
    server,
)

OK, WARNING, BROKEN = "ok", "warning", "broken"

#: Every setting that a server with acknowledged jobs should have.
GOOD = ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "10")

needs_fixed_sqlite = pytest.mark.skipif(
    not wal_is_safe(load_driver().sqlite_version_info), reason="needs eventbus[sqlite]"
)


class Report(NamedTuple):
    """What the command said, and how it ended."""

    code: int
    promise: dict[str, str] | None
    findings: list[dict[str, str]]

    def verdict(self, subject: str) -> str:
        """Return the worst verdict about something; OK where nothing was said of it."""
        said = {one["verdict"] for one in self.findings if one["subject"] == subject}
        return BROKEN if BROKEN in said else WARNING if WARNING in said else OK

    def found(self, subject: str) -> str:
        """Return what was found of the one thing that is called so."""
        [found] = [one["found"] for one in self.findings if one["subject"] == subject]
        return found

    @property
    def flagged(self) -> list[dict[str, str]]:
        return [one for one in self.findings if one["verdict"] != OK]


@pytest.fixture
def disks(tmp_path, monkeypatch):
    """Say on which kind of disk all files are; at first on one that is sound."""
    mounts = tmp_path / "mounts"
    monkeypatch.setattr("eventbus.backends.sqlite_examination._MOUNTS", str(mounts))

    def disks(kind: str) -> None:
        mounts.write_text(f"22 1 8:1 / / rw,relatime - {kind} /dev/sda1 rw\n")

    disks("ext4")
    return disks


@pytest.fixture
def doctor(tmp_path, monkeypatch, disks):
    """Run `eventbus doctor` on a URL."""
    folder = tmp_path / "application"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    (folder / "doctored.py").write_text(
        "import os\n"
        "from eventbus import EventBus\n"
        "def bus():\n"
        "    return EventBus(connections={'default': os.environ['STORE']})\n"
    )

    def doctor(url: str, *options: str) -> Report:
        monkeypatch.setenv("STORE", url)
        words = ["--app", "doctored:bus", "doctor", "--json", *options]
        result = CliRunner().invoke(command, words, prog_name="eventbus")
        [report] = json.loads(result.stdout)
        assert all(one["advice"] for one in report["findings"] if one["verdict"] != OK)
        return Report(result.exit_code, report["promise"], report["findings"])

    return doctor


# Redis: settings of one server.

ALWAYS = "always"


class Bad(NamedTuple):
    """Settings of a server, and what is to be said of them."""

    subject: str
    verdict: str
    settings: tuple[str, ...] = ()
    persistence: str = ALWAYS


SERVERS = {
    "nothing is kept": Bad("persistence", BROKEN, persistence="none"),
    "snapshots only": Bad("persistence", BROKEN, persistence="snapshots"),
    "synced every second": Bad("persistence", WARNING, persistence="everysec"),
    "synced when the system likes": Bad("persistence", WARNING, ("--appendfsync", "no")),
    "not synced while rewriting": Bad("rewriting", WARNING, ("--no-appendfsync-on-rewrite", "yes")),
    "a full memory throws any key away": Bad(
        "eviction", BROKEN, ("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    ),
    "it would, were there a limit": Bad(
        "eviction", WARNING, ("--maxmemory-policy", "allkeys-random")
    ),
    "set for a cache": Bad("eviction", WARNING, ("--maxmemory-policy", "volatile-ttl")),
    "open to everybody": Bad(
        # An address that no machine has, so that nobody can come while the test runs.
        "access",
        BROKEN,
        ("--bind", "127.0.0.1", "-203.0.113.7", "--protected-mode", "no"),
    ),
    "rest is cut": Bad("idle connections", WARNING, ("--timeout", "60")),
    "the dead are kept": Bad("idle connections", WARNING, ("--tcp-keepalive", "0")),
    "more replicas are wanted than there are": Bad("replicas", BROKEN, GOOD),
}


@pytest.mark.parametrize("bad", SERVERS.values(), ids=SERVERS)
def test_a_bad_setting_of_a_server_is_flagged(doctor, tmp_path, bad):
    """F15: that one, and no other."""
    with server(tmp_path / "redis", *bad.settings, persistence=bad.persistence) as started:
        report = doctor(started.url)

    assert report.verdict(bad.subject) == bad.verdict, report.findings
    assert [one["subject"] for one in report.flagged] == [bad.subject]
    assert report.code == (1 if bad.verdict == BROKEN else 0)


# Redis: what a server is like.


def out_of_memory(started: RedisServer) -> None:
    started.ask("CONFIG", "SET", "maxmemory", 20_000_000)
    started.ask("SETRANGE", "filler", 18_000_000, "x")


def failing_disk(started: RedisServer) -> None:
    started.ask("CONFIG", "SET", "save", "3600 1")
    (started.folder / "dump.rdb").mkdir()
    started.ask("BGSAVE")
    await_that(
        lambda: started.info("persistence")["rdb_last_bgsave_status"] == "err",
        said="the snapshot failed",
    )


@pytest.mark.parametrize(
    "make, subject, verdict",
    [(out_of_memory, "memory", WARNING), (failing_disk, "last writes", BROKEN)],
)
def test_a_bad_state_of_a_server_is_flagged(doctor, tmp_path, make, subject, verdict):
    """F15."""
    with server(tmp_path / "redis", persistence=ALWAYS) as started:
        make(started)
        report = doctor(started.url)

    assert [(one["subject"], one["verdict"]) for one in report.flagged] == [(subject, verdict)]


def test_a_server_with_few_connections_left_is_flagged(doctor, tmp_path):
    """F15."""
    settings = ("--maxclients", "10")
    with server(tmp_path / "redis", *settings, persistence=ALWAYS) as started, ExitStack() as held:
        for _ in range(8):
            held.enter_context(socket.create_connection(("127.0.0.1", started.port)))
        await_that(
            lambda: int(started.info("clients")["connected_clients"]) >= 9, said="all are in"
        )
        report = doctor(started.url)

    assert [one["subject"] for one in report.flagged] == ["connections"]


#: What a user may do, and what is to be said of it.
USERS = {
    "a command is missing": ("+@all -zadd ~* &*", "permissions", BROKEN),
    "the keys are others": ("+@all ~other:* &*", "permissions", BROKEN),
    "the keys are for reading": ("+@all %R~eventbus:* &*", "permissions", BROKEN),
    "the channels are others": ("+@all ~* resetchannels", "permissions", BROKEN),
    "no scripts are taken": ("+@all -script ~* &*", "permissions", BROKEN),
    "no scripts are run": ("+@all -evalsha ~* &*", "permissions", BROKEN),
    "no time is told": ("+@all -time ~* &*", "permissions", BROKEN),
    "the settings cannot be read": ("+@all -config ~* &*", "CONFIG GET", WARNING),
    "the state cannot be read": ("+@all -info ~* &*", "INFO", WARNING),
}


def add_user(started: RedisServer, rights: str, password: str = "secret") -> None:
    started.ask("ACL", "SETUSER", "shop", "on", f">{password}", *rights.split())


@pytest.mark.parametrize("rights, subject, verdict", USERS.values(), ids=USERS)
def test_what_a_user_may_not_do_is_flagged(doctor, tmp_path, rights, subject, verdict):
    """F15: and what cannot be read is a finding, no crash."""
    with server(tmp_path / "redis", persistence=ALWAYS) as started:
        add_user(started, rights)
        started.ask("CONFIG", "SET", "requirepass", "other")
        report = doctor(f"redis://shop:secret@127.0.0.1:{started.port}")

    assert [(one["subject"], one["verdict"]) for one in report.flagged] == [(subject, verdict)]


def test_the_permission_that_is_missing_is_named(doctor, tmp_path):
    """F15."""
    with server(tmp_path / "redis", persistence=ALWAYS) as started:
        add_user(started, "+@all -zadd -subscribe ~* &*")
        report = doctor(f"redis://shop:secret@127.0.0.1:{started.port}")

    assert report.found("permissions") == "denied: SUBSCRIBE, ZADD"


def test_a_wrong_password_is_flagged_and_not_shown(doctor, tmp_path):
    """F15, A12."""
    with server(tmp_path / "redis", persistence=ALWAYS) as started:
        started.ask("CONFIG", "SET", "requirepass", "right")
        report = doctor(f"redis://:canary-0f9a@127.0.0.1:{started.port}")

    assert (report.code, report.promise) == (1, None)
    assert "user and password" in report.flagged[0]["advice"]
    assert "canary" not in json.dumps(report.findings)


@pytest.mark.parametrize(
    "url",
    [
        "redis://u:canary-0f9a@{place}/0",
        "rediss://u:canary-0f9a@{place}",
        "unix://u:canary-0f9a@/nowhere/redis.sock",
        "redis+sentinel://u:canary-0f9a@{place}/main?sentinel_password=canary-0f9a",
        "rediss+sentinel://u:canary-0f9a@{place}/main?sentinel_password=canary-0f9a",
        "redis+cluster://u:canary-0f9a@{place}",
        "rediss+cluster://u:canary-0f9a@{place}",
    ],
)
def test_a_server_that_is_not_there_is_flagged_and_no_secret_shown(doctor, url):
    """F15, A12."""
    redis_binary()
    report = doctor(url.format(place=f"127.0.0.1:{free_port()}"))

    assert (report.code, report.promise) == (1, None)
    assert report.flagged[0]["verdict"] == BROKEN
    assert "canary" not in json.dumps(report.findings)


def test_a_socket_does_not_leave_the_machine(doctor, tmp_path):
    """F15."""
    with tempfile.TemporaryDirectory() as folder:  # the path of a socket may not be long
        place = f"{folder}/redis.sock"
        with server(tmp_path / "redis", "--unixsocket", place, persistence=ALWAYS):
            report = doctor(f"unix://{place}")

    assert (report.flagged, report.found("transport")) == ([], "within this machine")


def test_a_way_that_is_encrypted_is_told_as_such(doctor, tmp_path):
    """F15: and a certificate that is none of ours is refused."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    words = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -keyout key -out pem"
    subprocess.run(
        [*words.split(), "-addext", "subjectAltName=IP:127.0.0.1"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    port, key, own = free_port(), tmp_path / "key", tmp_path / "pem"
    tls = (
        "--tls-port",
        port,
        "--tls-cert-file",
        own,
        "--tls-key-file",
        key,
        "--tls-ca-cert-file",
        own,
    )
    settings = (*tls, "--tls-auth-clients", "no")
    with server(tmp_path / "redis", *settings, persistence=ALWAYS) as started:
        trusted = doctor(f"rediss://127.0.0.1:{port}?ssl_ca_certs={own}")
        unknown = doctor(f"rediss://127.0.0.1:{port}")
        plain = doctor(started.url)

    assert (trusted.flagged, plain.flagged) == ([], [])
    assert [of("transport") for of in (trusted.found, plain.found)] == [
        "TLS",
        "within this machine",
    ]
    assert (unknown.code, unknown.verdict("server")) == (1, BROKEN)


def is_written(started: RedisServer) -> bool:
    """Whether the file has all that it is to have: while one sync is under way, the next write waits."""
    return started.info("persistence").get("aof_buffer_length", "0") == "0"


@pytest.mark.parametrize(
    "persistence, kept, promised",
    [
        ("none", 0, "all is lost"),
        ("snapshots", 5, "all since the last snapshot is lost"),
        ("everysec", 10, "no loss; the last 2 s where the disk is slow"),
        ("always", 10, "no loss"),
    ],
)
def test_a_server_that_is_killed_loses_what_was_said(doctor, tmp_path, persistence, kept, promised):
    """F15: the loss happens, and had been told: by the verdict, and by the row that applies."""
    with server(tmp_path / "redis", persistence=persistence) as started:
        report = doctor(started.url)
        with closing(open_backend(started.url).backend) as backend:
            backend.push([Envelope(id=f"a{one}", queue="jobs", body=b"{}") for one in range(5)])
            if persistence == "snapshots":
                started.ask("SAVE")
            backend.push([Envelope(id=f"b{one}", queue="jobs", body=b"{}") for one in range(5)])
            await_that(lambda: is_written(started), said="the disk has kept up")

            started.restart()

            assert backend.size("jobs").ready == kept

    assert report.promise["server_killed"] == promised
    assert report.code == (1 if kept < 10 else 0)


# Redis: several servers.


@contextmanager
def pair(folder: Path, *settings: str) -> Iterator[Sentinels]:
    with sentinels(folder, *settings, persistence=ALWAYS) as started:
        if settings:
            await_that(
                lambda: started.master.info("replication")["min_slaves_good_slaves"] == "1",
                said="the replica is in touch",
            )
        yield started


def url_of(started: Sentinels | Cluster) -> str:
    hosts = ",".join(f"127.0.0.1:{port}" for port in started.ports)
    if isinstance(started, Cluster):
        return f"redis+cluster://{hosts}"
    return f"redis+sentinel://{hosts}/{started.NAME}"


def test_good_sentinels_are_not_flagged_and_each_lack_is(doctor, tmp_path):
    """F15."""
    with pair(tmp_path / "redis", *GOOD) as started:
        assert doctor(url_of(started)).flagged == []

        of_replica = doctor(started.replica.url)
        assert (of_replica.verdict("role"), of_replica.code) == (BROKEN, 1)

        started.master.ask("CONFIG", "SET", "min-replicas-to-write", 0)
        assert [one["subject"] for one in doctor(url_of(started)).flagged] == ["replicas"]
        started.master.ask("CONFIG", "SET", "min-replicas-to-write", 1)

        for one in started.sentinels:
            one.ask("SENTINEL", "SET", started.NAME, "quorum", 1)
        assert [one["subject"] for one in doctor(url_of(started)).flagged] == ["Sentinels"]

        started.sentinels[1].kill()
        report = doctor(url_of(started))
        assert ["1 of the URL do not answer" in one["found"] for one in report.flagged] == [True]


def test_what_a_user_of_sentinels_may_not_do_is_flagged(doctor, tmp_path):
    """F15: what is needed, and what would only be good to know."""
    with pair(tmp_path / "redis", *GOOD) as started:
        url = f"{url_of(started)}?sentinel_username=shop&sentinel_password=canary-0f9a"
        for one in started.sentinels:
            add_user(one, "+sentinel|get-master-addr-by-name", password="canary-0f9a")
        blind = doctor(url)
        for one in started.sentinels:
            add_user(one, "-sentinel", password="canary-0f9a")
        refused = doctor(url)

    assert [(one["subject"], one["verdict"]) for one in blind.flagged] == [("Sentinels", WARNING)]
    assert (refused.code, refused.promise) == (1, None)
    assert "user and password" in json.dumps(refused.flagged)
    assert "canary" not in json.dumps([blind.findings, refused.findings])


@pytest.mark.timeout(60)
def test_a_good_cluster_is_not_flagged_and_each_lack_is(doctor, tmp_path):
    """F15."""
    with cluster(tmp_path / "redis", *GOOD, replicas=1, persistence=ALWAYS) as started:
        masters = started.nodes[:3]
        for node in masters:
            await_that(
                lambda node=node: node.info("replication")["min_slaves_good_slaves"] == "1",
                said="the replicas are in touch",
            )
        assert doctor(url_of(started)).flagged == []

        by_node = doctor(masters[0].url)
        assert (by_node.verdict("role"), by_node.code) == (BROKEN, 1)

        masters[1].ask("CONFIG", "SET", "appendfsync", "everysec")
        report = doctor(url_of(started))
        [flagged] = report.flagged
        assert flagged["subject"] == "persistence"
        assert f"127.0.0.1:{masters[1].port}" in flagged["found"]
        assert "everysec" in report.promise["store"]
        masters[1].ask("CONFIG", "SET", "appendfsync", "always")

        for node in started.nodes:
            node.ask("CLUSTER", "DELSLOTS", 0)
        report = doctor(url_of(started))
        assert (report.verdict("slots"), report.code) == (BROKEN, 1)


def test_a_cluster_without_replicas_is_flagged(doctor, tmp_path):
    """F15."""
    with cluster(tmp_path / "redis", persistence=ALWAYS) as started:
        assert [one["subject"] for one in doctor(url_of(started)).flagged] == ["replicas"]

        started.nodes[2].kill()
        report = doctor(url_of(started))

    assert (report.verdict("server"), report.code, report.promise) == (BROKEN, 1, None)


# SQLite.


@pytest.fixture
def store(tmp_path):
    """A file with a job in it, in a folder of its own."""
    folder = tmp_path / "store"
    folder.mkdir(0o700)
    with closing(SqliteBackend(folder / "queue.db")) as backend:
        backend.push([Envelope(id="a", queue="jobs", body=b"{}" * 5_000)])
    return folder / "queue.db"


def readable(path: Path) -> None:
    path.chmod(0o644)


def in_a_folder_of_everybody(path: Path) -> None:
    path.parent.chmod(0o777)


def linked(path: Path) -> None:
    moved = path.rename(path.with_name("other.db"))
    path.symlink_to(moved)


def of_two_names(path: Path) -> None:
    path.with_name("other.db").hardlink_to(path)


def of_another_application(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE ours (x)")
    path.chmod(0o600)


def of_version(number: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with closing(sqlite3.connect(path)) as db:
            db.execute(f"PRAGMA user_version = {number}")

    return make


def no_database(path: Path) -> None:
    path.write_bytes(b"no database at all, but long enough to be looked at" * 100)


def torn(path: Path) -> None:
    # Not the first page, which has the schema.
    whole = path.read_bytes()
    path.write_bytes(whole[:2048] + b"\xff" * 3072 + whole[5120:])


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir(0o700)


FILES = {
    "others may read it": (readable, "file"),
    "everybody may write beside it": (in_a_folder_of_everybody, "folder"),
    "a symbolic link": (linked, "file"),
    "a file of two names": (of_two_names, "file"),
    "a file of another application": (of_another_application, "schema"),
    "tables of an older version": (of_version(1), "schema"),
    "tables of a newer version": (of_version(99), "schema"),
    "no database": (no_database, "schema"),
    "no file": (a_folder, "file"),
    "a torn page": (torn, "integrity"),
}


@pytest.mark.parametrize("make, subject", FILES.values(), ids=FILES)
def test_a_bad_file_is_flagged(doctor, store, make, subject):
    """F15: and nothing is written to it."""
    make(store)
    before = [path.read_bytes() for path in store.parent.iterdir() if path.is_file()]

    report = doctor(f"sqlite:///{store}", "--integrity")

    assert [(one["subject"], one["verdict"]) for one in report.flagged] == [(subject, BROKEN)]
    assert (report.code, report.promise) == (1, None)
    assert [path.read_bytes() for path in store.parent.iterdir() if path.is_file()] == before


@needs_fixed_sqlite
def test_commits_that_are_not_synced_are_flagged(doctor, tmp_path):
    """F15: it was asked for by name, so it is a warning."""
    store = f"sqlite:///{tmp_path}/queue.db?journal=WAL&synchronous=NORMAL"

    report = doctor(store)

    assert [(one["subject"], one["verdict"]) for one in report.flagged] == [
        ("synchronous", WARNING)
    ]
    assert (report.code, report.promise["power_cut"].partition(",")[0]) == (
        0,
        "the last commits may be lost",
    )
    assert doctor(store, "--strict").code == 1


@needs_fixed_sqlite
@pytest.mark.parametrize("option", ["", "?journal=WAL"])
def test_wal_that_is_not_safe_is_flagged(doctor, tmp_path, monkeypatch, option):
    """F15: a file that a newer SQLite has put into WAL mode, and an old SQLite here."""
    tmp_path.chmod(0o700)
    with closing(SqliteBackend(tmp_path / "queue.db", journal="WAL")) as backend:
        backend.push([Envelope(id="a", queue="jobs", body=b"{}")])
    if wal_is_safe(sqlite3.sqlite_version_info):
        pytest.skip("WAL is safe on the SQLite of this Python")
    monkeypatch.setattr("eventbus.backends.sqlite_file.load_driver", lambda: sqlite3)

    report = doctor(f"sqlite:///{tmp_path}/queue.db{option}")

    assert (report.code, report.promise, len(report.flagged)) == (1, None, 1)
    assert "eventbus[sqlite]" in report.flagged[0]["advice"]


@pytest.mark.parametrize(
    "kind, verdict",
    [("nfs4", BROKEN), ("cifs", BROKEN), ("fuse.sshfs", BROKEN), ("overlay", WARNING)],
)
def test_a_bad_disk_is_flagged(doctor, disks, store, kind, verdict):
    """F15."""
    disks(kind)

    report = doctor(f"sqlite:///{store}")

    assert [(one["subject"], one["verdict"]) for one in report.flagged] == [
        ("file system", verdict)
    ]


def test_a_file_in_memory_is_flagged(doctor, monkeypatch):
    """F15: really in memory, as the system itself says."""
    monkeypatch.setattr("eventbus.backends.sqlite_examination._MOUNTS", "/proc/self/mountinfo")
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("needs /dev/shm")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        report = doctor(f"sqlite:///{folder}/queue.db")

    assert report.verdict("file system") == WARNING


def test_a_disk_that_is_nearly_full_is_flagged(doctor, store, monkeypatch):
    """F15."""
    free = shutil.disk_usage(store.parent).free
    monkeypatch.setattr("eventbus.backends.sqlite_examination.EXAMINED_DISK", free * 2)

    report = doctor(f"sqlite:///{store}")

    assert [one["subject"] for one in report.flagged] == ["disk"]


# Neither.


def test_good_settings_are_not_flagged_and_nothing_is_changed(doctor, tmp_path, store):
    """F15."""
    before = store.read_bytes()
    of_file: Any = doctor(f"sqlite:///{store}", "--integrity", "--strict")

    with server(tmp_path / "redis", persistence=ALWAYS) as started:
        add_user(started, "+@all ~eventbus:* &eventbus:*")
        of_server = doctor(f"redis://shop:secret@127.0.0.1:{started.port}", "--strict")
        keys = started.info("keyspace")

    assert (of_file.code, of_file.flagged, store.read_bytes()) == (0, [], before)
    assert (of_server.code, of_server.flagged, keys) == (0, [], {})
    assert of_file.promise["dispatched"] == "committed and fsynced"
    assert of_server.promise["dispatched"] == "in the append-only file, fsynced"


@pytest.mark.parametrize(
    "url, code, flags", [("memory://", 0, 1), ("null://", 0, 1), ("sync://", 0, 0)]
)
def test_what_is_no_store_says_so(doctor, url, code, flags):
    """F15."""
    report = doctor(url)

    assert (report.code, len(report.flagged), report.promise["store"]) == (code, flags, url)
