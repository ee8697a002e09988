"""The page of worked examples is up to date, has the numbers of the table, and is linked to."""

from __future__ import annotations

import json
import re
import zlib
from base64 import b64decode
from typing import Any

from . import worked_examples
from .worked_examples import EXAMPLES, PAGE, explained


def nodes_of(html: str) -> Any:
    found = re.search(r'id="data-nodes">([^<]*)</script>', html)
    assert found is not None
    return json.loads(zlib.decompress(b64decode(found[1]), -zlib.MAX_WBITS))


def test_the_page_is_up_to_date() -> None:
    told = nodes_of(explained().page().html())
    assert nodes_of(PAGE.read_text("utf-8")) == told, "run `make docs`"


def test_its_numbers_are_those_of_the_table_that_links_to_it() -> None:
    table = PAGE.with_name("semantics.md").read_text("utf-8")
    rows = re.findall(r"^\| \[[^]]*\]\(worked-examples\.html#([\w-]+)\) \| `(.*)` \|$", table, re.M)
    assert [name for name, _ in rows] == list(EXAMPLES)
    found = explained()
    for name, result in rows:
        array = found.arrays[name][0, 0]
        shown = json.loads(result)
        assert (array if array.shape[0] > 1 else array[0]).tolist() == shown, name


def test_the_examples_are_those_of_the_tests() -> None:
    from ..ir import test_worked_examples

    for name in ("INPUT", "FILTER"):
        assert getattr(worked_examples, name) == getattr(test_worked_examples, name)
