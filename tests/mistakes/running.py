"""Running a compiled network"""

from cauce.ir.errors import AttributeMistake, GraphError, ShapeError, TypeMismatch

from .common import cauce, images, labels, model, net, np
from .mistake import mistake


@mistake(
    ShapeError,
    ValueError,
    says=("input image is f32[N,3,8,8]", "(6, 1, 8, 8)", "dimension 1 is 1, not 3"),
    fix="convert the images to 3 channels",
    line="predict(images[:, :1])",
)
def wrong_channels():
    """Grey images for a network of colour images"""
    predict = cauce.compile(model)
    predict(images[:, :1])


@mistake(
    ShapeError,
    ValueError,
    says=("f32[N,3,8,8]", "(6, 8, 8, 3)", "dimension 1 is 8, not 3"),
    fix="array.transpose(0, 3, 1, 2)",
    line="predict(photos)",
    mended="""\
array = photos
predict(array.transpose(0, 3, 1, 2))""",
)
def channels_last():
    """Images with the channels last"""
    predict = cauce.compile(model)
    photos = images.transpose(0, 2, 3, 1)
    predict(photos)


@mistake(
    ShapeError,
    ValueError,
    says=("4 dimensions", "(3, 8, 8)"),
    fix="array[None]",
    line="predict(images[0])",
    mended="""\
array = images[0]
predict(array[None])""",
)
def image_without_a_batch():
    """A single image without a batch"""
    predict = cauce.compile(model)
    predict(images[0])


@mistake(
    TypeMismatch,
    TypeError,
    says=("f32[N,3,8,8]", "float64", "(6, 3, 8, 8)"),
    fix="array.astype(np.float32)",
    line="predict(images / np.float64(255))",
    mended="""\
array = images / np.float64(255)
predict(array.astype(np.float32))""",
)
def double_precision():
    """Images in double precision"""
    predict = cauce.compile(model)
    predict(images / np.float64(255))


@mistake(
    TypeMismatch,
    TypeError,
    says=("f32[N,3,8,8]", "uint8"),
    fix="array.astype(np.float32) / 255",
    line="predict(pixels)",
    mended=(
        "array = pixels\npredict(array.astype(np.float32) / 255)",
        """\
@cauce.network
def of_bytes(image):
    return nn.linear(nn.flatten(nn.normalize(image, 0.5, 0.2)), 3)

cauce.compile(of_bytes.init(image=("N", 3, 8, 8), dtype="u8"))(pixels)""",
    ),
)
def bytes_for_floats():
    """Bytes for a network of floats"""
    predict = cauce.compile(model)
    pixels = np.zeros((1, 3, 8, 8), np.uint8)
    predict(pixels)


@mistake(
    GraphError,
    ValueError,
    says="no value was given for image; net has no input called picture",
    fix="image: f32[N,3,8,8]",
    line="predict(picture=images)",
)
def misnamed_input():
    """An input by a wrong name, and so none by the right one"""
    predict = cauce.compile(model)
    predict(picture=images)


@mistake(
    GraphError,
    ValueError,
    says="net takes (image), got 2 arrays",
    fix="an array for each",
    line="predict(images, labels)",
)
def too_many_inputs():
    """More arrays than inputs"""
    predict = cauce.compile(model)
    predict(images, labels)


@mistake(
    ShapeError,
    ValueError,
    says=("f32[4,3,8,8]", "dimension 0 is 6, not 4"),
    fix="the batch is fixed",
    line="predict(images)",
)
def wrong_batch():
    """Another batch than the network was compiled for"""
    predict = cauce.compile(model, batch=4)
    predict(images)


@mistake(
    GraphError,
    ValueError,
    says=("f32[1,3,8,8]", "not free to become 32"),
    fix='("N", 3, 32, 32)',
    line="cauce.compile(single, batch=32)",
)
def batch_that_is_not_free():
    """A batch for a network that was made for one image"""
    single = net.init(image=(1, 3, 8, 8))
    cauce.compile(single, batch=32)


@mistake(
    ShapeError,
    ValueError,
    says=("out for output must be f32[6,3]", "(6, 10)"),
    fix="np.empty((6, 3), np.float32)",
    line="predict(images, out=np.empty((6, 10), np.float32))",
    mended="predict(images, out=np.empty((6, 3), np.float32))",
)
def wrong_out():
    """An array for the result of another shape"""
    predict = cauce.compile(model)
    predict(images, out=np.empty((6, 10), np.float32))


@mistake(
    TypeMismatch,
    TypeError,
    says="compile takes a Model or a Graph, got <Network net(image, classes=3)>",
    fix="network.init(...)",
    line="cauce.compile(net)",
    mended="""\
network = net
cauce.compile(network.init(image=("N", 3, 8, 8)))""",
)
def network_compiled():
    """A network compiled before init"""
    cauce.compile(net)


@mistake(
    AttributeMistake,
    ValueError,
    says="there is no backend 'cuda'",
    fix="auto, numpy",
    line='cauce.compile(model, backend="cuda")',
)
def unknown_backend():
    """A backend that does not exist"""
    cauce.compile(model, backend="cuda")


