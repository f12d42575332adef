"""Messages for the team, and the end of the call."""

from __future__ import annotations

from typing import Any

import pytest

from agents_app.models import Clinic
from agents_app.practice.models import Task
from agents_app.tools import Then
from tests.make import make_clinic
from tests.make_practice import an_identified_call, make_context, recap_of, refused, run_tool


@pytest.mark.django_db
def test_message_is_read_back_and_left_once_with_its_call_and_patient() -> None:
    practice, patient, context = an_identified_call()
    message = {"message": "Please  send my X-rays.", "caller_name": "Ann Lee", "phone": "541 555 1234"}

    recap = recap_of("take_message", context, **message)
    outcomes = [run_tool("take_message", context, **message) for _ in range(2)]
    callback = recap_of("take_message", context, **message, kind="callback")

    assert recap.question == (
        'I will leave this message for the team: "Please send my X-rays." From Ann Lee, phone 541-555-1234. '
        "Shall I send it?"
    )
    assert callback.question.startswith("I will ask the team to call Ann Lee back on 541-555-1234 about this:")
    assert recap.spoken == ("Please send my X-rays.", "Ann Lee", "541-555-1234")
    task = Task.objects.get()
    assert (task.clinic, task.call_id, task.patient) == (practice.clinic, context.call_id, patient)
    assert (task.text, task.phone, task.status) == ("Please send my X-rays.", "541-555-1234", "open")
    assert outcomes[0].card[-1] == ("Reference", task.reference)


@pytest.mark.django_db
def test_call_leaves_five_messages_and_no_more() -> None:
    context = make_context(make_clinic())
    sender: dict[str, Any] = {"caller_name": "Ann Lee", "phone": "541 555 1234"}

    for n in range(5):
        run_tool("take_message", context, message=f"Message {n}", **sender)

    assert refused("take_message", context, recap=True, message="One more", **sender).code == "too_many_messages"
    assert refused("take_message", context, message="One more", **sender).code == "too_many_messages"


def test_end_call_hangs_up() -> None:
    outcome = run_tool("end_call", make_context(Clinic(name="Nowhere")))

    assert (outcome.then, outcome.data) == (Then.HANG_UP, {"say": "Goodbye."})
