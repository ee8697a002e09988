"""Files and packages that are missing"""

from safetensors.numpy import save_file

from cauce import models
from cauce.ir.errors import (
    AttributeMistake,
    DataError,
    GraphError,
    MissingExtra,
    MissingFile,
    ShapeError,
)
from cauce.training import History, load_digits, load_image_folder, plot_history

from .common import Path, cauce, model, nn
from .mistake import mistake


@mistake(
    MissingFile,
    FileNotFoundError,
    says="there is no file digits.safetensor",
    fix="did you mean digits.safetensors?",
    line='cauce.load("digits.safetensor")',
    mended='cauce.load("digits.safetensors")',
)
def misspelt_file():
    """A file name, misspelt"""
    model.save("digits.safetensors")
    cauce.load("digits.safetensor")


@mistake(
    MissingFile,
    FileNotFoundError,
    says="there is no folder models to write digits.safetensors in",
    fix="Path('models').mkdir(parents=True)",
    line='model.save("models/digits.safetensors")',
    mended="""\
Path('models').mkdir(parents=True)
model.save("models/digits.safetensors")""",
)
def missing_folder():
    """A folder that is not there"""
    model.save("models/digits.safetensors")


@mistake(
    DataError,
    ValueError,
    says="digits.safetensors is not a safetensors file, or is damaged",
    fix="load a file that save wrote",
    line='cauce.load("digits.safetensors")',
)
def damaged_model():
    """A damaged file"""
    model.save("digits.safetensors")
    whole = Path("digits.safetensors").read_bytes()
    Path("digits.safetensors").write_bytes(whole[:1000])
    cauce.load("digits.safetensors")


@mistake(
    MissingFile,
    FileNotFoundError,
    says="models is a folder, not a file",
    fix="name a file in it",
    line='model.save("models")',
)
def folder_as_a_file():
    """The name of a folder where a file is written"""
    Path("models").mkdir()
    model.save("models")


@mistake(
    DataError,
    ValueError,
    says="net.pth is a file of PyTorch",
    fix="weights_only=True",
    line='cauce.load("net.pth")',
    mended="""\
from types import SimpleNamespace
from cauce import models

torch = SimpleNamespace(load=lambda path, map_location, weights_only: model.state_dict())
models.load_torch_weights(model, torch.load('net.pth', map_location='cpu', weights_only=True))""",
)
def file_of_pytorch():
    """A file of PyTorch's"""
    Path("net.pth").write_bytes(b"PK")
    cauce.load("net.pth")


@mistake(
    DataError,
    ValueError,
    says="net.onnx is an ONNX file",
    fix="cauce.load_onnx('net.onnx') reads it",
    line='cauce.load("net.onnx")',
    mended="cauce.load_onnx('net.onnx')",
)
def onnx_file_as_a_model():
    """An ONNX file loaded as a model"""
    cauce.export_onnx(model, "net.onnx")
    cauce.load("net.onnx")


@mistake(
    AttributeMistake,
    ValueError,
    says="opset must be from 13 to",
    fix="opset=13",
    line='cauce.export_onnx(model, "net.onnx", opset=9)',
    mended='cauce.export_onnx(model, "net.onnx", opset=13)',
)
def opset_that_is_too_old():
    """An opset that is too old"""
    cauce.export_onnx(model, "net.onnx", opset=9)


@mistake(
    DataError,
    ValueError,
    says=("digits.safetensors is damaged", "4 arrays", "have changed"),
    fix="another copy",
    line='cauce.load("digits.safetensors")',
)
def flipped_bit():
    """A file with a flipped bit"""
    model.save("digits.safetensors")
    data = bytearray(Path("digits.safetensors").read_bytes())
    data[-5] ^= 0x40
    Path("digits.safetensors").write_bytes(data)
    cauce.load("digits.safetensors")


