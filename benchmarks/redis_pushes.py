"""
Enqueue on Redis: `python redis_pushes.py WHAT SERVER ROUNDS SECONDS SEED`, WHAT being `one`, `many` or `memory`.

Each contender has a fresh producer and a database of its own; all producers live at the same time, and in every
round each enqueues for so many seconds, in random order. Prints, for each, the seconds of one push, by round. With
`memory` ROUNDS is how many jobs wait in the end, and what is printed is the bytes that the server holds for each.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack

import contenders
import redis
import redis_server
from attrs import frozen
from contenders import BY_HAND, OURS, US, Contender
from processes import Producer, place, producer

PORT = f"{US}, `Port.push`"
EVALSHA = "raw redis-py, the same EVALSHA"
LPUSH = "raw redis-py, LPUSH"
PIPELINE = "raw redis-py, pipeline of LPUSH"
NOTE = (
    "One call after the other, from processes that do nothing else. Raw: `execute_command` with the words that a"
    " dispatch was heard to send, its id a new one each time; LPUSH of the same body is for orientation, it stores"
    " no id, no delay and no time."
)
NOTE_OF_MANY = "The same bodies; the raw ones in a pipeline without a transaction. No peer has a push of many in common."
NOTE_OF_MEMORY = "Growth of `used_memory` between a hundred waiting jobs and the last; each is `note(1, 'a@example.com')`."
#: Jobs that lie there before anything is looked at.
_FIRST = 100


@frozen
class _Row:
    contender: Contender
    push: str


def rows(what: str) -> tuple[dict[str, _Row], dict[str, str]]:
    """Return who takes part, and who cannot."""
    if what == "many":
        ours = {US: _Row(OURS, "note_many"), PORT: _Row(OURS, "port_many")}
        return {**ours, PIPELINE: _Row(BY_HAND, "lpush_many")}, {}
    peers, missing = contenders.available()
    found = {US: _Row(OURS, "note"), LPUSH: _Row(BY_HAND, "lpush")}
    if what == "one":
        found |= {PORT: _Row(OURS, "port"), EVALSHA: _Row(BY_HAND, "evalsha")}
    return {**found, **{one.name: _Row(one, "note") for one in peers}}, missing


def started(chosen: Mapping[str, _Row], port: int, running: ExitStack) -> dict[str, Producer]:
    found: dict[str, Producer] = {}
    for database, (name, row) in enumerate(chosen.items()):
        where = running.enter_context(place(f"redis://127.0.0.1:{port}/{database}"))
        found[name] = running.enter_context(producer(row.contender, where))
    return found


def timed(
    chosen: Mapping[str, _Row],
    producers: Mapping[str, Producer],
    rounds: int,
    seconds: float,
    seed: int,
) -> dict[str, list[float]]:
    loops = {name: _calibrated(one, chosen[name].push, seconds) for name, one in producers.items()}
    values: dict[str, list[float]] = {name: [] for name in producers}
    order = random.Random(seed)
    for _ in range(rounds):
        for name in order.sample(list(producers), len(producers)):
            took = producers[name].push(chosen[name].push, loops[name])
            values[name].append(took / loops[name])
    return values


def _calibrated(one: Producer, push: str, seconds: float) -> int:
    """Return how many pushes take so long."""
    one.push(push, _FIRST)  # what only the first do is over
    loops = 1
    while (took := one.push(push, loops)) < seconds / 2:
        loops *= 2
    return max(1, round(loops * seconds / took))


def bytes_of_a_job(
    producers: Mapping[str, Producer], chosen: Mapping[str, _Row], jobs: int, port: int
) -> Iterator[tuple[str, float]]:
    with redis.Redis(port=port) as server:
        for name, one in producers.items():
            one.push(chosen[name].push, _FIRST)
            before = server.info("memory")["used_memory"]
            one.push(chosen[name].push, jobs - _FIRST, first=_FIRST)
            yield name, (server.info("memory")["used_memory"] - before) / (jobs - _FIRST)


def main(what: str, server: str, rounds: str, seconds: str, seed: str) -> None:
    chosen, missing = rows(what)
    with redis_server.running(redis_server.SERVERS[server]) as port, ExitStack() as running:
        producers = started(chosen, port, running)
        if what == "memory":
            found = dict(bytes_of_a_job(producers, chosen, int(rounds), port))
            values = {name: [one] for name, one in found.items()}
        else:
            values = timed(chosen, producers, int(rounds), float(seconds), int(seed))
    json.dump({"values": values, "missing": missing}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
