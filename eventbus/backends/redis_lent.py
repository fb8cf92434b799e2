"""Links to where a client leads that somebody lent: one of redis-py or of its kin."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from attrs import evolve

from eventbus.backends.redis_cluster import ClusterLink
from eventbus.backends.redis_lines import LentLine, Maker, driver_errors
from eventbus.backends.redis_link import Link, ServerLink
from eventbus.errors import InvalidOption

__all__ = ["lent", "shown"]


def lent(client: Any, async_client: Any, *, name: str) -> Link:
    """
    Return a link of the sync form, with one of the async form as its twin where there is a client for it.

    Args:
        client: A sync client.
        async_client: One of the async form, or None.
        name: What the server is called in errors.

    Raises:
        InvalidOption: One of them is none.
    """
    _check("client", client, waits=False)
    if async_client is None:
        return _link(client, name, waits=False)
    _check("async_client", async_client, waits=True)
    return _link(client, name, waits=False, twin=partial(_link, async_client, name, waits=True))


def shown(client: Any) -> str:
    """Return what a client is called: where it leads, and no password."""
    found = getattr(getattr(client, "connection_pool", None), "connection_kwargs", {})
    if "path" in found:
        return f"unix://{found['path']}"
    if "host" not in found:
        return "redis://"
    return f"redis://{found['host']}:{found.get('port', 6379)}/{found.get('db') or 0}"


def _check(option: str, client: Any, *, waits: bool) -> None:
    form = f"{'an async' if waits else 'a sync'} client of redis-py, or of its kin"
    modules = [part for cls in type(client).__mro__ for part in cls.__module__.split(".")]
    is_client = hasattr(client, "nodes_manager") or hasattr(client, "connection_pool")
    is_known = is_client and driver_errors(client) is not None
    if not is_known or ("asyncio" in modules) is not waits:
        raise InvalidOption(option=option, value=type(client).__name__, expected=form)


def _link(client: Any, name: str, *, waits: bool, twin: Callable[[], Link] | None = None) -> Link:
    errors = driver_errors(client)
    if hasattr(client, "nodes_manager"):
        nodes = client.get_nodes() or list(client.nodes_manager.startup_nodes.values())
        seeds = [(str(node.host), int(node.port)) for node in nodes]
        source = nodes[0] if waits else _client_of(nodes[0], client).connection_pool
        return ClusterLink(_maker(source, errors, waits=waits), seeds, name=name, twin=twin)
    pool = client.connection_pool
    maker = evolve(
        _maker(pool, errors, waits=waits),
        service=getattr(pool, "service_name", ""),
        sentinels=[
            _maker(one.connection_pool, errors, waits=waits)
            for one in getattr(getattr(pool, "sentinel_manager", None), "sentinels", ())
        ],
    )
    return ServerLink(LentLine(pool, maker), name=name, twin=twin)


def _client_of(node: Any, client: Any) -> Any:
    """Return the client of one node of a cluster's client."""
    get = getattr(client, "get_redis_connection", None) or client.get_valkey_connection
    return get(node)


def _maker(source: Any, errors: Any, *, waits: bool) -> Maker:
    """Return what makes connections as a pool, or a node, makes its own."""
    settings = {
        name: value
        for name, value in source.connection_kwargs.items()
        # What comes unasked needs the newer form of answers.
        if "maint_notifications" not in name
    }
    return Maker(source.connection_class, {**settings, "protocol": 2}, errors, waits)
