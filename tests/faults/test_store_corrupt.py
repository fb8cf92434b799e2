"""
A file that a disk, or a hand, has altered: a clear error, or jobs as they were, never another job.

Whatever is done to the bytes, each verb answers or raises an error of ours, and a job that is handed
out is byte for byte the one that was stored.
"""

from __future__ import annotations

import os
import random
import shutil
from contextlib import closing, suppress

import pytest

from eventbus.backends.base import Charge
from eventbus.backends.port import Port
from eventbus.backends.sqlite import SqliteBackend, load_driver
from eventbus.errors import EventBusError, LeaseLost, StoreDamaged
from eventbus.queue.envelope import Envelope
from tests.faults.stores import STORES
from tests.faults.test_store_unwritable import in_child
from tests.forms import FULL

pytestmark = pytest.mark.timeout(1200 if FULL else 120)

#: Programs of damage of each kind.
SEEDS = 300 if FULL else 5
JOBS = 40

SIDES = ("", "-wal", "-journal")


@pytest.fixture
def journal(each_journal):
    return each_journal


def body(number):
    return b'{"v":1,"number":%d,"text":"%s"}' % (number, b"%d " % number * 60)


@pytest.fixture
def original(tmp_path, journal):
    """A queue as a process leaves it that was killed: with its side files."""
    folder = tmp_path / "original"
    folder.mkdir(0o700)

    alive = []  # what is dropped is closed, and a process that is killed closes nothing

    def fill():
        port = Port(SqliteBackend(folder / "queue.db", journal=journal), name="default")
        alive.append(port)
        for number in range(JOBS):
            port.push([Envelope(id=f"job{number}", queue="jobs", body=body(number))])
        for claim in port.claim(["jobs"], limit=5):
            port.bury(claim, error="boom")
        port.release(port.claim(["jobs"])[0], charge=Charge.ERROR)

    in_child(fill)
    assert (folder / f"queue.db-{'wal' if journal == 'WAL' else 'journal'}").exists()
    return folder


def copied(original, folder):
    folder.mkdir(0o700)
    for side in SIDES:
        name = f"queue.db{side}"
        if (original / name).exists():
            shutil.copyfile(original / name, folder / name)
            (folder / name).chmod(0o600)
    return folder / "queue.db"


def used(path):
    """Say every verb; return how many spoke up, the jobs that were handed out, and the failed ids."""
    spoke = 0
    handed: list[Envelope] = []
    with closing(Port(SqliteBackend(path), name="default")) as port:

        def tried(call, *arguments, **options):
            nonlocal spoke
            try:
                return call(*arguments, **options)
            except EventBusError:
                spoke += 1
                return []

        tried(port.size, "jobs")
        tried(port.queues)
        tried(port.next_due, ["jobs"])
        tried(port.orders)
        tried(lambda: list(port.each_stored()))
        # Shown as they are: it is a claim that looks, also once they were retried.
        shown = {one.envelope.id for one in tried(port.failed)}
        tried(port.revive, ["job0", "job1"])
        tried(port.purge, ["job2"])
        tried(port.cancel, ["job9"])
        tried(port.push, [Envelope(id="new", queue="jobs", body=b"{}")])
        for _ in range(JOBS):
            claims = tried(port.claim, ["jobs"], limit=4, lease=600)
            handed += [claim.envelope for claim in claims]
            tried(port.extend, claims)
            for claim in claims[:1]:
                tried(port.ack, claim)
            for claim in claims[1:2]:
                tried(port.bury, claim, error="boom")
            tried(port.ack_all, claims[2:])
        tried(port.clear, "jobs")
    return spoke, handed, shown


def altered(handed):
    """Return the jobs that were handed out and are not what was stored."""
    wrong = []
    for one in handed:
        number = one.id.removeprefix("job")
        known = number.isdigit() and int(number) < JOBS
        if one.id != "new" and not (known and one.body == body(int(number))):
            wrong.append(one)
    return wrong


