"""Runs one function call: check the arguments, one hop to a thread, a time limit, one output for the model.

Owns the ToolCall rows: each is committed before its tool runs. Clinic, caller and time come from the call, never from
the model. The one place where a bug may not end the call.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import defaultdict
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from django.core.serializers.json import DjangoJSONEncoder
from django.db import DatabaseError, IntegrityError, transaction
from django.utils import timezone
from pydantic import BaseModel, ValidationError

from agents_app.models import Clinic, canonical_json
from agents_app.practice.tasks import leave_task
from agents_app.tools import Recap, ToolContext, ToolError, ToolOutcome, ToolSpec, registered_tools
from sessions_app import metrics
from sessions_app.call.function_calls import RecapShown, ToolResult
from sessions_app.effects import LeaveTask, RefuseTool, RunTool
from sessions_app.models import CallPatient, ToolCall
from sessions_app.threads import in_pool

logger = logging.getLogger(__name__)

POOL_THREADS = 16
THREADS_A_CLINIC = 4
MAX_ARGUMENTS_CHARS = 16_000
MAX_OUTPUT_CHARS = 32_000

_UNAVAILABLE = "That did not work just now. Offer to take a message."
_UNKNOWN_OUTCOME = "It is not known whether this was done. Do not try again: the staff will check and call back."


@dataclass(frozen=True)
class CallContext:
    """The call on whose behalf tools run."""

    call_id: UUID
    clinic: Clinic


class CommitFailed(Exception):
    """A tool wrote, and the database went away while that was committed: nobody knows whether it was."""


class ToolGateway:
    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(POOL_THREADS, thread_name_prefix="tools")
        self._clinics: defaultdict[int, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(THREADS_A_CLINIC))
        self._storing: set[asyncio.Future[None]] = set()

    async def run(self, function_call: RunTool, context: CallContext) -> ToolResult:
        """Return how the call ended; never raises but when it is cancelled. A late result stands in the row alone."""
        began = time.monotonic()
        result = await self._run_in_time(function_call, context)
        metrics.tool_ran(function_call.name, _status_of(result), time.monotonic() - began)
        return result

    async def _run_in_time(self, function_call: RunTool, context: CallContext) -> ToolResult:
        spec = registered_tools().get(function_call.name)
        trace_id = uuid4()
        if spec is None:
            return _failed(ToolError("unknown_tool", "There is no such tool."), trace_id)
        work: asyncio.Future[ToolResult] | None = None
        try:
            async with asyncio.timeout(spec.timeout_s):
                await self._clinics[context.clinic.pk].acquire()
                work = self._in_pool(_perform, spec, function_call, context, trace_id)
                work.add_done_callback(partial(self._give_back, context.clinic.pk))
                return await asyncio.shield(work)
        except TimeoutError:
            return await self._timed_out(spec, function_call, context, trace_id, begun=work is not None)
        except Exception as error:  # arguments and exception text are patient data: log ids and types only
            logger.error("Tool failed", extra=_about(function_call, context, error))
            return _failed(ToolError("unavailable", _UNAVAILABLE, retryable=True), trace_id)

    def refuse(self, refused: RefuseTool, context: CallContext) -> None:
        """Have a function call stored that was not run. The call goes on without its row, and ends without it."""
        self._beside(self._store(_store_refused, refused, context))

    def leave_task(self, task: LeaveTask, context: CallContext) -> None:
        self._beside(self._store(_leave_check, context, task.text))

    def close(self) -> None:
        """Let go of the threads, once the tools that run have ended."""
        self._pool.shutdown()

    async def _timed_out(
        self, spec: ToolSpec, function_call: RunTool, context: CallContext, trace_id: UUID, *, begun: bool
    ) -> ToolResult:
        logger.warning("Tool timed out", extra=_about(function_call, context))
        if not begun:  # the clinic's own tools hang
            about = (function_call.call_id, function_call.name, function_call.arguments)
            refused = RefuseTool(*about, "unavailable", function_call.position, function_call.started_ms)
            self.refuse(refused, context)
            return _failed(ToolError("unavailable", _UNAVAILABLE, retryable=True), trace_id)
        if not (spec.writes and function_call.commit):
            return _failed(ToolError("timeout", _UNAVAILABLE, retryable=True), trace_id)
        self._beside(self._store(_leave_check, context, f"{spec.name}: please check whether it was done"))
        return _failed(ToolError("outcome_unknown", _UNKNOWN_OUTCOME), trace_id)

    def _give_back(self, clinic_id: int, work: asyncio.Future[ToolResult]) -> None:
        """A clinic's thread is free again only now: its call may have gone on without it long ago."""
        self._clinics[clinic_id].release()
        if not work.cancelled():
            work.exception()  # seen, else the loop would log its text

    def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        """Store without keeping the caller waiting: what hangs may hold the database too."""
        task = asyncio.ensure_future(work)
        self._storing.add(task)
        task.add_done_callback(self._storing.discard)

    async def _store(self, function: Any, *args: Any) -> None:
        try:
            await self._in_pool(function, *args)
        except Exception as error:  # its text may be patient data
            logger.error("A row beside a tool could not be stored", extra={"error": type(error).__name__})

    def _in_pool(self, function: Any, *args: Any) -> asyncio.Future[Any]:
        return in_pool(self._pool, function, *args)


