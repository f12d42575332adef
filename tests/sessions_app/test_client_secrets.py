"""Keys that begin a call: each opens one agent, from one origin, once, for a minute of the database's clock."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from agents_app.models import Agent, ApiToken, ClinicOrigin, normal_origin
from agents_app.publishing import publish, roll_back
from sessions_app import client_secrets
from sessions_app.addresses import AddressDigests
from sessions_app.client_secrets import (
    KEY_SECONDS,
    Notice,
    client_address,
    count_start,
    forget,
    live_version,
    mint,
    spend,
)
from sessions_app.models import ClientSecret, StartCount
from sessions_app.opening import BadKey, CannotBegin, Handshake, open_call, spend_key
from tests.make import make_clinic, make_user
from tests.servers import ORIGIN, live_agent, new_key

OTHER_ORIGIN = "https://other.example"
THREADS = 24  # each with a connection of its own: the pool has 32, and what ran before may still hold some
OPENING_TRIES = 8  # of 5 s, the pool's own patience


def handshake(model: str, key: str, *, origin: str = ORIGIN, address: str = "192.0.2.1") -> Handshake:
    return Handshake(model=model, key=key, origin=origin, own_events=True, realtime_offered=True, address=address)


def accepted(shown: Handshake) -> bool:
    try:
        spend_key(shown)
    except BadKey:
        return False
    return True


def open_connection() -> None:
    """Take one of the pool's, which on a busy machine opens so many in more time than a single caller is given."""
    for left in reversed(range(OPENING_TRIES)):
        try:
            connection.ensure_connection()
            return
        except OperationalError:
            if not left:
                raise


def at_once(work: Callable[[int], Any], times: int) -> list[Any]:
    """Run `work` that many times in threads that begin together, each with a connection of its own."""
    together = threading.Barrier(min(THREADS, times))
    waited = threading.local()

    def one(number: int) -> Any:
        if not hasattr(waited, "done"):
            waited.done = True
            open_connection()
            together.wait(timeout=60)
        return work(number)

    def closing(number: int) -> Any:
        try:
            return one(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(min(THREADS, times)) as pool:
        return list(pool.map(closing, range(times)))


@pytest.mark.django_db(transaction=True)
def test_of_200_uses_at_once_exactly_one_is_accepted():
    agent = live_agent()
    key = new_key(agent)

    uses = at_once(lambda _: accepted(handshake(agent.public_name, key)), 200)

    assert Counter(uses) == {True: 1, False: 199}


@pytest.mark.django_db(transaction=True)
def test_each_of_40_keys_is_accepted_when_all_come_at_once():
    agent = live_agent()
    keys = [new_key(agent) for _ in range(40)]

    uses = at_once(lambda number: accepted(handshake(agent.public_name, keys[number])), 40)

    assert uses == [True] * 40


@pytest.mark.django_db
def test_key_opens_only_its_agent_from_its_origin_while_it_is_published():
    clinics = [make_clinic(), make_clinic()]
    states = ("live", "paused", "never published")
    agents = {
        (c, n, state): live_agent(clinics[c], origins=(ORIGIN, OTHER_ORIGIN), paused=state == "paused")
        for c, n, state in product(range(2), range(2), states)
    }
    for (_, _, state), agent in agents.items():
        if state == "never published":
            Agent.objects.filter(pk=agent.pk).update(live_version=None)
    cell = agents[0, 0, "live"]
    opened = []

    for (place, agent), origin in product(agents.items(), (ORIGIN, OTHER_ORIGIN, "")):
        if accepted(handshake(agent.public_name, new_key(cell), origin=origin)):
            opened.append((place, origin))

    assert opened == [((0, 0, "live"), ORIGIN)]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("minted_with", "used_with", "opens"),
    [
        (ORIGIN, ORIGIN, True),
        (ORIGIN, "", False),
        (ORIGIN, "null", False),
        ("", "", True),
        ("", ORIGIN, False),
        ("", "null", False),
    ],
)
def test_key_binds_to_an_origin_or_to_none(minted_with, used_with, opens):
    agent = live_agent()
    key = new_key(agent, origin=minted_with)

    assert accepted(handshake(agent.public_name, key, origin=used_with)) is opens


