"""`eventbus make`: files with the first lines of an event, a listener, a job or middleware."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: Not `shop`: other tests of the same process import one of that name.
PAID = "boutique.events.order_paid:OrderPaid"
MADE = [
    ("event", "boutique.events.OrderShipped"),
    ("event", "boutique.events.OrderPaid"),
    ("listener", "boutique.listeners.UpdateStock", "--event", "boutique.events.OrderShipped"),
    ("listener", "boutique.listeners.TellCustomer", "--event", PAID, "--queued", "--async"),
    ("job", "boutique.jobs.SendReceipt"),
    ("job", "boutique.jobs.FetchRates", "--async"),
    ("middleware", "boutique.middleware.Timed"),
    ("middleware", "boutique.middleware.Traced", "--async"),
]


@pytest.fixture
def make(run):
    """Make something, with no application; return how the command ended."""

    def make(*words):
        return run("make", *words, app=None)

    return make


def test_what_is_made_lies_in_a_file_of_its_own(make, folder):
    done = make("job", "shop.jobs.SendReceipt")

    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.split() == [
        "shop/__init__.py",
        "shop/jobs/__init__.py",
        "shop/jobs/send_receipt.py",
    ]
    assert (folder / "shop/jobs/send_receipt.py").read_text() == (
        '"""The job send-receipt."""\n'
        "\n"
        "from eventbus import Job\n"
        "\n\n"
        'class SendReceipt(Job, name="send-receipt"):\n'
        '    """Says what it does: its fields are what it is told."""\n'
        "\n"
        "    def handle(self) -> None: ...\n"
    )


def test_all_that_is_made_runs_is_found_and_pleases_the_checkers(make, run, folder):
    """D14, J31, M15."""
    for words in MADE:
        assert make(*words, "--test").exit_code == 0
    (folder / "application.py").write_text(
        'from eventbus import EventBus\nbus: EventBus = EventBus(discover=["boutique"])\n'
    )

    def ends(*words):
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=folder, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    tests = ends("pytest", "-q", "-p", "no:cacheprovider", "tests")
    assert (tests[0], f"{len(MADE)} passed" in tests[1]) == (0, True), tests[1]
    assert ends("mypy", "--strict", "boutique", "tests", "application.py")[0] == 0
    listed = run("list", app="application:bus").stdout
    for one in (
        "update_stock:UpdateStock",
        "tell_customer:TellCustomer",
        "send-receipt",
        "fetch-rates",
    ):
        assert one in listed


@pytest.mark.parametrize(
    "name, path",
    [
        ("SendReceipt", "send_receipt.py"),
        ("send_receipt", "send_receipt.py"),
        ("shop/jobs/SendReceipt.py", "shop/jobs/send_receipt.py"),
        ("shop.jobs.send_receipt.py", "shop/jobs/send_receipt.py"),
        ("SendHTTPPing2", "send_http_ping2.py"),
        ("shop.X", "shop/x.py"),
        ("shop.Import", "shop/import_.py"),
    ],
)
def test_a_name_may_be_written_as_a_class_or_as_a_file(make, folder, name, path):
    assert make("job", name).stdout.split()[-1] == path
    assert (folder / path).exists()


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "shop..X", "shop.class.X", "shop.jobs.Send-Receipt", "../X", "/tmp/X"),
        *("shop.jobs.1X", "Job", "shop.Attempt", "shop.ValueError"),
    ],
)
def test_a_name_that_is_none_or_means_something_else_is_refused(make, folder, name):
    done = make("job", name)

    assert done.exit_code == 2
    assert "See eventbus make job --help" in done.stderr
    assert list(folder.iterdir()) == []


def test_a_file_that_is_there_is_left_alone_and_nothing_else_is_written(make, folder):
    make("job", "shop.SendReceipt")
    (folder / "shop/send_receipt.py").write_text("mine")

    done = make("job", "shop.SendReceipt", "--test")

    assert done.exit_code == 1
    assert done.stderr == (
        "eventbus: shop/send_receipt.py is there already; --force writes it anew\n"
    )
    assert (folder / "shop/send_receipt.py").read_text() == "mine"
    assert not (folder / "tests").exists()

    assert make("job", "shop.SendReceipt", "--force").exit_code == 0
    assert "class SendReceipt" in (folder / "shop/send_receipt.py").read_text()


def test_packages_that_are_there_stay_as_they_are(make, folder):
    (folder / "src/shop").mkdir(parents=True)

    done = make("event", "shop.events.Paid", "--root", "src")

    assert done.stdout.split() == ["src/shop/events/__init__.py", "src/shop/events/paid.py"]
    assert not (folder / "src/shop/__init__.py").exists()


@pytest.mark.parametrize(
    "event", ["shop.events:", "shop-events:X", "shop.class.X", ":X", "shop.TellCustomer"]
)
def test_a_listener_needs_an_event_that_can_be_one(make, folder, event):
    done = make("listener", "shop.TellCustomer", "--event", event)

    assert done.exit_code == 2
    assert list(folder.iterdir()) == []


def test_a_listener_of_no_event_is_refused(make):
    assert "Missing option '--event'" in make("listener", "shop.TellCustomer").stderr


def test_a_folder_that_cannot_be_written_to_is_told(make, folder):
    (folder / "shop").write_text("a file")

    done = make("job", "shop.SendReceipt")

    assert done.exit_code == 1
    assert done.stderr.startswith("eventbus: cannot write ")