def _perform(spec: ToolSpec, function_call: RunTool, context: CallContext, trace_id: UUID) -> ToolResult:
    """The one hop: the row, the tool, the row's end."""
    row = _store_begun(spec, function_call, context, trace_id)
    if row is None:
        return _failed(ToolError("repeated_call", "This call has been made already."), trace_id)
    began = time.monotonic()
    try:
        arguments = read_arguments(spec, function_call.arguments)
        result = _run(spec, function_call, arguments, _context_of(function_call, context), trace_id)
    except ToolError as error:  # expected, and sayable: "that slot is taken"
        result = _failed(error, trace_id)
    except CommitFailed as error:  # its row stays as running, and is the staff's to look at once the call is over
        logger.error("Nobody knows whether a tool wrote", extra=_about(function_call, context, error))
        return _failed(ToolError("outcome_unknown", _UNKNOWN_OUTCOME), trace_id)
    except Exception as error:  # arguments and exception text are patient data: log ids and types only
        logger.error("Tool failed", extra=_about(function_call, context, error))
        result = _failed(ToolError("unavailable", _UNAVAILABLE, retryable=True), trace_id)
    try:
        _store_ended(row, result, duration_ms=int((time.monotonic() - began) * 1000))
    except Exception as error:  # it is done all the same, and must not be told as if it could be tried again
        logger.error("A tool's end could not be stored", extra=_about(function_call, context, error))
    return result


def _run(
    spec: ToolSpec, function_call: RunTool, arguments: BaseModel, context: ToolContext, trace_id: UUID
) -> ToolResult:
    if spec.recap is not None and not function_call.commit:
        return _asked(spec.recap(context, arguments), trace_id)
    result: ToolResult | None = None
    try:
        with transaction.atomic():
            result = _handled(spec, function_call, arguments, context, trace_id)
    except DatabaseError:
        if result is not None and spec.writes:
            raise CommitFailed from None
        raise
    return result


def _handled(
    spec: ToolSpec, function_call: RunTool, arguments: BaseModel, context: ToolContext, trace_id: UUID
) -> ToolResult:
    """What stands in the transaction: what cannot be told to the model must not have been done."""
    try:
        if spec.recap is not None:
            _check_values(spec.recap(context, arguments), function_call)
        outcome = spec.handler(context, arguments)
    except ToolError as error:
        # A refusal is an answer: what the handler noted on the way stays (a failed attempt to be recognised,
        # a task for staff). Rolled back, a caller could guess for ever.
        return _failed(error, trace_id)
    if outcome.patient_id is not None:
        CallPatient.objects.get_or_create(session_id=context.call_id, patient_id=outcome.patient_id)
    return _succeeded(outcome, trace_id)


def _check_values(recap: Recap, function_call: RunTool) -> None:
    """Refuse to write other values than those that the caller said yes to: words may mean another slot by now."""
    if canonical_json(recap.values) != function_call.digest:
        raise ToolError("values_changed", "Something has changed meanwhile. Please ask again.", retryable=True)


def read_arguments(spec: ToolSpec, text: str) -> BaseModel:
    """Return the checked arguments. Raises ToolError that tells the model what to ask for, without any value."""
    if len(text) > MAX_ARGUMENTS_CHARS:
        raise ToolError("invalid_arguments", "The arguments are too long.")
    try:
        _check_json(text or "{}")
        return spec.arguments.model_validate_json(text or "{}", strict=True)
    except ValidationError as error:
        missing = [_field_title(spec, e["loc"]) for e in error.errors() if e["type"] == "missing"]
        wrong = [f"{_field_title(spec, e['loc'])}: {_reason(e)}" for e in error.errors() if e["type"] != "missing"]
        parts = ["Ask the caller for: " + ", ".join(missing) + "."] if missing else []
        parts += ["Not usable: " + "; ".join(wrong) + "."] if wrong else []
        raise ToolError("invalid_arguments", " ".join(parts), retryable=True) from None
    except (ValueError, RecursionError):
        raise ToolError("invalid_arguments", "The arguments are not JSON.", retryable=True) from None


def _check_json(text: str) -> None:
    """Raise ValueError for what two readers could read differently, and for a NUL, which PostgreSQL refuses."""
    values = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    if "\\u0000" in json.dumps(values):
        raise ValueError


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _reason(error: Any) -> str:
    # pydantic's own sentence; a validator of ours says what it means, and neither repeats the value.
    return str(error["msg"]).removeprefix("Value error, ")


def _field_title(spec: ToolSpec, location: tuple[int | str, ...]) -> str:
    name = str(location[0]) if location else ""
    field = spec.arguments.model_fields.get(name)
    if field is None:
        return "a field that the tool does not have" if name else "arguments"
    return field.title or name