@mistake(
    GraphError,
    ValueError,
    says=("net.safetensors holds no cauce model", "format None"),
    fix="bare weights are for model.load_state_dict(",
    line='cauce.load("net.safetensors")',
    mended="""\
from safetensors.numpy import load_file

model.load_state_dict(load_file("net.safetensors"))""",
)
def bare_weights_as_a_model():
    """Bare weights loaded as a model"""
    save_file(model.state_dict(), "net.safetensors")
    cauce.load("net.safetensors")


@mistake(
    ShapeError,
    ValueError,
    says=("2 weights of lenet5 have another shape", "[10, 84]", "given [1000, 84]"),
    fix="classes=1000",
    line="models.load_torch_weights(lenet, other.state_dict())",
    mended="""\
lenet = models.lenet5.init(image=("N", 1, 32, 32), classes=1000)
models.load_torch_weights(lenet, other.state_dict())""",
)
def weights_for_another_number_of_classes():
    """Published weights for another number of classes"""
    lenet = models.lenet5.init(image=("N", 1, 32, 32))
    other = models.lenet5.init(image=("N", 1, 32, 32), classes=1000)
    models.load_torch_weights(lenet, other.state_dict())


@mistake(
    GraphError,
    ValueError,
    says=("10 of 10 are missing (lenet5_1.c1.weight", "10 are unexpected (c1.weight"),
    fix="prefix='lenet5_1'",
    line="models.load_torch_weights(model, weights)",
    mended="""\
models.load_torch_weights(model, weights, prefix='lenet5_1')""",
)
def weights_of_a_part():
    """Published weights for a network that is part of another one"""

    @cauce.network
    def from_bytes(image):
        return models.lenet5(nn.normalize(image, 0.5, 0.25))

    model = from_bytes.init(image=("N", 1, 32, 32), dtype="u8")
    weights = models.lenet5.init(image=("N", 1, 32, 32)).state_dict()
    models.load_torch_weights(model, weights)


@mistake(
    MissingExtra,
    ImportError,
    says="exporting needs onnx, which is not installed",
    fix="pip install 'onnx>=",
    line='cauce.export_onnx(model, "net.onnx")',
    without="onnx",
)
def export_without_onnx():
    """Exporting where onnx is not installed"""
    cauce.export_onnx(model, "net.onnx")


@mistake(
    MissingExtra,
    ImportError,
    says="saving needs safetensors",
    fix="pip install 'safetensors>=",
    line='model.save("net.safetensors")',
    without="safetensors",
)
def saving_without_safetensors():
    """Saving where safetensors is not installed"""
    model.save("net.safetensors")


@mistake(
    MissingExtra,
    ImportError,
    says="scikit-learn, which is not installed",
    fix="pip install 'scikit-learn>=",
    line="load_digits()",
    without="sklearn",
)
def digits_without_sklearn():
    """The digits where scikit-learn is not installed"""
    load_digits()


@mistake(
    MissingExtra,
    ImportError,
    says="read by Pillow, which is not installed",
    fix="pip install 'pillow>=",
    line='load_image_folder("flowers")',
    without="PIL",
)
def photos_without_pillow():
    """Photographs where Pillow is not installed"""
    for name in ("daisy", "rose"):
        Path("flowers", name).mkdir(parents=True)
        Path("flowers", name, "1.jpg").touch()
    load_image_folder("flowers")


@mistake(
    MissingExtra,
    ImportError,
    says="pictures need matplotlib",
    fix="pip install 'matplotlib>=",
    line="plot_history(history)",
    without="matplotlib",
)
def curves_without_matplotlib():
    """Curves where matplotlib is not installed"""
    history = History()
    history.epochs.append(cauce.training.Epoch(1, 0.5, 0.1, {"loss": 2.3}, {}))
    plot_history(history)


@mistake(
    MissingExtra,
    ImportError,
    says="llvmlite",
    fix="pip install 'llvmlite>=",
    line='cauce.compile(model, backend="llvm")',
    without="llvmlite",
)
def native_code_without_llvmlite():
    """Native code where llvmlite is not installed"""
    cauce.compile(model, backend="llvm")
