"""The page in a real browser: Chromium, where it is installed (Debian's `chromium`), and always in CI."""

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.web.conftest import PATIENCE
from web.pricing.indexes import ServedIndex
from web.settings import Limits

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
MILLISECONDS = 1000 * PATIENCE
NO_BROWSER = "PRICE_NO_BROWSER"  # set by who knows that there is none, and said so
pytestmark = pytest.mark.skipif(
    CHROMIUM is None and (NO_BROWSER in os.environ or "CI" not in os.environ), reason="there is no chromium here"
)
TEXT = "Fauxberry Reserve Ground Coffee, Smoky Hazelnut, 12 oz (Pack of 2)"


def test_a_price_appears_after_enter_and_moves_with_a_slider_while_the_old_one_stays(serve: Any, shop: Any) -> None:
    from playwright.sync_api import expect, sync_playwright

    with serve() as client, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 375, "height": 800})
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
        page.goto(str(client.base_url))
        page.get_by_label("The item in words").fill(TEXT)
        page.keyboard.press("Enter")
        amount = page.locator(".amount")
        expect(amount).to_be_visible(timeout=MILLISECONDS)
        price = amount.inner_text()

        slider = page.get_by_label("Share applied")
        slider.focus()
        slider.press("Home")  # the least of the correction
        expect(amount).not_to_have_text(price, timeout=MILLISECONDS)
        before = page.locator(".before").inner_text()
        assert before.split()[-1] == price.split()[0]
        assert page.evaluate("document.activeElement.id") == "slider-alpha"
        assert re.search(r"[?&]alpha=0.01(&|$)", page.url)

        page.get_by_label("The item in words").fill("Olive oil 16.9 fl oz")
        page.keyboard.press("Enter")
        expect(page.locator(".before")).to_have_count(0, timeout=MILLISECONDS)  # which was another item's

        page.locator("#photograph").set_input_files(str(shop.photograph))
        expect(page.get_by_text("without the photograph")).to_be_visible(timeout=MILLISECONDS)
        assert page.evaluate("document.documentElement.scrollWidth") <= 375
        page.goto(f"{client.base_url}/index")
        assert page.evaluate("document.documentElement.scrollWidth") <= 375
        assert faults == []
        browser.close()


def test_a_refusal_without_a_page_is_told_and_another_index_shows_the_page_that_is_its_own(
    serve: Any, own_index: Path
) -> None:
    from playwright.sync_api import expect, sync_playwright

    other = ServedIndex.open("other", str(own_index))
    with serve(other=other, limits=Limits(seconds=PATIENCE, body_bytes=50_000)) as client, sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(str(client.base_url))
        page.get_by_label("The item in words").fill(TEXT)
        page.keyboard.press("Enter")
        page.locator("input[name=without]").first.check(timeout=MILLISECONDS)
        expect(page.get_by_role("heading", name="Left out")).to_be_visible(timeout=MILLISECONDS)
        page.get_by_label("Index").select_option("other")
        page.get_by_role("button", name="Price it").click()
        expect(page.locator("input[name=page_of]")).to_have_value("other", timeout=MILLISECONDS)
        expect(page.locator(".amount")).to_be_visible(timeout=MILLISECONDS)
        expect(page.get_by_role("heading", name="Left out")).to_have_count(0)

        large = {"name": "large.jpg", "mimeType": "image/jpeg", "buffer": b"x" * 60_000}
        page.locator("#photograph").set_input_files(large)
        expect(page.get_by_role("alert")).to_contain_text("larger than 50,000 bytes", timeout=MILLISECONDS)
        expect(page.locator(".amount")).to_be_visible()  # the answer before it stands
        browser.close()
