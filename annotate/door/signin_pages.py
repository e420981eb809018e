"""The plain pages of signing in: HTML without a script, every foreign text escaped."""

from __future__ import annotations

import html

from annotate.door.oidc import Provider

_PAGE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>prefloop</title><style>
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.6 system-ui, sans-serif; max-width: 26rem; margin: 18vh auto;
  padding: 0 1rem; overflow-wrap: anywhere }}
button, .button {{ font: inherit; padding: .6rem 1.2rem; border: 0; border-radius: .5rem;
  background: #2f6f8f; color: #fff; cursor: pointer; display: inline-block;
  text-decoration: none }}
code {{ background: color-mix(in srgb, currentColor 10%, transparent); padding: .1em .35em;
  border-radius: .3em }}
.pf-about {{ margin-top: 2rem; font-size: .875rem; opacity: .8 }}</style>
</head><body><h1>prefloop</h1>{body}</body></html>"""

#: What a labeler can do stands first; the commands are for whoever has a terminal there.
HOW_TO_GET_A_LINK = (
    "<p>Ask your lead for a new link. It opens this page with you signed in.</p>"
    '<p class="pf-about">Do you run prefloop yourself? In its folder, <code>.venv/bin/prefloop '
    "labeler link NAME</code> prints a person's link, and <code>.venv/bin/prefloop labeler add "
    "NAME</code> adds a person first.</p>")


def how_to_sign_in(provider: Provider | None = None) -> str:
    """What somebody can do who is not signed in, as HTML paragraphs."""
    if provider is None:
        return HOW_TO_GET_A_LINK
    return (f'<p><a href="/signin" target="_self">Sign in with {html.escape(provider.name)}</a>, '
            f"or with a link:</p>{HOW_TO_GET_A_LINK}")


def link_page(name: str, code: str) -> str:
    """Whom a link would sign in, and the button that does it."""
    shown = f"<bdi>{html.escape(name)}</bdi>"
    return _PAGE.format(body=(
        '<form method="post" action="/signin">'
        f'<input type="hidden" name="code" value="{html.escape(code)}">'
        f"<p>This link signs you in as <strong>{shown}</strong>. It works once.</p>"
        f'<button type="submit">Sign in as {shown}</button></form>'))


def start_page(provider: Provider | None) -> str:
    """The ways in, without a link."""
    button = "" if provider is None else (
        f'<p><a class="button" href="/signin/start">Sign in with {html.escape(provider.name)}'
        "</a></p>")
    return _PAGE.format(body=f"<p><strong>Sign in</strong></p>{button}{HOW_TO_GET_A_LINK}")


def message_page(title: str, text: str, more: str = "") -> str:
    """A sentence and what to do; only `more` is HTML."""
    return _PAGE.format(body=f"<p><strong>{html.escape(title)}</strong> {html.escape(text)}</p>"
                             f"{more}")
