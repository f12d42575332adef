"""Whether a draft can be published, or an older version made live again: every reason why not, in a manager's words."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from agents_app.guardrails import MAX_PHRASE_WORDS, MAX_RULES, fold
from agents_app.hints import MAX_HINT_CHARS, MAX_HINTS, own_hints
from agents_app.models import FIXED_LINES, OPENING_LINES, Agent, RealtimeModel, Voice
from agents_app.session_config import VARIABLE_NAMES, variables_in
from agents_app.tools import registered_tools


def reasons_against(agent: Agent) -> Iterator[str]:
    """Say everything that keeps the draft from being published."""
    if not agent.clinic.phone.strip():
        yield _("The clinic has no phone number: callers need a way out.")
    yield from _reasons_against_lines(agent)
    yield from _reasons_against_instructions(agent)
    yield from _reasons_against_guardrails(agent)
    yield from _reasons_against_keywords(agent)
    yield from _ended(agent.model, agent.voice)
    yield from _unknown_tools([tool.name for tool in agent.tools.all() if tool.enabled])


def reasons_against_version(content: dict[str, Any]) -> Iterator[str]:
    """Say everything that keeps a frozen version from holding a call today."""
    yield from _ended(
        RealtimeModel.objects.filter(name=content["model"]["name"]).first(),
        Voice.objects.filter(name=content["voice"]).first(),
    )
    yield from _unknown_tools([tool["name"] for tool in content["tools"]])


def _reasons_against_lines(agent: Agent) -> Iterator[str]:
    required = {
        "greeting": _("There is no greeting."),
        "disclosure": _("The disclosure is empty: callers must be told that they talk to an assistant."),
    }
    for field, reason in required.items():
        if not str(getattr(agent, field)).strip():
            yield reason
    for name in OPENING_LINES + FIXED_LINES:
        if variables_in(str(getattr(agent, name))):
            label = Agent._meta.get_field(name).verbose_name  # type: ignore[union-attr]  # no relation is named so
            yield _("The line “%(field)s” is said word for word, so it cannot hold variables.") % {"field": label}


def _reasons_against_instructions(agent: Agent) -> Iterator[str]:
    blocks = list(agent.instructions.all())
    if not blocks:
        yield _("There are no instructions.")
    for block in blocks:
        if not block.text.strip():
            yield _("The instruction “%(title)s” is empty.") % {"title": block.title}
        for name in variables_in(block.text):
            if name not in VARIABLE_NAMES:
                yield _("The instruction “%(title)s” uses “%(name)s”, which is none of %(known)s.") % {
                    "title": block.title,
                    "name": name[:50],
                    "known": ", ".join(VARIABLE_NAMES),
                }


def _reasons_against_guardrails(agent: Agent) -> Iterator[str]:
    rules = [rule for rule in agent.guardrails.all() if rule.enabled]
    if len(rules) > MAX_RULES:
        yield _("There are more than %(most)d guardrails.") % {"most": MAX_RULES}
    for rule in rules:
        if not rule.phrase_list:
            yield _("The guardrail “%(name)s” has no phrase.") % {"name": rule.name}
        if any(len(fold(phrase).split()) > MAX_PHRASE_WORDS for phrase in rule.phrase_list):
            yield _("The guardrail “%(name)s” has a phrase of more than %(most)d words.") % {
                "name": rule.name,
                "most": MAX_PHRASE_WORDS,
            }
        if not rule.line.strip():
            yield _("The guardrail “%(name)s” has no line to say.") % {"name": rule.name}


def _reasons_against_keywords(agent: Agent) -> Iterator[str]:
    words = own_hints(agent.keywords)
    if len(words) > MAX_HINTS:
        yield _("There are more than %(most)d words that callers use.") % {"most": MAX_HINTS}
    for word in words:
        if len(word) > MAX_HINT_CHARS:
            yield _("“%(word)s…” is too long for a word that callers use: one name or term a line.") % {
                "word": word[:MAX_HINT_CHARS]
            }


def _ended(*choices: RealtimeModel | Voice | None) -> Iterator[str]:
    today: date = timezone.now().date()
    for choice in choices:
        if choice is not None and choice.shutdown_on is not None and choice.shutdown_on <= today:
            yield _("%(name)s ended on %(day)s: choose another.") % {"name": choice.label, "day": choice.shutdown_on}


def _unknown_tools(names: list[str]) -> Iterator[str]:
    registry = registered_tools()
    for name in names:
        if name not in registry:
            yield _("There is no tool named %(name)s in this installation.") % {"name": name}
