"""What the code of every mistake finds."""

from pathlib import Path

import numpy as np

import cauce
from cauce import nn
from cauce.training import Dataset


@cauce.network
def net(image, classes=3):
    x = nn.relu(nn.conv2d(image, 4, 3))
    return nn.linear(nn.global_avg_pool(x), classes)


model = net.init(image=("N", 3, 8, 8))
images = np.zeros((6, 3, 8, 8), np.float32)
labels = np.array([0, 1, 2, 0, 1, 2])
data = Dataset(images, labels, ("cat", "dog", "owl"))

__all__ = ["Dataset", "Path", "cauce", "data", "images", "labels", "model", "net", "nn", "np"]
