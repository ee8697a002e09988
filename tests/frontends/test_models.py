"""The model zoo without its numbers: parameter counts, FLOPs, shapes, the two forms of a graph."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from cauce import models
from cauce.frontends.network import Network
from cauce.ir import Dim, Graph, Role, TensorType, parse
from cauce.ir.dims import substitute
from cauce.ir.errors import AttributeMistake

NETWORKS = {
    name: network
    for name, network in ((name, getattr(models, name)) for name in models.__all__)
    if isinstance(network, Network)
}
IMAGENET = ("N", 3, 224, 224)
CIFAR = ("N", 3, 32, 32)
SHAPES = {"lenet5": ("N", 1, 28, 28), "unet": ("N", 1, 64, 64)}

# num_params and GFLOPS in the tables of torchvision's documentation (section "Models and
# pre-trained weights", classification; its source has three decimals): what it calls FLOPs are
# multiplications with an addition, in convolutions and linear layers.
TORCHVISION = {
    "resnet18": (11_689_512, 1.814),
    "resnet34": (21_797_672, 3.664),
    "resnet50": (25_557_032, 4.089),
    "resnet101": (44_549_160, 7.801),
    "vgg11": (132_863_336, 7.609),
    "vgg11_bn": (132_868_840, 7.609),
    "vgg16": (138_357_544, 15.470),
    "vgg16_bn": (138_365_992, 15.470),
    "mobilenet_v2": (3_504_872, 0.301),
    "densenet121": (7_978_856, 2.834),
    "squeezenet 1.0": (1_248_424, 0.819),
    "squeezenet 1.1": (1_235_496, 0.349),
}
# He et al. 2015, table 6, in millions.
HE = {20: 0.27, 32: 0.46, 44: 0.66, 56: 0.85, 110: 1.7}


def shape_of(name: str) -> tuple[str | int, ...]:
    if name in TORCHVISION or name == "squeezenet":
        return IMAGENET
    return SHAPES.get(name, CIFAR)


def graph_of(name: str, training: bool = False) -> Graph:
    name, _, version = name.partition(" ")
    options = {"version": version} if version else {}
    return NETWORKS[name].graph(image=shape_of(name), training=training, **options)


def parameter_count(graph: Graph) -> Dim:
    return sum((value.type.size for value in graph.inputs_with(Role.PARAMETER)), start=0)


def multiply_adds(graph: Graph) -> int:
    """Of convolutions and linear layers without their biases, for one image."""
    total: Dim = 0
    for node in graph.nodes:
        if node.op.name in ("conv2d", "linear"):
            operands = [value.type for value in node.operands[:2]]
            total += node.op.cost(operands, [node.result.type]).flops
    flops = substitute(total, {"N": 1})
    assert isinstance(flops, int) and flops % 2 == 0
    return flops // 2


@pytest.mark.parametrize("name", TORCHVISION)
def test_published_parameters_and_flops(name: str) -> None:
    graph = graph_of(name)
    parameters, gflops = TORCHVISION[name]
    assert parameter_count(graph) == parameters
    assert round(multiply_adds(graph) / 1e9, 3) == gflops


@pytest.mark.parametrize("depth", HE)
@pytest.mark.parametrize("kind", ["resnet", "plain"])
def test_parameters_of_the_cifar_family(kind: str, depth: int) -> None:
    n = (depth - 2) // 6
    assert depth == 6 * n + 2

    def conv_bn(c_in: int, c_out: int) -> int:
        return 9 * c_in * c_out + 2 * c_out

    def stage(c_in: int, c_out: int) -> int:
        return conv_bn(c_in, c_out) + (2 * n - 1) * conv_bn(c_out, c_out)

    exact = conv_bn(3, 16) + stage(16, 16) + stage(16, 32) + stage(32, 64) + 64 * 10 + 10
    counted = parameter_count(graph_of(f"{kind}{depth}"))
    assert counted == exact
    assert isinstance(counted, int)
    assert round(counted / 1e6, 1 if depth == 110 else 2) == HE[depth]


def test_layers_of_the_cifar_family() -> None:
    """6n + 2 layers with weights, a sum for each of the 3n blocks, and none in the plain twin."""
    for depth in HE:
        counts = {
            kind: Counter(node.op.name for node in graph_of(f"{kind}{depth}").nodes)
            for kind in ("resnet", "plain")
        }
        assert counts["resnet"]["conv2d"] + counts["resnet"]["linear"] == depth
        shortcuts = {"add": (depth - 2) // 2, "slice": 2, "pad": 2}
        assert counts["resnet"] - counts["plain"] == shortcuts
        assert not counts["plain"] - counts["resnet"]


def test_parameters_of_lenet5() -> None:
    """By layer as in LeCun et al. 1998, section II.B, where C3 is said to be fully connected."""
    c1, c3, c5 = 6 * (25 + 1), 16 * (6 * 25 + 1), 120 * (16 * 25 + 1)
    f6, output = 84 * (120 + 1), 10 * (84 + 1)
    assert (c1, c5, f6) == (156, 48_120, 10_164)  # as printed in the paper
    assert parameter_count(graph_of("lenet5")) == c1 + c3 + c5 + f6 + output == 61_706


def test_parameters_of_unet() -> None:
    def twice(c_in: int, c_out: int) -> int:
        return 9 * c_in * c_out + 9 * c_out * c_out + 2 * 2 * c_out

    down = twice(1, 64) + twice(64, 128) + twice(128, 256) + twice(256, 512) + twice(512, 1024)
    up = sum(
        4 * (2 * width) * width + width + twice(2 * width, width) for width in (512, 256, 128, 64)
    )
    head = 64 * 2 + 2
    assert parameter_count(graph_of("unet")) == down + up + head == 31_036_546


def test_convolutions_of_unet() -> None:
    """Ronneberger et al. 2015, section 2: "In total the network has 23 convolutional layers"."""
    counts = Counter(node.op.name for node in graph_of("unet").nodes)
    assert counts["conv2d"] + counts["conv2d_backward_data"] == 23


def inputs_of(graph: Graph) -> set[tuple[str, TensorType, Role]]:
    return {(value.name, value.type, value.role) for value in graph.inputs}


@pytest.mark.parametrize("name", NETWORKS)
def test_both_forms_verify_and_share_their_parameters(name: str) -> None:
    inference, training = graph_of(name), graph_of(name, training=True)
    inference.verify()
    training.verify()
    random_key = ("random.key", TensorType.make("u32", [2]), Role.STATE)
    assert inputs_of(inference) == inputs_of(training) - {random_key}
    assert not inference.updates
    updated = {target.name for target in training.updates}
    states = {value.name for value in training.inputs_with(Role.STATE)}
    assert updated == states


def test_dropout_is_in_the_training_form_only() -> None:
    rates = {"mobilenet_v2": [0.2], "squeezenet": [0.5]}
    rates |= {name: [0.5, 0.5] for name in ("vgg11", "vgg11_bn", "vgg16", "vgg16_bn")}
    for name in NETWORKS:
        for training in (False, True):
            ops = [node.op for node in graph_of(name, training).nodes if node.op.name == "dropout"]
            found = [dict(op.attributes())["p"] for op in ops]
            assert found == (rates.get(name, []) if training else [])


@pytest.mark.parametrize("name", NETWORKS)
def test_output_and_options(name: str) -> None:
    network = NETWORKS[name]
    graph = network.graph(image=shape_of(name), classes=7)
    pixels = ",64,64" if name == "unet" else ""
    assert str(graph.outputs["output"].type) == f"f32[N,7{pixels}]"
    default = {"unet": 2, "squeezenet": 1000, **dict.fromkeys(TORCHVISION, 1000)}.get(name, 10)
    assert network.options["classes"] == default


@pytest.mark.parametrize("name", NETWORKS)
def test_docstrings_name_the_paper_and_the_number_of_parameters(name: str) -> None:
    text = NETWORKS[name].__doc__
    assert text and re.search(r"[A-Z]\w+ (et al\. )?(19|20)\d\d", text)
    said, millions = re.findall(r"([\d,.]+)(M?) parameters", text)[0]
    counted = parameter_count(graph_of(name))
    assert isinstance(counted, int)
    if millions:
        decimals = len(said.partition(".")[2])
        assert f"{counted / 1e6:.{decimals}f}" == said
    else:
        assert f"{counted:,}" == said


@pytest.mark.parametrize("name", sorted(NETWORKS.keys() - {"lenet5"}))
def test_images_of_any_size(name: str) -> None:
    """Height and width may be symbols, and the shapes of skipped maps still fit."""
    channels = shape_of(name)[1]
    for training in (False, True):
        graph = NETWORKS[name].graph(image=("N", channels, "H", "W"), training=training)
        graph.verify()
        classes = NETWORKS[name].options["classes"]
        pixels = ",H,W" if name == "unet" else ""
        assert str(graph.outputs["output"].type) == f"f32[N,{classes}{pixels}]"


@pytest.mark.parametrize(
    "name",
    ["resnet20", "resnet50", "vgg11_bn", "mobilenet_v2", "densenet121", "squeezenet", "unet"],
)
def test_text_round_trip(name: str) -> None:
    """Names such as ``features.0.1`` need no quotes."""
    graph = graph_of(name, training=True)
    text = graph.to_text(locations=False)
    assert '"' not in text
    assert parse(text, graph.constants()).same_as(graph)


def test_bottlenecks_have_their_stride_in_the_3x3_convolution() -> None:
    """ResNet v1.5, as torchvision says of its resnet50."""
    graph = graph_of("resnet50")
    for layer in ("layer2.0", "layer3.0", "layer4.0"):
        nodes = [graph.value(f"{layer}.{name}").node for name in ("conv1", "conv2", "conv3")]
        strides = [dict(node.op.attributes())["stride"] for node in nodes if node]
        assert strides == [(1, 1), (2, 2), (1, 1)]


def test_mobilenet_filters_each_channel_by_itself() -> None:
    graph = graph_of("mobilenet_v2")
    groups = [
        dict(node.op.attributes())["groups"]
        for node in graph.nodes
        if node.op.name == "conv2d" and node.operands[1].type.shape[2] == 3
    ]
    # Table 2: expanded widths of the 17 blocks, after the first, full convolution.
    hidden = [32, 96, 144, 144, 192, 192, 192, *[384] * 4, *[576] * 3, *[960] * 3]
    assert groups == [1, *hidden]


def test_densenet_grows_by_32_channels() -> None:
    graph = graph_of("densenet121")
    widths = [node.result.type.shape[1] for node in graph.nodes if node.op.name == "concat"]
    starts, depths = (64, 128, 256, 512), (6, 12, 24, 16)
    assert widths == [
        start + 32 * (layer + 1) for start, depth in zip(starts, depths) for layer in range(depth)
    ]


def test_squeezenet_has_two_versions() -> None:
    with pytest.raises(AttributeMistake, match=r"no version '1.2'(.|\n)*use one of 1.0, 1.1"):
        models.squeezenet.graph(image=IMAGENET, version="1.2")