@pytest.mark.django_db
def test_refused_use_does_not_spend_the_key():
    agent = live_agent()
    key = new_key(agent)

    wrong = accepted(handshake(agent.public_name, key, origin=OTHER_ORIGIN))

    assert (wrong, accepted(handshake(agent.public_name, key))) == (False, True)


@pytest.mark.django_db
@pytest.mark.parametrize(("left", "opens"), [(timedelta(seconds=5), True), (timedelta(seconds=-1), False)])
def test_key_expires_by_the_clock_of_the_database(left, opens):
    agent = live_agent()
    key = new_key(agent)
    ClientSecret.objects.update(expires_at=Now() + left)

    assert accepted(handshake(agent.public_name, key)) is opens


@pytest.mark.django_db
def test_key_lasts_a_minute_and_only_its_digest_is_kept():
    agent = live_agent()

    key, row = mint(agent, origin=ORIGIN, api_token=None, notice=Notice())

    assert row.expires_at - row.created_at == timedelta(seconds=KEY_SECONDS)
    stored = [str(value) for value in ClientSecret.objects.values_list().get()]
    assert [value for value in stored if key in value or key.removeprefix("ek_") in value] == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    "bend",
    [
        str.upper,
        str.lower,
        lambda key: f" {key}",
        lambda key: f"{key}\n",
        lambda key: key.removeprefix("ek_"),
        lambda key: key[:-1],
        lambda key: key + "A",
        lambda key: f"fd_{key.removeprefix('ek_')}",
        lambda key: "",
        lambda key: "ek_",
        lambda key: "ek_" + "a" * 100_000,
        lambda key: "ek_\x00",
        lambda key: "ek_' OR 1=1 --",
        lambda key: ClientSecret.objects.get().digest,
        lambda key: f"ek_{ClientSecret.objects.get().digest}",
    ],
)
def test_what_is_not_the_key_does_not_open(bend):
    agent = live_agent()
    key = new_key(agent)

    assert not accepted(handshake(agent.public_name, bend(key)))
    assert accepted(handshake(agent.public_name, key))


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["nobody", "", "\x00", "LEXI", "lexi ", "lexi\n", "l" * 10_000, "lexi' --", "%", "é"])
def test_key_does_not_open_a_name_that_is_nobodys(name):
    agent = live_agent(public_name="lexi")

    assert not accepted(handshake(name, new_key(agent)))


@pytest.mark.django_db
def test_key_of_a_rolled_back_agent_begins_a_call_with_the_version_that_is_live():
    agent = live_agent()
    first = agent.live_version
    assert first is not None
    agent.greeting = "Good morning."
    agent.save()
    second = publish(agent, None, speak=lambda *args, **kwargs: None)
    key = new_key(agent)
    roll_back(agent, first, make_user(agent.clinic))

    spent = spend_key(handshake(agent.public_name, key))

    assert (live_version(spent.agent), second.number) == (first, 2)


@pytest.mark.django_db
def test_agent_paused_after_the_key_was_spent_cannot_begin():
    agent = live_agent()
    shown = handshake(agent.public_name, new_key(agent))
    Agent.objects.filter(pk=agent.pk).update(paused=True)

    with pytest.raises(CannotBegin) as refused:
        open_call(shown, spend_key(shown))

    assert (refused.value.code, refused.value.close_code) == ("agent_paused", 4404)


@pytest.mark.django_db
def test_spent_key_carries_the_notice_that_its_caller_has_seen():
    agent = live_agent()
    seen = Notice(agent.clinic.notice_sha256, "accepted")
    value, row = mint(agent, origin=ORIGIN, api_token=None, notice=seen)

    spent = spend(value, agent=agent, origin=ORIGIN)

    assert spent is not None
    assert (spent.notice, spent.notice_at) == (seen, row.created_at)


