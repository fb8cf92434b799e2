"""What a Redis server says of itself is judged; what no server here can be made to say, too."""

from __future__ import annotations

import pytest

from eventbus.backends.base import Finding, Verdict
from eventbus.backends.redis_examination import PROMISES, judged
from eventbus.backends.redis_server import Server
from eventbus.defaults import EXAMINED_SHARE, EXAMINED_SKEW

INFO = {
    "redis_version": "7.2.4",
    "redis_mode": "standalone",
    "role": "master",
    "connected_slaves": "0",
    "connected_clients": "1",
    "maxclients": "10000",
    "used_memory": "1000000",
    "maxmemory": "0",
    "maxmemory_policy": "noeviction",
    "aof_enabled": "1",
    "aof_last_write_status": "ok",
    "aof_last_bgrewrite_status": "ok",
    "rdb_last_bgsave_status": "ok",
}
CONFIG = {
    "appendfsync": "always",
    "appendonly": "yes",
    "bind": "10.0.0.5",
    "min-replicas-to-write": "0",
    "no-appendfsync-on-rewrite": "no",
    "protected-mode": "no",
    "save": "",
    "tcp-keepalive": "300",
    "timeout": "0",
}


def seen(*, info=(), config=(), **more):
    """A server as it should be, but for what is given."""
    told = {
        "skew": 0.0,
        "is_open": False,
        "is_encrypted": True,
        "is_near": False,
        "denied": (),
        **more,
    }
    return Server(info={**INFO, **dict(info)}, config={**CONFIG, **dict(config)}, **told)


def judgement(server, **how):
    """Subjects and verdicts of what is not as it should be."""
    found = judged(server, **how)
    return [(one.subject, str(one.verdict)) for one in found if one.verdict is not Verdict.OK]


def about(server, subject):
    [found] = [one for one in judged(server) if one.subject == subject]
    return found


def test_a_server_as_it_should_be():
    assert judgement(seen()) == []
    assert about(seen(), "server") == Finding(subject="server", found="Redis 7.2.4")


@pytest.mark.parametrize(
    "info, shown, verdict",
    [
        ({"redis_version": "6.2.14"}, "Redis 6.2.14", "broken"),
        ({"redis_version": "7.0.0"}, "Redis 7.0.0", "ok"),
        ({"redis_version": "10.0.1"}, "Redis 10.0.1", "ok"),
        ({"valkey_version": "8.0.1"}, "Valkey 8.0.1", "ok"),
        ({"redis_version": "unstable"}, "Redis unstable", "ok"),
    ],
)
def test_the_version(info, shown, verdict):
    found = about(seen(info=info), "server")

    assert (found.found, found.verdict) == (shown, verdict)


@pytest.mark.parametrize("skew, flagged", [(EXAMINED_SKEW, False), (EXAMINED_SKEW + 1, True)])
def test_the_clock(skew, flagged):
    assert (("clock", "warning") in judgement(seen(skew=skew))) is flagged


@pytest.mark.parametrize(
    "info, config, verdict",
    [
        ({"aof_last_write_status": "err"}, {}, "broken"),
        ({"aof_last_bgrewrite_status": "err"}, {}, "broken"),
        ({"rdb_last_bgsave_status": "err"}, {"save": "3600 1"}, "broken"),
        # Nobody asked for snapshots: one that failed stops nothing.
        ({"rdb_last_bgsave_status": "err"}, {"save": ""}, "ok"),
    ],
)
def test_the_last_writes(info, config, verdict):
    assert about(seen(info=info, config=config), "last writes").verdict == verdict


@pytest.mark.parametrize(
    "used, flagged", [(EXAMINED_SHARE * 1000, False), (EXAMINED_SHARE * 1000 + 1, True)]
)
def test_a_share_of_memory_and_connections(used, flagged):
    told = {"used_memory": f"{used:.0f}", "maxmemory": "1000"}
    told |= {"connected_clients": f"{used:.0f}", "maxclients": "1000"}

    found = judgement(seen(info=told))

    assert found == ([("memory", "warning"), ("connections", "warning")] if flagged else [])


