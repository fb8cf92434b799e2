"""What somebody wrote straight into the store is refused, kept, and harms nobody."""

from __future__ import annotations

import json
import os

import pytest

from eventbus.defaults import ERROR_TEXT_LIMIT
from tests.forms import FULL

from .hostile import MEASURED, Hostile, drain, is_plain
from .poison import APPLICATION, CORPUS, SOUND, Fate, Poison, good

GOOD = 1_000


@pytest.fixture
def hostile(tmp_path):
    return Hostile(tmp_path)


def ids(poisons):
    """Return each poison under the id of its row."""
    return {poison.columns.get("id", f"p{at:04}"): poison for at, poison in enumerate(poisons)}


def check(poisons, file, ran):
    """Compare what became of each poison with its fate."""
    failed, waiting = file.rows("failed"), file.rows("envelopes")
    wrong = {}
    for key, poison in poisons.items():
        row = failed.get(key) or waiting.get(key)
        found = "failed" if key in failed else "waiting" if key in waiting else "gone"
        expected = {
            Fate.FAILED: ("failed",),
            Fate.PARKED: ("waiting",),
            Fate.LEFT: ("waiting",),
            Fate.KEPT: ("failed", "waiting", "gone"),
        }[poison.fate]
        stored = poison.stored(key)
        as_bytes = stored if isinstance(stored, bytes) else str(stored).encode()
        if found not in expected:
            wrong[poison.name] = f"is {found}"
        elif row is not None and row["body"] != as_bytes:
            wrong[poison.name] = f"{found}, with other bytes"
        elif key in failed and len(row["error"]) > ERROR_TEXT_LIMIT:
            wrong[poison.name] = f"an error text of {len(row['error'])}"
        elif poison.fate is not Fate.KEPT and row["attempts"] != 0:
            wrong[poison.name] = f"{row['attempts']} attempts"
    assert wrong == {}
    gone = {key: one for key, one in poisons.items() if key not in failed and key not in waiting}
    # A row that cannot be worked with is kept under an id that can be typed.
    renamed = {key: row for key, row in failed.items() if key not in poisons}
    assert all(one.fate is Fate.KEPT for one in gone.values())
    assert {row["body"] for row in renamed.values()} <= {
        one.stored(key) for key, one in gone.items()
    }
    assert all(key.isascii() and key.isprintable() for key in renamed)
    # Sound jobs in odd rows may run, each once at most; nothing else of the trap ever does.
    sprung = [one for one in ran if one.startswith("trap.")]
    assert sprung == ["trap.spring"] * (len(gone) - len(renamed))


@pytest.mark.parametrize(
    "poison",
    [
        pytest.param(one, id=one.name)
        for one in CORPUS
        # A body alone harms no more than itself: the test of the whole corpus has them all.
        if FULL or one.columns
    ],
)
def test_a_poisoned_row_is_kept_and_the_next_job_runs(hostile, monkeypatch, poison):
    """F34: one row of the corpus, with a good job behind it."""
    rows = ids([poison])
    with hostile.bus(monkeypatch) as bus, hostile.file() as file:
        if not file.knows(poison):
            pytest.skip("this store has no such column")
        file.write([*rows.items(), ("good", Poison(name="good", body=good(7)))])

        drain(bus)

        assert hostile.ran.count("7") == 1
        check(rows, file, hostile.ran)


@pytest.mark.parametrize("flaw", ["cut", "flipped"])
def test_a_document_that_is_damaged_at_any_byte_is_never_retried(hostile, monkeypatch, flaw):
    """F34: truncated at every byte, and with the highest bit of every byte turned."""
    sound = SOUND.replace(b"{id}", b"x")
    bodies = [
        sound[:at] if flaw == "cut" else sound[:at] + bytes([sound[at] ^ 0x80]) + sound[at + 1 :]
        for at in range(len(sound))
    ]
    rows = ids([Poison(name=f"{flaw} at {at}", body=one) for at, one in enumerate(bodies)])
    with hostile.bus(monkeypatch) as bus, hostile.file() as file:
        file.write(rows.items())

        drain(bus)

        check(rows, file, hostile.ran)


