"""Makes docs/report.png, the picture in the README: ``python docs/make_picture.py [REPORT.html]``.

Without a report it takes that of the demo (run ``make demo`` first).
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

DOCS = Path(__file__).resolve().parent
REPORT = DOCS.parent / "demo-output" / "report.html"

# Of some hundred cells, the one whose details (about 290 by 200 pixels, at its right) hide the fewest others.
CLEAREST = """() => {
  const box = document.getElementById("cells-map").getBoundingClientRect();
  const all = Array.from({ length: whycell.n }, (_, i) => whycell.place(i));
  const fits = all.filter((p) => p.x + 310 < box.right && p.y - 110 > box.top && p.y + 110 < box.bottom);
  const some = fits.filter((_, k) => k % Math.ceil(fits.length / 400) === 0);
  const hides = (p) => all.filter((q) => q.x > p.x && q.x < p.x + 300 && Math.abs(q.y - p.y) < 105).length;
  return some.map((p) => [hides(p), p]).sort((a, b) => a[0] - b[0])[0][1];
}"""


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
        place = page.evaluate(CLEAREST)
        page.mouse.move(place["x"], place["y"])
        page.wait_for_timeout(500)
        page.screenshot(path=DOCS / "report.png")
        browser.close()


if __name__ == "__main__":
    main()
