"""Makes tools and function calls for tests of the gateway, and the gateway itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from agents_app import tools
from agents_app.models import Agent, canonical_json
from agents_app.tools import Recap, ToolContext, ToolOutcome, ToolSpec
from sessions_app.call.function_calls import ToolResult
from sessions_app.effects import RunTool
from sessions_app.models import CallSession, ToolCall
from sessions_app.tool_gateway import CallContext, ToolGateway
from tests.make_calls import STARTED
from tests.servers import in_thread, live_agent
from tests.sessions_app.test_tool_arguments import GOOD, Visit

PATIENCE_S = 20.0
VALUES = canonical_json({"day": GOOD["day"], "name": GOOD["name"]})  # of the recap of GOOD


@pytest_asyncio.fixture
async def gateway() -> AsyncIterator[ToolGateway]:
    gateway = ToolGateway()
    yield gateway
    await asyncio.to_thread(gateway.close)


@pytest.fixture
def context() -> CallContext:
    return new_call(live_agent())


def new_call(agent: Agent) -> CallContext:
    assert agent.live_version is not None
    call = CallSession.objects.create(clinic=agent.clinic, version=agent.live_version, started_at=STARTED)
    return CallContext(call.pk, agent.clinic)


Register = Callable[..., None]


def noting(notes: list[Any], note: Callable[[ToolContext, Visit], Any]) -> Callable[[ToolContext, Visit], ToolOutcome]:
    """A tool that only notes that it ran, and with what."""

    def handler(context: ToolContext, visit: Visit) -> ToolOutcome:
        notes.append(note(context, visit))
        return ToolOutcome({"done": len(notes)})

    return handler


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Register:
    def add(handler: Callable[[ToolContext, Any], ToolOutcome], *, name: str = "try_it", **fields: Any) -> None:
        # The registry only grows, and other tests list it: what is added here is taken out again.
        monkeypatch.setitem(tools._registry, name, ToolSpec(name, "Try it", Visit, handler, **fields))

    return add


def asked(arguments: Any = None, *, call_id: str = "call_1", name: str = "try_it", **fields: Any) -> RunTool:
    text = arguments if isinstance(arguments, str) else json.dumps(GOOD if arguments is None else arguments)
    defaults = {"commit": True, "position": 3, "started_ms": 1200, "digest": VALUES}
    return RunTool(call_id, name, text, **{**defaults, **fields})


def told(result: ToolResult) -> tuple[str, str]:
    return result.output.get("error_code", ""), result.output.get("message", "")


async def rows() -> list[dict[str, Any]]:
    names = ("call_id", "status", "error_code")
    found = await in_thread(lambda: list(ToolCall.objects.order_by("pk").values_list(*names)))
    return [dict(zip(names, one, strict=True)) for one in found]


def recap(context: ToolContext, visit: Visit) -> Recap:
    values = {"day": str(visit.day), "name": visit.name}
    return Recap(f"I will book {visit.name}. Shall I?", (("Name", visit.name),), (visit.name,), values)
