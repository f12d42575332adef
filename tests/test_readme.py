"""The README's example, run as it stands but for its address."""

from __future__ import annotations

import re
import textwrap
from typing import Any

import pytest
from django.conf import settings
from openai import AsyncOpenAI

from agents_app.models import ApiToken
from tests.servers import Server, ended_call, in_thread, live_agent

pytestmark = pytest.mark.django_db(transaction=True)


class Enough(Exception):
    """The example prints for as long as the call lasts; a test has seen enough."""


def example() -> str:
    readme = (settings.BASE_DIR / "README.md").read_text()
    [block] = re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)
    return str(block)


async def test_readmes_example_holds_a_typed_turn(uvicorn: Server):
    agent = await in_thread(lambda: live_agent(public_name="lexi", tools=["get_office_context"]))
    _, token = await in_thread(lambda: ApiToken.issue(clinic=agent.clinic, name="Example"))
    printed: list[str] = []

    def show(kind: str) -> None:
        printed.append(kind)
        if printed.count("response.done") == 2:  # the greeting's, and the answer's
            raise Enough

    text = example().replace("127.0.0.1:8000", f"127.0.0.1:{uvicorn.port}")
    names: dict[str, Any] = {"AsyncOpenAI": AsyncOpenAI, "token": token, "print": show}
    exec("async def run():\n" + textwrap.indent(text, "    "), names)  # the README is ours
    async with uvicorn.upstream():
        with pytest.raises(Enough):
            await names["run"]()
    call = await ended_call(agent)

    lines = await in_thread(lambda: list(call.items.values_list("speaker", flat=True)))
    assert lines[:2] == ["agent", "caller"] or lines[:2] == ["caller", "agent"]
    assert printed[0] == "session.created"
    assert len(example().splitlines()) == 7
