"""The page on which staff tries the connection, in Chromium: it looks as it should, and hears the microphone."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from django.test import Client
from playwright.async_api import Browser, expect

from tests.make import make_clinic, make_user

pytestmark = pytest.mark.browser


@pytest.fixture
def session_key(transactional_db: None) -> str:
    client = Client()
    client.force_login(make_user(make_clinic()))
    return client.cookies["sessionid"].value


@pytest.mark.asyncio(loop_scope="package")
async def test_microphone_that_hears_is_told_and_the_page_is_accessible(
    browser: Browser, live_server: Any, session_key: str
):
    context = await browser.new_context(reduced_motion="reduce", permissions=["microphone"])
    await context.add_cookies([{"name": "sessionid", "value": session_key, "url": live_server.url}])
    page = await context.new_page()
    await page.goto(f"{live_server.url}/connection/")

    await page.get_by_role("button", name="Try the microphone").click()
    await expect(page.locator("#microphone-said")).to_have_text("Works: it hears you.")
    results = await Axe().run(page, options={"resultTypes": ["violations"]})
    await context.close()

    assert [fault["id"] for fault in results.response["violations"]] == []
