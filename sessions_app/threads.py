"""One hop to a thread for work on the database, from the event loop.

Not Channels' `database_sync_to_async`: asgiref runs the work in a copied context, in which Django keeps a connection
that the clean-up outside of it does not find. Each pool thread then held an idle connection until its next hop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import ParamSpec, TypeVar

from django.db import close_old_connections

P = ParamSpec("P")
R = TypeVar("R")


def in_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[R]:
    """Run `function` in the loop's own pool."""
    return in_pool(None, function, *args, **kwargs)


def in_pool(pool: Executor | None, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[R]:
    """Run `function` in a thread of `pool`. Cancelling the future does not stop what has begun."""

    def work() -> R:
        close_old_connections()
        try:
            return function(*args, **kwargs)
        finally:
            close_old_connections()

    return asyncio.get_running_loop().run_in_executor(pool, work)
