"""The look of the leads' pages, beyond what all pages share (`annotate.style`)."""

STYLE = """<style>
.pf-alarm { border-left: 4px solid #d9534f; padding: .6rem .9rem; margin-bottom: .6rem;
  border-radius: .4rem; background: color-mix(in srgb, #d9534f 10%, transparent) }
.pf-alarm ul { margin: .3rem 0 0; padding-left: 1.2rem } .pf-alarm li { margin: .15rem 0 }
.pf-alarm li > span { opacity: .75; font-size: .85em; white-space: nowrap }
.pf-alarm, .pf-calm, .pf-few { overflow-wrap: anywhere }
.pf-calm { border-left: 4px solid #4c9a6a; padding: .5rem .9rem; border-radius: .4rem;
  background: color-mix(in srgb, #4c9a6a 9%, transparent) }
.pf-few { border-left: 4px solid color-mix(in srgb, currentColor 35%, transparent);
  padding: .5rem .9rem; border-radius: .4rem;
  background: color-mix(in srgb, currentColor 5%, transparent) }
.pf-alarm a { color: inherit; text-decoration: underline }
.pf-mark { display: inline-block; margin-left: .35rem; padding: 0 .4rem; border-radius: .8rem;
  font-size: .75rem; color: #fff; background: #b93632; white-space: nowrap }
.pf-compact { font-size: .9rem }
.pf-compact td, .pf-compact th { padding-right: .9rem; white-space: nowrap }
.pf-compact td:first-child { min-width: 9.5rem; white-space: normal }
.pf-compact th + th { text-align: right } .pf-compact td > div { font-size: .75rem; opacity: .75 }
[class*="st-key-row-"] button { justify-content: flex-start; text-align: left; width: 100%;
  min-height: 0; padding: .15rem .2rem }
[class*="st-key-row-"] button > div { justify-content: flex-start }
[class*="st-key-row-"] button p { text-align: left; overflow: hidden; text-overflow: ellipsis;
  white-space: nowrap; max-width: min(76rem, calc(100vw - 4rem)) }
[class*="st-key-row-"] button:hover { text-decoration: underline }
[class*="st-key-groups-"] { gap: .15rem } [class*="st-key-groups-"] .pf-role { margin-top: .7rem }
[class*="st-key-rows"] { gap: .1rem }
.pf-table td:not(.pf-number) { min-width: 4.5rem }
@media (max-width: 640px) {
  .st-key-browse-filters > [data-testid=stElementContainer] { min-width: 0;
    flex: 0 0 calc(50% - .5rem) !important; width: calc(50% - .5rem) !important }
  .st-key-browse-filters [data-testid=stSelectbox] { width: 100% !important }
  .pf-conversation { max-height: none }
  .pf-table td:not(.pf-number) { min-width: 6.5rem }
  [class*="st-key-row-"] button p { white-space: normal; display: -webkit-box;
    -webkit-box-orient: vertical; -webkit-line-clamp: 2 }
}
/* As high as the box beside them, so that the labels of both stand in one line. */
.st-key-quality-kinds [data-testid=stButtonGroup] { min-height: 4.25rem; display: flex;
  flex-direction: column; justify-content: space-between }
.st-key-quality-kinds [role=toolbar] { min-height: 2.5rem; align-items: center }
[data-testid=stCheckbox] label > :last-child * { white-space: normal; overflow: visible }
</style>"""
