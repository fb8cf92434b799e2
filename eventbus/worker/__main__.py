"""`python -m eventbus.worker` is `eventbus-worker`."""

from __future__ import annotations

from eventbus.worker.command import main

if __name__ == "__main__":
    main()
