"""The page of a graph in a real browser, by mouse and by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cauce
from cauce import nn

from .browser import Watched, browsing, needs_browser

pytestmark = needs_browser


@cauce.network
def net(image: Any) -> Any:
    x = nn.relu(nn.batch_norm(nn.conv2d(image, 8, 3, padding=1, bias=False)))
    for number in (1, 2):
        with nn.scope(f"stage{number}"):
            for block in (1, 2):
                with nn.scope(f"block{block}"):
                    y = nn.batch_norm(nn.conv2d(x, 8, 3, padding=1, bias=False))
                    x = nn.relu(x + y)
    return nn.linear(nn.dropout(nn.global_avg_pool(x), 0.1), 5)


@pytest.fixture(scope="module")
def model_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a model, with a profile."""
    file = tmp_path_factory.mktemp("pages") / "net.html"
    model = net.init(image=("N", 3, 16, 16), seed=0)
    image = np.zeros((2, 3, 16, 16), np.float32)
    cauce.view(model, file, inputs=image, peak=1e11, threads=1)
    return file


@pytest.fixture(scope="module")
def step_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a training step."""
    file = tmp_path_factory.mktemp("pages") / "step.html"
    model = net.init(image=("N", 3, 16, 16), seed=0)
    step = cauce.train_step(model, "cross_entropy", cauce.SGD(0.1, momentum=0.9))
    cauce.view(step, file)
    return file


@pytest.fixture
def seen(model_page: Path) -> Iterator[Watched]:
    with browsing(model_page) as watched:
        yield watched


def test_it_opens_without_errors_and_shows_the_layers(seen: Watched) -> None:
    labels = seen.labels()
    assert {"image", "conv1", "bn1", "relu1", "stage1", "stage2", "output"} <= set(labels)
    seen.page.keyboard.press("c")
    assert seen.labels().count("stage1") == 1 and "block1" not in seen.labels()
    seen.page.keyboard.press("e")
    shown = set(seen.labels())
    assert {"conv1", "bn1", "add", "relu1", "block2", "linear1"} <= shown
    nodes = sum(1 for _ in net.init(image=("N", 3, 16, 16)).graph.nodes)
    assert seen.count(".box.leaf") == nodes + 2  # with the input and the output


@pytest.mark.slow
def test_groups_open_and_close_by_mouse_and_by_keyboard(seen: Watched) -> None:
    seen.page.keyboard.press("c")
    seen.page.locator('[data-toggle="g:0:stage1"]').last.click()
    assert seen.labels().count("block1") == 1
    assert seen.count('.box.open[data-id="g:0:stage1"]') == 1
    seen.page.locator('.handle[data-toggle="g:0:stage1"]').click()
    assert "block1" not in seen.labels()
    seen.page.locator('[data-id="g:0:stage2"]').dblclick(position={"x": 20, "y": 20})
    assert "block1" in seen.labels()
    seen.page.keyboard.press("Enter")  # it is chosen
    assert "block1" not in seen.labels()


@pytest.mark.slow
def test_arrow_keys_go_along_the_edges(seen: Watched) -> None:
    seen.page.locator(".drawing").focus()
    names = []
    for _ in range(4):
        seen.page.keyboard.press("ArrowDown")
        names.append(seen.evaluate("document.querySelector('.box.selected').dataset.id"))
    assert names == ["n:image", "n:conv1", "n:bn1", "n:relu1"]
    seen.page.keyboard.press("ArrowUp")
    assert seen.text(".panel-body .path") == "bn1"
    seen.page.keyboard.press("Escape")
    assert seen.count(".box.selected") == 0


@pytest.mark.slow
def test_a_click_shows_what_is_known_of_a_node(seen: Watched) -> None:
    seen.page.locator('[data-id="n:conv1"]').click()
    panel = seen.text(".panel-body")
    assert "test_view_in_browser.py" in panel and "nn.conv2d(image, 8, 3" in panel
    assert "sum over c, r, s" in panel and "f32[N,8,16,16]" in panel
    assert "padding" in panel and "read by" in panel
    seen.page.get_by_text("Gradient", exact=True).click()
    assert "conv2d_backward_weight" in seen.text(".fold pre")
    seen.page.locator(".panel-body section", has_text="Its schedule and code").locator(
        "button"
    ).click()
    assert seen.text(".stage-name").startswith("kernels")
    assert "Schedule" in seen.text(".panel-body") and seen.text(".panel-body h2") == "kernel"


@pytest.mark.slow
def test_the_slider_goes_to_the_kernels_and_says_which_rules_fired(seen: Watched) -> None:
    assert seen.text(".stage-name").startswith("network 1 of ")
    seen.page.keyboard.press("]")
    assert "ConvBatchNorm" in seen.text(".panel-body")
    assert "batch_norm(conv(x, w, b)) = conv(x, w * s" in seen.text(".panel-body")
    assert seen.count(".box.change") > 0 and "bn1" not in seen.labels()
    slider = seen.page.locator("footer input")
    slider.focus()
    seen.page.keyboard.press("End")
    assert seen.text(".stage-name").startswith("kernels")
    seen.page.locator('[data-id="n:relu1"]').click()
    panel = seen.text(".panel-body")
    assert "Schedule" in panel and "tile" in panel and "GFLOP/s" in panel.replace("\u202f", "")
    seen.page.get_by_text("LLVM IR", exact=True).click()
    seen.page.wait_for_selector(".code pre")
    assert "define" in seen.text(".code pre")
    seen.page.get_by_text("Assembly", exact=True).click()
    seen.page.wait_for_function("document.querySelectorAll('.code').length > 1")
    assert "ret" in seen.page.locator(".code pre").last.inner_text()
    seen.page.keyboard.press("[")
    assert not seen.text(".stage-name").startswith("kernels")


@pytest.mark.slow
def test_search_finds_opens_and_goes_on(seen: Watched) -> None:
    seen.page.keyboard.press("c")
    seen.page.keyboard.press("/")
    seen.page.keyboard.type("conv2d stage2")
    assert seen.text(".search .count") == "2 found"
    assert seen.count(".box.found") == 1  # the group that they are in
    seen.page.keyboard.press("Enter")
    assert seen.text(".search .count") == "1 of 2"
    assert seen.text(".panel-body .path") == "stage2.block1.conv1"
    seen.page.keyboard.press("Enter")
    assert seen.text(".panel-body .path") == "stage2.block2.conv1"
    box = seen.page.locator(".box.selected").bounding_box()
    assert box is not None and 0 < box["x"] < 900 and 40 < box["y"] < 760
    seen.page.keyboard.press("Escape")
    assert seen.count(".box.found") == 0


@pytest.mark.slow
@pytest.mark.parametrize("scale", ["time", "flops", "bytes", "peak"])
def test_colours_follow_the_profile(seen: Watched, scale: str) -> None:
    seen.page.keyboard.press("e")
    seen.page.locator("header select").select_option(scale)
    fills = seen.evaluate(
        "[...document.querySelectorAll('.box.leaf > rect:first-of-type')].map(r => r.style.fill)"
    )
    assert sum(bool(fill) for fill in fills) >= 5
    assert seen.text(".legend").startswith("0")


@pytest.mark.slow
def test_more_than_the_peak_is_explained(tmp_path: Path) -> None:
    pytest.importorskip("llvmlite")

    @cauce.network
    def wide(image: Any) -> Any:
        return nn.conv2d(nn.conv2d(image, 64, 3, padding=1, name="three"), 64, 1, name="one")

    model = wide.init(image=(1, 64, 28, 28))
    image = np.zeros((1, 64, 28, 28), np.float32)
    file = tmp_path / "wide.html"
    cauce.view(model, file, inputs=image, peak=1e3, threads=1, code=False)
    with browsing(file) as seen:
        seen.page.locator("footer input").press("End")
        seen.page.keyboard.press("e")
        kernels = seen.page.locator(".box.leaf", has_text="conv2d")
        shown = []
        for place in range(kernels.count()):
            kernels.nth(place).click()
            shown.append(seen.text(".panel-body"))
        assert len(shown) == 2 and all("of the peak" in text for text in shown)
        chosen = ["winograd" in text.partition("could run as")[0] for text in shown]
        assert ["multiplies less" in text for text in shown] == chosen
        assert not chosen[1]  # a filter of one pixel has no such algorithm


@pytest.mark.slow
def test_the_memory_plan_names_values(seen: Watched) -> None:
    seen.page.keyboard.press("m")
    assert seen.count(".arena") >= 1
    seen.page.locator(".buffer:not(.scratch)").first.hover()
    first = seen.text(".note")
    assert "launches" in first
    seen.page.locator(".arena").first.focus()
    seen.page.keyboard.press("ArrowRight")
    assert seen.text(".note") != first
    seen.page.keyboard.press("Enter")
    assert seen.count(".box.selected") == 1


@pytest.mark.slow
def test_weights_are_shown_when_asked(seen: Watched) -> None:
    seen.page.keyboard.press("e")
    before = seen.count(".box.leaf")
    seen.page.keyboard.press("w")
    seen.page.keyboard.press("e")
    parameters = len(net.init(image=("N", 3, 16, 16)).graph.inputs) - 1
    assert seen.count(".box.leaf") == before + parameters
    seen.page.keyboard.press("w")
    assert seen.count(".box.leaf") == before


@pytest.mark.slow
def test_backward_lies_beside_forward(step_page: Path) -> None:
    with browsing(step_page, width=1500, dark=True) as seen:
        assert seen.count(".heading") == 0  # the network alone
        seen.page.keyboard.press("]")
        assert seen.texts(".heading") == ["Forward", "Backward", "Update"]
        seen.page.keyboard.press("c")
        places = {
            name: seen.page.locator(f'[data-id="{name}"]').bounding_box()
            for name in ("g:0:stage1", "g:1:stage1", "g:2:stage1", "g:0:stage2", "g:1:stage2")
        }
        assert all(places.values())
        boxes: dict[str, Any] = places
        assert boxes["g:0:stage1"]["x"] < boxes["g:1:stage1"]["x"] < boxes["g:2:stage1"]["x"]
        for stage in ("stage1", "stage2"):
            assert abs(boxes[f"g:0:{stage}"]["y"] - boxes[f"g:1:{stage}"]["y"]) < 2
        assert boxes["g:0:stage1"]["y"] < boxes["g:0:stage2"]["y"]
        for _ in range(12):
            seen.page.keyboard.press("]")
        seen.page.keyboard.press("e")
        assert seen.count(".box.leaf") > 60


@pytest.mark.slow
def test_the_parts_of_a_block_stand_in_the_order_of_its_data(step_page: Path) -> None:
    """The group of a batch norm is done late, by its statistics, but it is read early."""
    with browsing(step_page, width=1500, height=3000) as seen:
        assert "from stage 2 on" in seen.text(".panel-body")
        for stage in range(2):
            seen.page.keyboard.press("e")
            for block in ("stage1.block1", "stage2.block2"):
                names = [f"{block}.conv1", f"{block}.bn1", f"{block}.add", f"{block}.relu1"]
                tops, bottoms = zip(*(_span(seen, name) for name in names))
                assert all(a < b for a, b in zip(bottoms, tops[1:])), (stage, tops, bottoms)
            seen.page.keyboard.press("]")


def _span(seen: Watched, path: str) -> tuple[float, float]:
    """The top and the bottom of the box of a layer, its group where that is open."""
    box = f'.box:is([data-id="n:{path}"], [data-id="g:0:{path}"])'
    found = seen.page.locator(box).first.bounding_box()
    assert found is not None, path
    return found["y"], found["y"] + found["height"]


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height"), [(390, 844), (820, 1100), (1920, 1080)])
def test_it_fits_any_window(model_page: Path, width: int, height: int) -> None:
    with browsing(model_page, width=width, height=height) as seen:
        assert seen.evaluate("document.documentElement.scrollWidth") <= width
        assert seen.evaluate("document.documentElement.scrollHeight") <= height
        box: Any = seen.page.locator(".drawing").bounding_box()
        assert box["width"] > 0.55 * width and box["height"] > 0.35 * height


NASTY = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(2)>.<svg onload=alert(3)>",
    "<!--<script>",
    "a\u2028b",
    "__proto__",
    "constructor.toString",
)


@pytest.mark.slow
def test_hostile_names_are_text(tmp_path: Path) -> None:
    graph = cauce.Graph(NASTY[0])
    value: Any = graph.add_input("x", cauce.ir.TensorType(cauce.ir.DType.F32, (2,)))
    for name in NASTY:
        value = graph.add_node(cauce.ir.ops.activation.Relu(), [value], names=(name,)).result
    graph.outputs[NASTY[1]] = value
    cauce.view(graph, tmp_path / "nasty.html", backend="numpy")
    with browsing(tmp_path / "nasty.html") as seen:
        assert seen.text("h1") == NASTY[0]
        seen.page.keyboard.press("e")
        seen.page.keyboard.press("/")
        seen.page.keyboard.type("relu")
        assert seen.text(".search .count") == f"{len(NASTY)} found"
        for _ in NASTY:
            seen.page.keyboard.press("Enter")
        seen.page.keyboard.press("Escape")
        seen.page.keyboard.press("m")
        assert seen.count("img, svg[onload], main script") == 0
