"""Debian's Chromium with software WebGL, driven by Playwright; nothing is downloaded."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager

import pytest

FLAGS = [
    "--no-sandbox", "--disable-gpu-sandbox", "--use-gl=angle", "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader", "--disable-background-networking", "--disable-sync", "--no-first-run",
]  # fmt: skip
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE_MS = 240_000  # a busy machine draws 3D without a GPU


@contextmanager
def chromium():
    """The browser; skips, saying why, where there is none, and fails for that where CI is set."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright, of the extra dev")
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        why = f"needs a Chromium ({', '.join(NAMES)}); apt-get install chromium"
        pytest.fail(why) if os.environ.get("CI") else pytest.skip(why)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS, env=dict(os.environ))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def page(browser, url, width=900, height=600, ready="body[data-shown]"):
    """A page that has loaded; afterwards AssertionError for all that went to its console or left this machine."""
    context = browser.new_context(viewport={"width": width, "height": height})
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE_MS)
    told, asked = [], []
    opened.on("console", lambda message: told.append(f"{message.type}: {message.text}"))
    opened.on("pageerror", lambda error: told.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    try:
        opened.goto(url)
        opened.wait_for_selector(ready)
        yield opened
        assert not told, told
        home = url.rsplit("/", 1)[0] + "/" if url.startswith("file:") else "/".join(url.split("/", 3)[:3]) + "/"
        away = [a for a in asked if not a.startswith((home, "data:", "blob:"))]
        assert not away, away
    finally:
        context.close()
