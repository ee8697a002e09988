"""Calls of the command line, in this process and in one of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cauce.commands.main import main

NET = '''\
"""Networks for the tests of the command line."""

import cauce
from cauce import nn

@cauce.network
def small(image, classes=3):
    x = nn.relu(nn.batch_norm(nn.conv2d(image, 4, 3, padding=1, bias=False)))
    return nn.linear(nn.dropout(nn.global_avg_pool(x), 0.2), classes)


def plain(image):
    return nn.relu(nn.conv2d(image, 2, 3))


@cauce.network
def mistaken(image):
    return nn.conv2d(image, 4, 3) + 1 / 0


ready = small.init(image=("N", 1, 6, 6), seed=3)
number = 3
print("imported")
'''
SHAPE = "image=N,1,6,6"


@dataclass(frozen=True)
class Done:
    """What a call printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed as JSON; the call went well."""
        assert self.code == 0, self.err
        return json.loads(self.out)


Call = Callable[..., Done]


def caller(capsys: pytest.CaptureFixture[str]) -> Call:
    """A function that runs ``cauce`` with some arguments in this process."""

    def call(*arguments: object) -> Done:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Done(code, *capsys.readouterr())

    return call


def process(*arguments: object, cwd: Path | None = None, **variables: str) -> Done:
    """``python -m cauce`` with some arguments, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "cauce", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )
    return Done(done.returncode, done.stdout, done.stderr)
