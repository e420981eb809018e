"""Addresses of the Browse page that nobody would type: no error, and nothing of anybody else's."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from browser import Server
from forging import Arrive, run

from annotate.leads.page_browse import id_of


@pytest.mark.parametrize("name", ["of", "answer", "task", "policy"])
def test_an_address_that_names_nothing_is_the_search_or_one_line(
        server: Server, arrive: Arrive, name: str) -> None:
    async def main() -> None:
        async with await arrive("lead")[1].tab("browse") as tab:
            for value in ("²", "٣", "-1", "1 OR 1=1", "9" * 5000, "0", "x"):
                await tab.rerun(page="browse", query=f"{name}={quote(value)}")
                assert not tab.all("exception"), (value, tab.text())
    run(main())


def test_an_id_is_what_the_database_can_hold() -> None:
    assert id_of("12") == 12 and id_of("9" * 5000) == int("9" * 18) < 2**63
    assert [id_of(text) for text in ("", "²", "٣", "-1", "1.0", "x", " 1")] == [None] * 7
