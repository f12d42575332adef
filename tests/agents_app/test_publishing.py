from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core.exceptions import ValidationError
from django.utils import timezone
from pydantic import BaseModel, ConfigDict

from agents_app import readiness, tools
from agents_app.guardrails import first_tripped, rules_from
from agents_app.models import Agent, AgentVersion, Guardrail, Instruction, RealtimeModel, Tool, canonical_json
from agents_app.publishing import content_hash, fixed_lines, freeze, lines_without_sound, publish, roll_back
from agents_app.tools import Recap, ToolContext, ToolOutcome
from tests.make import answering, make_agent, make_clinic, make_user
from tests.make_practice import make_provider, make_visit_type

pytestmark = pytest.mark.django_db


class NoArguments(BaseModel):
    model_config = ConfigDict(extra="forbid")


def answer(context: ToolContext, arguments: Any) -> ToolOutcome:
    return ToolOutcome({})


def recap(context: ToolContext, arguments: Any) -> Recap:
    return Recap("Shall I?", (), (), {})


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tools of the tests' own, so that nothing depends on which tools the installation has."""
    specs = [
        tools.ToolSpec("look", "Look.", NoArguments, answer),
        tools.ToolSpec("write", "Write.", NoArguments, answer, recap=recap),
    ]
    # The registry is the process's: adding to it would reach every other test.
    monkeypatch.setattr(tools, "_registry", {spec.name: spec for spec in specs})


class Speaker:
    """Speaks each line as its own text; or, silenced, not at all."""

    def __init__(self, *, silent: bool = False) -> None:
        self.silent = silent
        self.spoken: list[tuple[str, str, str]] = []

    def __call__(self, text: str, *, voice: str, key: str) -> bytes | None:
        self.spoken.append((text, voice, key))
        return None if self.silent else text.encode("utf-16-le")


def reasons(action: Callable[[], object]) -> list[str]:
    with pytest.raises(ValidationError) as refused:
        action()
    return list(refused.value.messages)


SHIPPED_LINES = {
    "one_moment": "One moment, please.",
    "say_again": "Sorry, I lost you for a moment. Could you say that again?",
    "are_you_there": "Are you still there?",
    "last_minute": "We have about one minute left.",
}


def full_agent() -> Agent:
    agent = make_agent(tools=["write", "look"], name="Lexi", greeting="Hello  there.", goodbye="Bye.", apology="Sorry.")
    Tool.objects.filter(agent=agent, name="look").update(enabled=True)
    Instruction.objects.create(agent=agent, title="Never", text="No advice.\r\nNone.", kind="safety", position=2)
    Guardrail.objects.create(agent=agent, name="Emergency", phrases="chest pain\r\n\r\n stroke ", line="Call 911 now.")
    Guardrail.objects.create(agent=agent, name="Off", phrases="x", line="y", enabled=False)
    return agent


def test_freeze_holds_all_that_a_call_needs(registry: None):
    agent = full_agent()

    content = freeze(agent)

    definition = {"type": "function", "parameters": {"additionalProperties": False, "properties": {}, "type": "object"}}
    assert content == {
        "schema": 3,
        "name": "Lexi",
        "language": "en",
        "model": {"name": "gpt-realtime-2.1", "reasoning": True, "parallel_tools": True},
        "voice": "marin",
        "speed": "1.00",
        "reasoning_effort": "low",
        "turn_taking": "quiet",
        "listening": {},
        "idle_seconds": 20,
        "echo_guard": "guarded",
        "keywords": [agent.clinic.name],
        "lines": {
            "greeting": "Hello there.",
            "disclosure": "I am an automated assistant.",
            "goodbye": "Bye.",
            "apology": "Sorry.",
            **SHIPPED_LINES,
        },
        "instructions": [
            {"kind": "persona", "title": "Who you are", "text": "You answer the clinic's calls."},
            {"kind": "safety", "title": "Never", "text": "No advice.\nNone."},
        ],
        "tools": [
            {"name": "look", "definition": {**definition, "name": "look", "description": "Look."}, "writes": False},
            {"name": "write", "definition": {**definition, "name": "write", "description": "Write."}, "writes": True},
        ],
        "guardrails": [
            {
                "name": "Emergency",
                "phrases": ["chest pain", "stroke"],
                "line": "Call 911 now.",
                "shows_emergency_number": True,
            }
        ],
    }


def test_publish_makes_a_live_version_with_its_sound_and_its_author(registry: None):
    agent, user = full_agent(), make_user()

    version = publish(agent, user, speak=Speaker())

    assert answering(agent.public_name) == version
    assert (version.number, version.published_by, version.content) == (1, user, freeze(agent))
    assert version.content_hash == content_hash(version.content)
    assert {clip.line: bytes(clip.pcm).decode("utf-16-le") for clip in version.clips.all()} == {
        "apology": "Sorry.",
        "goodbye": "Bye.",
        **SHIPPED_LINES,
        "guardrail:0": "Call 911 now.",
    }


