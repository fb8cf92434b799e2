"""
Write docs/explain/mutation.md from the results of `run.py`: `python tests/mutation/report.py [OUT]`.

No figure of the page is typed by hand. Why a mutant survived is said in survivors.toml, by its key.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attrs import define, field
from operators import mutants_of
from run import REASONS, ROOT, files_of, results_in, say

PAGE = ROOT / "docs" / "explain" / "mutation.md"

HEAD = """\
# Do the tests notice?

Written by `make mutation` on {date}; not by hand.

A **mutant** is the code with one small mistake in it: a `<` that became `<=`, a condition turned round, a
statement or an argument left out, a number one too large, an exception that is not caught, a text
changed, a term of a `WHERE` dropped. For each the tests are run that execute its lines. A test that
fails has **killed** it; a mutant that all of them pass **survived**, and is either a gap in the tests or
**equivalent**: no program can tell it from the original. Equivalent ones do not count, and each has
its reason below.

Mutated are the codec and the table of names, the rules of retrying, and the SQLite backend with its
statements; the tests are those of `tests/unit/queue` and `tests/unit/backends`, the contract over
SQLite and the examples of the docstrings. {sample:,} of {all:,} mutants were drawn by chance.

**{killed:,} of {counted:,} killed: {score}.** {equivalent:,} more are equivalent.

Left out are annotations, docstrings, decorators, `assert` and `__all__`: type checkers and other tests
hold those.

| module | mutants | drawn | equivalent | killed | survived | score |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |
"""
UNSAID = "no reason given yet"


@define(eq=False)
class Module:
    """The figures of one file."""

    all: int = 0
    killed: int = 0
    equivalent: list[str] = field(factory=list)
    survived: list[str] = field(factory=list)

    @property
    def drawn(self) -> int:
        """How many were examined."""
        return self.killed + len(self.equivalent) + len(self.survived)

    def score(self) -> str:
        """The share of those killed, of those that can be."""
        counted = self.killed + len(self.survived)
        return f"{self.killed / counted:.1%}" if counted else "-"


def reasons() -> dict[str, dict[str, Any]]:
    """Return what is said of survivors, by their keys."""
    rows = tomllib.loads(REASONS.read_text("utf-8")).get("survivor", [])
    return {row["key"]: row for row in rows}


def figures(
    results: dict[str, dict[str, Any]], known: dict[str, dict[str, Any]]
) -> dict[str, Module]:
    """Return the figures by file, of the mutants that there are today."""
    modules: dict[str, Module] = defaultdict(Module)
    for path in files_of(ROOT):
        for mutant in mutants_of(path, (ROOT / path).read_bytes()):
            module = modules[path]
            module.all += 1
            row = results.get(mutant.key)
            if row is None:
                continue
            if row["killed"]:
                module.killed += 1
            elif known.get(mutant.key, {}).get("equivalent"):
                module.equivalent.append(mutant.key)
            else:
                module.survived.append(mutant.key)
    return modules


def page(modules: dict[str, Module], known: dict[str, dict[str, Any]]) -> str:
    """Return the page."""
    total = Module(
        all=sum(one.all for one in modules.values()),
        killed=sum(one.killed for one in modules.values()),
        equivalent=[key for one in modules.values() for key in one.equivalent],
        survived=[key for one in modules.values() for key in one.survived],
    )
    text = HEAD.format(
        date=datetime.now(UTC).date(),
        sample=total.drawn,
        all=total.all,
        killed=total.killed,
        counted=total.killed + len(total.survived),
        equivalent=len(total.equivalent),
        score=total.score(),
    )
    for path, one in (*modules.items(), ("**all**", total)):
        name = path if path == "**all**" else f"`{path.removeprefix('eventbus/')}`"
        text += f"| {name} | {one.all} | {one.drawn} | {len(one.equivalent)} | {one.killed} | {len(one.survived)} | {one.score()} |\n"
    for title, keys in (("Survived", total.survived), ("Equivalent", total.equivalent)):
        text += f"\n## {title}\n\n"
        text += "".join(entry(key, known) for key in keys) or "None.\n"
    return text


def entry(key: str, known: dict[str, dict[str, Any]]) -> str:
    """Return the lines about one mutant."""
    path, _, change = key.partition("::")
    where, _, what = change.partition(": ")
    before, _, after = what.rpartition(" -> ")
    place = f"{path.removeprefix('eventbus/')}, {where}"
    after = re.sub(r" #\d+$", "", after).strip("\\ ")
    after = "nothing" if after in ("", "**{}") else f"`` {after} ``"
    said = known.get(key, {}).get("reason", UNSAID)
    return f"- {place}: `` {before} `` became {after}. {said}\n"


def main(out: Path) -> None:
    """Write the page, and say what is missing."""
    known, results = reasons(), results_in(out)
    modules = figures(results, known)
    PAGE.write_text(page(modules, known), encoding="utf-8")
    killed = sum(one.killed for one in modules.values())
    survived = [key for one in modules.values() for key in one.survived]
    say(f"{killed} killed, {len(survived)} survived; {PAGE.relative_to(ROOT)}")
    for key in known:
        if results.get(key, {}).get("killed"):
            say(f"killed by now, so nothing need be said of it: {key}")
    unsaid = [key for key in survived if key not in known]
    for key in unsaid:
        say(f"survived without a reason: {key}")
    sys.exit(bool(unsaid))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else ROOT / "build" / "mutation")
