"""A page stands alone, and nothing that it shows is read as HTML or run as a script."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cauce.ir.errors import MissingFile
from cauce.pages.page import Markup, Page, element, escape, json_text, packed_text, static

FOLDER = Path(__file__).parents[2] / "pages" / "static"
STYLES = tuple(sorted(path.name for path in FOLDER.glob("*.css") if path.name != "base.css"))
SCRIPTS = tuple(sorted(path.name for path in FOLDER.glob("*.js") if path.name != "dom.js"))

NASTY = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "\u2028\u2029",
    '"><img src=x onerror=alert(1)>',
    "]]>",
    "\ud800",
    "\x00\x1b[31m",
    "&lt;&amp;",
]


class Elements(HTMLParser):
    """The elements of a page with their attributes, and the text in each script and style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.inside: list[tuple[str, str]] = []
        self.open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self.open = tag

    def handle_endtag(self, tag: str) -> None:
        self.open = ""

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self.open in ("script", "style"):
            self.inside.append((self.open, data))


def policy_of(text: str) -> dict[str, list[str]]:
    metas = [attrs for tag, attrs in Elements(text).found if tag == "meta"]
    (content,) = (m["content"] for m in metas if m.get("http-equiv") == "Content-Security-Policy")
    assert content is not None
    rules = (rule.split() for rule in content.split(";"))
    return {name: values for name, *values in rules}


@pytest.mark.parametrize("text", NASTY)
def test_data_comes_back_and_cannot_break_out(text: str) -> None:
    encoded = json_text({"name": text, text: [text, None, 1.5]})
    assert encoded.isascii() and not set(encoded) & set("<>&")
    back = json.loads(encoded)
    assert back["name"] == text and back[text] == [text, None, 1.5]


@given(st.text())
def test_any_text_comes_back(text: str) -> None:
    encoded = json_text([text])
    assert encoded.isascii() and not set(encoded) & set("<>&") and json.loads(encoded) == [text]
    squeezed = base64.b64decode(packed_text(text))
    assert json.loads(zlib.decompress(squeezed, -zlib.MAX_WBITS)) == text


def test_numbers_that_json_has_not_are_null() -> None:
    assert json_text([float("nan"), float("inf"), {"x": -float("inf")}]) == '[null,null,{"x":null}]'


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_an_element_shows_the_text_as_it_is(text: str) -> None:
    parsed = Elements(element("p", text, title=text))
    assert [tag for tag, _ in parsed.found] == ["p"]
    assert parsed.found[0][1]["title"] == text and "".join(parsed.texts) == text


def test_markup_is_kept_and_text_is_not() -> None:
    inner = element("b", "a<b")
    assert element("p", inner, "<i>") == "<p><b>a&lt;b</b>&lt;i&gt;</p>"
    assert escape(Markup("<br>")) == "<br>"
    assert element("div", class_="x", data_id=1, hidden=True, title=None) == (
        '<div class="x" data-id="1" hidden></div>'
    )


def test_nothing_but_our_scripts_may_run_and_no_request_leaves() -> None:
    text = Page("t", styles=STYLES, scripts=SCRIPTS, data={"view": NASTY}).html()
    policy = policy_of(text)
    assert policy["default-src"] == ["'none'"]
    assert policy["base-uri"] == policy["form-action"] == ["'none'"]
    parsed = Elements(text)
    scripts = [attrs for tag, attrs in parsed.found if tag == "script"]
    assert [attrs.get("type") for attrs in scripts] == ["application/json", None]
    (style,) = (body for tag, body in parsed.inside if tag == "style")
    script = parsed.inside[-1][1]
    for name, body in (("style-src", style), ("script-src", script)):
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert policy[name] == [f"'sha256-{digest}'"]
    named = {name for _, attrs in parsed.found for name in attrs}
    assert not named & {"src", "href", "srcset", "style"}
    assert not any(name.startswith("on") for name in named)


def test_names_of_pages_are_text() -> None:
    text = Page(NASTY[0], element("p", NASTY[3])).html()
    assert "alert(1)</script>" not in text and "<img" not in text


@pytest.mark.parametrize("name", ["base.css", "dom.js", *STYLES, *SCRIPTS])
def test_static_files_are_short_and_use_text_alone(name: str) -> None:
    text = static(name)
    assert len(text.splitlines()) <= 480
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", text)
    assert not re.search(
        r"https?://(?!www\.w3\.org/2000/svg)|\bfetch\(|XMLHttpRequest|@import", text
    )
    assert "</" not in text


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    page = Page("t", element("p", "ä\ud800"))
    page.save(tmp_path / "t.html")
    assert (tmp_path / "t.html").read_text(encoding="utf-8") == page.html()
    with pytest.raises(MissingFile):
        page.save(tmp_path / "none" / "t.html")
    assert [path.name for path in tmp_path.iterdir()] == ["t.html"]


def test_a_notebook_gets_a_frame_of_its_own() -> None:
    page = Page('a"b', scripts=SCRIPTS, data={"view": NASTY})
    ((tag, attributes),) = Elements(page._repr_html_()).found
    assert tag == "iframe" and attributes["sandbox"] == "allow-scripts"
    assert attributes["srcdoc"] == page.html()
    assert repr(page) == "<page 'a\"b'>"
