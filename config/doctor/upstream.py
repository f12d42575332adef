"""Each way to the Realtime API that calls would take: the key, the socket, the first event, the service's clock."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from django.conf import settings
from django.utils.timezone import now

from agents_app.access import Access, access_of
from agents_app.models import Agent, KeyRefusal, RealtimeModel
from config.doctor.findings import Finding, failed, ok, skipped, warning
from sessions_app.opening import STANDIN_KEY
from sessions_app.probing import Probe, explain, probe
from sessions_app.realtime import Upstream

MAX_WAYS = 50
AT_ONCE = 4
SERVICE_SKEW_S = 60.0  # keys of ours live 60 s, certificates are dated
DATE_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Way:
    """One key, address and model; `clinic` is a clinic that uses them, None when only the installation does."""

    clinic: int | None
    whose: str
    access: Access
    model: str


def ways() -> list[Way]:
    """Return what calls would use, each once: what published receptionists have, else the installation's own."""
    found: dict[tuple[str, str], Way] = {}
    agents = Agent.objects.filter(live_version__isnull=False).order_by("pk")
    for agent in agents.select_related("clinic__voice_service", "live_version"):
        assert agent.live_version is not None
        access, model = access_of(agent.clinic), agent.live_version.content["model"]["name"]
        found.setdefault((access.digest, model), Way(agent.clinic_id, agent.clinic.name, access, model))
    if not found:
        own = Access(settings.OPENAI_BASE_URL, settings.OPENAI_API_KEY)
        model = RealtimeModel.objects.filter(shutdown_on=None).order_by("pk").values_list("name", flat=True).first()
        found["", ""] = Way(None, "the installation", own, model or "")
    return list(found.values())


def check_upstream() -> Iterator[Finding]:
    tried = ways()
    if len(tried) > MAX_WAYS:
        yield warning("upstream", f"of {len(tried)} keys only {MAX_WAYS} are tried")
    usable = [way for way in tried[:MAX_WAYS] if _key(way.access)]
    for way in tried[:MAX_WAYS]:
        if way not in usable:
            say = skipped if way.clinic is None else failed
            yield say("key", f"{way.whose} has no key: set OPENAI_API_KEY, or the clinic's own in the admin.")
    for way, result in zip(usable, asyncio.run(_try(usable)), strict=True):
        yield _finding(way, result)
    yield from _clocks({way.access.base_url for way in usable})


def _key(access: Access) -> str:
    return access.key or (STANDIN_KEY if access.base_url == settings.STANDIN_URL else "")


async def _try(usable: Iterable[Way]) -> list[Probe]:
    places = asyncio.Semaphore(AT_ONCE)

    async def one(way: Way) -> Probe:
        async with places:
            return await probe(Upstream(way.access.base_url, way.model, _key(way.access), way.access.key_style))

    return await asyncio.gather(*map(one, usable))


def _finding(way: Way, result: Probe) -> Finding:
    where = f"{way.whose}, {urlsplit(way.access.base_url).netloc}, {way.model}"
    if not result.code:
        if way.clinic is not None:
            KeyRefusal.objects.clear(way.clinic, way.access.digest)
        return ok("upstream", f"{where}: a session in {result.took_ms} ms")
    step, said = explain(result.code)
    return failed(step, f"{where}: {said}")


def _clocks(addresses: Iterable[str]) -> Iterator[Finding]:
    for address in sorted(addresses):
        skew_s = _skew_s(address)
        if skew_s is not None and abs(skew_s) > SERVICE_SKEW_S:
            said = f"{skew_s:+.0f} s from that of {urlsplit(address).netloc}: run a time service."
            yield failed("clock", said)


def _skew_s(address: str) -> float | None:
    """Return how far our clock is ahead of the service's, by the Date of any answer; it is shown no key."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        headers = opener.open(f"{address}/models", timeout=DATE_TIMEOUT_S).headers
    except urllib.error.HTTPError as answer:
        headers = answer.headers
        answer.close()
    except OSError:
        return None
    try:
        return (now() - parsedate_to_datetime(headers["Date"])).total_seconds()
    except (TypeError, ValueError):
        return None
