"""The page of worked examples is up to date, has the numbers of the table, and is linked to."""

from __future__ import annotations

import json
import re
import zlib
from base64 import b64decode
from typing import Any

from . import worked_examples
from .worked_examples import EXAMPLES, PAGE, explained


def taken_apart(html: str) -> tuple[str, Any]:
    """The page without its nodes, and these: versions of zlib pack the same to different bytes."""
    before, packed, after = re.split(r'(?<=id="data-nodes">)([^<]*)(?=</script>)', html)
    return before + after, json.loads(zlib.decompress(b64decode(packed), -zlib.MAX_WBITS))


def test_the_page_is_up_to_date() -> None:
    # All of it: one word of a script that is not the one its policy has the digest of, and no
    # browser runs it.
    made = taken_apart(explained().page().html())
    assert taken_apart(PAGE.read_text("utf-8")) == made, "run `make docs`"


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