@pytest.mark.django_db
def test_token_opens_its_own_clinics_agents_without_an_origin():
    mine, other = live_agent(), live_agent()
    _, token = ApiToken.issue(clinic=mine.clinic, name="Switchboard")
    revoked, gone = ApiToken.issue(clinic=mine.clinic, name="Old")
    ApiToken.objects.filter(pk=revoked.pk).update(revoked_at=timezone.now())

    opened = {
        "own": accepted(handshake(mine.public_name, token, origin="")),
        "other clinic": accepted(handshake(other.public_name, token, origin="")),
        "origin of the clinic": accepted(handshake(mine.public_name, token, origin=ORIGIN)),
        "null": accepted(handshake(mine.public_name, token, origin="null")),
        "revoked": accepted(handshake(mine.public_name, gone, origin="")),
        "digest": accepted(handshake(mine.public_name, f"fd_{revoked.digest}", origin="")),
    }

    assert opened == {name: name == "own" for name in opened}


# What a browser or a script may send, and whether it is https://clinic.example in other letters.
ORIGINS = {
    "https://clinic.example": True,
    "https://CLINIC.example": True,
    "HTTPS://clinic.example": True,
    "https://clinic.example:443": True,
    "https://clinic.example/": True,
    "": False,
    "null": False,
    "NULL": False,
    "*": False,
    "clinic.example": False,
    "//clinic.example": False,
    "http://clinic.example": False,
    "http://clinic.example:443": False,
    "https://clinic.example:8443": False,
    "https://clinic.example:80": False,
    "https://clinic.example:99999": False,
    "https://clinic.example:https": False,
    "https://www.clinic.example": False,
    "https://clinic.example.evil.test": False,
    "https://evil-clinic.example": False,
    "https://evilclinic.example": False,
    "https://clinic.examples": False,
    "https://clinic.exampl": False,
    "https://clinic.example.": False,
    "https://.clinic.example": False,
    "https://clinic..example": False,
    "https://clinic.example@evil.test": False,
    "https://user@clinic.example": False,
    "https://user:password@clinic.example": False,
    "https://evil.test/https://clinic.example": False,
    "https://evil.test#https://clinic.example": False,
    "https://evil.test?https://clinic.example": False,
    "https://clinic.example/page": False,
    "https://clinic.example?x": False,
    "https://clinic.example\\.evil.test": False,
    "https://clinic.example%2eevil.test": False,
    "https://clіnic.example": False,  # noqa: RUF001 - a Cyrillic letter
    "https://xn--clnic-q4a.example": False,
    "https://[::1]": False,
    "https://[": False,
    "https://127.0.0.1": False,
    "https://clinic.example, https://evil.test": False,
    "https://clinic.example https://evil.test": False,
    "file://clinic.example": False,
    "chrome-extension://clinic.example": False,
    "javascript://clinic.example": False,
    "wss://clinic.example": False,
    "https:clinic.example": False,
    "https:///clinic.example": False,
    "https://": False,
}


@pytest.mark.django_db
@pytest.mark.parametrize(("origin", "welcome"), ORIGINS.items())
def test_only_the_listed_origin_opens(origin, welcome):
    agent = live_agent()
    shown = Handshake.read(
        headers={"origin": origin, "authorization": f"Bearer {new_key(agent)}"},
        query={"model": agent.public_name},
        protocols=["realtime"],
        peer="192.0.2.1",
    )

    assert accepted(shown) is welcome


def test_origins_are_40_and_more():
    assert len(ORIGINS) >= 40


def test_origin_is_kept_as_browsers_write_it():
    assert normal_origin(" HTTPS://Clinic.Example:443/ ") == "https://clinic.example"


@pytest.mark.parametrize(
    ("headers", "protocols", "key"),
    [
        ({"authorization": "Bearer ek_1"}, [], "ek_1"),
        ({}, ["realtime", "openai-insecure-api-key.ek_1"], "ek_1"),
        ({"authorization": "Bearer ek_1"}, ["openai-insecure-api-key.ek_2"], "ek_1"),
        ({}, ["openai-insecure-api-key.ek_1", "openai-insecure-api-key.ek_2"], "ek_1"),
        ({"authorization": "Basic ek_1"}, [], ""),
        ({"cookie": "key=ek_1"}, ["ek_1"], ""),
        ({}, [], ""),
    ],
)
def test_key_is_read_from_the_header_else_from_the_subprotocol(headers, protocols, key):
    shown = Handshake.read(headers=headers, query={"model": "lexi", "key": "ek_9"}, protocols=protocols, peer="")

    assert shown.key == key


