"""Find an application's bus from "MODULE:BUS", for the commands and the tests."""

from __future__ import annotations

import importlib
import os
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

from eventbus.bus import EventBus
from eventbus.errors import ApplicationNotFound

__all__ = ["configured_application", "find_bus"]


def configured_application(start: Path | None = None) -> str | None:
    """
    Return the application that the surroundings name: `EVENTBUS_APP`, else `[tool.eventbus]`'s `app`.

    Args:
        start: Where to begin looking upwards for a `pyproject.toml`. Default: the current folder.

    Raises:
        ApplicationNotFound: The nearest `pyproject.toml` cannot be read, or names no application.
    """
    named = os.environ.get("EVENTBUS_APP")
    if named:
        return named
    folder = (start or Path.cwd()).resolve()
    for one in (folder, *folder.parents):
        path = one / "pyproject.toml"
        if path.is_file():
            try:
                table = tomllib.loads(path.read_text("utf-8")).get("tool", {}).get("eventbus", {})
            except (AttributeError, OSError, ValueError) as error:
                raise ApplicationNotFound(
                    application=str(path), reason=f"it cannot be read ({error})"
                ) from error
            app = table.get("app")
            if app is None or isinstance(app, str):
                return app
            raise ApplicationNotFound(
                application=str(path), reason=f"app of [tool.eventbus] is no text: {app!r}"
            )
    return None


def find_bus(application: str) -> EventBus:
    """
    Return the bus that `"package.module:attribute"` names.

    The attribute may be left out where the module has one bus, and may be a function without
    parameters that returns one. The current folder is importable.

    Args:
        application: Such as `"shop.app:bus"`, `"shop.app"` or `"shop.app:make_bus"`.

    Raises:
        ApplicationNotFound: The module cannot be imported, or there is no bus in it.
    """
    module_name, _, attribute = application.partition(":")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    module = _imported(module_name, application)
    buses = [name for name, value in vars(module).items() if isinstance(value, EventBus)]
    if not attribute:
        if len(buses) != 1:
            raise ApplicationNotFound(application=application, reason=_offer(module_name, buses))
        attribute = buses[0]
    found: Any = module
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if callable(found) and not isinstance(found, EventBus | type):
        try:
            found = found()
        except Exception as error:
            raise ApplicationNotFound(
                application=application, reason=f"{attribute!r} raised {_said(error)}"
            ) from error
    if not isinstance(found, EventBus):
        what = "nothing" if found is None else f"a {type(found).__name__}"
        raise ApplicationNotFound(
            application=application,
            reason=f"{attribute!r} is {what}; {_offer(module_name, buses)}",
        )
    return found


def _imported(name: str, application: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name == missing or name.startswith(f"{missing}."):
            reason = f"there is no module {missing!r} in {Path.cwd()} or on sys.path"
        else:
            reason = f"importing {name!r} raised {_said(error)}"
        raise ApplicationNotFound(application=application, reason=reason) from error
    except Exception as error:
        if not name or name.startswith("."):
            reason = 'expected "package.module:attribute"'
        else:
            reason = f"importing {name!r} raised {_said(error)}"
        raise ApplicationNotFound(application=application, reason=reason) from error


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _offer(module: str, buses: list[str]) -> str:
    if not buses:
        return f"{module!r} holds no EventBus"
    return f"write one of {', '.join(f'{module}:{name}' for name in buses)}"
