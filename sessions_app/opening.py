"""Opens a call: from what a caller's handshake shows to the row of a new call, and all that the call needs to begin.

Synchronous, one hop to a thread. Beyond a good key nothing here refuses the handshake: a browser sees nothing of a
refused one, so what fails later is told on the accepted socket.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as _lazy

from agents_app.access import Access, access_of
from agents_app.guardrails import rules_from
from agents_app.models import (
    FIXED_LINES,
    Agent,
    AgentVersion,
    ApiToken,
    Clinic,
    Clip,
    KeyRefusal,
    digest,
)
from agents_app.session_config import ClinicFacts, greeting_text, session_config
from agents_app.tools import registered_tools
from sessions_app.addresses import AddressDigests
from sessions_app.call.brief import CallBrief, Lines, ToolBrief
from sessions_app.client_secrets import Notice, SpentKey, client_address, count_start, live_version, origin_of, spend
from sessions_app.ledger import Prices, estimate, may_be_unpriced, prices_of, reserve, settle
from sessions_app.models import CallSession, Place
from sessions_app.models.calls import lease
from sessions_app.realtime import Upstream
from sessions_app.resuming import CallOver, CarriedElsewhere, Return, new_token
from sessions_app.resuming import spend as spend_token
from sessions_app.tool_gateway import CallContext

KEY_PROTOCOL = "openai-insecure-api-key."
OWN_PROTOCOL = "frontdesk"
RESUME_PROTOCOL = "frontdesk-resume."
REALTIME_PROTOCOL = "realtime"
STANDIN_KEY = "standin"
REFERENCE_TRIES = 5
ELSEWHERE_RETRY_MS = 250  # until a caller who comes back has met the process that carries its call
IDLE_SECONDS = 20  # of a version that was published before it could be chosen
CLIPS_KEPT = 256  # in memory: about 150 KB each

# Told where a key is asked for too.
BUSY = _lazy("All lines are taken. Please try again in a few minutes, or phone %(phone)s")
BUDGET_SPENT = _lazy("This receptionist takes no more calls for now. Please phone %(phone)s")

PROCESS = f"{socket.gethostname()}:{os.getpid()}"[:64]


@dataclass(frozen=True)
class Handshake:
    """What a caller's handshake shows."""

    model: str
    key: str  # ek_..., or a clinic's fd_...; never logged
    origin: str  # "" when there was none
    own_events: bool
    realtime_offered: bool
    address: str
    resume: str = ""  # the token of a call to come back to, in place of a key; never logged

    @classmethod
    def read(
        cls, *, headers: Mapping[str, str], query: Mapping[str, str], protocols: list[str], peer: str
    ) -> Handshake:
        bearer = headers.get("authorization", "")
        key = bearer.removeprefix("Bearer ") if bearer.startswith("Bearer ") else ""
        for protocol in protocols:
            key = key or (protocol.removeprefix(KEY_PROTOCOL) if protocol.startswith(KEY_PROTOCOL) else "")
        return cls(
            model=query.get("model", ""),
            key=key,
            origin=origin_of(headers.get("origin", "")),
            own_events=OWN_PROTOCOL in protocols,
            realtime_offered=REALTIME_PROTOCOL in protocols,
            address=client_address(headers, peer),
            resume=next((each.removeprefix(RESUME_PROTOCOL) for each in protocols if _resumes(each)), ""),
        )


def _resumes(protocol: str) -> bool:
    return protocol.startswith(RESUME_PROTOCOL)


class BadKey(Exception):
    """The key does not open this agent from here. Said in the handshake, and no more than that."""


class CannotBegin(Exception):
    """The key was good, and the call cannot begin. Told on the accepted socket."""

    def __init__(self, code: str, message: str, close_code: int, *, retry_after_ms: int | None = None) -> None:
        super().__init__(code)
        self.code, self.message, self.close_code = code, message, close_code
        self.retry_after_ms = retry_after_ms


