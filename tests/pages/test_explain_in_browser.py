"""The page of numbers in a real browser: by mouse, by keyboard, against the arrays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cauce
from cauce import nn
from cauce.explaining import Explained

from .browser import Watched, browsing, needs_browser
from .worked_examples import PAGE

pytestmark = [needs_browser, pytest.mark.slow]


@cauce.network
def net(image: Any) -> Any:
    x = nn.max_pool2d(nn.batch_norm(nn.conv2d(image, 2, 3, padding=1)), 2)
    return nn.softmax(nn.linear(nn.flatten(x), 3))


@pytest.fixture(scope="module")
def explained() -> Explained:
    x = np.random.default_rng(0).integers(-3, 4, (2, 1, 4, 4)).astype(np.float32)
    return cauce.explain(net.init(image=("N", 1, 4, 4), seed=1), x)


@pytest.fixture
def seen(explained: Explained, tmp_path: Path) -> Iterator[Watched]:
    explained.save(tmp_path / "net.html")
    with browsing(tmp_path / "net.html") as watched:
        yield watched


def last_step(seen: Watched) -> str:
    return seen.texts(".steps li")[-1]


def test_it_opens_without_errors_and_lists_the_nodes(seen: Watched, explained: Explained) -> None:
    names = [text.split("\n")[0] for text in seen.page.locator("nav button").all_inner_texts()]
    assert names == [value.name for node in explained.nodes for value in node.results]
    assert last_step(seen) == explained.explanation("conv1", (0, 0, 0, 0)).steps[-1]


def test_a_click_shows_the_window_and_the_formula(seen: Watched, explained: Explained) -> None:
    seen.page.click(".output td >> nth=6")
    one = explained.explanation("conv1", (0, 0, 1, 2))
    assert seen.texts(".steps li") == list(one.steps)
    assert seen.count(".arrays .array:not(.output) td.read") == 9 + 9 + 1
    assert seen.count(".terms button") == len(one.terms) == 10
    seen.page.hover(".terms button >> nth=4")
    assert seen.count("td.hot") == 2


def test_the_cells_of_a_window_name_their_terms(seen: Watched) -> None:
    seen.page.click(".output td >> nth=0")
    assert seen.count("td.padding.read") == 5
    seen.page.hover("td.padding.read >> nth=0")
    assert seen.count(".terms button.hot") == 1


def test_arrows_and_pages_move_the_choice(seen: Watched, explained: Explained) -> None:
    seen.page.click(".output td >> nth=0")
    for keys, index in (
        (["ArrowRight", "ArrowDown"], (0, 0, 1, 1)),
        (["PageDown"], (0, 1, 1, 1)),
        (["PageDown", "Home"], (1, 0, 0, 0)),
        (["ArrowUp", "ArrowLeft"], (1, 0, 0, 0)),
        (["End"], (1, 0, 3, 3)),
        (["ArrowDown", "PageUp"], (0, 1, 3, 3)),
    ):
        for key in keys:
            seen.page.keyboard.press(key)
        assert last_step(seen) == explained.explanation("conv1", index).steps[-1]
        focused = seen.evaluate("document.activeElement.getAttribute('aria-selected')")
        assert focused == "true"


def test_brackets_move_from_node_to_node(seen: Watched, explained: Explained) -> None:
    for name, key in (("bn1", "]"), ("max_pool1", "]"), ("bn1", "[")):
        seen.page.keyboard.press(key)
        assert seen.page.locator("nav button[aria-current=true]").inner_text().startswith(name)
        index = (0, 0, 0, 0)
        assert seen.texts(".steps li") == list(explained.explanation(name, index).steps)


def test_buttons_turn_the_slices(seen: Watched, explained: Explained) -> None:
    assert "slice 1 of 4" in seen.text(".pager")
    seen.page.click(".pager button >> nth=1")
    assert "slice 2 of 4" in seen.text(".pager")
    assert last_step(seen) == explained.explanation("conv1", (0, 1, 0, 0)).steps[-1]


def test_elements_of_every_node_show_what_the_arrays_say(
    seen: Watched, explained: Explained
) -> None:
    click = "document.querySelectorAll('.output td')[%d].click()"
    for node in explained.nodes:
        (value,) = node.results
        shape = explained.arrays[value.name].shape
        seen.page.locator(f"nav button:has-text('{value.name}')").first.click()
        in_slice = int(np.prod(shape[-2:]))
        for slice_ in range(int(np.prod(shape)) // in_slice):
            if slice_:
                seen.page.click(".pager button >> nth=1")
            for cell in {0, in_slice // 2, in_slice - 1}:
                seen.evaluate(click % cell)
                index = [int(at) for at in np.unravel_index(slice_ * in_slice + cell, shape)]
                wanted = explained.explanation(value.name, index)
                assert seen.texts(".steps li") == list(wanted.steps)
                assert seen.texts(".terms button") == [
                    f"{term.text} → {term.shown_value}" if term.shown_value else term.text
                    for term in wanted.terms
                ]


@pytest.mark.parametrize("width", [360, 1500])
@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_narrow_and_wide_windows(
    explained: Explained, tmp_path: Path, width: int, dark: bool
) -> None:
    explained.save(tmp_path / "net.html")
    with browsing(tmp_path / "net.html", width=width, dark=dark) as seen:
        assert seen.evaluate("document.documentElement.scrollWidth") <= width


def test_the_worked_examples_open_at_a_link() -> None:
    with browsing(PAGE) as seen:
        seen.evaluate("location.hash = 'dropout'")
        seen.page.reload()
        seen.page.wait_for_selector("html[data-ready]", state="attached")
        assert seen.page.locator("nav button[aria-current=true]").inner_text().startswith("dropout")
        assert last_step(seen) == "y[0,0,0,0] = 2"
        seen.page.click("nav button >> nth=0")
        seen.page.click(".output td >> nth=1")
        assert seen.texts(".steps li")[0] == "y = 2·1 + 1·0 + 3·2 + 1·1"


def test_names_of_strangers_are_text_alone(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    evil = '<img src=x onerror=alert(1)></script><script>alert(2)</script>"\u2028'
    node = onnx.helper.make_node("Relu", ["x"], ["y"], name=evil)
    info = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1, 2]) for n in "xy"]
    graph = onnx.helper.make_graph([node], evil, info[:1], info[1:])
    opset = [onnx.helper.make_opsetid("", 18)]
    model = cauce.load_onnx(onnx.helper.make_model(graph, opset_imports=opset, ir_version=10))
    cauce.explain(model, np.ones((1, 2), np.float32)).save(tmp_path / "net.html")
    with browsing(tmp_path / "net.html") as seen:
        assert seen.count("img") == 0
        assert "onerror" in seen.text("nav button")
