"""A real browser for the tests of pages: Chromium, as the system has it, without a window."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
INSTALL = "apt-get install --no-install-recommends chromium"


def found_browser() -> str | None:
    """The path of a browser; None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


needs_browser = pytest.mark.skipif(
    found_browser() is None, reason=f"there is no browser: {INSTALL}"
)


class Watched:
    """A page in the browser, with what it said and asked for.

    Attributes:
        page: of the driver.
        problems: errors of its scripts, and what it wrote to the console.
        requests: the addresses that it asked for, but for its own file.
    """

    def __init__(self, page: Page, file: Path) -> None:
        self.page = page
        self.problems: list[str] = []
        self.requests: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", lambda message: self.problems.append(message.text))
        page.on("request", lambda request: self._asked(request.url, file))
        page.on("dialog", lambda dialog: (self.problems.append("a dialog"), dialog.dismiss()))
        page.goto(file.as_uri())
        page.wait_for_selector("html[data-ready]", state="attached")

    def _asked(self, url: str, file: Path) -> None:
        if url != file.as_uri():
            self.requests.append(url)

    def count(self, selector: str) -> int:
        """How many elements there are."""
        return self.page.locator(selector).count()

    def text(self, selector: str) -> str:
        """The text of the first element."""
        return self.page.locator(selector).first.inner_text()

    def labels(self) -> list[str]:
        """The names in the boxes that are to be seen, in the order of the drawing."""
        return self.texts(".box .label")

    def texts(self, selector: str) -> list[str]:
        """The text of every element."""
        return self.page.locator(selector).all_text_contents()

    def evaluate(self, script: str) -> Any:
        """What an expression gives."""
        return self.page.evaluate(script)


@contextmanager
def browsing(
    file: Path, *, width: int = 1280, height: int = 800, dark: bool = False
) -> Iterator[Watched]:
    """Open a file; in the end it must have had no errors and made no requests."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found_browser(), args=["--no-sandbox"])
        try:
            scheme: Any = "dark" if dark else "light"
            size: Any = {"width": width, "height": height}
            watched = Watched(browser.new_page(viewport=size, color_scheme=scheme), file)
            yield watched
            assert watched.problems == []
            assert watched.requests == []
        finally:
            browser.close()
