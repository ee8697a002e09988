"""Versions of ONNX's operators and of its format.

The format: github.com/onnx/onnx, docs/Versioning.md.
"""

from __future__ import annotations

# Opset 18 brought BitwiseXor, which the random generator needs, and reductions with their axes
# as an operand; IR version 10 brought metadata of nodes.
OPSET = 18
IR_VERSION = 10
# The newest that models are read in.
NEWEST = 28
# Softmax had another meaning before.
SOFTMAX_ALONG_AXIS = 13
# Operands of Add and its kin were aligned by the attributes broadcast and axis before.
NUMPY_BROADCASTING = 7
# The names of the domain of ONNX's own operators.
OWN_DOMAINS = ("", "ai.onnx")
