"""One turn of ``startup.py``: import a library, load a model, compile it, run it on one image.

    python benchmarks/startup_child.py LIBRARY MODEL IMAGE THREADS

It prints the times when each stage was done, by the clock that all processes share, the peak of
its memory in bytes, the output, and versions. Before the library, nothing is imported but what
Python itself starts with, and NumPy, which either library needs.
"""

import sys
import time

done = {"Python": time.monotonic_ns()}


def native(path, image, threads):
    """cauce's native code, of a file that ``Model.save`` wrote."""
    import cauce

    done["import"] = time.monotonic_ns()
    model = cauce.load(path)
    done["load"] = time.monotonic_ns()
    predict = cauce.compile(model, backend="llvm", threads=threads)
    done["compile"] = time.monotonic_ns()
    return predict(image)


def onnx_runtime(path, image, threads):
    """ONNX Runtime, of a file that ``cauce.export_onnx`` wrote; it loads and compiles in one."""
    import onnxruntime

    done["import"] = time.monotonic_ns()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    done["load"] = time.monotonic_ns()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    done["compile"] = time.monotonic_ns()
    return session.run(None, {session.get_inputs()[0].name: image})[0]


def main():
    library, model, image, threads = sys.argv[1:]
    import numpy as np

    run = {"cauce": native, "onnxruntime": onnx_runtime}[library]
    output = run(model, np.load(image), int(threads))
    done["run"] = time.monotonic_ns()

    import json
    import resource
    from importlib.metadata import version

    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
    versions = {library: sys.modules[library].__version__}
    if library == "cauce":
        versions["llvmlite"] = version("llvmlite")
    answer = {
        "done": done,
        "memory": unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "evidence": output.ravel().tolist(),
        "versions": versions,
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
