"""The record of calls, the keys that begin them and the places they take."""

from sessions_app.models.calls import CallPatient, CallSession, CallView, Event, Item, ToolCall
from sessions_app.models.keys import ClientSecret
from sessions_app.models.ledger import LedgerEntry, LedgerPeriod
from sessions_app.models.places import Place, StartCount
from sessions_app.models.prices import Price
from sessions_app.models.recordings import Recording

__all__ = [
    "CallPatient",
    "CallSession",
    "CallView",
    "ClientSecret",
    "Event",
    "Item",
    "LedgerEntry",
    "LedgerPeriod",
    "Place",
    "Price",
    "Recording",
    "StartCount",
    "ToolCall",
]
