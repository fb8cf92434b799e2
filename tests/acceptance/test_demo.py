"""The demo, as `make demo` runs it: what it prints is true, and the mails are real."""

from __future__ import annotations

import csv
import email
import email.message
import email.policy
import os
import re
import shlex
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from attrs import frozen

ROOT = Path(__file__).parents[2]
SHOP = ROOT / "docs" / "examples" / "shop"

# It takes some ten seconds, most of them spent on writing 2,000 times to a disk.
pytestmark = pytest.mark.timeout(180)


@frozen
class Ran:
    """What a run of the demo has left."""

    code: int
    output: str
    errors: str
    folder: Path
    environment: dict[str, str]

    @property
    def counts(self) -> dict[str, tuple[str, ...]]:
        """The lines of the summary: expected, found, verdict."""
        found = re.findall(r"^ +(\S.*?) +(\d+) +(\d+)  (ok|WRONG)$", self.output, re.MULTILINE)
        return {text: (expected, found, verdict) for text, expected, found, verdict in found}

    def mail(self, name: str) -> email.message.EmailMessage:
        stored = (self.folder / "outbox" / f"{name}.eml").read_bytes()
        mail = email.message_from_bytes(stored, policy=email.policy.default)
        assert mail.defects == []
        return mail


def text_of(mail: email.message.EmailMessage) -> str:
    return mail.get_content().replace("\r\n", "\n")  # mail ends its lines so


def run(folder: Path, *command: str, **settings: str) -> Ran:
    environment = {**os.environ, "SHOP_FOLDER": str(folder), **settings}
    environment.pop("EVENTBUS_APP", None)
    done = subprocess.run(
        [sys.executable, *command],
        cwd=SHOP,
        env=environment,
        check=False,
        capture_output=True,
        encoding="utf-8",
    )
    return Ran(done.returncode, done.stdout, done.stderr, folder, environment)


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Ran:
    ran = run(tmp_path_factory.mktemp("shop") / "var", "-m", "shop.demo", PYTHONUTF8="1")
    assert (ran.code, ran.errors) == (0, ""), ran
    return ran


@pytest.fixture(scope="module")
def orders() -> dict[str, dict[str, str]]:
    with (SHOP / "orders.csv").open(newline="", encoding="utf-8") as file:
        return {row["order_id"]: row for row in csv.DictReader(file)}


def test_it_is_what_make_runs():
    makefile = (ROOT / "Makefile").read_text("utf-8")

    assert "DEMO := cd docs/examples/shop && $(BIN)/python -m shop.demo\n" in makefile


def test_a_thousand_orders_come_in_a_few_of_them_awkward(orders):
    assert len(orders) == 1000
    assert any(not row["name"].isascii() for row in orders.values())
    assert any(not row["email"].isascii() for row in orders.values())
    assert any('"' in row["name"] for row in orders.values())


def test_everything_came_out_as_the_orders_say(demo):
    assert demo.counts == {
        "orders dispatched": ("999", "999", "ok"),
        "refused by the guard: nobody else heard": ("2", "2", "ok"),
        "rows that were no orders": ("1", "1", "ok"),
        "articles taken from the stock": ("5596", "5596", "ok"),
        "confirmations in the outbox": ("996", "996", "ok"),
        "sent on a second try (greylisted)": ("11", "11", "ok"),
        "pick lists in the outbox": ("188", "188", "ok"),
        "reorders in the outbox": ("6", "6", "ok"),
        "failed jobs kept": ("1", "1", "ok"),
    }


def test_the_figures_are_those_of_the_file(demo, orders):
    """Counted here once more, so that the demo does not only agree with itself."""
    accepted = [
        row
        for row in orders.values()
        if row["quantity"].isdigit() and not row["email"].endswith(".invalid")
    ]
    deliverable = [row for row in accepted if not row["email"].startswith("mailbox-full@")]
    outbox = demo.folder / "outbox"

    assert {path.name for path in outbox.glob("confirmation-*.eml")} == {
        f"confirmation-{row['order_id']}.eml" for row in deliverable
    }
    assert {path.name for path in outbox.glob("picklist-*.eml")} == {
        f"picklist-{row['order_id']}.eml" for row in accepted if int(row["quantity"]) >= 12
    }
    assert [path.name for path in outbox.glob(".*")] == []


