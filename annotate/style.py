"""The look that Streamlit's theme cannot give. Colours mix from the text's own, so that light and
dark both work; the theme's colours are in `annotate.server`."""

STYLE = """<style>
.stMainBlockContainer { max-width: 1280px; padding-top: 4.2rem; padding-bottom: 1rem }
.pf-text { line-height: 1.6; overflow-wrap: anywhere; unicode-bidi: isolate; font-size: 1rem }
.pf-text > :first-child { margin-top: 0 } .pf-text > :last-child { margin-bottom: 0 }
.pf-text h1, .pf-text h2, .pf-text h3, .pf-text h4, .pf-text h5, .pf-text h6 {
  font-size: 1.08rem; font-weight: 650; margin: .8em 0 .3em; padding: 0 }
.pf-text p, .pf-text ul, .pf-text ol { margin: 0 0 .7em } .pf-text li { margin: .15em 0 }
.pf-text ul, .pf-text ol { padding-left: 1.5rem }
.pf-text pre, .pf-text :not(pre) > code { border-radius: .35rem; font-size: .88rem;
  background: color-mix(in srgb, currentColor 8%, transparent) }
.pf-text pre { padding: .6rem .8rem; overflow-x: auto; white-space: pre }
.pf-text pre code { background: none; font-size: inherit; color: inherit }
.pf-text :not(pre) > code { padding: .1em .3em; color: inherit }
.pf-text table { border-collapse: collapse; display: block; overflow-x: auto; margin-bottom: .7em }
.pf-text th, .pf-text td { padding: .25rem .6rem; text-align: start;
  border: 1px solid color-mix(in srgb, currentColor 20%, transparent) }
.pf-text blockquote { margin: 0 0 .7em; padding-left: .8rem;
  border-left: 3px solid color-mix(in srgb, currentColor 25%, transparent) }
.pf-address, .pf-empty { opacity: .65; font-size: .9em }
.pf-pane { max-height: max(13rem, calc(100dvh - 29rem)); overflow-y: auto; padding-right: .4rem;
  scrollbar-width: thin }
.pf-pane:focus-visible { outline: 2px solid currentColor; outline-offset: 4px }
.pf-conversation { max-height: 26dvh; overflow-y: auto; scrollbar-width: thin; padding: .7rem 1rem;
  border-radius: .5rem; background: color-mix(in srgb, currentColor 5%, transparent) }
.pf-turn + .pf-turn, details + .pf-turn { margin-top: .6rem; padding-top: .6rem;
  border-top: 1px solid color-mix(in srgb, currentColor 10%, transparent) }
.pf-conversation summary { cursor: pointer; opacity: .75; font-size: .9rem }
.pf-role { font-size: .72rem; font-weight: 650; letter-spacing: .04em; opacity: .6 }
.pf-letter { font-weight: 650; opacity: .75 }
.pf-bar { display: flex; align-items: center; gap: .8rem; font-size: .85rem }
.pf-bar > span { opacity: .75; white-space: nowrap }
.pf-track { flex: 1; height: .35rem; border-radius: 1rem; overflow: hidden;
  background: color-mix(in srgb, currentColor 12%, transparent) }
.pf-track > div { height: 100%; border-radius: 1rem; background: #3d8aae }
.pf-note { max-width: 34rem; margin: 12vh auto 0; text-align: center }
.pf-note h2 { font-size: 1.4rem; padding: 0 0 .4rem } .pf-note p { line-height: 1.6 }
.pf-status { font-size: .88rem; min-height: 1.4rem; opacity: .8 }
.pf-status.pf-bad { color: #c0392b; opacity: 1; font-weight: 600 }
.pf-facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(12.5rem, 1fr));
  gap: .8rem }
.pf-fact { border: 1px solid color-mix(in srgb, currentColor 15%, transparent);
  border-radius: .5rem; padding: .7rem .9rem }
.pf-fact .pf-name { font-size: .85rem; opacity: .7 }
.pf-fact .pf-value { font-size: 1.5rem; line-height: 1.4 }
.pf-fact .pf-more { font-size: .82rem; opacity: .7 }
.pf-table { width: 100%; border-collapse: collapse; font-size: .95rem }
.pf-table th { text-align: left; font-weight: 600; font-size: .82rem; opacity: .7 }
.pf-table th, .pf-table td { padding: .4rem .8rem .4rem 0; vertical-align: top;
  border-bottom: 1px solid color-mix(in srgb, currentColor 12%, transparent) }
.pf-scroll { overflow-x: auto }
.pf-number { text-align: right !important; font-variant-numeric: tabular-nums }
.stMainBlockContainer:has(.st-key-desk-bar) { padding-bottom: 13rem }
div:has(> .st-key-to-top) { display: none }
.st-key-desk-bar { position: fixed; bottom: 0; left: 0; right: 0; width: auto; z-index: 5;
  padding: .6rem max(1rem, calc((100vw - 1280px) / 2 + 5rem)) .3rem; gap: .5rem;
  background: light-dark(#fbfaf8, #15181b);
  border-top: 1px solid color-mix(in srgb, currentColor 12%, transparent) }
.st-key-answers { display: grid !important; grid-template-columns: repeat(6, 1fr); gap: .5rem }
.st-key-answers > *, .st-key-answers button { width: 100% !important; min-width: 0 !important }
.st-key-answers button { min-height: 2.7rem }
[class*="st-key-ranks-"] button { min-width: 2.3rem; padding: .2rem .3rem; min-height: 2.2rem;
  border-radius: 0; margin-left: -1px }
@media (max-width: 640px) {
  .stMainBlockContainer { padding-left: .8rem; padding-right: .8rem }
  .st-key-answers { grid-template-columns: repeat(3, 1fr); gap: .4rem }
  .stMainBlockContainer:has(.st-key-desk-bar) { padding-bottom: 1rem }
  .st-key-desk-bar { position: static; padding: .5rem 0 8rem }
  .st-key-answers { position: fixed; bottom: 0; left: 0; right: 0; padding: .5rem .6rem;
    background: light-dark(#fbfaf8, #15181b) }
  .st-key-answers button { padding: .3rem; font-size: .85rem; line-height: 1.25 }
  .pf-pane { max-height: none } .pf-conversation { max-height: 30dvh }
  .st-key-extras > .stElementContainer:first-child { flex-basis: 100% !important }
  .pf-bar { flex-wrap: wrap; gap: .2rem .8rem } .pf-track { flex-basis: 100% }
}
</style>"""
