"""Training: data sets and their readers, augmentation, schedules, the fit loop, checkpoints."""

from .arrays import load_npy, load_npz
from .augment import Mixup, Normalize, OneHot, RandomCrop, RandomHorizontalFlip, Transform
from .checkpoints import Checkpoints
from .cifar import load_cifar10, load_cifar100
from .data import Dataset, batches, load_digits, load_idx
from .early_stopping import EarlyStopping
from .folders import load_image_folder
from .history import Epoch, History
from .metrics import ConfusionMatrix
from .plots import plot_confusion, plot_history
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
    "load_cifar10",
    "load_cifar100",
    "load_digits",
    "load_idx",
    "load_image_folder",
    "load_npy",
    "load_npz",
    "plot_confusion",
    "plot_history",
]