def flip_a_bit(path, chance):
    content = bytearray(path.read_bytes())
    place = chance.randrange(len(content) * 8)
    content[place // 8] ^= 1 << place % 8
    path.write_bytes(content)


def flip_bits_of_bodies(path, chance):
    content = bytearray(path.read_bytes())
    number = chance.randrange(JOBS)
    place = content.find(body(number)[:80])
    if place >= 0:
        content[place + chance.randrange(80)] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def cut_short(path, chance):
    os.truncate(path, chance.randrange(path.stat().st_size))


def zero_a_page(path, chance):
    content = bytearray(path.read_bytes())
    at = chance.randrange(len(content) // 1024) * 1024
    content[at : at + 1024] = bytes(1024)
    path.write_bytes(content)


def scramble_a_page(path, chance):
    content = bytearray(path.read_bytes())
    at = chance.randrange(len(content) // 1024) * 1024
    content[at : at + 1024] = chance.randbytes(1024)
    path.write_bytes(content)


def swap_pages(path, chance):
    content = bytearray(path.read_bytes())
    one, two = (chance.randrange(len(content) // 1024) * 1024 for _ in range(2))
    content[one : one + 1024], content[two : two + 1024] = (
        content[two : two + 1024],
        content[one : one + 1024],
    )
    path.write_bytes(content)


DAMAGES = [flip_a_bit, flip_bits_of_bodies, cut_short, zero_a_page, scramble_a_page, swap_pages]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_told_and_no_other_job_is_handed_out(
    original, tmp_path, journal, results, damage
):
    """F29: 30 and more damages, to the file and to what lies beside it."""
    for seed in range(SEEDS):
        chance = random.Random(f"{damage.__name__} {seed}")
        path = copied(original, tmp_path / f"copy{seed}")
        there = [path.with_name(path.name + side) for side in SIDES]
        damage(chance.choice([one for one in there if one.exists() and one.stat().st_size]), chance)

        _, handed, _ = used(path)

        assert altered(handed) == [], seed
        shutil.rmtree(path.parent)
    results.add("damaged files", STORES[journal]().name, damages=SEEDS, altered=0)


def test_what_is_not_damaged_is_all_there(original, tmp_path):
    """So these tests bite: without damage every verb answers, and the jobs are handed out."""
    spoke, handed, shown = used(copied(original, tmp_path / "copy"))

    assert spoke == 0
    # job9 was cancelled, "new" is new
    assert len({one.id for one in handed} | shown) == JOBS - 1 + 1


def numbers_of(path, table):
    """The numbers of a table's rows, as a look from one end to the other finds them; None if none can."""
    with closing(load_driver().connect(path)) as db, suppress(load_driver().Error):
        return [number for (number,) in db.execute(f"SELECT number FROM {table} ORDER BY number")]
    return None


@pytest.mark.parametrize("table", ["envelopes", "failed"])
def test_a_file_that_leads_in_a_circle_is_told_and_nobody_goes_round_for_ever(tmp_path, table):
    """F29: a row's number is altered, and so it lies behind rows with greater ones."""
    folder = tmp_path / "place"
    folder.mkdir(0o700)
    path = folder / "queue.db"
    with closing(Port(SqliteBackend(path, journal="PERSIST"), name="default")) as port:
        port.push([Envelope(id=f"job{one}", queue="jobs", body=b"{}") for one in range(3)])
        for claim in port.claim(["jobs"], limit=3) if table == "failed" else ():
            port.bury(claim, error="boom")
    sound = path.read_bytes()
    assert numbers_of(path, table) == [1, 2, 3]

    for place in (at for at, byte in enumerate(sound) if byte == 3):
        path.write_bytes(sound[:place] + b"\x01" + sound[place + 1 :])
        if numbers_of(path, table) == [1, 2, 1]:
            break
    else:
        pytest.fail("no byte is the number of the last row")

    with closing(Port(SqliteBackend(path), name="default")) as port:
        each = port.each_stored() if table == "envelopes" else port.each_failed()
        with pytest.raises(StoreDamaged, match="row 1 comes behind row 2"):
            list(each)


@pytest.mark.parametrize("side", ["-wal", "-journal"])
def test_what_another_queue_left_beside_the_file_is_not_taken_for_its_own(
    original, tmp_path, journal, side, request
):
    """F29: a foreign `-wal` or `-journal`, of a queue with other jobs in it."""
    if (journal, side) == ("WAL", "-wal"):
        reason = "SQLite takes any whole -wal for the file's own: the other queue's jobs are run"
        request.applymarker(pytest.mark.xfail(strict=True, reason=reason))
    source = original / f"queue.db{side}"
    if not source.exists():
        pytest.skip(f"{journal} leaves no {side}")
    folder = tmp_path / "mine"
    folder.mkdir(0o700)
    path = folder / "queue.db"
    with closing(Port(SqliteBackend(path, journal=journal), name="default")) as port:
        port.push([Envelope(id="mine", queue="jobs", body=b"{}")])
    shutil.copyfile(source, folder / f"queue.db{side}")

    with closing(Port(SqliteBackend(path), name="default")) as port:
        try:
            found = {one.envelope.id for one in port.each_stored()}
        except EventBusError:
            return
    assert found == {"mine"}


def test_a_hot_journal_is_rolled_back(tmp_path, journal):
    """F29: a writer dies in the middle of its transaction, with pages in the file already."""
    place, seen = tmp_path / "place", tmp_path / "seen"
    place.mkdir(0o700)
    path = place / "queue.db"
    with closing(Port(SqliteBackend(path, journal=journal), name="default")) as port:
        port.push([Envelope(id=f"job{one}", queue="jobs", body=body(one)) for one in range(JOBS)])
    before = path.read_bytes()
    alive = []

    def die():
        mine = SqliteBackend(path, journal=journal)
        lent = mine._file.transaction("die")
        alive.append((mine, lent))
        db = lent.__enter__()
        db.execute("PRAGMA cache_size = 1")  # pages go to the file before the commit
        db.execute("UPDATE envelopes SET body = zeroblob(2000)")
        shutil.copytree(place, seen, ignore=lambda *_: ["queue.db-bells"])

    in_child(die)
    if journal == "PERSIST":
        assert (seen / "queue.db").read_bytes() != before  # so there was something to roll back

    for left in (path, seen / "queue.db"):
        spoke, handed, _ = used(left)
        assert spoke == 0
        assert altered(handed) == []
        assert len({one.id for one in handed} - {"new"}) == JOBS - 1


ODD = ["'x'", "NULL", "-1", "1e300", "9223372036854775807", "x'ff00'", "''", "CAST(x'ff' AS TEXT)"]
COLUMNS = ["attempts", "losses", "releases", "exceptions", "delay", "pushed_at", "due", "queue"]
COLUMNS += ["token", "shared", "alone", "parked", "id", "crc", "body"]


@pytest.mark.parametrize("column", COLUMNS)
def test_odd_values_in_a_column_stop_neither_a_verb_nor_the_other_jobs(tmp_path, column):
    """F29: SQLite keeps any value in any column; who can write the file can put one there."""
    for place, value in enumerate(ODD):
        path = tmp_path / f"{place}.db"
        with closing(Port(SqliteBackend(path), name="default")) as port:
            port.push([Envelope(id=f"job{one}", queue="jobs", body=body(one)) for one in range(4)])
            try:
                with port.backend._file.transaction("odd") as db:
                    db.execute("PRAGMA ignore_check_constraints = ON")
                    db.execute(f"UPDATE envelopes SET {column} = {value} WHERE number = 1")
            except EventBusError:
                continue  # the table itself does not take it
            handed = []
            for _ in range(6):
                claims = port.claim(["jobs"], limit=1, lease=600)
                handed += [claim.envelope for claim in claims]
                for claim in claims:
                    assert all(
                        isinstance(count, int) and count >= 0
                        for count in (claim.attempts, claim.losses, claim.releases)
                    )
                    try:
                        port.ack(claim)
                    except LeaseLost:
                        assert claim.envelope.id == "job0"
            handed += [one.envelope for one in port.each_failed()]
            list(port.each_stored())
            port.size("jobs")
            port.next_due(["jobs"])
            assert {one.id for one in handed} >= {"job1", "job2", "job3"}, value