@dataclass(frozen=True)
class Opening:
    """A call about to begin."""

    brief: CallBrief
    context: CallContext
    upstream: Upstream
    recording: bool
    token: str = ""  # with which the caller comes back, when it understands that


def come_back(handshake: Handshake) -> Return:
    """Spend the token of a call. Raises BadKey; CannotBegin when the token was good, and its call is over."""
    if not handshake.own_events:  # it would not understand where it stands, nor its next token
        raise BadKey
    try:
        back = spend_token(handshake.resume, origin=handshake.origin, owner=PROCESS)
    except CallOver:
        raise call_over() from None
    except CarriedElsewhere:
        elsewhere = _("Please try again: your call is on another line")
        raise CannotBegin("elsewhere", elsewhere, 1013, retry_after_ms=ELSEWHERE_RETRY_MS) from None
    if back is None:
        raise BadKey
    return back


def call_over() -> CannotBegin:
    return CannotBegin("call_over", _("This call has ended. Please start a new one"), 4401)


def spend_key(handshake: Handshake) -> SpentKey:
    """Return what the key carried. Raises BadKey, for an unknown agent too."""
    # PostgreSQL refuses to look for a NUL.
    agent = Agent.objects.published(handshake.model) if "\x00" not in handshake.model else None
    if agent is None or not handshake.key:
        raise BadKey
    spent = _by_token(handshake, agent) or spend(handshake.key, agent=agent, origin=handshake.origin)
    if spent is None:
        raise BadKey
    return spent


def _by_token(handshake: Handshake, agent: Agent) -> SpentKey | None:
    """A clinic's own server may use its token in place of a key: without an origin, since pages have keys."""
    token = ApiToken.find(handshake.key)
    if token is None or token.clinic_id != agent.clinic_id or handshake.origin:
        return None
    if not count_start(agent.clinic, handshake.address):
        raise CannotBegin("rate_limited", _("Too many calls were begun from this address"), 4429)
    return SpentKey(agent, "", Notice(), timezone.now(), by_token=True)


def open_call(handshake: Handshake, spent: SpentKey) -> Opening:
    """Return a new call with its row and its place. Raises CannotBegin."""
    agent = spent.agent
    version = live_version(agent)
    if version is None:
        raise CannotBegin("agent_paused", _("This receptionist takes no calls now"), 4404)
    version.agent, clinic = agent, agent.clinic
    upstream = upstream_of(clinic, version)
    call_id = uuid4()
    caller = AddressDigests() if spent.by_token else AddressDigests.of(handshake.address)
    if not Place.objects.take(agent, call_id, caller):
        raise CannotBegin("busy", BUSY % {"phone": clinic.phone}, 1013)
    try:
        prices = _reserve(clinic, version, call_id)
        return _begin(handshake, spent, version, upstream, call_id, prices)
    except Exception:
        Place.objects.release(call_id)
        settle(call_id, 0, final=True)
        raise


def _reserve(clinic: Clinic, version: AgentVersion, call_id: UUID) -> Prices:
    """Keep back what the call may cost, and return the prices that it is counted by. Raises CannotBegin."""
    model = version.content["model"]["name"]
    prices = prices_of(model)
    if prices.model is None:
        fits = may_be_unpriced(clinic, model)
    else:
        fits = reserve(clinic, call_id, estimate(prices.model, prices.transcription))
    if not fits:
        raise CannotBegin("budget", BUDGET_SPENT % {"phone": clinic.phone}, 4430)
    return prices