def test_stored_content_hashes_as_it_was_published(registry: None):
    version = publish(full_agent(), make_user(), speak=Speaker())

    stored = AgentVersion.objects.get(pk=version.pk)

    assert content_hash(stored.content) == stored.content_hash
    assert canonical_json(stored.content) == canonical_json(version.content)


def test_unchanged_content_makes_no_new_version(registry: None):
    agent, user = full_agent(), make_user()
    first = publish(agent, user, speak=Speaker())

    second = publish(Agent.objects.get(pk=agent.pk), user, speak=Speaker())

    assert second == first
    assert AgentVersion.objects.count() == 1


def test_changed_content_makes_the_next_number_and_the_old_version_stays(registry: None):
    agent, user = full_agent(), make_user()
    first = publish(agent, user, speak=Speaker())
    agent.greeting = "Good morning."
    agent.save()

    second = publish(agent, user, speak=Speaker())

    assert [(version.number, version.content["lines"]["greeting"]) for version in agent.versions.all()] == [
        (2, "Good morning."),
        (1, "Hello there."),
    ]
    assert answering(agent.public_name) == second != first


def test_without_a_voice_publishing_succeeds_and_tells_which_lines_are_silent(registry: None):
    agent, speaker = full_agent(), Speaker(silent=True)

    version = publish(agent, make_user(), speak=speaker)

    assert answering(agent.public_name) == version
    assert lines_without_sound(version) == ["goodbye", "apology", *SHIPPED_LINES, "guardrail:0"]
    assert len(speaker.spoken) == 1  # the service is away: the manager does not wait for each line


def test_publishing_again_gives_silent_lines_their_sound(registry: None):
    agent, user = full_agent(), make_user()
    version = publish(agent, user, speak=Speaker(silent=True))

    again = publish(agent, user, speak=Speaker())

    assert again == version
    assert lines_without_sound(version) == []


def test_line_said_before_in_the_same_voice_is_not_spoken_again(registry: None):
    agent, user = full_agent(), make_user()
    publish(agent, user, speak=Speaker())
    agent.goodbye = "So long."
    agent.save()
    speaker = Speaker()

    version = publish(agent, user, speak=speaker)

    assert [text for text, _, _ in speaker.spoken] == ["So long."]
    assert lines_without_sound(version) == []


def test_clinics_own_key_speaks_its_lines(registry: None):
    agent, speaker = full_agent(), Speaker()
    agent.clinic.set_upstream_key("sk-own-clinic")

    publish(agent, make_user(), speak=speaker)

    assert {(voice, key) for _, voice, key in speaker.spoken} == {("marin", "sk-own-clinic")}


def test_every_reason_is_told_at_once(registry: None):
    yesterday = timezone.now().date() - timedelta(days=1)
    ended = RealtimeModel.objects.create(name="old", label="Old model", shutdown_on=yesterday)
    agent = make_agent(make_clinic(phone=" "), model=ended, greeting=" ", disclosure="", tools=["look", "fly"])
    agent.instructions.update(text=" ")
    Instruction.objects.create(agent=agent, title="Vars", text="{{ clinic_name }} {{ settings }} {{ phone.x }}")
    Guardrail.objects.create(agent=agent, name="Empty", phrases="\n ?! \n", line=" ")

    told = reasons(lambda: publish(agent, make_user(), speak=Speaker()))

    known = "none of clinic_name, agent_name, phone, address."
    assert told == [
        "The clinic has no phone number: callers need a way out.",
        "There is no greeting.",
        "The disclosure is empty: callers must be told that they talk to an assistant.",
        "The instruction “Who you are” is empty.",
        f"The instruction “Vars” uses “settings”, which is {known}",
        f"The instruction “Vars” uses “phone.x”, which is {known}",
        "The guardrail “Empty” has no phrase.",
        "The guardrail “Empty” has no line to say.",
        f"Old model ended on {yesterday}: choose another.",
        "There is no tool named fly in this installation.",
    ]
    assert AgentVersion.objects.count() == 0


def test_more_guardrails_or_longer_phrases_than_a_call_has_time_for_are_refused(registry: None):
    agent = make_agent()
    for number in range(31):
        Guardrail.objects.create(agent=agent, name=f"Rail {number}", phrases="chest pain", line="Call 911 now.")
    agent.guardrails.filter(name="Rail 0").update(phrases="stroke\n" + "no " * 13)

    told = reasons(lambda: publish(agent, make_user(), speak=Speaker()))
    agent.guardrails.filter(name="Rail 0").update(phrases="stroke\n" + "no " * 12)
    agent.guardrails.filter(name="Rail 1").update(enabled=False)
    version = publish(agent, make_user(), speak=Speaker())

    assert told == [
        "There are more than 30 guardrails.",
        "The guardrail “Rail 0” has a phrase of more than 12 words.",
    ]
    assert len(version.content["guardrails"]) == 30


