"""Draws ``residual-block.svg``: a residual block as a function, as a graph, as its kernels.

    python docs/images/residual_block.py

What is drawn is what cauce makes: the text of the function below, the nodes of its graph, and the
kernels that ``plan`` lists.
"""

from __future__ import annotations

import inspect
import re
from html import escape
from pathlib import Path

import cauce
from cauce import nn
from cauce.ir import Graph

PICTURE = Path(__file__).with_name("residual-block.svg")
INK, PALE, LINE = "#1f2937", "#6b7280", "#9ca3af"
COLOURS = {"conv2d": "#dbeafe", "batch_norm": "#ede9fe", "relu": "#dcfce7", "add": "#fef3c7"}
WIDTH, HEIGHT, TOP, STEP = 1080, 510, 96, 50


@cauce.network
def block(x):
    y = nn.conv2d(x, 32, 3, padding=1)
    y = nn.relu(nn.batch_norm(y))
    y = nn.conv2d(y, 32, 3, padding=1)
    y = nn.batch_norm(y)
    return nn.relu(x + y)


def kernels(plan: str) -> list[list[str]]:
    """The ops of each kernel, in order, out of the text of a plan."""
    bodies = re.findall(r"= kernel\(.*?\{\n(.*?)\n  \}", plan, re.DOTALL)
    return [re.findall(r"%\S+ = (\w+)\(", body) for body in bodies]


class Drawing:
    """Parts of a picture, as SVG."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def text(
        self, x: float, y: float, text: str, *, size: int = 14, colour: str = INK, **more: str
    ) -> None:
        """A line of text; further attributes with ``_`` for ``-``."""
        given = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in more.items())
        self.parts.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{colour}"{given} '
            f'xml:space="preserve">{escape(text)}</text>'
        )

    def box(self, x: float, y: float, width: float, height: float, fill: str, line: str) -> None:
        """A box with round corners."""
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="8" '
            f'fill="{fill}" stroke="{line}"/>'
        )

    def arrow(self, path: str) -> None:
        """A line that ends in an arrow."""
        self.parts.append(f'<path d="{path}" fill="none" stroke="{LINE}" marker-end="url(#end)"/>')

    def title(self, x: float, text: str, under: str) -> None:
        """The head of a column."""
        self.text(x, 40, text, size=19, font_weight="bold")
        self.text(x, 62, under, colour=PALE)


def draw_function(drawing: Drawing, x: float) -> None:
    drawing.title(x, "a function", "what you write")
    source = inspect.getsource(block.function)
    for number, line in enumerate(source.splitlines()):
        drawing.text(x, TOP + 40 + 26 * number, line, font_family="monospace")


def draw_graph(drawing: Drawing, x: float, graph: Graph) -> None:
    drawing.title(x, "a graph", "what it means, with types")
    middle, places = x + 75, {}
    drawing.text(middle, TOP + 4, "x", text_anchor="middle", font_family="monospace")
    for number, node in enumerate(graph.nodes):
        top = TOP + 22 + STEP * number
        places[node.op.name] = top
        drawing.arrow(f"M {middle:g} {top - 14 if number else top - 12:g} V {top - 2:g}")
        drawing.box(x, top, 150, 34, COLOURS[node.op.name], LINE)
        drawing.text(middle, top + 22, node.op.name, text_anchor="middle", font_family="monospace")
    side, sum_top = x + 190, places["add"] + 17
    drawing.arrow(f"M {middle + 12:g} {TOP:g} H {side:g} V {sum_top:g} H {x + 152:g}")
    drawing.text(side + 8, (TOP + sum_top) / 2, "shortcut", colour=PALE)
    (output,) = graph.outputs.values()
    drawing.text(x, TOP + 42 + STEP * (number + 1), str(output.type), font_family="monospace")


def draw_kernels(drawing: Drawing, x: float, found: list[list[str]]) -> None:
    drawing.title(x, "machine code", f"{len(found)} kernels, one pass over memory each")
    top = TOP + 22.0
    for ops in found:
        height = 34 * len(ops) + 24
        drawing.box(x, top, 250, height, "#f9fafb", INK)
        for number, op in enumerate(ops):
            drawing.box(x + 16, top + 14 + 34 * number, 218, 28, COLOURS[op], LINE)
            where = " (batch norm inside)" if op == "conv2d" else " on registers"
            drawing.text(x + 28, top + 33 + 34 * number, op, font_family="monospace")
            drawing.text(
                x + 222, top + 33 + 34 * number, where, size=12, colour=PALE, text_anchor="end"
            )
        top += height + 30
        if ops is not found[-1]:
            drawing.arrow(f"M {x + 125:g} {top - 30:g} V {top - 3:g}")


def picture() -> str:
    """The picture as SVG."""
    model = block.init(x=("N", 32, 56, 56), seed=0)
    drawing = Drawing()
    draw_function(drawing, 36)
    draw_graph(drawing, 440, model.graph)
    draw_kernels(drawing, 780, kernels(cauce.compile(model, "llvm", threads=1).plan()))
    for x in (390, 735):
        drawing.text(x, HEIGHT / 2, "→", size=30, colour=LINE)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            f'width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" role="img">',
            "<title>A residual block as a function, as a graph, and as its kernels</title>",
            f'<defs><marker id="end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
            f'markerHeight="7" orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="{LINE}"/></marker>'
            "</defs>",
            f'<rect width="{WIDTH}" height="{HEIGHT}" rx="12" fill="#ffffff"/>',
            *drawing.parts,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