def _begin(
    handshake: Handshake, spent: SpentKey, version: AgentVersion, upstream: Upstream, call_id: UUID, prices: Prices
) -> Opening:
    clinic = version.agent.clinic
    # Only the wording in force was agreed to; a page that was open while it changed has shown another.
    agreed = spent.notice.answer == "accepted" and spent.notice.sha256 == clinic.notice_sha256
    recording = clinic.recording_enabled and agreed
    token = new_token(call_id) if handshake.own_events else ""
    session = _new_session(
        id=call_id,
        clinic=clinic,
        version=version,
        started_at=timezone.now(),
        state_history=[[0, CallSession.State.CONNECTING.value]],
        channel=CallSession.Channel.WEB if handshake.own_events else CallSession.Channel.API,
        origin=spent.origin,
        recording_kept=recording,
        notice_sha256=spent.notice.sha256,
        notice_answer=spent.notice.answer,
        notice_at=spent.notice_at if spent.notice.answer else None,
        owner=PROCESS,
        lease_until=lease(),
        resume_digest=digest(token) if token else "",
    )
    brief = brief_of(session, version, prices, own_events=handshake.own_events)
    return Opening(brief, CallContext(call_id, clinic), upstream, recording, token)


def _new_session(**fields: Any) -> CallSession:
    """Return a new row. References are short, so one in a few thousand is taken at a hundred thousand calls."""
    for _try in range(REFERENCE_TRIES):
        with suppress(IntegrityError), transaction.atomic():
            return CallSession.objects.create(**fields)
    raise CannotBegin("server_error", _("The call could not be begun. Please try again"), 1011)


def upstream_of(clinic: Clinic, version: AgentVersion) -> Upstream:
    """Return where the clinic's calls go. Raises CannotBegin when it has no usable key, or one that was refused."""
    access = access_of(clinic)
    key = access.key
    if not key and access.base_url == settings.STANDIN_URL:
        key = STANDIN_KEY
    if not key:
        raise CannotBegin("not_configured", _("This receptionist is not connected yet"), 4500)
    model = version.content["model"]["name"]
    return Upstream(access.base_url, model, key, access.key_style, key_was_refused=_tries_again(clinic, access))


def _tries_again(clinic: Clinic, access: Access) -> bool:
    """Whether this call is the one in a while that tries a refused key again. Raises CannotBegin for the others."""
    if not KeyRefusal.objects.names(clinic.pk, access.digest):
        return False
    if not KeyRefusal.objects.take_retry(clinic.pk, access.digest):
        raise CannotBegin("key_rejected", _("This receptionist is not connected at present"), 4500)
    return True


def brief_of(session: CallSession, version: AgentVersion, prices: Prices, *, own_events: bool) -> CallBrief:
    """Return what the call of this row begins with, or goes on with."""
    clinic, content = session.clinic, version.content
    registered = registered_tools()
    facts = ClinicFacts(name=clinic.name, phone=clinic.phone, address=clinic.address)
    tools = {
        tool["name"]: ToolBrief(tool["writes"], registered[tool["name"]].working, registered[tool["name"]].outcome)
        for tool in content["tools"]
        if tool["name"] in registered
    }
    return CallBrief(
        call_id=str(session.pk),
        reference=session.reference,
        public_name=version.agent.public_name,
        session=session_config(content, clinic=facts, now=session.started_at, zone=clinic.zone),
        lines=_lines(content),
        emergency_number=clinic.emergency_number,
        max_call_ms=clinic.max_call_minutes * 60_000,
        idle_ms=content.get("idle_seconds", IDLE_SECONDS) * 1000,
        tools=tools,
        rules=rules_from(content),
        clips={line: sound_of(pk) for pk, line in Clip.objects.filter(version=version).values_list("pk", "line")},
        own_events=own_events,
        recording=session.recording_kept,
        demo_voice=settings.OPENAI_BASE_URL == settings.STANDIN_URL,
        expires_at=int(session.started_at.timestamp()) + clinic.max_call_minutes * 60,
        rates=prices.model,
        transcription_rates=prices.transcription,
    )


def _lines(content: dict[str, Any]) -> Lines:
    fixed = {name: text for name, text in content["lines"].items() if name in FIXED_LINES}
    return Lines(greeting=greeting_text(content), **fixed)


@lru_cache(maxsize=CLIPS_KEPT)
def sound_of(clip_id: int) -> bytes:
    """Return a clip's sound. Its row never changes, and all calls of a version share the bytes."""
    return bytes(Clip.objects.values_list("pcm", flat=True).get(pk=clip_id))
