"""Make the pictures of the report in the README: parts of the page of the demo's result, as a browser shows them.

    python tools/report_pictures.py

Needs chromium, chromedriver and Pillow (which matplotlib brings). Writes docs/pictures/.
"""

import io
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.browser import browser, view  # noqa: E402

PICTURES = {
    "report-summary.png": ("header", "section[aria-label=Summary]", "#latency"),
    "report-tail.png": ("#stages",),
    "report-calls.png": ("#calls",),
}
"""Each picture and the parts of the page that it shows, one below the other."""
WIDTH = 1000
COLOURS = 96
MARGIN = 16


def main() -> None:
    """Simulate, report, look, write."""
    target = ROOT / "docs" / "pictures"
    target.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "linux-ext4"
        for command in (
            ["run", str(ROOT / "scenarios/linux-ext4.toml"), "--out", str(result)],
            ["report", str(result)],
        ):
            subprocess.run([sys.executable, "-m", "iosim", *command], cwd=ROOT, check=True, capture_output=True)
        with browser(Path(folder)) as driver:
            view(driver, width=WIDTH, height=5000)
            driver.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
            driver.get((result / "report.html").as_uri())
            for name, parts in PICTURES.items():
                picture = _shot(driver, parts).quantize(COLOURS, dither=Image.Dither.NONE)
                picture.save(target / name, optimize=True)
                print(f"{target / name}: {(target / name).stat().st_size / 1000:.0f} kB")


def _shot(driver: Chrome, parts: tuple[str, ...]) -> Image.Image:
    """Return the rectangle of the window that the *parts* of the page (CSS selectors) cover."""
    boxes = [driver.find_element(By.CSS_SELECTOR, part).rect for part in parts]
    window = Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")
    top = max(0, min(box["y"] for box in boxes) - MARGIN)
    bottom = max(box["y"] + box["height"] for box in boxes) + MARGIN
    return window.crop((0, int(top), window.width, int(bottom)))


if __name__ == "__main__":
    main()
