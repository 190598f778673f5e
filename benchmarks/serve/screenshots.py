"""Screenshots of every page in a real browser: two widths, light and dark; and axe's findings where axe is given.

    python benchmarks/serve/screenshots.py INDEX -o FOLDER --axe axe.min.js

axe.min.js is the file of that name in the npm package axe-core.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

from server import TEXTS, serving, show

WIDTHS = {"desktop": 1200, "phone": 375}
PAGES = {"form": "/", "quote": f"/?text={TEXTS[0]}", "mistake": "/?text=tea&k=0", "files": "/files", "index": "/index"}
PAGES |= {"api": "/docs", "nothing": "/nothing"}


def main() -> None:
    """Take the screenshots."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("index", type=Path)
    parser.add_argument("--output", "-o", type=Path, required=True)
    parser.add_argument("--axe", type=Path)
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    axe = given.axe.read_text(encoding="utf-8") if given.axe else None
    with serving(given.index) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            for width, pixels in WIDTHS.items():
                view: Any = {"width": pixels, "height": 900}
                page = browser.new_context(viewport=view, color_scheme=scheme, bypass_csp=bool(axe)).new_page()
                for name, path in {**PAGES, "job": _job(page, server.address)}.items():
                    page.goto(server.address + path)
                    page.screenshot(path=given.output / f"{name}-{width}-{scheme}.png", full_page=True)
                    figures = {"width": width, "scheme": scheme, "wide": page.evaluate(WIDE)}
                    if axe:
                        page.evaluate(axe)
                        found = page.evaluate("axe.run()")["violations"]
                        figures["axe"] = [f"{rule['impact']}: {rule['id']}" for rule in found]
                    show(name, figures)
        browser.close()


WIDE = "document.documentElement.scrollWidth"


def _job(page: Any, address: str) -> str:
    """Upload a file by the form, and return the path of its page when it has been read."""
    lines = ["sku,title", *(f'{place},"{text}"' for place, text in enumerate(TEXTS))]
    page.goto(f"{address}/files")
    file = {"name": "stock.csv", "mimeType": "text/csv", "buffer": "\n".join(lines).encode()}
    page.locator("#file").set_input_files(file)
    page.get_by_role("button", name="See how").click()
    page.get_by_role("button", name="Price").wait_for(timeout=60_000)
    return str(page.url).removeprefix(address)


if __name__ == "__main__":
    main()
