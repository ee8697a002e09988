"""The LLVM backend: threads, forks, exits, whole networks; ops are held in ``tests/facets``."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import NoReturn

import numpy as np
import pytest

import cauce
from cauce.backends.llvm.runtime.threads import ThreadPool, thread_count
from cauce.ir import Array
from cauce.ir.errors import AttributeMistake

from ..api.nets import batch, small


@pytest.fixture(scope="module")
def model() -> cauce.Model:
    return small.init(image=("N", 1, 6, 6), seed=1)


def test_inference_agrees_with_the_reference_for_any_batch(model: cauce.Model) -> None:
    native, plain = cauce.compile(model, backend="llvm"), cauce.compile(model, backend="numpy")
    for count in (1, 2, 7, 33):
        image = batch(count)["image"]
        np.testing.assert_allclose(native(image), plain(image), rtol=1e-4, atol=1e-5)


def test_every_value_of_a_network_agrees() -> None:
    model = cauce.models.resnet20.init(image=("N", 3, 32, 32))
    image = np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32)
    found = cauce.compare(model, image, backends=("reference", "llvm"), tolerance=1e-5)
    assert found.first is None, str(found)


def test_symbolic_height_and_width() -> None:
    @cauce.network
    def net(x):
        x = cauce.nn.relu(cauce.nn.conv2d(x, 4, 3, stride=2, padding=1))
        return cauce.nn.max_pool2d(x, 3, stride=2, padding=1)

    model = net.init(x=("N", 3, "H", "W"))
    native, plain = cauce.compile(model, backend="llvm"), cauce.compile(model, backend="numpy")
    for shape in ((1, 3, 8, 9), (2, 3, 17, 5)):
        x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        np.testing.assert_allclose(native(x), plain(x), rtol=1e-4, atol=1e-5)


def test_loss_curves_of_training_agree(model: cauce.Model) -> None:
    curves: dict[str, list[float]] = {}
    for backend in ("llvm", "numpy"):
        step = cauce.TrainStep(
            model, "cross_entropy", cauce.SGD(0.05, momentum=0.9), backend=backend
        )
        state = step.init(seed=3)
        curves[backend] = [step(state, batch(12, seed=i)).loss for i in range(20)]
    np.testing.assert_allclose(curves["llvm"], curves["numpy"], rtol=1e-3)


def bits(arrays: dict[str, Array]) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in arrays.items()}


def test_bits_do_not_depend_on_the_number_of_threads(model: cauce.Model) -> None:
    results = []
    for threads in (1, 2, 3, 8):
        predict = cauce.compile(model, backend="llvm", threads=threads)
        results.append(predict(batch(33)["image"]).tobytes())
        results.append(predict(batch(33)["image"]).tobytes())
    assert len(set(results)) == 1


def test_bits_of_training_do_not_depend_on_threads(
    model: cauce.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = []
    for threads in ("1", "2", "3"):
        monkeypatch.setenv("CAUCE_NUM_THREADS", threads)
        step = cauce.TrainStep(model, "cross_entropy", cauce.Adam(0.01), backend="llvm")
        state = step.init(seed=3)
        for i in range(3):
            step(state, batch(16, seed=i))
        states.append(bits(state.read()))
    assert states[0] == states[1] == states[2]


def test_many_python_threads_may_call_one_executable(model: cauce.Model) -> None:
    predict = cauce.compile(model, backend="llvm", threads=2)
    images = [batch(count, seed=count)["image"] for count in range(1, 9)]
    expected = [predict(image) for image in images]
    wrong: list[int] = []

    def work(place: int) -> None:
        for _ in range(50):
            if not np.array_equal(predict(images[place]), expected[place]):
                wrong.append(place)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(images))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def run(code: str) -> subprocess.CompletedProcess[str]:
    prelude = (
        "import os, numpy as np, cauce\n"
        "from tests.api.nets import batch, small\n"
        "model = small.init(image=('N', 1, 6, 6), seed=1)\n"
        "predict = cauce.compile(model, backend='llvm', threads=2)\n"
        "image = batch(33)['image']\n"
        "expected = predict(image)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", prelude + code], capture_output=True, text=True, timeout=120
    )


def hold_in_both_processes(code: str) -> None:
    """Fork, run ``code`` on both sides, and assert that it finds ``same`` on each."""
    done = run(
        "pid = os.fork()\n" + code + "if pid == 0:\n"
        "    os._exit(0 if same else 1)\n"
        "status = os.waitpid(pid, 0)[1]\n"
        "print(same, os.waitstatus_to_exitcode(status))\n"
    )
    assert done.stdout.split() == ["True", "0"], done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_computes_with_threads_of_its_own() -> None:
    hold_in_both_processes(
        "same = all(np.array_equal(predict(image), expected) for _ in range(20))\n"
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_threads_of_a_forked_process_call_at_the_same_time() -> None:
    hold_in_both_processes(
        "import threading\n"
        "found = []\n"
        "def work(): found.append(np.array_equal(predict(image), expected))\n"
        "threads = [threading.Thread(target=work) for _ in range(8)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "same = found == [True] * 8\n"
    )


def test_the_interpreter_may_exit_during_a_call() -> None:
    done = run(
        "import threading, time\n"
        "def forever():\n"
        "    while True: predict(image)\n"
        "threading.Thread(target=forever, daemon=True).start()\n"
        "time.sleep(0.2)\n"
        "print('bye')\n"
    )
    assert done.returncode == 0 and done.stdout.split() == ["bye"], done.stderr


def test_an_idle_pool_uses_no_processor_time() -> None:
    done = run(
        "import time\n"
        "from cauce.backends.llvm.runtime.threads import shared_pool\n"
        "time.sleep(0.3)\n"
        "before = time.process_time()\n"
        "time.sleep(1)\n"
        "print(time.process_time() - before)\n"
        "print(all(worker.is_alive() for worker in shared_pool(2)._workers))\n"
        "print(len(shared_pool(2)._workers))\n"
    )
    used, alive, count = done.stdout.split()
    assert (alive, count) == ("True", "1")
    assert float(used) < 0.05, done.stderr


def test_a_pool_makes_do_with_the_threads_that_it_gets() -> None:
    done = run(
        "import threading\n"
        "start, started = threading.Thread.start, []\n"
        "def few(thread):\n"
        "    if len(started) == 1: raise RuntimeError('no more')\n"
        "    started.append(thread)\n"
        "    start(thread)\n"
        "threading.Thread.start = few\n"
        "many = cauce.compile(model, backend='llvm', threads=4)\n"
        "print(np.array_equal(many(image), expected), len(started))\n"
    )
    assert done.stdout.split() == ["True", "1"] and not done.stderr, done.stderr


class Idle:
    """Code that nothing may call."""

    def function(self, name: str, *arguments: object) -> NoReturn:
        raise AssertionError(name)


def test_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAUCE_NUM_THREADS", "3")
    assert thread_count() == 3 and thread_count(2) == 2
    monkeypatch.delenv("CAUCE_NUM_THREADS")
    unset = thread_count()
    monkeypatch.setenv("CAUCE_NUM_THREADS", "")
    assert thread_count() == unset
    for wrong in ("0", "many"):
        monkeypatch.setenv("CAUCE_NUM_THREADS", wrong)
        with pytest.raises(AttributeMistake, match="threads must be an int of at least 1"):
            thread_count()
    for given in (2.5, 2.0, True, 0, np.array([2, 3])):
        with pytest.raises(AttributeMistake, match="threads must be an int of at least 1"):
            thread_count(given)
    assert thread_count(np.int64(2)) == 2
    with pytest.raises(AttributeMistake, match="threads must be at most 1024"):
        thread_count(20_000)
    addresses: list[int | None] = []
    ThreadPool(1).lend(Idle(), addresses.append)
    assert addresses == [None]


def test_the_numpy_backend_has_no_threads(model: cauce.Model) -> None:
    with pytest.raises(AttributeMistake, match="takes its threads from NumPy's BLAS"):
        cauce.compile(model, backend="numpy", threads=2)


def test_the_profile_names_layers_with_their_work(model: cauce.Model) -> None:
    rows = cauce.compile(model, backend="llvm").profile(batch(8)["image"])
    conv = [row for row in rows if row.op == "conv2d"]
    assert len(conv) == 2 and all(row.seconds > 0 and row.flops > 0 for row in conv)


def test_the_code_can_be_read(model: cauce.Model) -> None:
    program = cauce.compile(model, backend="llvm").program
    assert "define i64 @main(" in program.code("llvm") and "fmuladd" in program.code("llvm")
    assert "main:" in program.code("assembly")
    assert "numpy" not in program.fingerprint and program.target.cpu in program.fingerprint
