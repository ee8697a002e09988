"""Graphs as text"""

from cauce.ir.errors import ParseError, TypeMismatch

from .common import Path, cauce
from .mistake import mistake


@mistake(
    ParseError,
    ValueError,
    says=("line 1, column 1", "expected 'graph', found 'grap'"),
    fix="docs/text-format.md",
    line='cauce.parse("\\n".join(lines))',
)
def misspelt_word():
    """A word of the grammar, misspelt"""
    lines = [
        "grap net(%x: f32[N,4]) -> f32[N,4] {",
        "  return %x",
        "}",
    ]
    cauce.parse("\n".join(lines))


@mistake(
    ParseError,
    ValueError,
    says=("line 2, column 8", "there is no op called 'rleu'"),
    fix="did you mean relu",
    line='cauce.parse("\\n".join(lines))',
    mended='"  %y = relu(%x) : f32[N,4]",',
    mends='"  %y = rleu(%x) : f32[N,4]",',
)
def unknown_op():
    """An op that does not exist"""
    lines = [
        "graph net(%x: f32[N,4]) -> f32[N,4] {",
        "  %y = rleu(%x) : f32[N,4]",
        "  return %y",
        "}",
    ]
    cauce.parse("\n".join(lines))


@mistake(
    ParseError,
    ValueError,
    says=("line 3, column 13", "%hiden is not defined before it is used"),
    fix="did you mean %hidden?",
    line='cauce.parse("\\n".join(lines))',
    mended='"  %y = tanh(%hidden) : f32[N,4]",',
    mends='"  %y = tanh(%hiden) : f32[N,4]",',
)
def unknown_operand():
    """A value that is not defined"""
    lines = [
        "graph net(%x: f32[N,4]) -> f32[N,4] {",
        "  %hidden = relu(%x) : f32[N,4]",
        "  %y = tanh(%hiden) : f32[N,4]",
        "  return %y",
        "}",
    ]
    cauce.parse("\n".join(lines))


@mistake(
    ParseError,
    ValueError,
    says=("line 2, column 19", "relu gives f32[N,4], the text says f32[N,8]"),
    fix="f32[N,4]",
    line='cauce.parse("\\n".join(lines))',
)
def type_that_is_another():
    """A type that does not follow from the operands"""
    lines = [
        "graph net(%x: f32[N,4]) -> f32[N,4] {",
        "  %y = relu(%x) : f32[N,8]",
        "  return %y",
        "}",
    ]
    cauce.parse("\n".join(lines))


@mistake(
    ParseError,
    ValueError,
    says=("line 2, column 20", "softmax has no attribute 'dim'; it has axis"),
    fix="use one of these",
    line='cauce.parse("\\n".join(lines))',
)
def unknown_attribute():
    """An attribute that the op does not have"""
    lines = [
        "graph net(%x: f32[N,4]) -> f32[N,4] {",
        "  %y = softmax(%x) dim=1 : f32[N,4]",
        "  return %y",
        "}",
    ]
    cauce.parse("\n".join(lines))


@mistake(
    ParseError,
    ValueError,
    says=("line 2, column 8", "dim uses the dimension M, which no input has"),
    fix="the inputs have N",
    line='cauce.parse("\\n".join(lines))',
)
def unknown_symbol():
    """A symbol that no input has"""
    lines = [
        "graph net(%x: f32[N,4]) -> f32[N,4] {",
        "  %m = dim() size=M : i64[]",
        "  return %x",
        "}",
    ]
    cauce.parse("\n".join(lines))


@mistake(
    ParseError,
    ValueError,
    says=("line 2, column 8", "add takes 2 operands (x, y), got 1"),
    fix="one value for each",
    line='cauce.parse("\\n".join(lines))',
)
def too_few_operands():
    """Too few operands"""
    lines = [
        "graph net(%x: f32[N,4]) -> f32[N,4] {",
        "  %y = add(%x) : f32[N,4]",
        "  return %y",
        "}",
    ]
    cauce.parse("\n".join(lines))


@mistake(
    ParseError,
    ValueError,
    says=("line 2, column 12", "expected '}', found the end"),
    fix="docs/text-format.md",
    line='cauce.parse("\\n".join(lines))',
)
def text_that_breaks_off():
    """A text that breaks off"""
    lines = [
        "graph net(%x: f32[N,4]) -> f32[N,4] {",
        "  return %x",
    ]
    cauce.parse("\n".join(lines))


@mistake(
    TypeMismatch,
    TypeError,
    says="parse takes the text of a graph, got PosixPath('net.txt')",
    fix="read_text()",
    line='cauce.parse(Path("net.txt"))',
    mended="""\
path = "net.txt"
Path(path).write_text(str(model.graph))
cauce.parse(Path(path).read_text())""",
)
def path_for_a_text():
    """The name of a file where its text is wanted"""
    cauce.parse(Path("net.txt"))
