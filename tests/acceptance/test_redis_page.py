"""What the page about Redis in production tells to type and to configure does what the page says."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path
from secrets import token_hex

import pytest

from eventbus.backends.base import Charge, Verdict
from eventbus.backends.plans import NewBatch
from eventbus.backends.urls import open_backend
from eventbus.queue.envelope import Envelope, Member
from tests.servers import server

PAGE = (Path(__file__).parents[2] / "docs/howto/redis.md").read_text("utf-8")
FENCES = re.findall(r"^```text\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
SETTINGS = [fence.splitlines()[1:] for fence in FENCES if fence.startswith("# redis.conf")]
TYPED = [
    line.partition("  ")[0]
    for fence in FENCES
    if fence.startswith("SMEMBERS")
    for line in fence.splitlines()
]


def words(lines: list[str]) -> list[str]:
    """Lines of a configuration as on a command line: `--appendonly yes`."""
    return [word for line in lines for word in f"--{line}".split()]


def test_a_server_that_is_set_up_as_the_page_says_is_not_flagged(tmp_path: Path):
    durable, _ = SETTINGS
    with (
        server(tmp_path / "redis", *words(durable)) as started,
        closing(open_backend(started.url).backend) as backend,
    ):
        examination = backend.examine()

    assert [one for one in examination.findings if one.verdict is not Verdict.OK] == []
    assert examination.promise is not None
    assert examination.promise.power_cut == "no loss if the disk honours fsync"


def test_a_master_that_is_set_up_as_the_page_says_refuses_what_it_could_lose(tmp_path: Path):
    durable, bounded = SETTINGS
    with (
        server(tmp_path / "redis", *words(durable), *words(bounded)) as started,
        closing(open_backend(started.url).backend) as backend,
    ):
        flagged = [one for one in backend.examine().findings if one.verdict is not Verdict.OK]
        with pytest.raises(ConnectionError, match=r"NOREPLICAS|Not enough good replicas"):
            backend.push([Envelope(id="a", queue="emails", body=b"{}")])

    assert [one.subject for one in flagged] == ["replicas"]


@pytest.mark.parametrize("line", TYPED)
def test_what_is_typed_into_redis_cli_shows_something(line: str, redis_server):
    redis_server.ask("FLUSHALL")
    with closing(open_backend(redis_server.url).backend) as backend:
        member = Member(batch="imports")
        backend.plans.open(
            [NewBatch(id="imports", queue="emails")],
            [
                Envelope(id=one, queue="emails", body=b"{}", member=member)
                for one in ("b", "ID", "c")
            ],
        )
        [first, _] = backend.claim(["emails"], limit=2, lease=60, token=token_hex(16))
        backend.bury([first], error="boom", charge=Charge.ERROR)
        backend.flag("restart", "1")
        backend.keep("result:ID", b"[1]", life=60)

        assert redis_server.ask(*line.split())


def test_every_line_that_is_typed_was_tried():
    assert len(TYPED) == 11
