"""Keys that begin a call: who may ask for one, how it is made, how it is spent, once, and when it is forgotten.

Only digests are stored. Time is the database's: the clocks of the processes that make and spend a key may differ.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import F, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from agents_app.models import Agent, AgentVersion, ApiToken, Clinic, digest, normal_origin
from sessions_app.addresses import AddressDigests
from sessions_app.models import ClientSecret, StartCount

KEY_PREFIX = "ek_"
KEY_SECONDS = 60
FORGOTTEN_AT_ONCE = 500
NOTICE_ANSWERS = ("accepted", "declined")


@dataclass(frozen=True)
class Notice:
    """Which wording of the clinic's notice the caller has seen, and whether its sound may be kept."""

    sha256: str = ""
    answer: str = ""  # one of NOTICE_ANSWERS, or "" when none was shown


@dataclass(frozen=True)
class SpentKey:
    """What a key carried: the call that it begins is for this agent, and the caller saw this notice then."""

    agent: Agent
    origin: str
    notice: Notice
    notice_at: datetime
    by_token: bool = False  # the clinic's own program, which calls for many people from one address


def mint(agent: Agent, *, origin: str, api_token: ApiToken | None, notice: Notice) -> tuple[str, ClientSecret]:
    """Return a new key and its row. The key itself is kept nowhere."""
    value = KEY_PREFIX + secrets.token_urlsafe(32)
    row = ClientSecret.objects.create(
        digest=digest(value),
        agent=agent,
        origin=origin,
        api_token=api_token,
        created_at=Now(),
        expires_at=Now() + timedelta(seconds=KEY_SECONDS),
        notice_sha256=notice.sha256,
        notice_answer=notice.answer,
    )
    row.refresh_from_db()
    return value, row


def spend(value: str, *, agent: Agent, origin: str) -> SpentKey | None:
    """Spend the key, once: None when it is unknown, spent, expired, or for another agent or origin.

    One UPDATE on the row's own columns decides: with a join, PostgreSQL would not look at `used_at` again after
    waiting for the other call's lock.
    """
    if not value.startswith(KEY_PREFIX):
        return None
    mine = ClientSecret.objects.filter(digest=digest(value), agent_id=agent.pk, origin=origin)
    if not mine.filter(used_at=None, expires_at__gt=Now()).update(used_at=Now()):
        return None
    row = mine.get()
    return SpentKey(agent, row.origin, Notice(row.notice_sha256, row.notice_answer), row.created_at)


def live_version(agent: Agent) -> AgentVersion | None:
    """Return the version that a call to the agent, as it was read, begins with; None when none may begin."""
    return None if agent.paused else agent.live_version


def count_start(clinic: Clinic, address: str) -> bool:
    """Count a call begun from `address`; False when it has begun its share of this hour."""
    hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    key = {"clinic": clinic, "address_digest": AddressDigests.of(address).address, "hour": hour}
    StartCount.objects.bulk_create([StartCount(**key)], ignore_conflicts=True)
    counted = StartCount.objects.filter(**key, starts__lt=clinic.max_starts_per_hour)
    return counted.update(starts=F("starts") + 1) == 1


def forget() -> int:
    """Delete keys and counts of starts that are more than a day past. Return how many.

    At most FORGOTTEN_AT_ONCE of each.
    """
    day_ago = Now() - timedelta(days=1)
    old = ClientSecret.objects.filter(expires_at__lt=day_ago), StartCount.objects.filter(hour__lt=day_ago)
    return sum(_delete_some(rows) for rows in old)


def _delete_some(rows: QuerySet[Any]) -> int:
    ids = list(rows.values_list("pk", flat=True)[:FORGOTTEN_AT_ONCE])  # a DELETE takes no bound
    return rows.filter(pk__in=ids).delete()[0]


def client_address(headers: Mapping[str, str], peer: str) -> str:
    """Return the caller's address: what the outermost trusted proxy appended to X-Forwarded-For, else the peer.

    Entries further left were written by the caller.
    """
    hops = settings.TRUSTED_PROXIES
    if hops <= 0:
        return peer
    entries = [entry.strip() for entry in headers.get("x-forwarded-for", "").split(",") if entry.strip()]
    return entries[-hops] if len(entries) >= hops else peer


def origin_of(text: str) -> str:
    """Return an Origin header as browsers write it, "" for none; what is no origin is "null", and on nobody's list."""
    try:
        return normal_origin(text) if text else ""
    except ValueError:
        return "null"


def is_loopback(address: str) -> bool:
    return address in ("127.0.0.1", "::1", "::ffff:127.0.0.1")
