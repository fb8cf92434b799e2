"""The servers of the tests come up, keep what they say they keep, and can be killed."""

from __future__ import annotations

import pytest

from tests import servers
from tests.servers import RefusedError, ask, await_that, cluster, sentinels, server


def test_a_server_answers_at_a_port_of_its_own(redis_server):
    redis_server.ask("SET", "a", b"\r\n$")

    assert redis_server.ask("GET", "a") == b"\r\n$"
    assert redis_server.ask("GET", "b") is None
    assert redis_server.ask("MGET", "a", "b") == [b"\r\n$", None]
    assert redis_server.port != 6379
    with pytest.raises(RefusedError, match="unknown command"):
        redis_server.ask("NONSENSE")


@pytest.mark.parametrize("persistence, kept", [("none", None), ("always", b"1")])
def test_what_a_killed_server_had_kept_is_there_again(tmp_path, persistence, kept):
    with server(tmp_path, persistence=persistence) as started:
        started.ask("SET", "a", "1")
        before = started.pid

        started.restart()

        assert started.ask("GET", "a") == kept
        assert started.pid != before


def test_a_server_of_snapshots_keeps_the_last_one(tmp_path):
    with server(tmp_path, persistence="snapshots") as started:
        started.ask("SET", "a", "1")
        started.ask("SAVE")
        started.ask("SET", "b", "2")

        started.restart()

        assert started.ask("MGET", "a", "b") == [b"1", None]


def test_nothing_is_left_of_a_server(tmp_path):
    with server(tmp_path) as started:
        pass

    assert not started.is_alive
    with pytest.raises(OSError, match="refused"):
        started.ask("PING")


def test_sentinels_make_the_replica_the_master(tmp_path):
    with sentinels(tmp_path) as group:
        assert group.master_port() == group.master.port
        group.master.ask("SET", "a", "1")
        await_that(lambda: group.replica.ask("GET", "a") == b"1", said="the replica has it")

        group.master.kill()

        await_that(lambda: group.master_port() == group.replica.port, said="a new master")
        await_that(lambda: group.replica.ask("ROLE")[0] == b"master", said="it knows")
        assert ask(group.master_port(), "GET", "a") == b"1"


def test_a_cluster_serves_every_slot(redis_cluster):
    owners = {redis_cluster.owner(f"key-{number}").port for number in range(50)}

    assert owners == set(redis_cluster.ports)
    owner = redis_cluster.owner("a")
    assert owner.ask("SET", "a", "1") == b"OK"
    [other, *_] = [node for node in redis_cluster.nodes if node is not owner]
    with pytest.raises(RefusedError, match="MOVED"):
        other.ask("GET", "a")


def test_a_replica_of_a_cluster_takes_over(tmp_path):
    with cluster(tmp_path, replicas=1) as group:
        owner = group.owner("a")

        owner.kill()

        await_that(lambda: group.is_whole() and group.owner("a") is not owner, said="taken over")
        assert group.owner("a").ask("SET", "a", "1") == b"OK"


@pytest.mark.parametrize(
    "ci, outcome", [("", pytest.skip.Exception), ("true", pytest.fail.Exception)]
)
def test_without_the_program_a_test_is_skipped_and_fails_in_ci(monkeypatch, ci, outcome):
    monkeypatch.setattr(servers.shutil, "which", lambda name: None)
    monkeypatch.setenv("CI", ci)

    with pytest.raises(outcome, match="needs redis-server"):
        servers.redis_binary()
