"""The list of what a user must be allowed is that of the scripts and of the verbs."""

from __future__ import annotations

import re
from importlib.resources import files

from eventbus.backends.redis_permissions import NEEDED

SOURCE = files("eventbus.backends")
#: Words of commands in the code of the verbs and of their connections.
SPOKEN = re.compile(r'(?<!"CLUSTER", )"((?:EVALSHA|SCRIPT|SUBSCRIBE|[SHZ][A-Z]{3,}))"')


def test_every_command_of_the_scripts_and_the_verbs_is_listed_and_no_other():
    scripts = SOURCE.joinpath("scripts/redis.lua").read_text("utf-8")
    verbs = "".join(
        SOURCE.joinpath(f"{name}.py").read_text("utf-8")
        for name in ("redis_store", "redis_claims", "redis_pages", "redis_link", "redis_bell")
    )

    said = set(re.findall(r"redis\.p?call\('([A-Z]+)'", scripts)) | set(SPOKEN.findall(verbs))

    assert {command.split()[0] for command in NEEDED} == said


def test_the_list_is_in_order():
    assert list(NEEDED) == sorted(NEEDED)
