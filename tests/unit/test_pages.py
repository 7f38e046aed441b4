"""Pages for people are read on narrow screens and with dark colours, too."""

from html.parser import HTMLParser

from city_platform.pages import page, table


class Cells(HTMLParser):
    """The cells of a table's body with the column that each names."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.named: list[str | None] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "td":
            self.named.append(dict(attrs).get("data-of"))


def test_a_cell_names_its_column_for_screens_where_rows_are_lists() -> None:
    html = table(("rule", 'in "plain" <words>', ""), [["<b>one</b>", "two", "bar"], ["three", "", ""]])
    assert Cells(html).named == ['in "plain" <words>', None, 'in "plain" <words>', None]
    assert "attr(data-of)" in page("A page", [html])


def test_an_empty_cell_is_empty_so_that_a_list_leaves_it_out() -> None:
    assert '<td data-of="b"></td>' in table(("a", "b"), [["one", ""]])
