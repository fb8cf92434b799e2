from __future__ import annotations

from eventbus import EventBus

bus = EventBus(connections={"default": "memory://"})

bus.worker(17)  # error: mypy pyright
bus.worker(queues=17)  # error: mypy pyright
bus.worker(tires=3)  # error: mypy pyright
bus.worker(max_jobs="all")  # error: mypy pyright
bus.worker(threads="many")  # error: mypy pyright
bus.worker(concurrency=1.5)  # error: mypy pyright
bus.worker(timeout="long")  # error: mypy pyright
bus.worker().drain("soon")  # error: mypy pyright
