"""From "MODULE:BUS" to the bus."""

from __future__ import annotations

import sys

import pytest

from eventbus import EventBus
from eventbus.errors import ApplicationNotFound
from eventbus.locate import configured_application, find_bus


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty current folder, from which nothing is left imported."""
    monkeypatch.delenv("EVENTBUS_APP", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("located"):
            del sys.modules[name]


@pytest.fixture
def module(folder, request):
    """Write a module of a name that no other test has."""

    def write(source, name="located"):
        path = folder.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)

    return write


ONE = "from eventbus import EventBus\nbus = EventBus()\n"


def test_a_module_of_the_current_folder_and_an_attribute(module):
    module(ONE)
    assert isinstance(find_bus("located:bus"), EventBus)


def test_the_current_folder_is_put_on_the_path_once(module, folder):
    module(ONE)
    find_bus("located:bus")
    find_bus("located:bus")
    assert sys.path.count(str(folder)) == 1


def test_a_module_of_a_package_and_an_attribute_of_an_attribute(module):
    module(ONE + "class Site: bus = bus\n", "located_package.app")
    assert isinstance(find_bus("located_package.app:Site.bus"), EventBus)


def test_the_attribute_may_be_left_out_where_there_is_one_bus(module):
    module(ONE)
    assert find_bus("located") is sys.modules["located"].bus


def test_a_function_may_make_it(module):
    module("from eventbus import EventBus\ndef make(): return EventBus()\n")
    assert isinstance(find_bus("located:make"), EventBus)


@pytest.mark.parametrize(
    "source, application, reason",
    [
        ("", "located_missing:bus", "there is no module 'located_missing'"),
        ("", "located_missing.app:bus", "there is no module 'located_missing'"),
        ("import located_gone", "located:bus", "importing 'located' raised ModuleNotFoundError"),
        ("1 / 0", "located:bus", "importing 'located' raised ZeroDivisionError"),
        ("", ":bus", 'expected "package.module:attribute"'),
        ("", ".located:bus", 'expected "package.module:attribute"'),
        ("", "located", "'located' holds no EventBus"),
        ("", "located:bus", "'bus' is nothing; 'located' holds no EventBus"),
        (ONE + "other = EventBus()", "located", "write one of located:bus, located:other"),
        (ONE, "located:buss", "'buss' is nothing; write one of located:bus"),
        (ONE + "number = 7", "located:number", "'number' is a int"),
        (ONE, "located:EventBus", "'EventBus' is a type"),
        ("def make(): return 1 / 0", "located:make", "'make' raised ZeroDivisionError"),
        ("def make(): return 7", "located:make", "'make' is a int"),
    ],
)
def test_what_leads_to_no_bus_says_why(module, source, application, reason):
    module(source)
    with pytest.raises(ApplicationNotFound) as caught:
        find_bus(application)
    assert reason in str(caught.value)


def test_the_environment_names_the_application(monkeypatch):
    monkeypatch.setenv("EVENTBUS_APP", "shop.app:bus")
    assert configured_application() == "shop.app:bus"


def test_the_nearest_project_names_it(folder):
    (folder / "pyproject.toml").write_text('[tool.eventbus]\napp = "shop.app:bus"\n')
    (folder / "deep" / "down").mkdir(parents=True)
    assert configured_application() == "shop.app:bus"
    assert configured_application(folder / "deep" / "down") == "shop.app:bus"


def test_a_nearer_project_that_names_none_ends_the_search(folder):
    (folder / "pyproject.toml").write_text('[tool.eventbus]\napp = "shop.app:bus"\n')
    (folder / "inner").mkdir()
    (folder / "inner" / "pyproject.toml").write_text("[project]\nname = 'inner'\n")
    assert configured_application(folder / "inner") is None


def test_without_any_there_is_none(folder, monkeypatch):
    monkeypatch.setattr("pathlib.Path.is_file", lambda path: False)
    assert configured_application() is None


@pytest.mark.parametrize(
    "text, reason",
    [
        ("[tool", "cannot be read"),
        ("tool = 7", "cannot be read"),
        ("[tool.eventbus]\napp = 7", "is no text: 7"),
    ],
)
def test_a_project_that_names_it_wrongly_is_an_error(folder, text, reason):
    (folder / "pyproject.toml").write_text(text)
    with pytest.raises(ApplicationNotFound, match=reason):
        configured_application()
