"""Training: data sets and their readers, augmentation, schedules, the fit loop, checkpoints."""

from .augment import Mixup, Normalize, OneHot, RandomCrop, RandomHorizontalFlip, Transform
from .checkpoints import Checkpoints
from .data import Dataset, batches, load_digits, load_idx
from .early_stopping import EarlyStopping
from .history import Epoch, History
from .metrics import ConfusionMatrix
from .schedules import Constant, Cosine, MultiStep, OneCycle, Step, WarmUp, epochs_to_steps

__all__ = [
    "Checkpoints",
    "ConfusionMatrix",
    "Constant",
    "Cosine",
    "Dataset",
    "EarlyStopping",
    "Epoch",
    "History",
    "Mixup",
    "MultiStep",
    "Normalize",
    "OneCycle",
    "OneHot",
    "RandomCrop",
    "RandomHorizontalFlip",
    "Step",
    "Transform",
    "WarmUp",
    "batches",
    "epochs_to_steps",
    "load_digits",
    "load_idx",
]