def _context_of(function_call: RunTool, context: CallContext) -> ToolContext:
    return ToolContext(
        clinic=context.clinic,
        call_id=context.call_id,
        patient_id=function_call.patient_id,
        now=timezone.now(),
        zone=context.clinic.zone,
    )


def _asked(recap: Recap, trace_id: UUID) -> ToolResult:
    error = ToolError(
        "confirmation_required",
        f"The caller has to say yes first. It is being asked now: {recap.question}",
        retryable=True,
    )
    shown = RecapShown(recap.question, recap.lines, recap.spoken, canonical_json(recap.values))
    return ToolResult(_envelope(error, trace_id), ok=False, recap=shown)


def _succeeded(outcome: ToolOutcome, trace_id: UUID) -> ToolResult:
    if not isinstance(outcome.data, dict):  # a page of HTML would be read out as an answer
        raise TypeError
    output: dict[str, Any] = {"status": "ok", "data": _json_ready(outcome.data), "trace_id": str(trace_id)}
    if outcome.confidence is not None:
        output["confidence"] = outcome.confidence
    if len(json.dumps(output)) > MAX_OUTPUT_CHARS:
        raise ToolError("too_much", "There is too much to tell. Ask for something narrower.")
    return ToolResult(
        output,
        ok=True,
        then=outcome.then.value,
        patient_id=outcome.patient_id,
        card=outcome.card,
        filled=outcome.filled,
    )


def _failed(error: ToolError, trace_id: UUID) -> ToolResult:
    return ToolResult(_envelope(error, trace_id), ok=False)


def _envelope(error: ToolError, trace_id: UUID) -> dict[str, Any]:
    envelope = {
        "status": "error",
        "error_code": error.code,
        "message": str(error.message),
        "retryable": error.retryable,
        "trace_id": str(trace_id),
    }
    if error.data is not None:
        envelope["data"] = _json_ready(error.data)
    return envelope


def _json_ready(value: Any) -> Any:
    """Return `value` as JSON has it. Raises for what JSON has not."""
    return _storable(json.loads(json.dumps(value, cls=DjangoJSONEncoder, allow_nan=False)))


def _storable(value: Any) -> Any:
    """Return `value` without what PostgreSQL refuses in JSON."""
    if isinstance(value, str):
        return value.replace("\x00", "").encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_storable(name): _storable(inner) for name, inner in value.items()}
    return [_storable(inner) for inner in value] if isinstance(value, list) else value


def _store_begun(spec: ToolSpec, function_call: RunTool, context: CallContext, trace_id: UUID) -> ToolCall | None:
    """Commit the row before the tool runs. None when this function call has run before."""
    fields = {
        "position": function_call.position,
        "name": function_call.name,
        "writes": spec.writes,
        "arguments": function_call.arguments[:MAX_ARGUMENTS_CHARS].replace("\x00", ""),
        "started_ms": function_call.started_ms,
        "trace_id": trace_id,
    }
    try:
        with transaction.atomic():
            return ToolCall.objects.create(session_id=context.call_id, call_id=function_call.call_id, **fields)
    except IntegrityError:
        # The run that follows its own dry run: that one ended by asking for a yes.
        mine = ToolCall.objects.filter(session_id=context.call_id, call_id=function_call.call_id)
        if not function_call.commit:
            return None
        asked = mine.filter(status=ToolCall.Status.ASKED)
        begun = asked.update(
            status=ToolCall.Status.RUNNING, error_code="", confirmed_by=function_call.confirmed_by, trace_id=trace_id
        )
        return mine.get() if begun else None


def _status_of(result: ToolResult) -> str:
    asked = ToolCall.Status.ASKED if result.recap is not None else ToolCall.Status.ERROR
    return ToolCall.Status.OK if result.ok else asked


def _store_ended(row: ToolCall, result: ToolResult, *, duration_ms: int) -> None:
    row.status = _status_of(result)
    row.error_code = result.output.get("error_code", "")
    row.output, row.filled, row.duration_ms = result.output, result.filled, duration_ms
    row.confidence = result.output.get("confidence")
    row.save(update_fields=["status", "error_code", "output", "filled", "duration_ms", "confidence"])


def _store_refused(refused: RefuseTool, context: CallContext) -> None:
    ToolCall.objects.update_or_create(
        session_id=context.call_id,
        call_id=refused.call_id,
        defaults={"status": ToolCall.Status.ERROR, "error_code": refused.error_code},
        create_defaults={
            "status": ToolCall.Status.ERROR,
            "error_code": refused.error_code,
            "position": refused.position,
            "name": refused.name[:64],
            "arguments": refused.arguments[:MAX_ARGUMENTS_CHARS].replace("\x00", ""),
            "started_ms": refused.started_ms,
        },
    )


def _leave_check(context: CallContext, text: str) -> None:
    leave_task(clinic=context.clinic, call_id=context.call_id, kind="check", text=text)


def _about(function_call: RunTool, context: CallContext, error: Exception | None = None) -> dict[str, Any]:
    about = {"tool": function_call.name, "call": str(context.call_id), "function_call": function_call.call_id}
    return about | ({"error": type(error).__name__} if error is not None else {})
