"""The page in a real browser: Chromium, where it is installed (Debian's `chromium`), and always in CI."""

import os
import re
import shutil
from typing import Any

import pytest

from tests.web.conftest import PATIENCE

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

        page.locator("#photograph").set_input_files(str(shop.photograph))
        expect(page.get_by_text("without the photograph")).to_be_visible(timeout=MILLISECONDS)
        assert page.evaluate("document.documentElement.scrollWidth") <= 375
        page.goto(f"{client.base_url}/index")
        assert page.evaluate("document.documentElement.scrollWidth") <= 375
        assert faults == []
        browser.close()
