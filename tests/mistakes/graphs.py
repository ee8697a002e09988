"""Graphs, ops and passes"""

from cauce.ir import Builder, Graph, TensorType, register
from cauce.ir.errors import CompileError, GraphError, ShapeError, UnsupportedOp, VerifyError
from cauce.ir.ops.elementwise import Add, FloatUnary
from cauce.ir.ops.normalize import BatchNormTrain
from cauce.ir.pass_manager import run_passes
from cauce.passes.fusion import FuseElementwise
from cauce.passes.inference import ToInference
from cauce.passes.pipelines import INFERENCE

from .common import cauce, model, nn, np
from .mistake import mistake


@mistake(
    GraphError,
    ValueError,
    says="graph net has no value called 'conv2'",
    fix="did you mean conv1",
    line='model.graph.value("conv2")',
    mended='model.graph.value("conv1")',
)
def unknown_value():
    """A value that the graph does not have"""
    model.graph.value("conv2")


@mistake(
    GraphError,
    ValueError,
    says="graph sums has a value called 'x' already",
    fix="a name of its own",
    line='graph.add_input("x", TensorType.make("f32", ("N", 4)))',
)
def two_inputs_of_one_name():
    """Two inputs of one name"""
    graph = Graph("sums")
    graph.add_input("x", TensorType.make("f32", ("N", 3)))
    graph.add_input("x", TensorType.make("f32", ("N", 4)))


@mistake(
    ShapeError,
    ValueError,
    says="dimension 1 is 3 and 4",
    fix="sizes must be equal",
    line="b(Add(), x, y)",
)
def node_that_does_not_fit():
    """A node whose operands do not fit"""
    graph = Graph("sums")
    x = graph.add_input("x", TensorType.make("f32", ("N", 3)))
    y = graph.add_input("y", TensorType.make("f32", ("N", 4)))
    b = Builder(graph, path="total")
    b(Add(), x, y)


@mistake(
    VerifyError,
    ValueError,
    says="op bump is not registered",
    fix="@register",
    line="return nn.apply(Bump(), nn.conv2d(image, 4, 3))",
    ends="cauce.verify(model.graph)",
)
def op_that_is_not_registered():
    """An op of one's own, not registered"""

    class Bump(FloatUnary):
        """y = e**(-x**2)"""

        name = "bump"

        def reference(self, x):
            return np.exp(-x * x)

    @cauce.network
    def classifier(image):
        return nn.apply(Bump(), nn.conv2d(image, 4, 3))

    model = classifier.init(image=("N", 3, 8, 8))
    cauce.verify(model.graph)


@mistake(
    GraphError,
    ValueError,
    says="an op called 'relu' is registered already",
    fix="a name of its own",
    line="@register",
)
def op_of_a_name_that_is_taken():
    """An op of one's own with a name that is taken"""

    @register
    class MyRelu(FloatUnary):
        """y = max(x, 0)"""

        name = "relu"


@mistake(
    UnsupportedOp,
    NotImplementedError,
    says="the llvm backend has no kernel for bump",
    fix="Bump in RULES",
    line="return nn.apply(Bump(), nn.conv2d(image, 4, 3))",
    ends="cauce.compile(model)",
)
def op_without_a_kernel():
    """An op of one's own that no backend knows"""

    @register
    class Bump(FloatUnary):
        """y = e**(-x**2)"""

        name = "bump"

    @cauce.network
    def classifier(image):
        return nn.apply(Bump(), nn.conv2d(image, 4, 3))

    model = classifier.init(image=("N", 3, 8, 8))
    cauce.compile(model)


@mistake(
    UnsupportedOp,
    NotImplementedError,
    says="the ONNX export has no rule for bump",
    fix="@exports(Bump)",
    line="return nn.apply(Bump(), nn.conv2d(image, 4, 3))",
    ends='cauce.export_onnx(model, "net.onnx")',
    mended="""\
from cauce.backends.onnx.rules import exports


@exports(Bump)
def bump(w, op, node, x):
    return w("Exp", w("Neg", w("Mul", x, x)))


cauce.export_onnx(model, "net.onnx")""",
    mends='cauce.export_onnx(model, "net.onnx")',
)
def op_that_cannot_be_exported():
    """An op of one's own that ONNX does not have"""

    @register
    class Bump(FloatUnary):
        """y = e**(-x**2)"""

        name = "bump"

    @cauce.network
    def classifier(image):
        return nn.apply(Bump(), nn.conv2d(image, 4, 3))

    model = classifier.init(image=("N", 3, 8, 8))
    cauce.export_onnx(model, "net.onnx")


@mistake(
    UnsupportedOp,
    NotImplementedError,
    says="bump has no gradient rule",
    fix="write Bump.gradient",
    line="return nn.linear(nn.apply(Bump(), x), 3)",
    ends="cauce.Trainer(model)",
)
def op_without_a_gradient():
    """Training through an op of one's own without a gradient"""

    @register
    class Bump(FloatUnary):
        """y = e**(-x**2)"""

        name = "bump"

    @cauce.network
    def classifier(image):
        x = nn.global_avg_pool(nn.conv2d(image, 4, 3))
        return nn.linear(nn.apply(Bump(), x), 3)

    model = classifier.init(image=("N", 3, 8, 8))
    cauce.Trainer(model)


@mistake(
    UnsupportedOp,
    NotImplementedError,
    says="the mean of batch_norm_train has no running statistic",
    fix="as nn.batch_norm does",
    line="run_passes(graph, [ToInference()])",
)
def inference_without_running_statistics():
    """Inference of a batch norm without running statistics"""
    graph = Graph("net")
    x = graph.add_input("x", TensorType.make("f32", ("N", 4, 8, 8)))
    gamma = graph.add_input("gamma", TensorType.make("f32", (4,)))
    beta = graph.add_input("beta", TensorType.make("f32", (4,)))
    b = Builder(graph, path="bn1")
    graph.outputs["y"] = b(BatchNormTrain(), x, gamma, beta)
    run_passes(graph, [ToInference()])


@mistake(
    GraphError,
    ValueError,
    says=("net updates its parameters", "conv1.weight", "not a network"),
    fix="the network itself",
    line="run_passes(step.graph, INFERENCE)",
)
def training_step_folded_for_inference():
    """A training step folded for inference"""
    step = cauce.train_step(model, "cross_entropy", cauce.SGD(0.1))
    run_passes(step.graph, INFERENCE)


@mistake(
    CompileError,
    RuntimeError,
    says=("pass to_inference requires without_regions", "the result of a region"),
    fix="before it",
    line="run_passes(graph, [FuseElementwise(), ToInference()])",
)
def passes_in_another_order():
    """Passes in an order in which they do not work"""

    @cauce.network
    def chain(image):
        return nn.relu(nn.sigmoid(image) * 2)

    graph = chain.graph(image=("N", 3, 8, 8))
    run_passes(graph, [FuseElementwise(), ToInference()])
