from __future__ import annotations

from eventbus import (
    Debounce,
    EventBus,
    Job,
    Limit,
    RateLimited,
    ThrottleErrors,
    Unique,
    WithoutOverlapping,
)

bus = EventBus()

Limit("100/m", 60)  # error: mypy pyright
Limit.per_minute()  # error: mypy pyright
Limit.per_minute(1).by(None)  # error: mypy pyright
Limit(1, "a minute")  # error: mypy pyright

bus.limiter("api", "100/m")  # error: mypy pyright
bus.limiter("api", 5)  # error: mypy pyright
bus.throttle("weather", allow=10)  # error: mypy pyright
bus.throttle("weather", allow="10", every=60)  # error: mypy pyright
bus.funnel("import", limit=None)  # error: mypy pyright
bus.funnel("import", ttl=60)  # error: mypy pyright

bus.use(3)  # error: mypy pyright
bus.use(lambda dispatching: None)  # error: mypy pyright

RateLimited(Limit.per_minute(1))  # error: mypy pyright
WithoutOverlapping(life="long")  # error: mypy pyright
ThrottleErrors(10)  # error: mypy pyright
ThrottleErrors(10, 60, on=KeyboardInterrupt)  # error: mypy pyright

Unique(until="middle")  # error: mypy pyright
Unique(by=None)  # error: mypy pyright
Debounce()  # error: mypy pyright
Debounce(5, "key")  # error: mypy pyright


class Twice(Job, unique=5): ...  # error: mypy pyright


class Later(Job, debounce="5 s"): ...  # error: mypy pyright
