"""The way back to a call: a token that is spent once, in any process, and only while its call waits."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models.functions import Now
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agents_app.models import digest
from sessions_app import resuming
from sessions_app.models import CallSession
from sessions_app.resuming import CallOver, CarriedElsewhere, Return
from tests.make import make_clinic
from tests.make_calls import make_call

ORIGIN = "https://clinic.example"


def waiting_call() -> tuple[CallSession, str]:
    call = make_call(make_clinic(), state=CallSession.State.LIVE, origin=ORIGIN, owner="here:1")
    token = resuming.new_token(call.pk)
    CallSession.objects.filter(pk=call.pk).update(resume_digest=digest(token))
    return call, token


def spend(token: str, *, origin: str = ORIGIN, owner: str = "here:1") -> Return | None:
    return resuming.spend(token, origin=origin, owner=owner)


pytestmark = pytest.mark.django_db


def test_token_brings_its_caller_back_and_another_takes_its_place():
    call, token = waiting_call()

    back = spend(token)

    assert back is not None
    assert (back.call_id, back.epoch) == (call.pk, 2)
    assert back.token != token
    call.refresh_from_db()
    assert (call.owner, call.epoch, call.resume_until) == ("here:1", 2, None)
    assert token not in str(call.__dict__)
    assert back.token not in str(call.__dict__)


def test_token_is_spent_by_the_process_that_carries_the_call_alone():
    call, token = waiting_call()
    resuming.hold(token)

    with pytest.raises(CarriedElsewhere):
        spend(token, owner="there:2")

    before = CallSession.objects.get(pk=call.pk)
    assert (before.owner, before.epoch, before.resume_digest) == ("here:1", 1, digest(token))
    assert spend(token) is not None


def test_token_holds_256_bits_and_fits_a_subprotocol():
    call, token = waiting_call()

    secret = token.partition(".")[2]

    assert len(secret) == 43  # 32 bytes, six bits a letter
    assert all(letter.isalnum() or letter in "._-" for letter in token)
    assert resuming.new_token(call.pk) != resuming.new_token(call.pk)


def test_spent_token_opens_nothing_once_its_caller_has_the_next_one():
    _, token = waiting_call()
    back = spend(token)
    assert back is not None

    resuming.kept(back.token)

    assert spend(token) is None
    assert spend(back.token) is not None


def test_token_whose_successor_was_lost_on_the_way_is_good_once_more():
    _, token = waiting_call()
    lost = spend(token)
    again = spend(token)
    assert lost is not None
    assert again is not None

    resuming.kept(again.token)

    assert spend(lost.token) is None
    assert spend(token) is None


@pytest.mark.parametrize("origin", ["", "https://other.example", "null"])
def test_token_of_another_origin_is_refused_and_stays_good(origin: str):
    _, token = waiting_call()

    assert spend(token, origin=origin) is None
    assert spend(token) is not None


def test_token_of_one_call_does_not_open_another():
    call, token = waiting_call()
    _, other = waiting_call()

    forged = f"{call.pk.hex}.{other.partition('.')[2]}"

    assert spend(forged) is None
    assert spend(token) is not None


@pytest.mark.parametrize(
    "token", ["", ".", "x", "x.y", f"{'0' * 32}.", f"{'0' * 32}.x", "\x00", "é" * 40, "z" * 32 + ".x"]
)
def test_what_is_no_token_opens_nothing(token: str):
    waiting_call()

    assert spend(token) is None


def test_call_without_a_token_cannot_be_resumed():
    call = make_call(make_clinic(), state=CallSession.State.LIVE, origin=ORIGIN)

    assert spend(f"{call.pk.hex}.") is None
    assert spend(resuming.new_token(call.pk)) is None


def test_good_token_of_a_call_that_has_ended_is_told_apart():
    call, token = waiting_call()
    CallSession.objects.filter(pk=call.pk).update(state=CallSession.State.ENDED)

    with pytest.raises(CallOver):
        spend(token)
    assert spend(resuming.new_token(call.pk)) is None


def test_call_waits_for_its_caller_a_minute_by_the_databases_clock():
    call, token = waiting_call()

    resuming.hold(token)

    left = CallSession.objects.annotate(now=Now()).get(pk=call.pk)
    assert left.resume_until is not None
    assert timedelta(seconds=55) < left.resume_until - left.now <= timedelta(seconds=60)  # type: ignore[attr-defined]
    CallSession.objects.filter(pk=call.pk).update(resume_until=Now() - timedelta(seconds=1))
    with pytest.raises(CallOver):
        spend(token)


def test_late_word_that_a_caller_is_gone_does_not_hold_a_call_whose_caller_is_back():
    call, token = waiting_call()
    spend(token)

    resuming.hold(token)

    call.refresh_from_db()
    assert call.resume_until is None


class WayBack(RuleBasedStateMachine):
    """Tabs that come, lose their line, come back with whatever token they have, and see their call end."""

    @initialize()
    def begin(self) -> None:
        self.call, token = waiting_call()
        self.tokens = [token]  # all that ever were
        self.newest, self.before = token, ""  # what opens the call: the newest, and the one before until confirmed
        self.epoch, self.away, self.over = 1, False, False

    @rule(which=st.integers(0, 100), owner=st.sampled_from(["here:1", "there:2"]))
    def come_back(self, which: int, owner: str) -> None:
        """Only the process that carries the call may take its caller in."""
        token = self.tokens[which % len(self.tokens)]
        try:
            back = spend(token, owner=owner)
        except CallOver:
            assert self.over
            assert token in (self.newest, self.before)
            return
        except CarriedElsewhere:
            assert owner != "here:1"
            assert token in (self.newest, self.before)
            assert not self.over
            return
        assert (back is not None) == (token in (self.newest, self.before))
        if back is None:
            return
        assert not self.over
        assert owner == "here:1"
        self.epoch += 1
        assert (back.epoch, back.call_id) == (self.epoch, self.call.pk)
        self.newest, self.before, self.away = back.token, token, False
        self.tokens.append(back.token)

    @rule(which=st.integers(0, 100))
    def come_from_elsewhere(self, which: int) -> None:
        assert spend(self.tokens[which % len(self.tokens)], origin="https://thief.example") is None

    @rule()
    def say_that_the_token_is_here(self) -> None:
        resuming.kept(self.newest)
        self.before = ""

    @rule(which=st.integers(0, 100))
    def lose_the_line(self, which: int) -> None:
        token = self.tokens[which % len(self.tokens)]
        resuming.hold(token)
        self.away |= token == self.newest

    @precondition(lambda self: self.away)
    @rule()
    def wait_for_too_long(self) -> None:
        CallSession.objects.filter(pk=self.call.pk).update(resume_until=Now() - timedelta(seconds=1))
        self.over = True

    @precondition(lambda self: len(self.tokens) > 3)
    @rule()
    def end(self) -> None:
        CallSession.objects.filter(pk=self.call.pk).update(state=CallSession.State.ENDED)
        self.over = True

    @invariant()
    def row_says_who_may_come(self) -> None:
        row = CallSession.objects.get(pk=self.call.pk)
        assert row.resume_digest == digest(self.newest)
        assert row.resume_spent == (digest(self.before) if self.before else "")
        assert row.epoch == self.epoch
        assert (row.resume_until is not None) == self.away


WayBack.TestCase.settings = settings(
    max_examples=30, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
TestWayBack = pytest.mark.django_db(WayBack.TestCase)
