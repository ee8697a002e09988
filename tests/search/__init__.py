"""A search for networks on which the backends and the reference disagree.

``python -m tests.search`` draws random networks from seeds (:mod:`tests.networks`), in parts:
inference, gradients and training steps, in f32 and f64. Each runs on the reference, on the NumPy
backend, and as native code on 1 and 2 threads, between guard pages and image by image.
It goes on where it stopped, and keeps the seeds and what failed in a folder.
"""
