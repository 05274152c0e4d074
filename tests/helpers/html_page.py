"""Parsing of HTML pages: every element must be closed, and refer to nothing outside the page."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"img", "input", "link", "meta"}
REFERENCES = {"src", "href", "action", "srcset", "poster", "data", "xlink:href"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str | None]
    text: str = ""
    children: list["Element"] = field(default_factory=list)

    @property
    def classes(self) -> set[str]:
        return {*(self.attributes.get("class") or "").split()}

    def find(self, tag: str, **attributes: str) -> list["Element"]:
        """All elements inside with a tag and the values of attributes; `data_x` is the attribute data-x."""
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        found = [child for child in self.children if child.tag == tag and wanted.items() <= child.attributes.items()]
        return found + [inner for child in self.children for inner in child.find(tag, **attributes)]

    def texts(self) -> str:
        return self.text + "".join(child.texts() for child in self.children)


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open = [Element("document", {})]

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len({*names}), f"<{tag}> has an attribute twice: {names}"
        element = Element(tag, dict(attrs))
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop().tag == tag, f"</{tag}> at {self.getpos()} closes another element"

    def handle_data(self, data):
        self.open[-1].text += data


def parse(page: str) -> Element:
    """Return the root of a page. It is an error if elements are not closed in order, or if the page refers outside."""
    parser = _Parser()
    parser.feed(page)
    parser.close()
    assert len(parser.open) == 1, f"<{parser.open[-1].tag}> is not closed"
    assert not re.search(r"https?:|@import|url\(", page), "an address"
    _check(parser.open[0], {element.attributes.get("id") for element in _everything(parser.open[0])})
    return parser.open[0]


def _everything(element: Element) -> list[Element]:
    return [element, *(inner for child in element.children for inner in _everything(child))]


def _check(element: Element, ids: set[str | None]) -> None:
    for name, value in element.attributes.items():
        assert not name.startswith("on"), f"{name} of <{element.tag}> runs code"
        if name in REFERENCES:
            local = value.startswith("#") and value[1:] in ids
            assert local or value.startswith("data:"), f"{name}={value} of <{element.tag}> leads out of the page"
        if name == "aria-labelledby":
            assert value in ids
    for child in element.children:
        _check(child, ids)
