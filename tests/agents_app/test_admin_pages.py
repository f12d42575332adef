"""Every page of the admin opens, and in Chromium, at both widths, axe finds nothing serious and nothing overflows."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from playwright.async_api import Page, async_playwright

from agents_app.models import Agent, Clinic, ClinicOrigin, Membership
from tests.agents_app.test_admin_scoping import PLATFORM_ONLY, SCOPED, address, by_name, populate
from tests.make import make_clinic, make_user

CHROMIUM = shutil.which("chromium")
FLAGS = ["--disable-background-networking", "--disable-sync", "--no-first-run", "--disable-gpu"]
READ_ONLY = {"Appointment", "CallSession", "LedgerPeriod"}
NEVER_ADDED = READ_ONLY | {"Task"}


@pytest.fixture
def addresses(transactional_db: None) -> dict[str, str]:
    """Name and path of each page, of one clinic with a row of everything."""
    clinic = make_clinic(name="Barton Dental")
    ClinicOrigin.objects.create(clinic=clinic, origin="https://www.example.org")
    rows = populate(clinic, "Marked")
    user = make_user(clinic, username="both", is_superuser=True)
    Membership.objects.filter(user=user).update(role=Membership.Role.MANAGER)
    found = {"index": reverse("admin:index")}
    for model in [*SCOPED, *by_name(PLATFORM_ONLY)]:
        found[f"{model.__name__}-list"] = address(model, "changelist")
        if model.__name__ not in NEVER_ADDED:
            found[f"{model.__name__}-add"] = address(model, "add")
    for model in SCOPED:
        found[f"{model.__name__}-change"] = address(rows[model], "change")
    agent = rows[Agent]
    Agent.objects.filter(pk=agent.pk).update(greeting="Changed since it was published.")
    for name in ("publish", "versions"):
        found[f"Agent-{name}"] = address(agent, "change").removesuffix("change/") + f"{name}/"
    found["Clinic-delete"] = address(rows[Clinic], "delete")
    found["Agent-history"] = address(agent, "history")
    found["User-change"] = address(user, "change")
    return found


@pytest.fixture
def session_key(addresses: dict[str, str]) -> str:
    client = Client()
    client.force_login(User.objects.get(username="both"))
    return client.cookies["sessionid"].value


async def faults_of(page: Page, name: str, folder: Path) -> list[str]:
    results = await Axe().run(page, options={"resultTypes": ["violations"]})
    found = [
        f"{name}: {fault['id']} {node['target']}"
        for fault in results.response["violations"]
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]
    if await page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
        found.append(f"{name}: wider than the window")
    if found:
        await page.screenshot(path=folder / f"{name}.png")
    return found


def test_every_page_opens(client: Client, addresses: dict[str, str]):
    client.force_login(User.objects.get(username="both"))

    assert {name: client.get(path).status_code for name, path in addresses.items()} == dict.fromkeys(addresses, 200)


@pytest.mark.browser
@pytest.mark.once
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("width", [1280, 390])
async def test_every_page_is_accessible_and_fits(
    width: int, live_server: Any, addresses: dict[str, str], session_key: str, tmp_path: Path
):
    faults, missing = [], []
    async with async_playwright() as playwright:
        flags = [*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        context = await browser.new_context(viewport={"width": width, "height": 900}, reduced_motion="reduce")
        await context.add_cookies([{"name": "sessionid", "value": session_key, "url": live_server.url}])
        page = await context.new_page()
        for name, path in addresses.items():
            response = await page.goto(live_server.url + path)
            if response is None or response.status != 200:
                missing.append(name)
            faults += await faults_of(page, name, tmp_path)
        await browser.close()

    assert missing == []
    assert faults == []
