"""Context variables travel from one process to another, and no further than they may."""

from __future__ import annotations

from contextvars import copy_context

SOURCE = """
from contextvars import ContextVar

tenant = ContextVar("tenant")
traceparent = ContextVar("traceparent")
bus = EventBus(connections={"default": URL}, carry=[tenant, traceparent])

@bus.listen
@listens(queue=True, tries=2)
def react(event: Ordered, attempt: Attempt):
    say("ran", event.number, attempt.number, tenant.get("nobody"), traceparent.get("no trace"))
    if event.way == "fails" and attempt.number == 1:
        raise ValueError
    tenant.set("left behind")

@bus.listen
@listens(queue=True)
async def react_async(event: Ordered):
    await asyncio.sleep(0)
    say("awaited", event.number, tenant.get("nobody"), traceparent.get("no trace"))
    tenant.set("left behind")
"""

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_worker_sets_what_was_set_where_each_job_was_dispatched(shop):
    shop.write(SOURCE)

    def dispatched(number, tenant=None, way="", trace=None):
        if tenant is not None:
            shop.module.tenant.set(tenant)
        if trace is not None:
            shop.module.traceparent.set(trace)
        shop.dispatch(number, way)

    copy_context().run(dispatched, 1, "acme", "fails", TRACE)
    copy_context().run(dispatched, 2, "globex")
    copy_context().run(dispatched, 3)

    worker = shop.work()

    assert worker.code == 0
    assert sorted(worker.said("ran ")) == [
        f"ran 1 1 acme {TRACE}",
        f"ran 1 2 acme {TRACE}",
        "ran 2 1 globex no trace",
        "ran 3 1 nobody no trace",
    ]
    assert sorted(worker.said("awaited ")) == [
        f"awaited 1 acme {TRACE}",
        "awaited 2 globex no trace",
        "awaited 3 nobody no trace",
    ]