@pytest.mark.django_db
def test_address_begins_60_calls_an_hour_and_another_its_own_60():
    clinic = make_clinic()

    first = [count_start(clinic, "192.0.2.1") for _ in range(61)]

    assert first == [True] * 60 + [False]
    assert count_start(clinic, "192.0.2.2") is True
    assert count_start(make_clinic(), "192.0.2.1") is True


@pytest.mark.django_db
def test_address_may_begin_again_in_the_next_hour():
    clinic = make_clinic(max_starts_per_hour=1)
    count_start(clinic, "192.0.2.1")
    StartCount.objects.update(hour=F("hour") - timedelta(hours=1))

    assert count_start(clinic, "192.0.2.1") is True


@pytest.mark.django_db(transaction=True)
def test_of_100_starts_at_once_60_are_counted():
    clinic = make_clinic()

    starts = at_once(lambda _: count_start(clinic, "192.0.2.1"), 100)

    assert Counter(starts) == {True: 60, False: 40}


@pytest.mark.django_db
def test_address_is_kept_as_a_keyed_digest():
    count_start(make_clinic(), "192.0.2.1")

    row = StartCount.objects.get()

    assert "192.0.2.1" not in repr(vars(row))
    assert len(row.address_digest) == 64


@pytest.mark.django_db
def test_keys_and_counts_more_than_a_day_past_are_forgotten():
    agent = live_agent()
    key = new_key(agent)
    for hours in (23, 25):
        _, row = mint(agent, origin=ORIGIN, api_token=None, notice=Notice())
        ClientSecret.objects.filter(pk=row.pk).update(expires_at=Now() - timedelta(hours=hours))
    count_start(agent.clinic, "192.0.2.1")
    for number, hours in enumerate((23, 25), start=2):
        count_start(agent.clinic, f"192.0.2.{number}")
        StartCount.objects.filter(address_digest=AddressDigests.of(f"192.0.2.{number}").address).update(
            hour=Now() - timedelta(hours=hours)
        )

    forget()

    day_ago = Now() - timedelta(days=1)
    assert (ClientSecret.objects.count(), ClientSecret.objects.filter(expires_at__lt=day_ago).count()) == (2, 0)
    assert (StartCount.objects.count(), StartCount.objects.filter(hour__lt=day_ago).count()) == (2, 0)
    assert accepted(handshake(agent.public_name, key))


@pytest.mark.django_db
def test_so_many_are_forgotten_at_a_time_and_the_rest_later(monkeypatch):
    # Five hundred would show the same, only later.
    monkeypatch.setattr(client_secrets, "FORGOTTEN_AT_ONCE", 2)
    agent = live_agent()
    for number in range(3):
        new_key(agent)
        count_start(agent.clinic, f"192.0.2.{number}")
    ClientSecret.objects.update(expires_at=Now() - timedelta(days=2))
    StartCount.objects.update(hour=Now() - timedelta(days=2))
    left = []

    for _ in range(3):
        forget()
        left.append((ClientSecret.objects.count(), StartCount.objects.count()))

    assert left == [(1, 1), (0, 0), (0, 0)]


@pytest.mark.parametrize(
    ("hops", "forwarded", "address"),
    [
        (0, "203.0.113.9", "192.0.2.1"),
        (0, "", "192.0.2.1"),
        (1, "203.0.113.9", "203.0.113.9"),
        (1, "198.51.100.7, 203.0.113.9", "203.0.113.9"),
        (2, "198.51.100.7, 203.0.113.9, 10.0.0.1", "203.0.113.9"),
        (2, "203.0.113.9", "192.0.2.1"),
        (1, " , ,", "192.0.2.1"),
        (1, "", "192.0.2.1"),
        (1, "198.51.100.7,,203.0.113.9 ", "203.0.113.9"),
    ],
)
def test_address_is_what_the_outermost_trusted_proxy_has_written(settings, hops, forwarded, address):
    settings.TRUSTED_PROXIES = hops

    assert client_address({"x-forwarded-for": forwarded}, "192.0.2.1") == address


@pytest.mark.django_db
def test_origin_of_one_clinic_is_not_on_the_list_of_another():
    mine, other = make_clinic(), make_clinic()
    ClinicOrigin.objects.create(clinic=mine, origin=ORIGIN)

    assert (mine.allows_origin(ORIGIN), other.allows_origin(ORIGIN)) == (True, False)
