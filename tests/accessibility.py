"""What axe-core finds on a page in a real browser."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

#: Colour scheme and width of the window. Contrast depends on the one and layout on the other, so
#: two looks see all of both.
LOOKS = [("light", 1400), ("dark", 390)]


def violations(page: Page) -> list[str]:
    """What axe calls serious or critical, with where and why: what is found must still be there a
    while later, since Streamlit fades in what it has just drawn, and on a busy machine for long."""
    found = _violations(page)
    for _ in range(20):
        if found:
            page.wait_for_timeout(1500)
            found = _violations(page)
    return found


def _violations(page: Page) -> list[str]:
    response = Axe().run(page, options={"resultTypes": ["violations"]}).response
    return [f"{page.url}: {found['id']}: {node['html'][:160]} {node['failureSummary'][:240]}"
            for found in response["violations"] if found["impact"] in ("serious", "critical")
            for node in found["nodes"]]