@pytest.mark.parametrize(
    "told, config, verdict",
    [
        ({"is_open": False}, {}, "ok"),
        ({"is_open": True}, {}, "broken"),
        ({"is_open": True}, {"protected-mode": "yes"}, "ok"),
        ({"is_open": True}, {"bind": "127.0.0.1 -::1"}, "ok"),
        ({"is_open": True}, {"bind": "127.0.0.1 10.0.0.5"}, "broken"),
        ({"is_open": True}, {"bind": "* -::*"}, "broken"),
        ({"is_open": True}, {"bind": ""}, "ok"),
        ({"is_open": True}, {"bind": "queue.internal"}, "broken"),
    ],
)
def test_who_is_let_in(told, config, verdict):
    assert about(seen(config=config, **told), "access").verdict == verdict


@pytest.mark.parametrize("near, verdict", [(True, "warning"), (False, "broken")])
def test_who_is_let_in_where_settings_cannot_be_read(near, verdict):
    told = {"skew": 0.0, "is_encrypted": True, "denied": ()}
    server = Server(info=INFO, config={}, is_open=True, is_near=near, **told)

    assert about(server, "access").verdict == verdict


@pytest.mark.parametrize(
    "encrypted, near, verdict",
    [(True, False, "ok"), (False, True, "ok"), (True, True, "ok"), (False, False, "warning")],
)
def test_the_way_to_the_server(encrypted, near, verdict):
    found = about(seen(is_encrypted=encrypted, is_near=near), "transport")

    assert found.verdict == verdict


@pytest.mark.parametrize("enabled, expected", [("0", [("persistence", "broken")]), ("1", [])])
def test_persistence_where_settings_cannot_be_read(enabled, expected):
    told = {"skew": 0.0, "is_open": False, "is_encrypted": True, "is_near": False, "denied": ()}
    server = Server(info={**INFO, "aof_enabled": enabled}, config={}, **told)

    assert judgement(server) == [("CONFIG GET", "warning"), *expected]


def test_of_a_server_that_says_nothing_two_findings_say_so():
    server = Server(
        info={}, config={}, skew=0.0, is_open=False, is_encrypted=True, is_near=True, denied=()
    )

    assert judgement(server) == [("INFO", "warning"), ("CONFIG GET", "warning")]


@pytest.mark.parametrize(
    "info, config, how, verdict",
    [
        ({}, {}, {}, "ok"),
        ({}, {}, {"watched": True}, "warning"),
        ({}, {}, {"spans": False}, "warning"),
        ({"connected_slaves": "1"}, {}, {}, "warning"),
        ({"connected_slaves": "1"}, {"min-replicas-to-write": "1"}, {}, "ok"),
        (
            {"connected_slaves": "1", "min_slaves_good_slaves": "0"},
            {"min-replicas-to-write": "1"},
            {},
            "broken",
        ),
    ],
)
def test_replicas(info, config, how, verdict):
    server = seen(info=info, config=config)

    assert dict(judgement(server, **how)).get("replicas", "ok") == verdict


def test_a_replica_has_no_replicas_to_be_judged():
    assert judgement(seen(info={"role": "slave"})) == [("role", "broken")]


@pytest.mark.parametrize("spans, flagged", [(True, [("role", "broken")]), (False, [])])
def test_a_node_of_a_cluster_is_not_one_server(spans, flagged):
    server = seen(info={"redis_mode": "cluster", "connected_slaves": "1"})

    found = judgement(server, spans=spans)

    assert found == [*flagged, ("replicas", "warning")]


def test_no_two_ways_to_keep_jobs_promise_the_same():
    assert len({one.store for one in PROMISES.values()}) == len(PROMISES)
    assert {one.failover for one in PROMISES.values()} == {"may lose acknowledged jobs"}


def test_what_a_server_says_in_its_settings_is_not_trusted():
    """Its text is shown as it is; the console makes it safe."""
    hostile = "\x1b[2J {0.__class__} %s"

    server = seen(
        info={"redis_version": hostile, "used_memory": hostile, "maxmemory": hostile},
        config={"appendfsync": hostile, "bind": hostile, "timeout": hostile},
        is_open=True,
    )

    assert dict(judgement(server))["access"] == "broken"
