"""The other call's tool: a query that takes 100 ms."""

from __future__ import annotations

import time

from django.db import connection
from pydantic import BaseModel, ConfigDict

from agents_app.tools import ToolContext, ToolOutcome, tool
from bench.upstream import SLOW_TOOL

SLOW_QUERY_S = 0.1


class NoArguments(BaseModel):
    model_config = ConfigDict(extra="forbid")


@tool(SLOW_TOOL, "Ask the database something that takes a while.", NoArguments)
def slow_query(context: ToolContext, arguments: NoArguments) -> ToolOutcome:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_sleep(%s)", [SLOW_QUERY_S])
        else:
            connection.connection.create_function("bench_sleep", 1, time.sleep)
            cursor.execute("SELECT bench_sleep(%s)", [SLOW_QUERY_S])
        cursor.fetchall()
    return ToolOutcome({"status": "done"})
