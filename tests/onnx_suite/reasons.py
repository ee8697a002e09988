"""Why cases of the suite fail that are known to: for each a reason, the first that is for it.

``op:`` is for all cases of an operator, anything else a regular expression for names.
"""

from __future__ import annotations

import re

from .cases import Case

_SEQUENCES = "sequences and optional values are no tensors, and cauce computes with tensors"
_STRINGS = "strings are no numbers"
_QUANTISED = "quantised operators come later"
_RECURRENT = "recurrent operators come later"
_SMALL_TYPES = "float8, 4 bits and 2 bits are dtypes that cauce does not have"
_DATA = "the shape of the result depends on elements that the network computes"
_RANDOM = "random numbers, which other generators draw otherwise"
_FOREIGN = "a domain that is not of networks: classical machine learning, or training steps"
_SIGNAL = "Fourier transforms are for signals"
_LATER = "operators that come later"
_IMAGES = "reading image files is not for a graph"

_EXPECTED = "the expected values are wrong: ONNX Runtime gives the same as cauce"
_ROUNDED = "the expected values are rounded to f16 at every step, products are summed in f32 here"
_BATCHED = "Scan of opset 8 has a batch of sequences, and no model of today"

REASONS: list[tuple[str, str]] = [
    (
        r"FLOAT8|FLOAT4|INT4|INT2|float4|float8|e4m3|e5m2|float4e2m1|[^t]int4|int2_|_int4|_int2",
        _SMALL_TYPES,
    ),
    (r"_opt|sequence|_seq|identity_opt|loop16|loop13|if_seq|if_opt", _SEQUENCES),
    (
        "op:OptionalHasElement OptionalGetElement SequenceInsert SequenceMap SplitToSequence",
        _SEQUENCES,
    ),
    ("op:StringConcat StringNormalizer StringSplit RegexFullMatch TfIdfVectorizer", _STRINGS),
    (r"string|strnorm", _STRINGS),
    (
        "op:LabelEncoder Binarizer ArrayFeatureExtractor TreeEnsemble Adagrad Adam Momentum",
        _FOREIGN,
    ),
    (r"gradient_of|ai_onnx_ml", _FOREIGN),
    (
        "op:QuantizeLinear DequantizeLinear DynamicQuantizeLinear QLinearConv QLinearMatMul",
        _QUANTISED,
    ),
    ("op:ConvInteger MatMulInteger", _QUANTISED),
    (r"qlinear|quantize", _QUANTISED),
    ("op:LSTM GRU RNN", _RECURRENT),
    ("op:NonZero Unique NonMaxSuppression", _DATA),
    ("op:Bernoulli", _RANDOM),
    (r"training_dropout", _RANDOM),
    ("op:DFT STFT MelWeightMatrix", _SIGNAL),
    ("op:ImageDecoder", _IMAGES),
    (r"resize_downsample_scales_(cubic|linear)_align_corners$", _EXPECTED),
    (r"attention_4d_causal_fp16", _ROUNDED),
    (r"^test_scan_sum$", _BATCHED),
    ("op:Einsum GridSample RoiAlign DeformConv Col2Im Det TensorScatter BitCast", _LATER),
]

# On the NumPy backend they pass or fail by the processor: softmax of a thousand equal logits near
# 1e10 is even only where BLAS rounds all of them alike. ``test_light.py`` takes other weights.
BY_BLAS = {"test_squeezenet"}


def reason(case: Case) -> str | None:
    """Why a case is known to fail; None where nothing says so."""
    for pattern, why in REASONS:
        families = pattern.removeprefix("op:").split() if pattern.startswith("op:") else ()
        if case.family in families or (not families and re.search(pattern, case.name)):
            return why
    return None
