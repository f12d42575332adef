"""Tokens with which a caller comes back to its call: how one is made, spent, and told apart from a call that is over.

Only digests are stored. Time is the database's: the clocks of the processes that hold and resume a call may differ.
A token names its call, so that no index is needed to find it, and holds 256 random bits. It is spent by one UPDATE
that puts its successor in its place; it stays good only until the caller has said that it got the successor, since
a line that breaks once often breaks again before the next word.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from agents_app.models import digest
from sessions_app.call.ending import RESUME_S
from sessions_app.models import CallSession
from sessions_app.models.calls import lease


@dataclass(frozen=True)
class Return:
    """A caller that has come back. `epoch` grows with each return: the newest one carries the call."""

    call_id: UUID
    epoch: int
    token: str  # for the next time


class CallOver(Exception):
    """The token was good, and its call has ended, or has waited for its caller long enough."""


class CarriedElsewhere(Exception):
    """The token is good, and another process carries the call. It is not spent."""


def new_token(call_id: UUID) -> str:
    return f"{call_id.hex}.{secrets.token_urlsafe(32)}"


def spend(token: str, *, origin: str, owner: str) -> Return | None:
    """Spend the token of a call that `owner` carries, or nobody any more: then `owner` does from now on.

    None when it is unknown, spent, or of another origin. One UPDATE on the row's own columns decides, however many try
    at once. Raises CallOver and CarriedElsewhere.
    """
    call_id = call_of(token)
    if call_id is None:
        return None
    given, successor = digest(token), new_token(call_id)
    mine = CallSession.objects.filter(Q(resume_digest=given) | Q(resume_spent=given), pk=call_id, origin=origin)
    waiting = mine.exclude(state=CallSession.State.ENDED).filter(Q(resume_until=None) | Q(resume_until__gt=Now()))
    # A process whose lease has run out is dead. One that only hung finds, when it wakes, that the call is not its own.
    taken = waiting.filter(Q(owner=owner) | Q(lease_until__lt=Now())).update(
        resume_digest=digest(successor),
        resume_spent=given,
        resume_until=None,
        epoch=F("epoch") + 1,
        owner=owner,
        lease_until=lease(),
    )
    if not taken:
        if waiting.exists():
            raise CarriedElsewhere
        if mine.exists():
            raise CallOver
        return None
    row = CallSession.objects.filter(pk=call_id, resume_digest=digest(successor)).values_list("epoch", flat=True)
    epoch = row.first()
    return Return(call_id, epoch, successor) if epoch is not None else None  # None: another has come in between


def kept(token: str) -> None:
    """The caller has this token: the one before it opens nothing any more."""
    _told(token).update(resume_spent="")


def hold(token: str) -> None:
    """The caller that had this token is gone: from now on, and no later, it has `RESUME_S` to come back."""
    _told(token).filter(resume_until=None).update(resume_until=Now() + timedelta(seconds=RESUME_S))


def _told(token: str) -> models.QuerySet[CallSession]:
    """Return the call whose caller was last told this token."""
    call_id = call_of(token)
    if call_id is None:
        return CallSession.objects.none()
    return CallSession.objects.filter(pk=call_id, resume_digest=digest(token))


def call_of(token: str) -> UUID | None:
    """Return the call that a token names, whether it is good or not; None when it names none."""
    name, _, secret = token.partition(".")
    try:
        return UUID(hex=name) if len(name) == 32 and secret else None
    except ValueError:
        return None
