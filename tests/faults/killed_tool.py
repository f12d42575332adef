"""A process that runs a tool, and is killed at one point of it. A program: takes one JSON object as its argument.

Each run is a child, so that all of them begin with a copy of this process and not with two seconds of imports.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn
from uuid import UUID

from django.db import connection

import tests.conftest  # noqa: F401 - sets Django up
from agents_app import tools
from agents_app.models import Clinic
from agents_app.practice.tasks import leave_task
from agents_app.tools import ToolContext, ToolOutcome, ToolSpec
from sessions_app import tool_gateway
from sessions_app.tool_gateway import CallContext, ToolGateway
from tests.sessions_app.test_tool_arguments import Visit
from tests.tool_calls import asked, recap

NAME, EFFECT = "try_it", "what the tool does"


def effect(context: ToolContext, visit: Visit) -> ToolOutcome:
    leave_task(clinic=context.clinic, call_id=context.call_id, kind="message", text=EFFECT)
    return ToolOutcome({"done": True})


def spec(handler: Callable[[ToolContext, Visit], ToolOutcome] = effect) -> ToolSpec:
    return ToolSpec(NAME, "Try it", Visit, handler, recap)


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("Expected to be dead")


def before(do: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **kwargs: die()


def after(do: Callable[..., Any]) -> Callable[..., Any]:
    def work(*args: Any, **kwargs: Any) -> NoReturn:
        do(*args, **kwargs)
        die()

    return work


# What is replaced, and by what: in the order in which a run passes them.
POINTS: dict[str, tuple[str, Callable[[Callable[..., Any]], Callable[..., Any]]]] = {
    "before its row": ("_store_begun", before),
    "after its row": ("_store_begun", after),
    "before its effect": ("", before),
    "after its effect, uncommitted": ("", after),
    "before its result": ("_store_ended", before),
    "after its result": ("_store_ended", after),
}


def main(runs: dict[str, str], clinic_id: int, database: dict[str, Any]) -> None:
    """Run the tool for each call of `runs`, a point each, and be killed there."""
    connection.settings_dict.update(database)
    for point, call_id in runs.items():
        child = os.fork()
        if child == 0:
            _run(UUID(call_id), clinic_id, *POINTS[point])
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL, point


def _run(call_id: UUID, clinic_id: int, name: str, trap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    tools._registry[NAME] = spec() if name else spec(trap(effect))
    if name:
        setattr(tool_gateway, name, trap(getattr(tool_gateway, name)))
    context = CallContext(call_id, Clinic.objects.get(pk=clinic_id))
    asyncio.run(ToolGateway().run(asked(confirmed_by="button"), context))
    os._exit(0)


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
