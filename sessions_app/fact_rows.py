"""Stores facts of calls as rows. Doing so twice, or late, changes nothing: no older fact replaces a newer one.

Text enters rows and the journal only through `storable`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.db import connection, models, transaction

from agents_app.data_classes import DataClass, data_class
from agents_app.session_config import TRANSCRIPTION_MODEL
from sessions_app import many_rows
from sessions_app.cost import cost_microusd
from sessions_app.effects import CallEnded, EventSeen, Fact, ItemSaved, StateChanged
from sessions_app.journal_format import Entry
from sessions_app.models import CallSession, Event, Item, Price

MAX_TEXT_CHARS = 20_000

# Which column each field of a fact is for, where it is not one of the same name.
_MODELS: dict[type[Fact], type[models.Model]] = {
    EventSeen: Event,
    ItemSaved: Item,
    StateChanged: CallSession,
    CallEnded: CallSession,
}
_COLUMNS = {StateChanged: {"at_ms": "state_history"}, CallEnded: {"at_ms": "duration_ms", "reason": "end_reason"}}


def storable(model: type, values: dict[str, Any]) -> dict[str, Any]:
    """Return `values` as they may enter rows of `model`.

    Nothing of the class `secret` is stored as it came. Texts lose what databases refuse (NUL, lone surrogates) and are
    bounded; a text without a data class is a mistake, and raises LookupError.
    """
    _refuse_secrets(model, tuple(values))
    return {name: _clean(value) for name, value in values.items()}


@lru_cache(maxsize=64)  # a fact has the same fields each time
def _refuse_secrets(model: type, names: tuple[str, ...]) -> None:
    for name in names:
        if data_class(model, name) is DataClass.SECRET:
            raise ValueError(f"{name} is secret")


def storable_fields(fact: Fact) -> dict[str, Any]:
    """Return the fields of a fact as they may be kept outside of rows: by the same rule."""
    columns = _COLUMNS.get(type(fact), {})
    kept = storable(_MODELS[type(fact)], {columns.get(name, name): value for name, value in vars(fact).items()})
    return {name: kept[columns.get(name, name)] for name in fact.__dataclass_fields__}


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")[:MAX_TEXT_CHARS]
    if isinstance(value, dict):
        return {_clean(name): _clean(inner) for name, inner in value.items()}
    return [_clean(inner) for inner in value] if isinstance(value, list) else value


def store(entries: Sequence[Entry]) -> None:
    """Store all of it, or nothing: raises what the database raises, and KeyError for a call that has no row."""
    with transaction.atomic():
        calls = _locked({entry.session_id for entry in entries if isinstance(entry.fact, StateChanged | CallEnded)})
        _store_events(entries)
        _store_items(entries)
        changes: dict[UUID, dict[str, Any]] = {}
        for entry in entries:
            mine = changes.setdefault(entry.session_id, {})
            if isinstance(entry.fact, StateChanged):
                mine |= _state(calls[entry.session_id], entry.fact)
            elif isinstance(entry.fact, CallEnded):
                mine |= _end(calls[entry.session_id], entry.fact)
        for session_id, values in changes.items():
            if values:
                CallSession.objects.filter(pk=session_id).update(**values)


def takes_writes(session_id: UUID) -> bool:
    """Write nothing new to the call's row; raises what the database raises. False: there is no such call."""
    return bool(CallSession.objects.filter(pk=session_id).update(state=models.F("state")))


def _store_events(entries: Iterable[Entry]) -> None:
    rows = [
        {"session": _key(entry), **storable(Event, vars(entry.fact))}
        for entry in entries
        if isinstance(entry.fact, EventSeen)
    ]
    if rows:
        many_rows.insert(Event, rows)


def _store_items(entries: Iterable[Entry]) -> None:
    """Store each item as its latest fact tells it, unless the row was told so by a later one."""
    latest: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in sorted(entries, key=lambda entry: entry.revision):
        if isinstance(entry.fact, ItemSaved):
            row = {"session": _key(entry), "revision": entry.revision, **storable(Item, vars(entry.fact))}
            latest[row["session"], row["item_id"]] = row
    if latest:  # in one order, whoever stores them: no two wait for each other
        rows = [latest[key] for key in sorted(latest)]
        many_rows.upsert(Item, rows, unique=("session", "item_id"), newer="revision")


def _key(entry: Entry) -> str:
    """Return a call's key as its column holds it: not every database has a type for it."""
    return str(entry.session_id) if connection.features.has_native_uuid_field else entry.session_id.hex


@dataclass
class _Call:
    """What the facts of a call need to know of its row."""

    state: str
    state_history: list[list[Any]]
    started_at: datetime
    model: str


def _locked(session_ids: set[UUID]) -> dict[UUID, _Call]:
    """Return the calls of a batch. All are locked in one order, at once."""
    if not session_ids:
        return {}
    # Rows that name the call may be added meanwhile. SQLite's transactions are IMMEDIATE: one writer at a time.
    rows = CallSession.objects.select_for_update(no_key=True, of=("self",)).filter(pk__in=session_ids).order_by("pk")
    known = rows.values_list("pk", "state", "state_history", "started_at", "version__content__model__name")
    return {pk: _Call(*values) for pk, *values in known}


def _state(call: _Call, fact: StateChanged) -> dict[str, Any]:
    """Return what a change of state changes of the row, and note it on `call`."""
    if [fact.at_ms, fact.state] in call.state_history:  # a batch whose commit was in doubt comes twice
        return {}
    call.state_history = sorted([*call.state_history, [fact.at_ms, fact.state]], key=lambda change: change[0])
    if call.state != CallSession.State.ENDED:
        call.state = call.state_history[-1][1]
    return {"state": call.state, "state_history": call.state_history}


def _end(call: _Call, fact: CallEnded) -> dict[str, Any]:
    """Return what its end changes of the row, and note it on `call`."""
    call.state = CallSession.State.ENDED
    told = {"end_reason": fact.reason, "error_code": fact.error_code[:64], "outcome": fact.outcome}
    return {
        "state": call.state,
        "ended_at": call.started_at + timedelta(milliseconds=fact.at_ms),
        "duration_ms": fact.at_ms,
        "cost_microusd": _cost(call.model, call.started_at.date(), fact.usage),
        "lease_until": None,
        **storable(CallSession, {**told, "usage": fact.usage, "counters": fact.counters}),
    }


def _cost(model: str, day: date, usage: dict[str, int]) -> int | None:
    """Return what a call cost by the prices of its day; None while nobody has said what the model costs."""
    prices = Price.objects.on(day, models=[model, TRANSCRIPTION_MODEL])
    price = prices.get(model)
    return None if price is None else cost_microusd(usage, price, transcription=prices.get(TRANSCRIPTION_MODEL))
