from __future__ import annotations

import pytest

from sessions_app.call.responses import Purpose, Request, Responses
from sessions_app.dialect.said import REQUEST_KEY


def request(number: int, purpose: Purpose = Purpose.CALLER) -> Request:
    return Request(purpose, f"client_{number}")


def in_session() -> Responses:
    responses = Responses()
    assert responses.session_up() == []
    return responses


def test_second_request_waits_for_the_first_response_to_end():
    responses = in_session()
    first, second = request(1), request(2)

    at_once = responses.ask(first)
    held = responses.ask(second)
    responses.created("resp_1", None)
    still_held = responses.ask(request(3))

    assert (at_once, held, still_held) == ([first], [], [])
    assert responses.done("resp_1") == [second]


def test_answer_that_waits_is_dropped_when_another_response_begins():
    responses = in_session()
    responses.created("resp_1", None)
    responses.ask(request(1, Purpose.ANSWER))
    responses.hold()
    responses.done("resp_1")

    purpose = responses.created("resp_2", None)

    assert purpose is Purpose.AUTOMATIC
    assert responses.answers_for_us == "resp_2"
    assert responses.done("resp_2") == []
    assert responses.release() == []


@pytest.mark.parametrize("heard", [True, False])
def test_refused_answer_waits_for_its_turn_unless_the_active_response_is_heard_in_its_place(*, heard: bool):
    responses = in_session()
    mine = request(1, Purpose.ANSWER)
    responses.ask(mine)
    responses.created("resp_auto", None)
    if not heard:
        responses.stop("resp_auto", 0)

    responses.refused("client_1")

    assert responses.answers_for_us == ("resp_auto" if heard else "")
    assert responses.done("resp_auto") == ([] if heard else [mine])


def test_refused_request_of_the_caller_goes_out_after_the_active_response():
    responses = in_session()
    mine = request(1)
    responses.ask(mine)
    responses.created("resp_auto", {REQUEST_KEY: "another"})

    ours = responses.refused("client_1")

    assert ours is True
    assert responses.done("resp_auto") == [mine]


def test_unrelated_error_releases_nothing():
    responses = in_session()
    responses.ask(request(1))

    assert responses.refused("client_9") is False
    assert responses.ask(request(2)) == []


def test_own_request_is_known_again_by_its_metadata():
    responses = in_session()
    responses.ask(request(1, Purpose.RECAP))

    purpose = responses.created("resp_1", {REQUEST_KEY: "client_1"})

    assert purpose is Purpose.RECAP


def test_nothing_begins_while_the_caller_speaks():
    responses = in_session()
    responses.hold()
    mine = request(1)

    held = responses.ask(mine)

    assert held == []
    assert responses.release() == [mine]


def test_nothing_is_asked_for_while_there_is_no_session():
    responses = Responses()
    mine = request(1)

    assert responses.ask(mine) == []
    assert responses.session_up() == [mine]


def test_lost_session_tells_what_ran_and_an_unanswered_request_waits_for_the_next():
    responses = in_session()
    answered, unanswered = request(1, Purpose.RECAP), request(2)
    responses.ask(answered)
    responses.created("resp_1", {REQUEST_KEY: "client_1"})

    ran = responses.session_lost()
    [asked] = responses.ask(unanswered) or responses.session_up()
    ran_later = responses.session_lost()

    assert (ran, asked, ran_later) == (Purpose.RECAP, unanswered, None)
    assert responses.session_up() == [unanswered]
