"""Servers that the tests of one run share. Who breaks one starts its own, by `tests.servers`."""

from __future__ import annotations

import pytest

from tests.servers import MUCH_PATIENCE, cluster, sentinels, server


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory):
    """A Redis server that keeps nothing."""
    with server(tmp_path_factory.mktemp("redis")) as started:
        yield started


@pytest.fixture(scope="session")
def redis_sentinels(tmp_path_factory):
    """A master and a replica under three Sentinels."""
    with sentinels(tmp_path_factory.mktemp("sentinels"), patience=MUCH_PATIENCE) as started:
        yield started


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory):
    """A cluster of three nodes without replicas."""
    with cluster(tmp_path_factory.mktemp("cluster"), patience=MUCH_PATIENCE) as started:
        yield started
