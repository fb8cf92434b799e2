"""
The same three jobs as an application of each library, on the Redis that `BENCH_URL` names.

`note` does nothing but leave a mark, `slow` takes 50 ms, `answer` tells how long it was on its way. Each module
has a `producer`, a context manager (async where the library is) that returns what enqueues each of them; what a
worker is started with is in `contenders.py`. No results are kept where the library lets one say so.
"""
