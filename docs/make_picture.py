"""Makes docs/report.png, the picture in the README, from the report of the demo (run ``make demo`` first)."""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

DOCS = Path(__file__).resolve().parent
REPORT = DOCS.parent / "demo-output" / "report.html"


def main() -> None:
    """Open the report in Chromium and photograph its top."""
    if not REPORT.exists():
        sys.exit(f"{REPORT} is not there; run make demo first")
    with sync_playwright() as play:
        # The machine's own Chromium where there is one; in a container it has no sandbox to start.
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1180, "height": 1240})
        page.goto(REPORT.as_uri())
        page.wait_for_timeout(1000)
        page.screenshot(path=DOCS / "report.png")
        browser.close()


if __name__ == "__main__":
    main()
