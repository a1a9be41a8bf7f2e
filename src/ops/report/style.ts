/** The page's look: quiet type, hairlines, one accent. Light or dark as the reader's system is, and fit to print. */
export const pageStyle = `
:root {
  color-scheme: light dark;
  --paper: #fbfaf7; --ink: #1c1b19; --muted: #716e66; --rule: #e3e0d8; --wash: #f3f1eb;
  --accent: #2c6e63; --good: #2c6e4f; --bad: #a8452e;
  --serif: "Iowan Old Style", "Palatino Linotype", Palatino, "URW Palladio L", "Source Serif 4", Georgia, serif;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  --mono: ui-monospace, "SF Mono", "Cascadia Code", Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #171614; --ink: #e9e6df; --muted: #9b978d; --rule: #33312d; --wash: #201f1c;
    --accent: #7fc4b5; --good: #86c9a0; --bad: #e58c74;
  }
}
*, *::before, *::after { box-sizing: border-box }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100% }
body {
  margin: 0 auto; padding: clamp(1.5rem, 5vw, 4.5rem) clamp(1.1rem, 4vw, 2rem) 5rem; max-width: 54rem;
  background: var(--paper); color: var(--ink);
  font: 400 1rem/1.55 var(--sans); font-variant-numeric: tabular-nums lining-nums;
}
h1, h2, h3, p, ul, dl, dd, figure { margin: 0 }
h2 { margin: 4rem 0 1rem; font: 500 1.35rem/1.25 var(--serif) }
h3 { margin: 2rem 0 .4rem; font: 600 .95rem/1.4 var(--sans) }
.lede { color: var(--muted); max-width: 42rem; margin-bottom: 1.1rem }
.kicker { color: var(--muted); font-size: .9rem; display: flex; flex-wrap: wrap; gap: .2rem 1.4rem }
.kicker strong { color: var(--ink); font-weight: 600 }
h1 { margin: 1.6rem 0 .7rem; font: 500 clamp(2.4rem, 7vw, 3.6rem)/1.05 var(--serif); letter-spacing: -.015em }
.promoted h1 { color: var(--good) }
.refused h1 { color: var(--bad) }
.sentence { font: 400 clamp(1.1rem, 2.6vw, 1.3rem)/1.5 var(--serif); max-width: 42rem; text-wrap: pretty }
table { width: 100%; border-collapse: collapse }
th { font-weight: 500; color: var(--muted); text-align: left; font-size: .85rem; padding: 0 1rem .5rem 0; vertical-align: bottom }
td { border-top: 1px solid var(--rule); padding: .7rem 1rem .7rem 0; vertical-align: top }
th:last-child, td:last-child { padding-right: 0 }
.number { text-align: right; white-space: nowrap }
td .about, .small { display: block; color: var(--muted); font-size: .85rem; line-height: 1.4; overflow-wrap: anywhere }
.contenders td { vertical-align: middle }
.contenders .score { font-size: 1.25rem; font-weight: 500 }
.contenders .owned .name { font-weight: 600 }
.contenders .plot { width: 42%; min-width: 9rem }
.interval { display: block; width: 100%; height: 1.6rem; overflow: visible }
.interval .track { stroke: var(--rule); stroke-width: 1 }
.interval .range { stroke: var(--muted); stroke-width: 3; stroke-linecap: round; opacity: .55 }
.interval .mean { fill: var(--muted) }
.owned .interval .range { stroke: var(--accent) }
.owned .interval .mean { fill: var(--accent) }
.difference { margin-top: 1.2rem; padding-top: .8rem; border-top: 1px solid var(--ink) }
.notes { padding: 0; list-style: none; max-width: 42rem }
.notes li { padding: .45rem 0 .45rem 1.1rem; border-left: 3px solid var(--rule) }
#loss { min-height: 200px }
.uplot { font-family: var(--sans) }
.u-legend { font-size: .82rem; color: var(--muted); text-align: left }
.u-legend td, .u-legend th { border: 0; padding: .1rem .3rem }
.u-legend.u-inline tr { margin-right: 1.2rem }
.u-legend.u-inline.u-live th::after { content: none }
.u-legend th { font-weight: 400 }
.u-legend .u-marker { width: .9rem; height: 3px; border: 0 !important; border-radius: 2px }
.u-legend .u-value { width: 5.5em; color: var(--ink) }
figcaption { color: var(--muted); font-size: .9rem; margin-top: .6rem; max-width: 42rem }
.facts { display: flex; flex-wrap: wrap; gap: .15rem 1.3rem }
.facts div { display: flex; gap: .4rem }
.facts dt { color: var(--muted) }
.facts dd { overflow-wrap: anywhere }
.stages td { font-size: .93rem }
.stages tfoot td { font-weight: 600 }
.tally { color: var(--muted); font-weight: 400 }
details { border-top: 1px solid var(--rule) }
details:last-of-type { border-bottom: 1px solid var(--rule) }
summary { display: flex; gap: 1rem; align-items: baseline; padding: .6rem 0; cursor: pointer; list-style: none }
summary::-webkit-details-marker { display: none }
summary .request { flex: 1; min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; unicode-bidi: isolate }
details[open] summary .request { white-space: normal; overflow-wrap: anywhere }
summary .marks { display: flex; gap: .9rem; white-space: nowrap; font-size: .85rem; color: var(--muted) }
summary:hover .request { color: var(--accent) }
summary:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px }
.yes { color: var(--good) }
.no { color: var(--bad) }
.answers { display: grid; grid-template-columns: 9.5rem 1fr; gap: .5rem 1rem; padding: .3rem 0 1.4rem }
.answers dt { color: var(--muted); font-size: .9rem; padding-top: .35rem }
.answers dd { min-width: 0 }
pre {
  margin: 0; padding: .35rem .7rem; background: var(--wash); border-radius: 4px;
  font: .85rem/1.5 var(--mono); white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: isolate;
  max-height: 24rem; overflow: auto;
}
footer { margin-top: 4rem; padding-top: 1rem; border-top: 1px solid var(--rule); color: var(--muted); font-size: .85rem }
@media (max-width: 40rem) {
  h2 { margin-top: 3rem }
  .contenders thead, .stages thead { display: none }
  .contenders tr, .stages tr { display: grid; grid-template-columns: 1fr auto; border-top: 1px solid var(--rule); padding: .7rem 0 }
  .contenders td, .stages td { border: 0; padding: 0 }
  .contenders .plot { grid-column: 1 / -1; width: 100% }
  .stages td:last-child { grid-column: 1 / -1; padding-top: .2rem }
  .answers { grid-template-columns: 1fr; gap: .1rem }
  summary { flex-direction: column; gap: .1rem; align-items: stretch }
}
@media print {
  :root { --paper: #fff; --ink: #000; --muted: #555; --rule: #ccc; --wash: #f5f5f5; --accent: #2c6e63; --good: #1e5a3e; --bad: #8c3520 }
  body { max-width: none; padding: 0; font-size: 10pt }
  h2 { margin-top: 2rem; break-after: avoid }
  tr, details, figure { break-inside: avoid }
  pre { max-height: none }
}
`
