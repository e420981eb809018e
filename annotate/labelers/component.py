"""The labeling page's component: `static/desk.js`, served from here as a file.

Streamlit runs a component's inline script from a `blob:` address, which our content security
policy forbids; a script that belongs to a declared folder it loads by its own address. Packages
declare such folders in a `pyproject.toml` beside their code, which ours, with its five packages at
the top of the repository, has no place for; so the folder is declared here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from streamlit.components.v2 import component
from streamlit.components.v2.get_bidi_component_manager import get_bidi_component_manager
from streamlit.components.v2.manifest_scanner import ComponentConfig, ComponentManifest

FOLDER = "static"
KEY = "labeling-desk"
_PACKAGE, _NAME = "prefloop", "desk"


def mount(data: dict[str, Any], on_send: Callable[[], None]) -> None:
    """Put the desk on the page. `on_send` runs when the page has sent something, which then stands
    in the session's state under `KEY`."""
    _declare()
    # The page's own styles, not a shadow root's: what a labeler reads looks the same elsewhere.
    show = component(f"{_PACKAGE}.{_NAME}", js="desk.js", css="desk.css", isolate_styles=False)
    show(key=KEY, data=data, on_send_change=on_send)


def _declare() -> None:
    manager = get_bidi_component_manager()
    if manager.get_component_asset_root(f"{_PACKAGE}.{_NAME}") is None:
        manager.register_from_manifest(
            ComponentManifest(_PACKAGE, "", [ComponentConfig(_NAME, FOLDER)]),
            Path(__file__).parent)