def test_version_with_a_phrase_longer_than_today_allows_still_holds_calls(
    registry: None, monkeypatch: pytest.MonkeyPatch
):
    agent, user, phrase = make_agent(), make_user(), "no " * 13
    Guardrail.objects.create(agent=agent, name="Long", phrases=phrase, line="Call 911 now.")
    with monkeypatch.context() as before:
        before.setattr(readiness, "MAX_PHRASE_WORDS", 13)
        old = publish(agent, user, speak=Speaker())
    agent.guardrails.all().delete()
    publish(agent, user, speak=Speaker())

    roll_back(agent, old, user)

    assert answering(agent.public_name) == old
    assert first_tripped(rules_from(old.content), phrase) is not None


def test_variable_in_a_fixed_line_is_refused(registry: None):
    agent = make_agent(greeting="Welcome to {{ clinic_name }}.")

    assert reasons(lambda: publish(agent, make_user(), speak=Speaker())) == [
        "The line “greeting” is said word for word, so it cannot hold variables."
    ]


def test_refused_draft_is_not_spoken(registry: None):
    agent, speaker = make_agent(greeting=" "), Speaker()

    reasons(lambda: publish(agent, make_user(), speak=speaker))

    assert speaker.spoken == []


def test_number_taken_in_the_same_moment_becomes_the_next(registry: None):
    agent, user = full_agent(), make_user()
    rival = Agent.objects.get(pk=agent.pk)
    rival_taken = False

    def speak_while_a_rival_publishes(text: str, *, voice: str, key: str) -> bytes | None:
        nonlocal rival_taken
        if not rival_taken:
            rival_taken = True
            publish(rival, user, speak=Speaker())
        return b"\0\0"

    version = publish(agent, user, speak=speak_while_a_rival_publishes)

    assert sorted(agent.versions.values_list("number", flat=True)) == [1, 2]
    assert answering(agent.public_name) == version


def test_roll_back_makes_the_old_version_live_and_leaves_a_line_without_contents(registry: None):
    agent, user = full_agent(), make_user()
    first = publish(agent, user, speak=Speaker())
    agent.greeting = "Good morning."
    agent.save()
    publish(agent, user, speak=Speaker())

    roll_back(agent, first, user)

    assert answering(agent.public_name) == first
    assert [(entry.user, entry.object_repr, entry.change_message) for entry in LogEntry.objects.order_by("pk")] == [
        (user, "Lexi", "Published version 1."),
        (user, "Lexi", "Published version 2."),
        (user, "Lexi", "Rolled back to version 1."),
    ]


def test_roll_back_to_another_receptionists_version_is_refused(registry: None):
    user = make_user()
    mine, other = full_agent(), make_agent()
    publish(mine, user, speak=Speaker())
    foreign = publish(other, user, speak=Speaker())

    assert reasons(lambda: roll_back(mine, foreign, user)) == ["This version belongs to another receptionist."]
    assert answering(mine.public_name) != foreign


def test_roll_back_to_an_ended_model_is_refused(registry: None):
    agent, user = full_agent(), make_user()
    version = publish(agent, user, speak=Speaker())
    today = timezone.now().date()
    RealtimeModel.objects.filter(pk=agent.model_id).update(shutdown_on=today)

    assert reasons(lambda: roll_back(agent, version, user)) == [
        f"{agent.model.label} ended on {today}: choose another."
    ]


def test_fixed_lines_name_their_clips():
    content = {
        "lines": {"greeting": "Hello.", "disclosure": "Machine.", "goodbye": "Bye.", "apology": "Sorry."},
        "guardrails": [{"line": "First."}, {"line": "Second."}],
    }

    assert fixed_lines(content) == {
        "apology": "Sorry.",
        "goodbye": "Bye.",
        "guardrail:0": "First.",
        "guardrail:1": "Second.",
    }


def test_practices_names_are_frozen_as_keywords_after_the_managers_own(registry: None):
    agent = full_agent()
    agent.keywords = "veneer\r\n\r\n  Zoom  whitening \r\nVENEER"
    make_provider(agent.clinic, name="Dr. Maya Adams", spoken_as="Dr. Adams")
    make_provider(agent.clinic, name="Dr. Gone", active=False)
    make_provider(make_clinic(), name="Dr. Elsewhere")
    make_visit_type(agent.clinic, name="Cleaning", keywords="scale and polish, hygiene visit")

    assert freeze(agent)["keywords"] == [
        "veneer",
        "Zoom whitening",
        "Dr. Maya Adams",
        "Dr. Adams",
        agent.clinic.name,
        "Cleaning",
        "scale and polish",
        "hygiene visit",
    ]


def test_keywords_without_bound_are_reasons_against(registry: None):
    agent = full_agent()
    agent.keywords = "\n".join([*(f"word {n}" for n in range(100)), "x" * 61])

    assert reasons(lambda: publish(agent, None, speak=Speaker())) == [
        "There are more than 100 words that callers use.",
        f"“{'x' * 60}…” is too long for a word that callers use: one name or term a line.",
    ]
