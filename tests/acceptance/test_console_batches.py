"""The real `eventbus` command shows chains and batches to an operator, who retries, cancels and prunes, beside real workers."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

#: Each starts several programs, one after the other.
pytestmark = pytest.mark.timeout(120)

CONSOLE = "from eventbus.console.command import main; main()"

IMPORTS = """
class Row(Job, name="row"):
    number: int
    way: str = ""

    def handle(self):
        say(f"reads {self.number}")
        if self.way == "gate":
            pass_gate()
        if self.way == "fail" and not os.path.exists("mended"):
            raise ValueError(f"row {self.number} is locked")
        say(f"read {self.number}")

class Report(Job, name="report"):
    def handle(self, attempt: Attempt):
        state = attempt.batch.state()
        say(f"reports {state.succeeded} of {state.total}")
"""


@pytest.fixture
def imports(each_shop):
    """A shop that imports rows, with its queue in a file or in Redis."""
    each_shop.write(IMPORTS)
    return each_shop


@pytest.fixture
def console(imports):
    """Run `eventbus` on the shop."""

    def console(*arguments):
        return subprocess.run(
            [sys.executable, "-c", CONSOLE, "--app", "shop:bus", *arguments],
            cwd=imports.folder,
            env=imports.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=25,
            check=False,
        )

    return console


@pytest.fixture
def told(console):
    """What a command prints as JSON."""

    def told(*arguments):
        done = console(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return told


def test_a_failed_member_is_found_and_retried_and_the_batch_is_pruned(imports, console, told):
    """B22, B23."""
    rows = [imports.module.Row(1), imports.module.Row(2, "fail"), imports.module.Row(3)]
    plan = imports.bus.batch(
        *rows, name="rows", allow_failures=True, on_success=imports.module.Report()
    )
    batch = plan.enqueue().id
    [waiting] = told("batches")
    assert (waiting["id"], waiting["state"], waiting["pending"]) == (batch, "running", 3)

    assert imports.work().said("reports") == []
    shown = told("batches", batch)
    assert (shown["state"], shown["succeeded"], shown["failed"]) == ("finished", 2, 1)
    [member] = shown["failed_ids"]
    assert told("failed", member)["batch"] == batch
    assert console("batches").stdout.splitlines()[1].split()[4:11] == [
        *("finished", "3", "0", "2", "1", "0", "100%")
    ]

    (imports.folder / "mended").touch()
    assert console("retry-batch", batch).stdout.split() == [member]
    assert told("batches", batch)["state"] == "running"
    assert imports.work().said("reports") == ["reports 3 of 3"]

    assert console("prune-batches", "--older-than", "0").returncode == 2
    assert console("prune-batches", "--older-than", "0", "--yes").stdout.split() == [batch]
    assert told("batches") == []


def test_a_batch_that_runs_is_canceled(imports, console, told):
    imports.gate()
    rows = [imports.module.Row(1, "gate"), imports.module.Row(2), imports.module.Row(3)]
    batch = imports.bus.batch(*rows, name="rows").enqueue().id
    worker = imports.start("--batch", "1")
    worker.await_line("reads 1")

    assert console("cancel-batch", batch, "--yes").stdout.split() == [batch]
    imports.open_gate()
    worker.await_line("read 1")
    assert worker.stop() == 0
    imports.work()

    state = told("batches", batch)
    assert (state["state"], state["succeeded"], state["skipped"]) == ("canceled", 1, 2)
    assert state["finished_at"] is not None
    assert worker.said("reads") == ["reads 1"]


def test_the_rest_of_a_chain_is_seen_to_wait_for_its_turn_and_can_be_canceled(
    imports, console, told
):
    imports.bus.chain(*map(imports.module.Row, range(3))).enqueue()
    [line] = told("size")
    jobs = told("peek")

    assert (line["ready"], line["held"]) == (1, 2)
    assert sorted((one["state"], one["due"] is None) for one in jobs) == [
        ("held", True),
        ("held", True),
        ("ready", False),
    ]
    assert [line.split()[4] for line in console("peek", "--state", "held").stdout.splitlines()] == [
        *("DUE", "-", "-")
    ]

    ids = [one["id"] for one in sorted(jobs, key=lambda one: one["state"], reverse=True)]
    done = console("cancel", *ids, "--yes")
    assert (done.returncode, sorted(done.stdout.split())) == (0, sorted(ids))
    assert told("size") == []
