"""Pages of one file each, for people: HTML that needs no script, no network and no other file.

Colours follow the reader's light or dark setting, everything is reached by keyboard, and no meaning is carried by
colour alone. Whatever comes from data or contracts goes through `escape`.
"""

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["columns_of_bars", "escape", "page", "share", "table", "tiles"]

_STYLE = """\
:root { color-scheme: light dark; --page: #fff; --ink: #1b1f24; --soft: #57606a; --line: #d5dae0; --area: #f4f6f8;
  --accent: #1f5fa8; --warm: #a8421f; }
@media (prefers-color-scheme: dark) { :root { --page: #14181d; --ink: #e6e9ed; --soft: #a3adb8; --line: #343c46;
  --area: #1d232a; --accent: #79b3f0; --warm: #f0a279; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem; background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .25rem; } h2 { font-size: 1.25rem; margin: 2.25rem 0 .5rem; }
h3 { font-size: 1.05rem; margin: 0; display: inline; } p { max-width: 48rem; } .soft { color: var(--soft); }
a { color: var(--accent); } :focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.skip { position: absolute; left: -99rem; } .skip:focus { position: static; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .9rem; margin: .5rem 0; }
th, td { text-align: left; vertical-align: top; padding: .3rem .7rem .3rem 0; border-bottom: 1px solid var(--line); }
thead th { border-bottom-width: 2px; white-space: nowrap; } td.n, th.n { text-align: right; white-space: nowrap;
  font-variant-numeric: tabular-nums; } tbody th { font-weight: 600; }
dl.tiles { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1rem 0; } dl.tiles div { background: var(--area);
  border: 1px solid var(--line); border-radius: .4rem; padding: .5rem .9rem; min-width: 8rem; }
dl.tiles dt { color: var(--soft); font-size: .85rem; } dl.tiles dd { margin: 0; font-size: 1.35rem; font-weight: 600; }
details { border: 1px solid var(--line); border-radius: .4rem; margin: .6rem 0; padding: .5rem .9rem; }
summary { cursor: pointer; } .split { display: grid; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr));
  gap: 1.5rem; align-items: start; } .bar { display: block; height: .7rem; background: var(--accent);
  min-width: 1px; } .track { display: block; width: 7rem; background: var(--area); border: 1px solid var(--line); }
svg { display: block; width: 100%; height: auto; } svg rect { fill: var(--accent); }
svg line { stroke: var(--line); } svg text { fill: var(--soft); font: 11px system-ui, sans-serif; }
.note { border-left: 4px solid var(--warm); padding: .2rem .9rem; } .tag { border: 1px solid var(--line);
  border-radius: .6rem; padding: 0 .5rem; font-size: .8rem; white-space: nowrap; } .tag.personal {
  border-color: var(--warm); color: var(--warm); } td.r { text-align: right; font-variant-numeric: tabular-nums;
  border: 1px solid var(--page); padding: .3rem .5rem; background: color-mix(in srgb, var(--tone) calc(var(--r) * 55%),
  transparent); } @media print { details { break-inside: avoid; } body { max-width: none; } }
@media (max-width: 40rem) { .tag { white-space: normal; }
  .wide :is(table, tbody, tr, th, td) { display: block; } .wide thead { display: none; }
  .wide tr { border-bottom: 1px solid var(--line); padding: .4rem 0; } .wide :is(th, td) { border: 0; padding: .1rem 0;
  overflow-wrap: anywhere; } .wide td:empty { display: none; } .wide td[data-of] { display: grid; gap: .7rem;
  grid-template-columns: minmax(6rem, 30%) 1fr; } .wide td[data-of]::before { content: attr(data-of);
  color: var(--soft); overflow-wrap: normal; } .wide td.n { text-align: left; white-space: normal; } }
"""

_BAR, _GAP, _HEIGHT = 38, 4, 110


def page(title: str, body: Iterable[str], style: str = "", head: str = "", above: str = "") -> str:
    """A whole page. `title` is text; `body`, `head` and what stands `above` the content are HTML; `style` is CSS for
    what only this page has.
    """
    return (
        '<!doctype html>\n<html lang="en-CA">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{_STYLE}{style}</style>\n{head}</head>\n<body>\n"
        f'<a class="skip" href="#content">To the content</a>\n{above}<main id="content">\n'
        f'<h1 dir="auto">{escape(title)}</h1>\n' + "\n".join(body) + "\n</main>\n</body>\n</html>\n"
    )


def table(headers: Sequence[str], rows: Iterable[Sequence[str]], numeric: Sequence[int] = ()) -> str:
    """A table: headers are text, cells are HTML, a row's first cell is its header; `numeric` columns align right.

    Where the screen is narrow a row is a list, each cell after the name of its column.
    """

    def cell(kind: str, place: int, html: str, more: str = "") -> str:
        return f"<{kind}{more}{' class=n' if place in numeric else ''}>{html}</{kind}>"

    names = [f' data-of="{escape(one)}"' if one else "" for one in headers]

    head = "".join(cell("th", place, escape(one), " scope=col") for place, one in enumerate(headers))
    body = "\n".join(
        "<tr>"
        + "".join(
            cell("td", place, f"<span>{one}</span>" if names[place] and one else one, names[place])
            if place
            else cell("th", place, one, " scope=row")
            for place, one in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def tiles(figures: Iterable[tuple[str, str]]) -> str:
    """Figures at a glance: name and value, both text."""
    listed = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in figures)
    return f'<dl class="tiles">{listed}</dl>'


def share(part: float) -> str:
    """A bar for a share from 0 to 1; say the share beside it, a bar alone says nothing to who cannot see it."""
    width = f"{100 * min(max(part, 0.0), 1.0):.1f}%"
    return f'<span class="track" aria-hidden="true"><span class="bar" style="width:{width}"></span></span>'


def columns_of_bars(label: str, counts: Sequence[int], low: str, high: str) -> str:
    """A histogram as SVG; `label` says in words what it shows, `low` and `high` stand below its ends. All are text."""
    width, most = len(counts) * (_BAR + _GAP), max([*counts, 1])
    ends = f'<text x="{width}" y="{_HEIGHT + 14}" text-anchor="end">{escape(high)}</text>'
    bars = "".join(
        f'<rect x="{place * (_BAR + _GAP)}" y="{_HEIGHT - height:.1f}" width="{_BAR}" height="{height:.1f}">'
        f"<title>{count:,}</title></rect>"
        for place, count in enumerate(counts)
        for height in [max(_HEIGHT * count / most, 1.0 if count else 0.0)]
    )
    return (
        f'<svg viewBox="0 0 {max(width, 300)} {_HEIGHT + 18}" role="img" aria-label="{escape(label)}">{bars}'
        f'<line x1="0" x2="{width}" y1="{_HEIGHT}" y2="{_HEIGHT}"/><text x="0" y="{_HEIGHT + 14}">{escape(low)}</text>'
        f"{ends if len(counts) > 1 else ''}</svg>"  # below a single bar there is no room for two
    )
