"""Publishing: a draft is checked, frozen, given its sound and made live; a rollback makes an older version live.

Owns what a version's content looks like. `session_config`, `guardrails` and the calls read that content, never the
draft. Knows nothing of forms and pages.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from agents_app import speech
from agents_app.hints import bounded_hints, own_hints
from agents_app.models import FIXED_LINES, OPENING_LINES, Agent, AgentVersion, Clip, canonical_json
from agents_app.readiness import reasons_against, reasons_against_version
from agents_app.sealing import SealBroken
from agents_app.tools import registered_tools

CONTENT_SCHEMA = 3  # 1 had no echo_guard and no keywords, 2 no listening and no idle_seconds
LISTENING = ("threshold", "prefix_padding_ms", "silence_duration_ms", "eagerness")
PUBLISH_TRIES = 5  # how often two managers may take the same number from each other

Speak = Callable[..., bytes | None]
Content = dict[str, Any]


def freeze(agent: Agent) -> Content:
    """Return what a version of `agent` as it stands now would hold: JSON-ready, and all that a call needs of it."""
    return {
        "schema": CONTENT_SCHEMA,
        "name": agent.name,
        "language": agent.language,
        "model": {
            "name": agent.model.name,
            "reasoning": agent.model.reasoning,
            "parallel_tools": agent.model.parallel_tools,
        },
        "voice": agent.voice.name,
        "speed": f"{agent.speed:.2f}",
        "reasoning_effort": agent.reasoning_effort,
        "turn_taking": str(agent.turn_taking),
        "listening": {name: value for name in LISTENING if (value := getattr(agent, name)) not in (None, "")},
        "idle_seconds": agent.idle_seconds,
        "echo_guard": str(agent.echo_guard),
        "keywords": _frozen_keywords(agent),
        "lines": {name: _line(getattr(agent, name)) for name in OPENING_LINES + FIXED_LINES},
        "instructions": [
            {"kind": block.kind, "title": _line(block.title), "text": _text(block.text)}
            for block in agent.instructions.all()
        ],
        "tools": _frozen_tools(agent),
        "guardrails": [
            {
                "name": rule.name,
                "phrases": rule.phrase_list,
                "line": _line(rule.line),
                "shows_emergency_number": rule.shows_emergency_number,
            }
            for rule in agent.guardrails.all()
            if rule.enabled
        ],
    }


def content_hash(content: Content) -> str:
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


def fixed_lines(content: Content) -> dict[str, str]:
    """Return the lines that are kept as sound: the name of each clip, and its words."""
    # A version of earlier days has fewer of them.
    lines = {name: content["lines"][name] for name in FIXED_LINES if name in content["lines"]}
    rails = {f"guardrail:{index}": rule["line"] for index, rule in enumerate(content["guardrails"])}
    return {name: line for name, line in (lines | rails).items() if line}


def lines_without_sound(version: AgentVersion) -> list[str]:
    """Return the names of the fixed lines that callers would only read."""
    spoken = set(version.clips.values_list("line", flat=True))
    return [name for name in fixed_lines(version.content) if name not in spoken]


def publish(agent: Agent, user: User | None, *, speak: Speak = speech.speak) -> AgentVersion:
    """Make the draft live and return its version: a new one, or the live one when nothing has changed.

    Lines that could not be spoken have no clip (`lines_without_sound`); publishing again tries them again.
    Raises ValidationError with every reason why the draft cannot be published.
    """
    if reasons := list(reasons_against(agent)):
        raise ValidationError(reasons)
    content = freeze(agent)
    live = agent.live_version
    # Sound takes seconds, so it is made before the transaction: SQLite has one writer.
    clips = _spoken(agent, content, live, speak)
    if live is not None and live.content_hash == content_hash(content):
        _add_clips(live, clips)
        return live
    return _make_live(agent, user, content, clips)


def complete_sound(version: AgentVersion, *, speak: Speak = speech.speak) -> None:
    """Speak the lines of a published version that have no sound yet; the draft is not looked at."""
    _add_clips(version, _spoken(version.agent, version.content, version, speak))


def roll_back(agent: Agent, version: AgentVersion, user: User) -> None:
    """Make an older version of `agent` live. Raises ValidationError when it could no longer hold a call."""
    if version.agent_id != agent.pk:
        raise ValidationError(_("This version belongs to another receptionist."))
    if reasons := list(reasons_against_version(version.content)):
        raise ValidationError(reasons)
    with transaction.atomic():
        _set_live(agent, version)
        log_change(agent, user, _("Rolled back to version %(number)d.") % {"number": version.number})


def log_change(agent: Agent, user: User, message: str) -> None:
    """Add a line to the receptionist's history. `message` holds no contents: history is read by whoever may see it."""
    LogEntry.objects.log_actions(
        user.pk, Agent.objects.filter(pk=agent.pk), CHANGE, change_message=message, single_object=True
    )


