"""Signing out where it cannot be written down is said, and nobody is told that they are out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import streamlit as st

from annotate import actions
from annotate.door import page_account
from data.errors import PrefloopError


@pytest.mark.parametrize(("leave", "action"), [
    (page_account._leave, "sign_out"), (page_account._leave_everywhere, "sign_out_everywhere")])
def test_a_sign_out_that_was_not_kept_is_said(
        monkeypatch: pytest.MonkeyPatch, leave: Callable[[], None], action: str) -> None:
    said: dict[str, str] = {"kept": "what was typed"}

    def full(*_: object) -> None:
        raise PrefloopError("the disk is full, nothing was saved")

    monkeypatch.setattr(actions, action, full)
    monkeypatch.setattr(page_account, "store", lambda: None)
    monkeypatch.setattr(page_account, "token", lambda: "secret")
    monkeypatch.setattr(st, "session_state", said)
    leave()
    assert "NOT signed out: the disk is full, nothing was saved" in said.values()
    assert said["kept"]
    monkeypatch.setattr(actions, action, lambda *_: None)
    leave()
    assert not said
