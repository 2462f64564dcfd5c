"""A headless Chromium for tests of pages: what it is started with, how it looks at a page, what went wrong in it."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.remote.command import Command

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")

needs_browser = pytest.mark.skipif(
    CHROMIUM is None or CHROMEDRIVER is None, reason="chromium and chromedriver are not installed"
)


@contextmanager
def browser(folder: Path) -> Iterator[Chrome]:
    """A Chromium whose profile is in *folder*; it ends with the block."""
    assert CHROMIUM is not None
    options = ChromeOptions()
    options.binary_location = CHROMIUM
    for switch in (
        "headless",
        "no-sandbox",
        "disable-gpu",
        "disable-dev-shm-usage",
        "no-first-run",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
        f"user-data-dir={folder / 'chromium'}",
    ):
        options.add_argument(f"--{switch}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=ChromeService(executable_path=CHROMEDRIVER))
    try:
        driver.get("about:blank")
        requested(driver)
        yield driver
    finally:
        driver.quit()


def view(driver: Chrome, width: int = 1200, height: int = 900, dark: bool = False, paper: bool = False) -> None:
    """Look at pages in a window of this size in CSS pixels, in light or dark, on screen or as they are printed."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print" if paper else "", "features": [scheme]})


def complaints(driver: Chrome) -> list[str]:
    """What the browser's console has got since the last look: errors of scripts, of loading, warnings."""
    return [entry["message"] for entry in _log(driver, "browser")]


def requested(driver: Chrome) -> set[str]:
    """The addresses that pages have asked for since the last look, those of the browser's own pages left out."""
    events = [json.loads(entry["message"])["message"] for entry in _log(driver, "performance")]
    asked = {event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"}
    return {address for address in asked if not address.startswith(("chrome:", "data:"))}


def _log(driver: Chrome, kind: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = driver.execute(Command.GET_LOG, {"type": kind})["value"]
    return entries
