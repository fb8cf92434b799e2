"""What the Redis servers of a connection promise as they are set now, and what is wrong with them."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from attrs import evolve

from eventbus.backends.base import Examination, Finding, Promise, Verdict
from eventbus.backends.redis_calls import Call, NotSent, driver_error, refusal, scripts
from eventbus.backends.redis_lines import Maker, at_once
from eventbus.backends.redis_link import Link
from eventbus.backends.redis_server import Server, read_server
from eventbus.defaults import EXAMINED_SHARE, EXAMINED_SKEW
from eventbus.errors import AccessDenied

__all__ = ["PROMISES", "examine_redis", "judged"]


def _promise(store: str, dispatched: str, server_killed: str, power_cut: str) -> Promise:
    return Promise(
        store=store,
        dispatched=dispatched,
        worker_killed="no loss",
        server_killed=server_killed,
        power_cut=power_cut,
        failover="may lose acknowledged jobs",
        stale_ack="refused",
    )


#: What each way to keep jobs promises, the strongest first.
PROMISES: Final[Mapping[str, Promise]] = {
    "always": _promise(
        "Redis, appendonly yes, appendfsync always",
        "in the append-only file, fsynced",
        "no loss",
        "no loss if the disk honours fsync",
    ),
    "everysec": _promise(
        "Redis, appendonly yes, appendfsync everysec",
        "in the append-only file, fsynced within about a second",
        "no loss; the last 2 s where the disk is slow",
        "the last 1 to 2 s are lost",
    ),
    "no": _promise(
        "Redis, appendonly yes, appendfsync no",
        "in the append-only file",
        "no loss",
        "what the system had not written is lost, some 30 s",
    ),
    "snapshots": _promise(
        "Redis, snapshots only (what a server does that nobody has configured)",
        "in the server's memory",
        "all since the last snapshot is lost",
        "all since the last snapshot is lost",
    ),
    "none": _promise(
        "Redis, neither",
        "in the server's memory",
        "all is lost",
        "all is lost",
    ),
}


def examine_redis(link: Link, *, prefix: str) -> Examination:
    """
    Look at each server that a link leads to; nothing in them is changed.

    Args:
        link: What leads to them.
        prefix: What the names of all keys begin with.

    Raises:
        BackendUnavailable: It is not known which servers there are.
    """
    findings: dict[str, list[Finding]] = {}
    servers: dict[str, Server] = {}
    service, watchers = link.sentinels()
    for name, maker in link.servers().items():
        try:
            connection = at_once(maker.made())
            try:
                servers[name] = read_server(
                    connection,
                    link.errors,
                    prefix=prefix,
                    script=scripts()["allowed"],
                    in_cluster=not link.spans,
                )
            finally:
                link.release(connection)
        except (NotSent, driver_error(link.errors), OSError) as error:
            findings[name] = [_unreachable(error.__cause__ or error, link)]
            continue
        findings[name] = judged(servers[name], spans=link.spans, watched=bool(watchers))
    ways = [_way(server) for server in servers.values()]
    known = bool(ways) and len(ways) == len(findings) and all(way in PROMISES for way in ways)
    weakest = max(ways, key=list(PROMISES).index) if known else ""
    return Examination(
        promise=PROMISES.get(weakest),
        findings=(
            *_merged(findings),
            *_sentinels(service, watchers),
            *_slots(list(servers.values())),
        ),
    )


def judged(server: Server, *, spans: bool = True, watched: bool = False) -> list[Finding]:
    """
    Return what a server's state and settings mean.

    Args:
        server: What it said.
        spans: Whether it is spoken to as one server, not as a part of a cluster.
        watched: Whether Sentinels watch it.

    Defaults:
        spans = True, watched = False: one server by itself.
    """
    looks: Sequence[Callable[[Server], Iterator[Finding]]] = (
        _version,
        _unread,
        _persistence,
        _written,
        _eviction,
        _memory,
        _connections,
        _clock,
        _access,
        _transport,
        _permissions,
    )
    found = [one for look in looks for one in look(server)]
    found += _role(server, spans=spans)
    return [*found, *_replicas(server, alone=spans and not watched)]


def _finding(subject: str, found: str, advice: str = "", *, broken: bool = False) -> Finding:
    verdict = Verdict.BROKEN if broken else Verdict.WARNING if advice else Verdict.OK
    return Finding(subject=subject, found=found, verdict=verdict, advice=advice)


def _unreachable(error: BaseException, link: Link) -> Finding:
    refused = refusal(error, backend=link.name, operation="examine")
    advice = "every dispatch raises, and no job runs: start it, or mend the URL and the way to it"
    if isinstance(refused, AccessDenied):
        advice = "every dispatch raises, and no job runs: mend user and password of the URL"
    return _finding("server", f"cannot be asked: {error}", advice, broken=True)


def _merged(of_servers: Mapping[str, Sequence[Finding]]) -> Iterator[Finding]:
    """Yield what was found, once where all servers that told it are the same in it."""
    subjects = dict.fromkeys(one.subject for found in of_servers.values() for one in found)
    for subject in subjects:
        variants: dict[Finding, list[str]] = {}
        for name, found in of_servers.items():
            for one in found:
                if one.subject == subject:
                    variants.setdefault(one, []).append(name)
        for one, names in variants.items():
            of = "" if len(variants) == 1 else f" ({', '.join(names)})"
            yield evolve(one, found=one.found + of)


def _version(server: Server) -> Iterator[Finding]:
    info = server.info
    if "redis_version" not in info:
        return
    version = info["redis_version"]
    kind = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {version}"
    major = version.partition(".")[0]
    if major.isdecimal() and int(major) < 7:
        advice = "its scripts are not understood, so that no verb works: Redis 7 or later is needed"
        yield _finding("server", kind, advice, broken=True)
    else:
        yield _finding("server", kind)


def _unread(server: Server) -> Iterator[Finding]:
    for command, answer in (("INFO", server.info), ("CONFIG GET", server.config)):
        if not answer:
            right = "+" + command.lower().replace(" ", "|")
            yield _finding(
                command,
                "cannot be read",
                f"what it tells is not judged here: let this user ({right}), or look with another",
            )


def _way(server: Server) -> str:
    """Return which of `PROMISES` a server keeps; empty where it cannot be told."""
    config = server.config
    if config:
        if config.get("appendonly") != "yes":
            return "snapshots" if config.get("save") else "none"
        if config.get("no-appendfsync-on-rewrite") == "yes":
            return "no"
        return config.get("appendfsync", "")
    return ""


def _persistence(server: Server) -> Iterator[Finding]:
    way = _way(server)
    if not way and server.info.get("aof_enabled") == "0":
        advice = "acknowledged jobs are lost when the server ends: set appendonly yes"
        yield _finding("persistence", "no append-only file", advice, broken=True)
    elif not way and server.info.get("aof_enabled") == "1":
        yield _finding("persistence", "an append-only file; how it is synced cannot be read")
    elif way == "snapshots":
        advice = "acknowledged jobs are lost when the server ends: set appendonly yes and appendfsync always"
        yield _finding("persistence", f"save {server.config['save']}", advice, broken=True)
    elif way == "none":
        advice = "all jobs are lost when the server ends: set appendonly yes and appendfsync always"
        yield _finding("persistence", "none", advice, broken=True)
    elif way:
        yield from _append_only(server.config)


def _append_only(config: Mapping[str, str]) -> Iterator[Finding]:
    every = config.get("appendfsync", "")
    advice = ""
    if every != "always":
        lost = "the last 1 to 2 s" if every == "everysec" else "some 30 s"
        advice = f"a power cut loses {lost}: appendfsync always keeps every acknowledged job"
    yield _finding("persistence", f"appendonly yes, appendfsync {every}", advice)
    if config.get("no-appendfsync-on-rewrite") == "yes":
        yield _finding(
            "rewriting",
            "no-appendfsync-on-rewrite yes",
            "a power cut loses what was pushed while the file was rewritten: set it to no",
        )


def _written(server: Server) -> Iterator[Finding]:
    info = server.info
    if not info:
        return
    bad = [
        name for name in ("aof_last_write_status", "aof_last_bgrewrite_status") if _bad(info, name)
    ]
    if server.config.get("save", "?") and _bad(info, "rdb_last_bgsave_status"):
        bad.append("rdb_last_bgsave_status")
    if bad:
        advice = "the server cannot write, and refuses pushes: look at its disk and its log"
        yield _finding("last writes", f"failed: {', '.join(bad)}", advice, broken=True)
    else:
        yield _finding("last writes", "done")


def _bad(info: Mapping[str, str], name: str) -> bool:
    return info.get(name, "ok") != "ok"


def _eviction(server: Server) -> Iterator[Finding]:
    policy = server.info.get("maxmemory_policy")
    if policy is None:
        return
    if policy == "noeviction":
        yield _finding("eviction", policy)
    elif policy.startswith("volatile"):
        # Ours have no life span.
        advice = "it takes no jobs, but is set for a cache: give jobs a server of noeviction"
        yield _finding("eviction", policy, advice)
    elif server.info.get("maxmemory", "0") == "0":
        advice = "jobs would be thrown away once maxmemory is set: set maxmemory-policy noeviction"
        yield _finding("eviction", f"{policy}, with no maxmemory", advice)
    else:
        advice = "jobs are thrown away when memory is full: set maxmemory-policy noeviction"
        yield _finding("eviction", policy, advice, broken=True)


def _memory(server: Server) -> Iterator[Finding]:
    used, most = (_number(server.info, name) for name in ("used_memory", "maxmemory"))
    if used is None or most is None:
        return
    if not most:
        yield _finding("memory", "no maxmemory")
    elif used > most * EXAMINED_SHARE:
        advice = "a full server refuses every dispatch: more workers, or more memory"
        yield _finding("memory", f"{used:,} of {most:,} bytes", advice)
    else:
        yield _finding("memory", f"less than {EXAMINED_SHARE:.0%} of {most:,} bytes")


def _connections(server: Server) -> Iterator[Finding]:
    used, most = (_number(server.info, name) for name in ("connected_clients", "maxclients"))
    if used and most and used > most * EXAMINED_SHARE:
        advice = (
            "a server without a free connection refuses workers and producers: raise maxclients"
        )
        yield _finding("connections", f"{used:,} of {most:,}", advice)
    if not server.config:
        return
    if server.config.get("timeout") != "0":
        yield _finding(
            "idle connections",
            f"timeout {server.config.get('timeout')}",
            "connections that rest are cut, and what is sent next is sent twice: set timeout 0",
        )
    elif server.config.get("tcp-keepalive") == "0":
        advice = "connections of machines that are gone are kept for ever: set tcp-keepalive 300"
        yield _finding("idle connections", "tcp-keepalive 0", advice)
    else:
        yield _finding("idle connections", "kept, while there is somebody")


def _number(said: Mapping[str, str], name: str) -> int | None:
    text = said.get(name, "")
    return int(text) if text.isdecimal() else None


def _clock(server: Server) -> Iterator[Finding]:
    if server.skew > EXAMINED_SKEW:
        advice = "deadlines (retry_until) come too early or too late: let both ask a time server"
        yield _finding("clock", f"{server.skew:,.0f} s from this machine's", advice)
    else:
        yield _finding("clock", "as this machine's")


def _access(server: Server) -> Iterator[Finding]:
    if not server.is_open:
        yield _finding("access", "asks for a password")
        return
    config = server.config
    if config and (config.get("protected-mode") == "yes" or _is_loopback(config.get("bind", ""))):
        yield _finding("access", "no password, and for this machine alone")
        return
    advice = "whoever reaches it reads, forges and deletes jobs: give it users with passwords"
    if config or not server.is_near:
        found = (
            f"no password, bind {config['bind']}" if config else "no password, from other machines"
        )
        yield _finding("access", found, advice, broken=True)
    else:
        yield _finding("access", "no password; from where it is reached cannot be read", advice)


def _is_loopback(bind: str) -> bool:
    for place in bind.split():
        try:
            if not ipaddress.ip_address(place.removeprefix("-")).is_loopback:
                return False
        except ValueError:  # "*", "-::*", a name
            return False
    return True


def _transport(server: Server) -> Iterator[Finding]:
    if server.is_encrypted:
        yield _finding("transport", "TLS")
    elif server.is_near:
        yield _finding("transport", "within this machine")
    else:
        advice = "password and jobs can be read on the way: rediss://, or a network of your own"
        yield _finding("transport", "not encrypted", advice)


def _permissions(server: Server) -> Iterator[Finding]:
    if server.denied:
        advice = "verbs that need it are refused: the ACL is in docs/howto/redis.md"
        yield _finding("permissions", f"denied: {', '.join(server.denied)}", advice, broken=True)
    else:
        yield _finding("permissions", "all that is needed")


def _role(server: Server, *, spans: bool) -> Iterator[Finding]:
    info = server.info
    if not info:
        return
    if info.get("role") == "slave":
        advice = "it refuses every push: the URL must lead to its master, best by redis+sentinel://"
        yield _finding("role", "replica", advice, broken=True)
    elif spans and info.get("redis_mode") == "cluster":
        advice = "it refuses the keys of other nodes: write redis+cluster://"
        yield _finding("role", "node of a cluster", advice, broken=True)
    else:
        yield _finding("role", "master")


def _replicas(server: Server, *, alone: bool) -> Iterator[Finding]:
    info = server.info
    many = _number(info, "connected_slaves")
    if many is None or info.get("role") != "master":
        return
    wanted = server.config.get("min-replicas-to-write")
    good = _number(info, "min_slaves_good_slaves")
    if wanted is not None and good is not None and good < int(wanted):
        advice = "pushes are refused until more replicas are in touch"
        yield _finding("replicas", f"{many}, min-replicas-to-write {wanted}", advice, broken=True)
    elif not many and not alone:
        yield _finding("replicas", "none", "nobody takes over when it dies: give it a replica")
    elif many and wanted == "0":
        yield _finding(
            "replicas",
            f"{many}, min-replicas-to-write 0",
            "a master that is cut off acknowledges jobs that a failover loses: set it to 1, and"
            " min-replicas-max-lag",
        )
    else:
        after = f", min-replicas-to-write {wanted}" if many and wanted is not None else ""
        yield _finding("replicas", f"{many or 'none'}{after}")


def _slots(servers: Sequence[Server]) -> Iterator[Finding]:
    """Yield what the cluster is like; the first that says so may be one that is cut off."""
    shards = next((one.shards for one in servers if one.shards), ())
    if not shards:
        return
    served = sum(one.slots for one in shards)
    states = {one.cluster.get("cluster_state", "ok") for one in servers}
    if served < _SLOTS or states != {"ok"}:
        found = f"{served:,} of {_SLOTS:,} have a master, state {' and '.join(sorted(states))}"
        advice = "pushes to queues in the others are refused: mend it (redis-cli --cluster check)"
        yield _finding("slots", found, advice, broken=True)
    else:
        yield _finding("slots", f"all are served, by {len({one.master for one in shards})} masters")


#: How many slots a cluster has.
_SLOTS: Final = 16_384


def _sentinels(service: str, makers: Sequence[Maker]) -> list[Finding]:
    """Return what the Sentinels say of themselves; nothing where there are none."""
    if not makers:
        return []
    states: list[Mapping[str, str]] = []
    silent = 0
    for maker in makers:
        try:
            states.append(_state(maker, service))
        except maker.errors.NoPermissionError:
            advice = "whether they can agree is not judged here: let their user (+sentinel|master)"
            return [_finding("Sentinels", "cannot be read", advice)]
        except (NotSent, driver_error(maker.errors), OSError):
            silent += 1
    known = max((int(state["num-other-sentinels"]) + 1 for state in states), default=0)
    quorum = max((int(state["quorum"]) for state in states), default=0)
    found = f"{known}, agree by {quorum}"
    if silent:
        advice = "who is the master is found by the others alone: start those, or mend the URL"
        return [_finding("Sentinels", f"{found}; {silent} of the URL do not answer", advice)]
    if known < 3 or quorum <= known // 2:
        advice = (
            "a failover needs a majority that agrees: three or more, and a quorum of most of them"
        )
        return [_finding("Sentinels", found, advice)]
    return [_finding("Sentinels", found)]


def _state(maker: Maker, service: str) -> Mapping[str, str]:
    """Return what a Sentinel knows of the servers that it watches."""
    connection = at_once(maker.made())
    try:
        [said] = at_once(maker.say(connection, [Call("", ("SENTINEL", "MASTER", service))]))
    finally:
        at_once(maker.drop(connection))
    if isinstance(said, Exception):
        raise said
    words = [word.decode() for word in said]
    return dict(zip(words[::2], words[1::2], strict=True))
