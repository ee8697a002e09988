"""``python -m tests.commands.page`` writes docs/command-line.md: each command with real output."""

from __future__ import annotations

import argparse
import io
import os
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np

import cauce
from cauce.commands.main import COMMANDS, main

PAGE = Path(__file__).resolve().parents[2] / "docs" / "command-line.md"

NET = """\
import cauce
from cauce import nn


@cauce.network
def small(image, classes=10):
    x = nn.relu(nn.batch_norm(nn.conv2d(image, 16, 3, padding=1, bias=False)))
    x = nn.relu(nn.batch_norm(nn.conv2d(x, 32, 3, stride=2, padding=1, bias=False)))
    return nn.linear(nn.dropout(nn.global_avg_pool(x), 0.1), classes)
"""

HEAD = f"""\
<!-- Written by `python -m tests.commands.page`; a test holds it against the commands. -->

# The command line

`cauce COMMAND --help` says what a command takes; `python -m cauce` is the same program. Every
command that takes a MODEL takes

- a file of `Model.save`, a checkpoint of `Trainer.fit` among these: `net.safetensors`,
- an ONNX file: `net.onnx`,
- a network in Python, as `FILE.py:NAME` or `PACKAGE.MODULE:NAME`: `net.py:small`,
  `cauce.models:resnet18`. `--shape image=N,3,224,224` gives the shape of its input; a name is a
  size that stays open. `--option classes=10` sets an option of the network, and `--seed` chooses
  its first weights. The file is run, so it must be one that you trust.

With a file, `--shape` puts numbers in the place of sizes that it leaves open. Where there is one
input, its name may be left out: `--shape N,3,224,224`.

Results go to stdout, and all else to stderr. On a terminal tables are drawn by rich, where it is
installed, and fit its width; in a pipe or a file they are whole lines of plain text. `--json`
prints one JSON document instead, for programs. Control characters in names (those of ONNX files may
hold any) are written out, `\\x1b`.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | it could not be done: the reason, and often what to do about it, is on stderr |
| 2 | the command line is not understood |
| 3 | `compare`: the results differ |
| 130 | interrupted by Ctrl-C |
| 141 | the reader of the output has closed its pipe, as `head` does |

The examples below are of this file, `net.py`:

```python
{NET}```

What depends on the machine, times above all, is what one machine has printed.
"""


@dataclass(frozen=True)
class Example:
    """One call.

    Attributes:
        line: what is typed.
        varies: whether the output depends on the machine.
        lines: how many lines of it are shown; all where None.
        code: the exit code.
    """

    line: str
    varies: bool = False
    lines: int | None = None
    code: int = 0

    def run(self) -> str:
        """What it prints, in the folder that the process is in."""
        printed = io.StringIO()
        _, *arguments = shlex.split(self.line)
        with redirect_stdout(printed), redirect_stderr(printed):
            code = main(arguments)
        assert code == self.code, printed.getvalue()
        text = printed.getvalue().rstrip("\n")
        return text.replace(os.path.realpath(os.curdir), "/home/ada")

    def render(self, text: str) -> str:
        """The block of the page."""
        lines = text.splitlines()
        if self.lines is not None and len(lines) > self.lines:
            lines = [*lines[: self.lines], "..."]
        return "\n".join(["```text", f"$ {self.line}", *lines, "```", ""])


# What HEAD says of all commands.
COMMON = ("shape", "seed", "option", "json")
SHAPE = "--shape image=N,1,8,8"
EXAMPLES: dict[str, list[Example]] = {
    "convert": [
        Example(f"cauce convert net.py:small {SHAPE} net.safetensors"),
        Example("cauce convert net.safetensors net.onnx --opset 17"),
        Example("cauce convert net.safetensors net.pt", code=1),
    ],
    "show": [
        Example("cauce show net.safetensors"),
        Example("cauce show net.onnx --json", lines=12),
        Example("cauce show nett.safetensors", code=1),
        Example("cauce show net.py:small", code=1),
    ],
    "train": [
        Example(
            "cauce train net.py:small --data digits --epochs 10 -o trained.safetensors", varies=True
        )
    ],
    "run": [
        Example("cauce run trained.safetensors seven.png --top 3", varies=True),
        Example("cauce run net.safetensors digits.npy --top 3", varies=True),
        Example("cauce run net.safetensors digits.npy -o scores.npz --top 1 --json", varies=True),
    ],
    "compile": [
        Example("cauce compile net.safetensors --batch 1", varies=True),
        Example("cauce compile net.safetensors --batch 1", varies=True),
    ],
    "bench": [
        Example(
            "cauce bench cauce.models:resnet20 --shape N,3,32,32 --threads 1 --vs onnxruntime "
            "--vs again",
            varies=True,
        ),
    ],
    "profile": [
        Example(
            "cauce profile cauce.models:resnet18 --shape N,3,224,224 --sort --top 6", varies=True
        )
    ],
    "compare": [Example("cauce compare net.safetensors digits.npy", varies=True)],
    "passes": [
        Example("cauce passes net.safetensors --diff --backend numpy", lines=40),
        Example("cauce passes net.safetensors --summary --backend numpy", varies=True),
    ],
    "plan": [Example("cauce plan net.safetensors --batch 1", varies=True, lines=60)],
    "view": [
        Example("cauce view net.safetensors -o net.html --batch 16", varies=True),
        Example("cauce view net.safetensors --train cross_entropy -o step.html", varies=True),
    ],
    "cache": [
        Example("cauce cache", varies=True),
        Example("cauce cache clear", varies=True),
    ],
    "doctor": [Example("cauce doctor", varies=True)],
    "ops": [
        Example("cauce ops conv2d"),
        Example("cauce ops sigmod", code=1),
    ],
}


