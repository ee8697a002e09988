"""Calls that do to workers what tests want, and a model that tells pictures apart."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import cauce
from cauce import nn
from cauce.clusters.worker import Call
from cauce.ir import Array

RNG = np.random.default_rng(0)
PIXELS = [RNG.integers(0, 256, (7, 9, 3)).astype(np.uint8) for _ in range(20)]


@cauce.network
def net(image):
    return nn.linear(nn.flatten(image), 3)


def model(seed: int = 1) -> cauce.Model:
    made = net.init(image=("N", 3, 4, 4), seed=seed)
    made.preprocessing = cauce.Preprocessing(4, classes=("cat", "dog", "owl"))
    return made


def rankings(made: cauce.Model, images: Sequence[Array] = PIXELS) -> list[Any]:
    return [made.predict(image) for image in images]


def squares() -> Call:
    """Squares of numbers."""
    return lambda items: [item**2 for item in items]


def noted(folder: str) -> Call:
    """Squares of numbers; who makes the call leaves a file."""
    (Path(folder) / f"{os.getpid()}-{os.urandom(4).hex()}").touch()
    return squares()


def killed_at(poison: int, folder: str, times: int) -> Call:
    """Squares of numbers; at one of them the worker is killed, the first few times.

    Each batch takes a moment, and that before the first time longer, so that others are under way
    when it happens.
    """

    def call(items: Sequence[int]) -> list[int]:
        slow = poison - 3 in items and not os.listdir(folder)
        time.sleep(0.3 if slow else 0.02)
        if poison in items:
            met = len(os.listdir(folder))
            if met < times:
                (Path(folder) / str(met)).touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return [item**2 for item in items]

    return call


PASSED: dict[int, threading.Event] = {}


def backwards(first: int, last: int) -> Call:
    """In threads: the batch with the first number is done only after that with the last."""
    PASSED[last] = threading.Event()

    def call(items: Sequence[int]) -> list[int]:
        if last in items:
            PASSED[last].set()
        if first in items:
            assert PASSED[last].wait(30)
        return [item**2 for item in items]

    return call


OPENED = threading.Event()


def gated() -> Call:
    """In threads: squares of numbers; but for the first batch, only once the gate is open."""

    def call(items: Sequence[int]) -> list[int]:
        if 0 not in items:
            OPENED.wait(60)
        return [item**2 for item in items]

    return call


def failing(error: Callable[[], Exception]) -> Call:
    """Raises for every batch."""

    def call(items: Sequence[int]) -> list[int]:
        raise error()

    return call