def mixed(poisons):
    """Return the rows of the corpus, spread evenly among the good jobs."""
    rows = [(f"good{number:04}", Poison(name="good", body=good(number))) for number in range(GOOD)]
    step = GOOD // len(poisons) + 1
    for at, row in enumerate(poisons.items()):
        rows.insert(at * (step + 1), row)
    return rows


@pytest.mark.timeout(120)
def test_a_worker_outlives_the_corpus_and_does_all_good_jobs_once(tmp_path):
    """F34: the whole corpus among 1,000 good jobs, one worker process, and then the console."""
    hostile = Hostile(tmp_path, APPLICATION + MEASURED + "print('pid', os.getpid(), flush=True)\n")
    hostile.make_file()
    with hostile.file() as file:
        poisons = ids([one for one in CORPUS if file.knows(one)])
        assert len(poisons) >= 120
        file.write(mixed(poisons))

        worker = hostile.work()

        assert worker.returncode == 0, worker.stderr[-2_000:]
        assert worker.stdout.count("pid") == 1
        done = sorted(int(one) for one in hostile.ran if one.isdigit())
        assert done == list(range(GOOD))
        check(poisons, file, hostile.ran)
        assert file.is_sound()
    # One line for each job: none breaks its line, none brings a traceback, none paints.
    assert is_plain(worker.stderr)
    assert all(len(line) < ERROR_TEXT_LIMIT for line in worker.stderr.splitlines())
    assert len(worker.stderr.splitlines()) < GOOD + 2 * len(poisons) + 10
    before, after = (
        int(line.split()[1]) for line in worker.stdout.splitlines() if line.startswith("kilobytes")
    )
    largest = max(len(one.body) for one in CORPUS if isinstance(one.body, bytes)) // 1024
    # What is too large to be read goes from table to table by way of two copies in SQLite.
    assert after - before < 3 * largest + 24 * 1024
    check_console(hostile, poisons)


def check_console(hostile, poisons):
    """Every command that shows or moves jobs lives through what the corpus left behind."""
    listed = hostile.console("failed")
    assert (listed.returncode, is_plain(listed.stdout)) == (0, True)
    assert "Traceback" not in listed.stderr
    assert len(listed.stdout.splitlines()) > len(hostile.failed())
    for arguments in (["peek"], ["peek", "--data", "--json"], ["size"]):
        done = hostile.console(*arguments)
        assert done.returncode in (0, 1), (arguments, done.stderr)
        assert is_plain(done.stdout + done.stderr), arguments
        assert "Traceback" not in done.stderr, arguments


def test_the_console_shows_retries_and_forgets_every_poisoned_job(hostile, monkeypatch):
    """F34: `failed`, `failed ID`, `retry` and `forget` of each poisoned job."""

    def console(*arguments):
        return hostile.command(monkeypatch, *arguments)

    with hostile.bus(monkeypatch) as bus, hostile.file() as file:
        small = [one for one in CORPUS if not isinstance(one.body, bytes) or len(one.body) < 50_000]
        rows = ids([one for one in small if one.fate is Fate.FAILED])
        file.write(rows.items())
        drain(bus)

        for at, (key, poison) in enumerate(rows.items()):
            if at % 2:
                shown = console("failed", key)
                assert (shown.exit_code, key in shown.output) == (0, True), poison.name
            else:
                shown = console("failed", key, "--json")
                assert json.loads(shown.stdout)["id"] == key, poison.name
        assert console("retry", "--all").exit_code == 0
        assert file.rows("failed") == {}

        drain(bus)

        check(rows, file, hostile.ran)
        for key in list(rows)[::20]:
            assert console("forget", key).exit_code == 0
            assert key not in file.rows("failed")