@mistake(
    GraphError,
    ValueError,
    says="no value called 'conv9'",
    fix="did you mean conv1?",
    line='cauce.compile(model, taps=["conv9"])',
    mended='cauce.compile(model, taps=["conv1"])',
)
def unknown_tap():
    """A tap on a layer that does not exist"""
    cauce.compile(model, taps=["conv9"])


@mistake(
    GraphError,
    ValueError,
    says="net has no parameter values yet",
    fix="load_state_dict",
    line="predict(images)",
)
def graph_without_weights():
    """A graph run without weights"""
    predict = cauce.compile(model.graph)
    predict(images)


@mistake(
    ShapeError,
    ValueError,
    says=("linear1.weight has shape (3, 4)", "(10, 4)"),
    fix="the same options",
    line="model.load_state_dict(other.state_dict())",
)
def weights_of_another_size():
    """Weights of a network with other options"""
    other = net.init(image=("N", 3, 8, 8), classes=10)
    model.load_state_dict(other.state_dict())


@mistake(
    AttributeMistake,
    ValueError,
    says=("linear1.bias is f32, which does not hold 1 of the 3 values", "1e+39 would become inf"),
    fix="within the range",
    line='model.load_state_dict({"linear1.bias": bias}, strict=False)',
    mended="""\
array, least, greatest = bias, -1.0, 1.0
bias = np.clip(array, least, greatest)
model.load_state_dict({"linear1.bias": bias}, strict=False)""",
)
def weights_beyond_the_dtype():
    """Weights beyond what their dtype holds"""
    bias = np.array([0.5, 1e39, -1.0])
    model.load_state_dict({"linear1.bias": bias}, strict=False)


@mistake(
    GraphError,
    ValueError,
    says=("not the weights of net", "of its 4 names 4 are missing", "2 others are there"),
    fix="strict=False",
    line="model.load_state_dict(weights)",
    mended="model.load_state_dict(weights, strict=False)",
)
def weights_of_another_network():
    """Weights of another network"""
    weights = {"fc.weight": np.zeros((3, 4)), "fc.bias": np.zeros(3)}
    model.load_state_dict(weights)


@mistake(
    AttributeMistake,
    ValueError,
    says="two backends or more, got ['numpy']",
    fix='("reference", "numpy")',
    line='cauce.compare(model, images, backends=["numpy"])',
    mended='cauce.compare(model, images, backends=("reference", "numpy"))',
)
def compared_with_itself():
    """A backend compared with nothing"""
    cauce.compare(model, images, backends=["numpy"])


@mistake(
    GraphError,
    ValueError,
    says="it is not known how an image becomes image: f32[N,3,8,8]",
    fix="model.preprocessing = cauce.Preprocessing(size=(8, 8), mean=0.5, std=0.25, classes=[...])",
    line="model.predict(photo)",
    mended="""\
model.preprocessing = cauce.Preprocessing(size=(8, 8), mean=0.5, std=0.25, classes=["a", "b", "c"])
model.predict(photo)""",
)
def photo_of_unknown_preparation():
    """A photograph for a network that nobody has told what it takes"""
    model = net.init(image=("N", 3, 8, 8))
    photo = np.zeros((20, 30, 3), np.uint8)
    model.predict(photo)


@mistake(
    TypeMismatch,
    TypeError,
    says=("predict takes the path of an image, or its pixels as u8", "float64", "(20, 30, 3)"),
    fix="give a path, a list of paths, or an array [N, C, H, W] as the network takes it",
    line="model.predict(photo)",
)
def photo_of_floats():
    """Pixels that are no bytes"""
    photo = np.zeros((20, 30, 3))
    model.predict(photo)


@mistake(
    ShapeError,
    ValueError,
    says=("net takes f32[N,3,8,8]", "preprocessing brings images to 224 x 224"),
    fix="write size=(8, 8), or make the network for another size in init",
    line="model.preprocessing = cauce.Preprocessing.imagenet()",
    mended="model.preprocessing = cauce.Preprocessing.imagenet(size=(8, 8))",
)
def preprocessing_of_another_size():
    """Images of another size than the network takes"""
    model = net.init(image=("N", 3, 8, 8))
    model.preprocessing = cauce.Preprocessing.imagenet()


@mistake(
    ShapeError,
    ValueError,
    says=("net has 410,454 operations with this input", "400,000 at most"),
    fix="choose some layers, layers=['conv1'], one image, x[:1], or the corner of one",
    line="cauce.explain(large, x)",
    mended=(
        "cauce.explain(large, x, layers=['conv1'])",
        "cauce.explain(large, x[:1])",
        "cauce.explain(large, x[:1, :, :12, :12])",
    ),
)
def too_much_to_look_at():
    """Numbers of which there are too many to be looked at"""
    large = net.init(image=("N", 3, "H", "W"))
    x = np.zeros((2, 3, 32, 32), np.float32)
    cauce.explain(large, x)
