"""The LLVM backend: native kernels for this processor.

``program.py`` has what runs, ``cache.py`` what finds it compiled, ``build.py`` what compiles it.
Nothing is imported here: a program that finds its code in the cache pays for no emitter.
"""