@pytest.mark.timeout(120)
def test_a_body_of_any_size_is_kept_whole_and_refused_unread(tmp_path):
    """F34: a body far over the cap goes to the failed jobs without being read, and stays as it is."""
    size = 100_000_000 if FULL else 8_000_000
    hostile = Hostile(tmp_path, APPLICATION + MEASURED)
    hostile.make_file()
    with hostile.file() as file:
        poison = {"p0000": Poison(name="large", body=os.urandom(1) * size)}
        file.write([*poison.items(), ("good", Poison(name="good", body=good(7)))])

        worker = hostile.work()

        assert worker.returncode == 0
        assert hostile.ran == ["7"]
        check(poison, file, hostile.ran)
    before, after = (
        int(line.split()[1]) for line in worker.stdout.splitlines() if line.startswith("kilobytes")
    )
    # Two copies in SQLite itself; one that Python held would be a third.
    assert after - before < 2.5 * size // 1024 + 8 * 1024
    shown = hostile.console("failed", "p0000")
    assert (shown.returncode, is_plain(shown.stdout)) == (0, True)
    assert f"body ({size:,} bytes)" in shown.stdout
    assert len(shown.stdout) < 20_000
    # Looked at, tried again and refused again, it is still as it was.
    assert hostile.console("retry", "p0000").returncode == 0
    assert f"{size:,} bytes" in hostile.console("peek", "--data").stdout
    assert "larger than a job can be" in hostile.console("check").stdout
    assert hostile.work().returncode == 0
    with hostile.file() as file:
        check(poison, file, hostile.ran)


FLAGS = [
    {"name": b"\xff", "value": b"\xff"},
    {"name": "restart", "value": b"\0\xff"},
    {"name": "pause:\x1b[31m\r\n", "value": "\x1b[31m\r\n"},
    {"name": "pause:" + "q" * 100_000, "value": "v" * 100_000},
    {"name": "pause:other", "value": "", "ends": "x"},
    {"name": "", "value": ""},
    {"name": 17, "value": 17},
    {"name": "no such order", "value": "run", "ends": 2**63 - 1},
    {"name": "pause:default", "value": "over", "ends": -(2**63)},
]


def test_hostile_flags_neither_stop_a_worker_nor_end_it(hostile, monkeypatch):
    """F34: rows of the table of flags that nobody of ours wrote."""
    hostile.make_file()
    with hostile.file() as file:
        for one in FLAGS:
            file.set_flag(**one)
        file.write([("good", Poison(name="good", body=good(7)))])

        worker = hostile.work()

        assert worker.returncode == 0, worker.stderr
        assert hostile.ran == ["7"]
        assert is_plain(worker.stderr)
        for command in (["size"], ["peek"], ["resume", "--all"]):
            done = hostile.command(monkeypatch, *command)
            assert done.exit_code in (0, 1, 2), done.output


def test_a_row_with_the_id_of_a_failed_job_takes_nothing_away(hostile, monkeypatch):
    """F34: the failed job and the row are both kept, whichever of them was there first."""
    with hostile.bus(monkeypatch) as bus, hostile.file() as file:
        file.write([("twice0", Poison(name="first", body=b"first"))])
        drain(bus)
        file.write([("twice0", Poison(name="second", body=b"second"))])
        drain(bus)

        bodies = {row["body"] for table in ("failed", "envelopes") for row in file.all(table)}
        assert bodies == {b"first", b"second"}


@pytest.mark.parametrize("queue", ["*", "default\r\nx", "x" * 64])
def test_a_queue_of_no_valid_name_does_not_end_a_check(hostile, queue):
    """F34: `eventbus check` tries every stored job, wherever it lies."""
    hostile.make_file()
    with hostile.file() as file:
        file.write([("odd", Poison(name="odd", body=good(1), columns={"queue": queue}))])
        file.write([("bad", Poison(name="bad", body=b"no JSON"))])

        checked = hostile.console("check")

        assert checked.returncode == 1, checked.stderr
        assert "bad" in checked.stdout
