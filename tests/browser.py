"""Pages in headless Chromium: what a person sees, does by keyboard, and prints."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

# Debian's Chromium as root and without a network: no sandbox of its own, and nobody to call home to.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TIMEOUT = 15_000.0  # milliseconds
DESKTOP, PHONE = (1280, 900), (390, 844)

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for the tests of a module: its event loop may not live on beside those of others."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    assert found is not None, "these tests need Chromium (Debian: chromium)"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS, timeout=4 * TIMEOUT)
        yield browser
        browser.close()


@pytest.fixture
def browse(chromium: Browser) -> Iterator[Open]:
    """``browse(address, size=DESKTOP)`` opens a page. No page may log an error or ask another host."""
    complaints: list[str] = []
    contexts = []

    def opened(address: str | Path, size: tuple[int, int] = DESKTOP, **options: Any) -> Page:
        url = address.as_uri() if isinstance(address, Path) else address
        host = urlsplit(url).netloc
        context = chromium.new_context(viewport={"width": size[0], "height": size[1]}, **options)
        contexts.append(context)
        context.set_default_timeout(TIMEOUT)
        page = context.new_page()
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))

        def asked(request: Any) -> None:
            there = urlsplit(request.url)
            if there.scheme != "data" and there.netloc != host:
                complaints.append(f"asked {request.url}")

        page.on("request", asked)
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not complaints, "\n".join(complaints)


def fits(page: Page) -> bool:
    """Whether nobody has to scroll sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))
