"""Well-known networks, each with its source and its number of parameters.

>>> from cauce import models
>>> models.resnet20.init(image=("N", 3, 32, 32))
<Model resnet20: 269,722 parameters>
"""

from .frontends.zoo.cifar_resnet import (
    plain20,
    plain32,
    plain44,
    plain56,
    plain110,
    resnet20,
    resnet32,
    resnet44,
    resnet56,
    resnet110,
)
from .frontends.zoo.densenet import densenet121
from .frontends.zoo.lenet import lenet5
from .frontends.zoo.mobilenet import mobilenet_v2
from .frontends.zoo.resnet import resnet18, resnet34, resnet50, resnet101
from .frontends.zoo.squeezenet import squeezenet
from .frontends.zoo.torch_weights import load_torch_weights
from .frontends.zoo.unet import unet
from .frontends.zoo.vgg import vgg11, vgg11_bn, vgg16, vgg16_bn

__all__ = [
    "densenet121",
    "lenet5",
    "load_torch_weights",
    "mobilenet_v2",
    "plain20",
    "plain32",
    "plain44",
    "plain56",
    "plain110",
    "resnet18",
    "resnet20",
    "resnet32",
    "resnet34",
    "resnet44",
    "resnet50",
    "resnet56",
    "resnet101",
    "resnet110",
    "squeezenet",
    "unet",
    "vgg11",
    "vgg11_bn",
    "vgg16",
    "vgg16_bn",
]
