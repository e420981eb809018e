"""The look that Streamlit's theme cannot give. Colours mix from the text's own, so that light and
dark both work; the theme's colours are in `annotate.server`. The labeling page's own look is in
`static/desk.css`; what both need stands here."""

STYLE = """<style>
.stMainBlockContainer { max-width: 1280px; padding-top: 4.2rem; padding-bottom: 1rem }
[data-testid=stCaptionContainer], [data-testid=stCaptionContainer] p {
  opacity: 1; color: light-dark(#5b6064, #a9aeb2) }
[data-testid=stWidgetLabel] p { color: light-dark(#23282c, #e4e6e8) }
/* Popovers stand outside of the app, which alone knows its scheme otherwise. */
:root { color-scheme: light dark }
[data-testid^=stBaseButton-primary]:not(:disabled) { color: light-dark(#fff, #10161a) !important }
/* Streamlit shades the link in focus like the page's own, and too faintly to be found. */
:is([data-testid=stTopNavLink], [data-testid=stSidebarNavLink]):focus-visible {
  outline: 2px solid currentColor; outline-offset: -2px }
[data-variant="segmented_control"][data-selected="true"] p { font-weight: 600;
  color: light-dark(#1f4f66, #a9d4e8) }
.pf-text { line-height: 1.6; overflow-wrap: anywhere; unicode-bidi: isolate; font-size: 1rem }
.pf-text > :first-child { margin-top: 0 } .pf-text > :last-child { margin-bottom: 0 }
.pf-text h1, .pf-text h2, .pf-text h3, .pf-text h4, .pf-text h5, .pf-text h6 {
  font-size: 1.08em; font-weight: 650; margin: .8em 0 .3em; padding: 0 }
.pf-text p, .pf-text ul, .pf-text ol { margin: 0 0 .7em } .pf-text li { margin: .15em 0 }
.pf-text ul, .pf-text ol { padding-left: 1.5rem }
.pf-text pre, .pf-text :not(pre) > code { border-radius: .35rem; font-size: .88em;
  background: color-mix(in srgb, currentColor 8%, transparent) }
.pf-text pre { padding: .6rem .8rem; overflow-x: auto; white-space: pre-wrap }
.pf-text pre code { background: none; font-size: inherit; color: inherit; white-space: inherit }
.pf-text :not(pre) > code { padding: .1em .3em; color: inherit }
/* Code runs left to right in any language; each paragraph as it itself begins. */
.pf-text :is(p, h1, h2, h3, h4, h5, h6) { unicode-bidi: plaintext; text-align: start }
.pf-text pre { direction: ltr; text-align: left }
.pf-text :is(pre, code) { unicode-bidi: isolate }
.pf-text table { border-collapse: collapse; display: block; overflow-x: auto; margin-bottom: .7em }
.pf-text th, .pf-text td { padding: .25rem .6rem; text-align: start;
  border: 1px solid color-mix(in srgb, currentColor 20%, transparent) }
.pf-text blockquote { margin: 0 0 .7em; padding-left: .8rem;
  border-left: 3px solid color-mix(in srgb, currentColor 25%, transparent) }
.pf-text math { font-size: 1.08em; max-width: 100%; overflow-x: auto; overflow-y: hidden }
.pf-text math[display=block] { display: block math; margin: .4em 0 }
/* Said on every page, once it has lasted a while. */
.stApp:not([data-test-connection-state=CONNECTED])::before {
  content: "The server is away. Trying again …"; position: fixed;
  z-index: 1000000; top: .4rem; left: 50%; transform: translateX(-50%);
  width: max-content; max-width: 90vw;
  padding: .35rem .9rem; border-radius: .5rem; font-weight: 600; pointer-events: none;
  color: light-dark(#5c3b00, #ffe2b0); background: light-dark(#ffe9c4, #4a3510);
  animation: pf-away .2s 2s backwards }
@keyframes pf-away { from { opacity: 0 } }
/* A notice (`annotate.notices`) lies over the page. */
:has(> .st-key-notice) { position: fixed; top: 4.1rem; left: 50%; transform: translateX(-50%);
  width: min(44rem, 100vw - 1.6rem); z-index: 99; pointer-events: none }
.st-key-notice [data-testid=stAlert] { border-radius: .5rem; max-height: 60dvh; overflow-y: auto;
  background: light-dark(#fbfaf8, #15181b); box-shadow: 0 .4rem 1.4rem #0005 }
.st-key-notice [data-testid=stAlertContainer] { padding-right: 6.5rem }
.st-key-notice-close { position: absolute; top: .6rem; right: .9rem; width: auto !important }
.st-key-notice :is(.st-key-notice-failed, .st-key-notice-close) { pointer-events: auto }
.st-key-notice-0 { animation: pf-told-0 .4s 12s forwards }
.st-key-notice-1 { animation: pf-told-1 .4s 12s forwards }
@keyframes pf-told-0 { to { opacity: 0; visibility: hidden } }
@keyframes pf-told-1 { to { opacity: 0; visibility: hidden } }
.pf-address, .pf-empty { opacity: .78; font-size: .9em }
.pf-pane { max-height: 24rem; overflow-y: auto; padding-right: .4rem; scrollbar-width: thin }
.pf-pane:focus-visible { outline: 2px solid currentColor; outline-offset: 4px }
.pf-conversation { max-height: 26dvh; overflow-y: auto; scrollbar-width: thin; padding: .7rem 1rem;
  border-radius: .5rem; background: color-mix(in srgb, currentColor 5%, transparent) }
.pf-turn + .pf-turn, details + .pf-turn { margin-top: .6rem; padding-top: .6rem;
  border-top: 1px solid color-mix(in srgb, currentColor 10%, transparent) }
.pf-conversation summary { cursor: pointer; opacity: .85; font-size: .9rem }
.pf-role { font-size: .75rem; font-weight: 650; letter-spacing: .04em; opacity: .78 }
.pf-letter { font-weight: 650; opacity: .85 }
.pf-cut { font-size: .85rem; opacity: .78; margin: .6rem 0 0 }
.pf-track { flex: 1; height: .35rem; border-radius: 1rem; overflow: hidden;
  background: color-mix(in srgb, currentColor 12%, transparent) }
.pf-track > div { height: 100%; border-radius: 1rem; background: #3d8aae }
.pf-note { max-width: 34rem; margin: 12vh auto 0; text-align: center }
.pf-note h2 { font-size: 1.4rem; padding: 0 0 .4rem } .pf-note p { line-height: 1.6 }
.pf-facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(12.5rem, 1fr));
  gap: .8rem }
.pf-fact { border: 1px solid color-mix(in srgb, currentColor 15%, transparent);
  border-radius: .5rem; padding: .7rem .9rem; overflow-wrap: anywhere }
.pf-fact .pf-name { font-size: .85rem; opacity: .8 }
.pf-fact .pf-value { font-size: 1.5rem; line-height: 1.4 }
.pf-fact .pf-more { font-size: .82rem; opacity: .8 }
.pf-table { width: 100%; border-collapse: collapse; font-size: .95rem }
.pf-table th { text-align: left; font-weight: 600; font-size: .82rem; opacity: .8 }
.pf-table th, .pf-table td { padding: .4rem .8rem .4rem 0; vertical-align: top;
  border-bottom: 1px solid color-mix(in srgb, currentColor 12%, transparent) }
/* A word as long as a name may be wraps in its own column, and pushes no other out of sight. */
.pf-table td:not(.pf-number) { max-width: 20rem; overflow-wrap: break-word }
/* A shadow on the side to which there is more to scroll; where there is none, the page's own colour
   lies over it. */
.pf-scroll { overflow-x: auto; --page: light-dark(#fbfaf8, #15181b);
  --shade: light-dark(#23282c1f, #e4e6e81f);
  background: linear-gradient(to right, var(--page) 40%, transparent) left / 2.4rem 100% local,
    linear-gradient(to left, var(--page) 40%, transparent) right / 2.4rem 100% local,
    linear-gradient(to right, var(--shade), transparent) left / .6rem 100% scroll,
    linear-gradient(to left, var(--shade), transparent) right / .6rem 100% scroll;
  background-repeat: no-repeat;
  /* Its bar on a ground of its own, or the shadows would stand below the table too. */
  scrollbar-color: color-mix(in srgb, currentColor 35%, transparent) var(--page) }
/* What a row is of stays in view while it is scrolled. */
.pf-table:not(:has(td:first-child .pf-moment)) :is(th, td):first-child { position: sticky; left: 0;
  background: var(--page) }
.pf-table a, .pf-link a, .pf-about a { color: inherit; text-decoration: underline }
.pf-about { font-size: .85rem; opacity: .75 }
.pf-whole { white-space: nowrap }
.pf-bad { font-weight: 600; color: light-dark(#a52a1e, #ff9d92); overflow-wrap: anywhere }
.pf-number { text-align: right !important; font-variant-numeric: tabular-nums }
.pf-table .pf-number + :not(.pf-number) { padding-left: .8rem }
@media (max-width: 640px) {
  .stMainBlockContainer { padding-left: .8rem; padding-right: .8rem }
  .pf-facts { grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .5rem }
  [data-testid=stTooltipContent] { width: max-content; max-width: min(24rem, 92vw) }
  [data-variant="segmented_control"] { padding-inline: .7rem } /* nine ranks in one row */
  .pf-table td:not(.pf-number):not(:has(> .pf-moment)) { max-width: 6.5rem }
}
</style>"""
