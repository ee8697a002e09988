"""Write a model as another file: .onnx for ONNX, .safetensors for cauce.load, .txt for the text of
its graph, which has no weights. What the options say of images and classes is kept in the file."""

from __future__ import annotations

import argparse
import os

from . import output
from .model_argument import add_model, closed_model
from .preprocessing import add_preprocessing, prepare, says_something

SUFFIXES = (".onnx", ".safetensors", ".txt")


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    add_model(parser)
    parser.add_argument("target", metavar="TARGET", help=f"ends in {', '.join(SUFFIXES)}")
    group = parser.add_argument_group("ONNX")
    group.add_argument("--opset", type=int, help="the version of the operators (18)")
    group.add_argument("--ir-version", type=int, help="the version of the format (10)")
    text = parser.add_argument_group("text")
    text.add_argument("--training", action="store_true", help="the graph of the training form")
    add_preprocessing(parser)
    output.add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Do so."""
    from ..ir.errors import AttributeMistake

    suffix = os.path.splitext(options.target)[1].lower()
    if suffix not in SUFFIXES:
        raise AttributeMistake(
            f"{options.target} ends in {suffix or 'nothing'}, which names no format",
            fix=f"end it in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}",
        )
    if suffix != ".onnx" and (options.opset or options.ir_version):
        raise AttributeMistake(
            f"{options.target} is no ONNX file", fix="leave out --opset and --ir-version"
        )
    if suffix != ".txt" and options.training:
        raise AttributeMistake(
            f"{options.target} holds no text of a graph",
            fix="leave out --training: a .safetensors file holds both forms, an ONNX file the one "
            "for inference",
        )
    if suffix == ".txt" and says_something(options):
        raise AttributeMistake(
            f"{options.target} holds the text of a graph, and nothing of images and classes",
            fix="leave out what says it, or write an ONNX or a safetensors file",
        )
    model = closed_model(options)
    prepare(model, options)
    if suffix == ".onnx":
        from ..exporting import export_onnx

        export_onnx(model, options.target, opset=options.opset, ir_version=options.ir_version)
    elif suffix == ".safetensors":
        model.save(options.target)
    else:
        from ..ir.files import replacing

        graph = model.training_graph if options.training else model.graph
        with replacing(options.target) as temporary:
            temporary.write_text(graph.to_text() + "\n", encoding="utf-8")
    if options.json:
        size = os.path.getsize(options.target)
        output.emit({"model": model.name, "target": options.target, "bytes": size})