@contextmanager
def workplace(picture: bool) -> Iterator[None]:
    """Within the block the process is in a folder with what the examples take.

    Args:
        picture: whether with an image file, which needs Pillow and scikit-learn.
    """
    before, cache = os.getcwd(), os.environ.get("CAUCE_CACHE_DIR")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "net.py").write_text(NET, encoding="utf-8")
        rng = np.random.default_rng(0)
        np.save(Path(folder, "digits.npy"), rng.random((2, 1, 8, 8), dtype=np.float32))
        if picture:
            _write_picture(Path(folder, "seven.png"))
        os.chdir(folder)
        os.environ["CAUCE_CACHE_DIR"] = os.path.join(os.path.realpath(folder), ".cache", "cauce")
        try:
            yield
        finally:
            os.chdir(before)
            if cache is None:
                del os.environ["CAUCE_CACHE_DIR"]
            else:
                os.environ["CAUCE_CACHE_DIR"] = cache


def _write_picture(path: Path) -> None:
    """A seven of the digits that scikit-learn ships."""
    from PIL import Image

    _, test = cauce.load_digits()
    seven = test.images[list(test.labels).index(7), 0]
    Image.fromarray((255 * seven).astype(np.uint8)).save(path)


def render(earlier: str | None = None) -> str:
    """The page.

    Args:
        earlier: a page from which the output of what varies is taken, in the place of running it.
    """
    blocks: dict[str, list[str]] = {}
    with workplace(picture=earlier is None):
        for name, examples in EXAMPLES.items():
            blocks[name] = [
                _block(example, earlier, [e.line for e in examples[:place]].count(example.line))
                for place, example in enumerate(examples)
            ]
    parts = [HEAD]
    for name, (module, _) in COMMANDS.items():
        parts.append(f"## cauce {name}\n")
        found = import_module(f"cauce.commands.{module}")
        if name != module:
            parts.append(f"The same as `cauce {module}`.\n")
            continue
        parts += [f"{found.__doc__}\n", _options(found), *blocks[name]]
    return "\n".join(parts)


def _block(example: Example, earlier: str | None, before: int) -> str:
    """The block of an example, of which so many alike stand before."""
    if not example.varies or earlier is None:
        return example.render(example.run())
    head = f"```text\n$ {example.line}\n"
    found = earlier.split(head)[before + 1 :]
    assert found, f"the page lacks {example.line}"
    return head + found[0].partition("```\n")[0] + "```\n"


def _options(module: object) -> str:
    """The arguments of a command as a table."""
    parser = argparse.ArgumentParser(add_help=False)
    module.add(parser)  # type: ignore[attr-defined]
    lines = ["| argument | meaning |", "|---|---|"]
    for action in parser._actions:
        if action.dest in COMMON:
            continue
        if not action.option_strings:
            shown = str(action.metavar or _choices(action) or action.dest)
        else:
            shown = ", ".join(action.option_strings)
            if action.nargs != 0:
                wanted = action.metavar or _choices(action) or action.dest.upper()
                shown += f" {wanted}"
        text = (action.help or "").replace("|", "\\|")
        lines.append(f"| `{shown}` | {text} |".replace("|`", "| `"))
    return "\n".join(lines) + "\n"


def _choices(action: argparse.Action) -> str:
    return "{" + ",".join(map(str, action.choices)) + "}" if action.choices else ""


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
    print(f"wrote {PAGE.name}: {len(COMMANDS)} commands")
