"""What a user of Redis must be allowed: the commands of `scripts/redis.lua` and of the verbs, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

__all__ = [
    "CLUSTER",
    "EXAMINING",
    "EXAMINING_SENTINELS",
    "NEEDED",
    "SENTINELS",
    "permitted_words",
]

#: Each command with as many arguments as it takes; `KEY` and `CHANNEL` are one of ours.
NEEDED: Final = (
    "DEL KEY",
    "EVALSHA SHA 0",
    "EXISTS KEY",
    "GET KEY",
    "HDEL KEY a",
    "HEXISTS KEY a",
    "HGET KEY a",
    "HGETALL KEY",
    "HINCRBY KEY a 1",
    "HKEYS KEY",
    "HLEN KEY",
    "HMGET KEY a",
    "HRANDFIELD KEY 1",
    "HSET KEY a 1",
    "HSETNX KEY a 1",
    "HSTRLEN KEY a",
    "INCRBY KEY 1",
    "PEXPIRE KEY 1",
    "PUBLISH CHANNEL 1",
    "SADD KEY a",
    "SCRIPT LOAD a",
    "SET KEY a",
    "SMEMBERS KEY",
    "SUBSCRIBE CHANNEL",
    "TIME",
    "ZADD KEY 1 a",
    "ZCARD KEY",
    "ZCOUNT KEY 0 1",
    "ZRANGE KEY 0 1",
    "ZRANGEBYSCORE KEY 0 1",
    "ZREM KEY a",
    "ZREMRANGEBYSCORE KEY 0 1",
    "ZSCORE KEY a",
)

#: What is needed besides where the URL is that of a cluster: to find its nodes, and to follow a slot.
CLUSTER: Final = ("ASKING", "CLUSTER SLOTS")

#: What Sentinels are asked, who may have users of their own.
SENTINELS: Final = ("SENTINEL GET-MASTER-ADDR-BY-NAME",)

#: What an examination asks, and can do without; and of Sentinels.
EXAMINING: Final = ("CLUSTER INFO", "CONFIG GET", "INFO")
EXAMINING_SENTINELS: Final = ("SENTINEL MASTER",)


def permitted_words(commands: Sequence[str], prefix: str) -> Iterator[list[str]]:
    """
    Yield the words of commands, with names that begin with `prefix`.

    Example:
        >>> list(permitted_words(["HLEN KEY"], "shop"))
        [['HLEN', 'shop:{examined}:bodies']]
    """
    names = {"KEY": f"{prefix}:{{examined}}:bodies", "CHANNEL": f"{prefix}:{{examined}}:bell"}
    for command in commands:
        yield [names.get(word, word) for word in command.split()]