def _frozen_keywords(agent: Agent) -> list[str]:
    """Return the manager's own words, then the practice's names: what a call is told to expect to hear."""
    words = own_hints(agent.keywords)
    for provider in agent.clinic.providers.filter(active=True):
        words += [provider.name, provider.spoken_as]
    words.append(agent.clinic.name)
    for visit in agent.clinic.visit_types.filter(active=True):
        words += [visit.name, *visit.keywords.split(",")]
    return bounded_hints(words)


def _frozen_tools(agent: Agent) -> list[dict[str, Any]]:
    registry = registered_tools()
    chosen = [registry[tool.name] for tool in agent.tools.all() if tool.enabled and tool.name in registry]
    return [{"name": spec.name, "definition": spec.definition(), "writes": spec.writes} for spec in chosen]


def _line(text: str | Promise) -> str:
    return " ".join(str(text).split())


def _text(text: str) -> str:
    # Browsers send a text area's lines with CR LF: equal texts must have equal hashes.
    return text.replace("\r\n", "\n").strip()


def _spoken(agent: Agent, content: Content, live: AgentVersion | None, speak: Speak) -> dict[str, bytes]:
    """Return the sound of each fixed line. What the live version said in the same voice is used again."""
    known = dict(live.clips.values_list("text", "pcm")) if live and live.content["voice"] == content["voice"] else {}
    key, service = _upstream_key(agent), agent.clinic.voice_service
    elsewhere = {"service": service} if service else {}
    clips: dict[str, bytes] = {}
    for name, text in fixed_lines(content).items():
        pcm = known.get(text) or speak(text, voice=content["voice"], key=key, **elsewhere)
        if pcm is None:
            break  # the service is away, and a manager is waiting
        known[text] = clips[name] = bytes(pcm)
    return clips


def _upstream_key(agent: Agent) -> str:
    try:
        return agent.clinic.upstream_key
    except SealBroken:  # the page of the clinic says so; it must not stop a guardrail from being published
        return ""


def _make_live(agent: Agent, user: User | None, content: Content, clips: dict[str, bytes]) -> AgentVersion:
    for tries_left in reversed(range(PUBLISH_TRIES)):
        try:
            with transaction.atomic():
                version = _new_version(agent, user, content)
                _add_clips(version, clips)
                _set_live(agent, version)
                if user is not None:
                    log_change(agent, user, _("Published version %(number)d.") % {"number": version.number})
            return version
        except IntegrityError:  # another manager took the number in the same moment
            if not tries_left:
                raise
    raise AssertionError("Expected the last try to return or to raise")


def _new_version(agent: Agent, user: User | None, content: Content) -> AgentVersion:
    last = agent.versions.aggregate(last=Max("number"))["last"] or 0
    return AgentVersion.objects.create(
        agent=agent, number=last + 1, content=content, content_hash=content_hash(content), published_by=user
    )


def _add_clips(version: AgentVersion, clips: dict[str, bytes]) -> None:
    lines = fixed_lines(version.content)
    rows = [Clip(version=version, line=name, text=lines[name], pcm=pcm) for name, pcm in clips.items()]
    Clip.objects.bulk_create(rows, ignore_conflicts=True)


def _set_live(agent: Agent, version: AgentVersion) -> None:
    agent.live_version = version
    agent.save(update_fields=["live_version"])
