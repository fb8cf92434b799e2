"""The pytest plugin, in runs of pytest of its own: which bus it fakes, and what it costs others."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

pytest_plugins = ["pytester"]

APP = """
from attrs import frozen
from eventbus import EventBus, ShouldQueue

@frozen
class Shipped:
    order_id: int

@frozen
class Returned:
    order_id: int

heard = []

class Tell(ShouldQueue):
    queue = "emails"

    def handle(self, event: Shipped) -> None:
        heard.append(event)

def restock(event: Returned) -> str:
    return "back"

bus = EventBus(listen={Shipped: Tell, Returned: restock})
other = EventBus(listen={Returned: restock})
"""

TEST = """
from shop import Shipped, bus

def test_it(fake_events):
    bus.dispatch(Shipped(1))
    assert fake_events.dispatched(Shipped) == [Shipped(1)]
"""


@pytest.fixture
def shop(pytester, monkeypatch):
    """A project with an application in it, and pytest to be run in a process of its own."""
    for name in ("EVENTBUS_APP", "EVENTBUS_URL", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    # No other plugin than ours, by the name under which it is installed.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "")
    pytester.makepyfile(shop=APP)
    return pytester


OPTIONS = ("-p", "eventbus", "-p", "no:cacheprovider", "--strict-markers")


def run(shop, *arguments):
    return shop.runpytest_subprocess(*OPTIONS, *arguments)


class TestWhichBus:
    def test_the_ini_option_names_it(self, shop):
        shop.makeini("[pytest]\neventbus_app = shop:bus")
        shop.makepyfile(test_it=TEST)

        run(shop).assert_outcomes(passed=1)

    def test_the_environment_names_it(self, shop, monkeypatch):
        monkeypatch.setenv("EVENTBUS_APP", "shop:bus")
        shop.makepyfile(test_it=TEST)

        run(shop).assert_outcomes(passed=1)

    def test_the_table_that_the_commands_read_names_it(self, shop):
        shop.makepyprojecttoml("[tool.eventbus]\napp = 'shop:bus'\n[tool.pytest.ini_options]")
        shop.makepyfile(test_it=TEST)

        run(shop).assert_outcomes(passed=1)

    def test_the_ini_option_wins_over_the_environment_and_the_table(self, shop, monkeypatch):
        monkeypatch.setenv("EVENTBUS_APP", "nowhere:bus")
        shop.makepyprojecttoml(
            "[tool.eventbus]\napp = 'nowhere:bus'\n[tool.pytest.ini_options]\n"
            "eventbus_app = 'shop:bus'"
        )
        shop.makepyfile(test_it=TEST)

        run(shop).assert_outcomes(passed=1)

    def test_a_fixture_of_the_project_wins_over_all(self, shop):
        shop.makeini("[pytest]\neventbus_app = nowhere:bus")
        shop.makeconftest(
            """
            import pytest

            @pytest.fixture(scope="session")
            def eventbus_app():
                from shop import bus
                return bus
            """
        )
        shop.makepyfile(test_it=TEST)

        run(shop).assert_outcomes(passed=1)

    def test_it_is_found_from_a_folder_below(self, shop):
        shop.makeini("[pytest]\neventbus_app = shop:bus")
        below = shop.mkdir("tests")
        (below / "test_it.py").write_text(
            "def test_it(eventbus_app, fake_events):\n"
            "    eventbus_app.dispatch('shop.opened')\n"
            "    fake_events.assert_dispatched('shop.opened')\n"
        )
        shop.chdir()

        result = shop.run(sys.executable, "-c", RUN_BELOW, *OPTIONS, "--import-mode=importlib")

        result.assert_outcomes(passed=1)

    def test_a_bus_that_nobody_named_is_an_error_that_says_how(self, shop):
        shop.makepyfile(test_it="def test_it(fake_events): ...")

        result = run(shop)

        result.assert_outcomes(errors=1)
        result.stdout.fnmatch_lines(
            ["*ApplicationNotFound: * Write `eventbus_app = shop.app:bus` among pytest's settings*"]
        )

    def test_a_bus_that_is_not_there_is_an_error_that_says_so(self, shop):
        shop.makeini("[pytest]\neventbus_app = shop:buss")
        shop.makepyfile(test_it="def test_it(fake_queue): ...")

        result = run(shop)

        result.assert_outcomes(errors=1)
        result.stdout.fnmatch_lines(["*'buss' is nothing; write one of shop:bus, shop:other*"])


RUN_BELOW = """
import os, sys, pytest
sys.path = [one for one in sys.path if one not in ("", os.getcwd())]
os.chdir("tests")
sys.exit(pytest.main(sys.argv[1:]))
"""


class TestTheFixtures:
    @pytest.fixture(autouse=True)
    def setting(self, shop):
        shop.makeini("[pytest]\neventbus_app = shop:bus")

    def test_queued_work_waits_until_it_is_drained(self, shop):
        shop.makepyfile(
            test_it="""
            from shop import Returned, Shipped, Tell, bus, heard

            def test_it(fake_queue):
                assert bus.dispatch(Returned(1)) == ["back"]
                bus.dispatch(Shipped(1))
                fake_queue.assert_queued(Tell, queue="emails")
                assert heard == []
                fake_queue.drain()
                assert heard == [Shipped(1)]
            """
        )

        run(shop).assert_outcomes(passed=1)

    def test_async_tests_drain_as_well(self, shop):
        shop.makepyfile(
            test_it="""
            import asyncio
            from shop import Shipped, bus, heard

            def test_it(fake_queue):
                async def main():
                    await bus.adispatch(Shipped(1))
                    await fake_queue.adrain()

                asyncio.run(main())
                assert heard == [Shipped(1)]
            """
        )

        run(shop).assert_outcomes(passed=1)

    def test_both_end_with_the_test(self, shop):
        shop.makepyfile(
            test_it="""
            from shop import Returned, bus

            def test_one(fake_events, fake_queue):
                assert bus.dispatch(Returned(1)) == []

            def test_two():
                assert bus.dispatch(Returned(1)) == ["back"]

            def test_three(fake_events):
                fake_events.assert_nothing_dispatched()
            """
        )

        run(shop).assert_outcomes(passed=3)

    def test_the_marker_says_what_is_faked(self, shop):
        shop.makepyfile(
            test_it="""
            import pytest
            from shop import Returned, Shipped, bus

            pytestmark = pytest.mark.eventbus(only=[Shipped])

            def test_only(fake_events):
                assert bus.dispatch(Returned(1)) == ["back"]
                bus.dispatch(Shipped(1))
                assert [one.event for one in fake_events.events] == [Shipped(1)]

            @pytest.mark.eventbus(except_=[Returned])
            def test_the_nearest_one_counts(fake_events):
                assert bus.dispatch(Returned(1)) == ["back"]
                bus.dispatch(Shipped(1))
                bus.dispatch("shop.closed")
                assert len(fake_events.events) == 2

            @pytest.mark.eventbus([Shipped])
            def test_without_a_word_it_is_only(fake_events):
                assert bus.dispatch(Returned(1)) == ["back"]

            @pytest.mark.eventbus(onyl=[Shipped])
            def test_misspelt(fake_events): ...
            """
        )

        result = run(shop)

        result.assert_outcomes(passed=3, errors=1)
        result.stdout.fnmatch_lines(["*TypeError: *unexpected keyword argument 'onyl'*"])

    def test_a_failure_shows_the_sentence_and_not_our_code(self, shop):
        shop.makepyfile(
            test_it="""
            from shop import Returned, Shipped, bus

            def test_it(fake_events):
                bus.dispatch(Returned(1))
                fake_events.assert_dispatched(Shipped)
            """
        )

        result = run(shop)

        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(
            [
                ">       fake_events.assert_dispatched(Shipped)",
                "E       AssertionError: expected shop.Shipped to be dispatched, but it was not. *",
                "E         Returned(order_id=1)",
            ]
        )
        result.stdout.no_fnmatch_line("*raise AssertionError*")

    def test_the_default_database_is_refused_and_the_fixtures_are_named(self, shop):
        shop.makepyfile(
            test_it="""
            from shop import Shipped, bus

            def test_it():
                bus.dispatch(Shipped(1))
            """
        )

        result = run(shop)

        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(
            ["*InvalidOption: *use the fixture `fake_queue` or `fake_events`*"]
        )
        assert list(shop.path.rglob("*.db*")) == []


class TestWhatItCosts:
    def test_loading_it_imports_nothing_but_itself(self):
        """Everybody who has eventbus installed loads it in every run."""
        asked = textwrap.dedent(
            """
            import sys, pytest
            before = set(sys.modules)
            import eventbus.testing.plugin
            print(*sorted(set(sys.modules) - before))
            """
        )

        answer = subprocess.run(
            [sys.executable, "-c", asked], check=True, capture_output=True, text=True
        )

        assert answer.stdout.split() == ["eventbus", "eventbus.testing", "eventbus.testing.plugin"]

    def test_a_run_that_does_not_use_it_imports_nothing_of_eventbus(self, pytester):
        pytester.makepyfile(
            test_it="""
            import sys

            def test_it(pytestconfig):
                assert pytestconfig.pluginmanager.hasplugin("eventbus")
                assert "eventbus.bus" not in sys.modules
                assert "attrs" not in sys.modules
            """
        )

        pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)

    def test_it_can_be_switched_off(self, pytester):
        pytester.makepyfile(test_it="def test_it(fake_events): ...")

        result = pytester.runpytest_subprocess("-p", "no:eventbus", "-p", "no:cacheprovider")

        result.assert_outcomes(errors=1)
        result.stdout.fnmatch_lines(["*fixture 'fake_events' not found*"])

    def test_it_tells_what_it_offers(self, shop):
        run(shop, "--markers").stdout.fnmatch_lines(["@pytest.mark.eventbus(only=*"])
        run(shop, "--fixtures").stdout.fnmatch_lines(
            ["eventbus_app -- *", "fake_events -- *", "fake_queue -- *"]
        )
        run(shop, "--help").stdout.fnmatch_lines(["*eventbus_app (string):*"])
