"""Makes docs/report.png, the picture in the README: ``python docs/make_picture.py [REPORT.html]``.

Without a report it takes that of the demo (run ``make demo`` first).
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

DOCS = Path(__file__).resolve().parent
REPORT = DOCS.parent / "demo-output" / "report.html"


def main() -> None:
    """Open the report in Chromium, point at a cell and photograph the top of the page."""
    report = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else REPORT
    if not report.exists():
        sys.exit(f"{report} is not there; run make demo first, or name another report")
    with sync_playwright() as play:
        # The machine's own Chromium where there is one; in a container it has no sandbox to start.
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1180, "height": 1140}, device_scale_factor=1.5)
        page.goto(report.as_uri())
        page.wait_for_function("window.whycell && window.whycell.drawn()")
        # The rightmost cell: its details then lie over the map's empty margin or beside few cells.
        place = page.evaluate(
            "Array.from({length: whycell.n}, (_, i) => whycell.place(i)).sort((a, b) => b.x - a.x)[0]"
        )
        page.mouse.move(place["x"], place["y"])
        page.wait_for_timeout(500)
        page.screenshot(path=DOCS / "report.png")
        browser.close()


if __name__ == "__main__":
    main()