@pytest.mark.parametrize("number", ["1", "77", "385", "462", "539", "616", "845", "847"])
def test_a_confirmation_is_a_mail_to_the_customer(demo, orders, number):
    row = orders[number]
    mail = demo.mail(f"confirmation-{number}")

    total = int(row["quantity"]) * Decimal(row["price"])
    assert (mail["From"], mail["To"], mail["Subject"]) == (
        "shop@example.com",
        row["email"],
        f"Your order {number}",
    )
    assert text_of(mail).startswith(
        f"Dear {row['name']},\n\n{row['quantity']} x {row['sku']}, {total} EUR in all.\n"
    )


def test_a_pick_list_names_the_order_and_what_to_pick(demo, orders):
    mail = demo.mail("picklist-77")

    assert mail["To"] == "warehouse@example.com"
    assert mail["Subject"] == f"Pick {orders['77']['quantity']} x {orders['77']['sku']}"
    assert text_of(mail) == f"For {orders['77']['name']}, order 77.\n"


def test_a_function_that_is_queued_orders_more(demo):
    assert demo.mail("reorder-TEA-001")["To"] == "supplier@example.com"


def test_the_row_that_is_no_order_is_shown(demo):
    assert "not an order, left out: order 612: invalid literal" in demo.output


def test_the_job_that_fails_is_kept_with_its_tries_and_its_reason(demo):
    assert (
        "failed: shop.listeners:SendConfirmation after 3 tries: shop.mailing.MailboxFull: 552 the"
        " mailbox of mailbox-full@example.com is full"
    ) in demo.output


def test_every_place_and_command_that_it_names_is_there_and_works(demo):
    _, _, looks = demo.output.partition("What to look at next, from ")
    first, *lines = looks.strip().splitlines()
    assert first == f"{SHOP}:"
    named = [line.strip().partition("   ")[0] for line in lines]
    paths = [SHOP / one for one in named if " " not in one]
    commands = [shlex.split(one) for one in named if " " in one]

    assert [path.name for path in paths] == ["confirmation-385.eml", "worker.log", "listeners.py"]
    assert [path for path in paths if not path.is_file()] == []
    assert [command[-1] for command in commands] == ["list", "failed"]
    said = [
        subprocess.run(
            command,
            cwd=SHOP,
            env=demo.environment,
            check=True,
            capture_output=True,
            encoding="utf-8",
        ).stdout
        for command in commands
    ]
    assert "SendConfirmation" in said[0]
    assert "MailboxFull" in said[1]


SMALL = """\
order_id,name,email,sku,quantity,price
1,Bo Adler,bo@example.com,CUP-010,1,12.00
2,Faye Quist,faye@example.com,CUP-010,12,12.00
"""

LOSING_A_MAIL = """
from shop import demo

def finish(worker, progress, really=demo.finish):
    really(worker, progress)
    (demo.OUTBOX / "confirmation-2.eml").unlink()

demo.finish = finish
demo.main()
"""


@pytest.fixture
def small(tmp_path) -> str:
    path = tmp_path / "orders.csv"
    path.write_text(SMALL, "utf-8")
    return str(path)


def test_a_missing_mail_is_wrong_and_a_failure(tmp_path, small):
    ran = run(tmp_path / "var", "-c", LOSING_A_MAIL, SHOP_ORDERS=small)

    assert ran.code == 1
    assert ran.errors == "The summary is WRONG: please tell us.\n"
    assert ran.counts["confirmations in the outbox"] == ("2", "1", "WRONG")
    assert ran.counts["pick lists in the outbox"] == ("1", "1", "ok")


def test_a_worker_that_dies_is_a_failure_that_says_where_to_look(tmp_path, small):
    broken = "from shop import demo; demo.WORKER = ('eventbus-worker', 'nowhere:bus'); demo.main()"
    ran = run(tmp_path / "var", "-c", broken, SHOP_ORDERS=small)

    log = tmp_path / "var" / "worker.log"
    assert (ran.code, ran.errors) == (1, f"the worker has died with 3; see {log}\n")
    assert "there is no module 'nowhere'" in log.read_text("utf-8")


def test_it_clears_up_after_an_earlier_run_and_nothing_else(tmp_path, small):
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "mine.txt").write_text("keep", "utf-8")

    for _ in range(2):
        ran = run(tmp_path / "var", "-m", "shop.demo", SHOP_ORDERS=small)
        assert ran.code == 0, ran

    assert (tmp_path / "var" / "mine.txt").read_text("utf-8") == "keep"
