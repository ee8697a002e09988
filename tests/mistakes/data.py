"""Data sets"""

from cauce.ir.errors import AttributeMistake, DataError
from cauce.training import load_idx, load_image_folder, load_npz

from .common import Dataset, Path, data, images, labels, np
from .mistake import mistake


@mistake(
    DataError,
    ValueError,
    says=("[N, C, H, W]", "(100, 28, 28)"),
    fix="images[:, None]",
    line='Dataset(np.zeros((100, 28, 28)), np.zeros(100, int), ("a", "b"))',
    mended="""\
images = np.zeros((100, 28, 28))
Dataset(images[:, None], np.zeros(100, int), ("a", "b"))""",
)
def images_without_channels():
    """Grey images without a channel axis"""
    Dataset(np.zeros((100, 28, 28)), np.zeros(100, int), ("a", "b"))


@mistake(
    DataError,
    ValueError,
    says=("labels are [N] integers", "float64 of shape (6, 3)"),
    fix="argmax(axis=1)",
    line="Dataset(images, np.eye(3)[labels], data.classes)",
    mended="""\
labels = np.eye(3)[labels]
Dataset(images, labels.argmax(axis=1), data.classes)""",
)
def one_hot_rows():
    """One-hot rows as labels"""
    Dataset(images, np.eye(3)[labels], data.classes)


@mistake(
    DataError,
    ValueError,
    says="labels are [N] integers, got <U3 of shape (6,)",
    fix="np.unique(labels, return_inverse=True)",
    line='Dataset(images, np.array(["owl", "cat", "dog"] * 2), data.classes)',
    mended="""\
labels = np.array(["owl", "cat", "dog"] * 2)
classes, labels = np.unique(labels, return_inverse=True)
assert Dataset(images, labels, classes).labels.tolist() == [2, 0, 1, 2, 0, 1]""",
)
def names_as_labels():
    """Names as labels"""
    Dataset(images, np.array(["owl", "cat", "dog"] * 2), data.classes)


@mistake(
    DataError,
    ValueError,
    says="images are [N, C, H, W], got an array of shape (32, 32, 3)",
    fix="images.transpose(2, 0, 1)[None]",
    line='Dataset(np.zeros((32, 32, 3)), [0], ("cat", "dog"))',
    mended="""\
images = np.zeros((32, 32, 3))
Dataset(images.transpose(2, 0, 1)[None], [0], ("cat", "dog"))""",
)
def one_photograph():
    """A single image, channels last"""
    Dataset(np.zeros((32, 32, 3)), [0], ("cat", "dog"))


@mistake(
    DataError,
    ValueError,
    says="6 images and 5 labels",
    fix="one label for each image",
    line="Dataset(images, labels[:5], data.classes)",
)
def label_missing():
    """A label missing"""
    Dataset(images, labels[:5], data.classes)


@mistake(
    DataError,
    ValueError,
    says=("labels run from 1 to 3", "3 classes"),
    fix="count labels from 0",
    line="Dataset(images, labels + 1, data.classes)",
)
def labels_from_one():
    """Labels counted from 1"""
    Dataset(images, labels + 1, data.classes)


@mistake(
    DataError,
    ValueError,
    says="without a pixel: the images have shape (0, 3, 8, 8)",
    fix="at least one image",
    line="data[data.labels == 7]",
)
def empty_data_set():
    """A selection without an image"""
    data[data.labels == 7]


@mistake(
    AttributeMistake,
    ValueError,
    says=("fraction of 20.0", "6 images into 6 and 0"),
    fix="between 0 and 1",
    line="data.split(20, seed=0)",
)
def split_in_percent():
    """A split in percent"""
    data.split(20, seed=0)


@mistake(
    DataError,
    ValueError,
    says=("flowers should hold a subfolder for each class", "there is none"),
    fix="flowers/daisy/1.jpg",
    line='load_image_folder("flowers")',
)
def empty_folder():
    """An empty folder of images"""
    Path("flowers").mkdir()
    load_image_folder("flowers")


@mistake(
    DataError,
    ValueError,
    says=("at least two", "there is only rose"),
    fix="flowers/daisy/1.jpg",
    line='load_image_folder("flowers")',
)
def folder_of_one_class():
    """A folder of images with one class"""
    Path("flowers/rose").mkdir(parents=True)
    load_image_folder("flowers")


@mistake(
    DataError,
    ValueError,
    says="photos.npz has no array called 'images', only x_train, y_train",
    fix="images='x_train'",
    line='load_npz("photos.npz")',
    mended="""\
path = "photos.npz"
load_npz(path, images='x_train', labels='y_train')""",
)
def arrays_of_other_names():
    """Arrays under other names"""
    np.savez("photos.npz", x_train=images, y_train=labels)
    load_npz("photos.npz")


@mistake(
    DataError,
    ValueError,
    says=("train-images holds uint8 of shape (2,)", "images [N, H, W]"),
    fix="swapped",
    line='load_idx("train-images", "train-labels")',
)
def images_and_labels_swapped():
    """Files of images and labels, swapped"""
    Path("train-images").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 5, 3]))
    Path("train-labels").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 5, 3]))
    load_idx("train-images", "train-labels")
