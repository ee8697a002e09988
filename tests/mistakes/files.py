"""Files and packages that are missing"""

from cauce import models
from cauce.ir.errors import DataError, GraphError, MissingExtra, MissingFile, ShapeError
from cauce.training import History, load_digits, load_image_folder, plot_history

from .common import Path, cauce, data, model, net
from .mistake import mistake


@mistake(
    MissingFile,
    FileNotFoundError,
    says="there is no file digits.safetensor",
    fix="did you mean digits.safetensors?",
    line='cauce.load("digits.safetensor")',
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
    GraphError,
    ValueError,
    says=("holds no cauce model", "'cauce-checkpoint-1'"),
    fix="Trainer.resume takes checkpoints",
    line="cauce.load(checkpoint)",
)
def checkpoint_as_a_model():
    """A checkpoint loaded as a model"""
    trainer = cauce.Trainer(net.init(image=("N", 3, 8, 8)))
    runs = cauce.training.Checkpoints("runs")
    trainer.fit(data, epochs=1, checkpoints=runs, progress=False)
    (checkpoint,) = runs.paths()
    cauce.load(checkpoint)


@mistake(
    ShapeError,
    ValueError,
    says=("2 weights of lenet5 have another shape", "[10, 84]", "given [1000, 84]"),
    fix="classes=1000",
    line="models.load_torch_weights(lenet, other.state_dict())",
)
def weights_for_another_number_of_classes():
    """Published weights for another number of classes"""
    lenet = models.lenet5.init(image=("N", 1, 32, 32))
    other = models.lenet5.init(image=("N", 1, 32, 32), classes=1000)
    models.load_torch_weights(lenet, other.state_dict())


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
