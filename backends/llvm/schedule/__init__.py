"""What kernels are made of, decided: pure functions from an op, its shapes and the target to data.

A decision is made here and nowhere else; ``codegen`` carries it out, and ``lowering`` lays out
memory as it wants. Every constant that a decision depends on stands here or in ``target``.
"""
