"""The calls of layers, functions and methods of tensors, whose results are graphs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from cauce import nn

from .calls import call, method, spread, traced

# ---- layers ------------------------------------------------------------------------------------

pooled = {"kernel_size": 2, "stride": 2, "padding": 1}
call(traced(nn.max_pool2d), "nn.max_pool2d", **pooled, dilation=1, ceil_mode=True)
call(traced(nn.max_pool2d), "nn.max_pool2d", kernel_size=(2, 3), padding=((1, 0), (0, 1)))
call(traced(nn.avg_pool2d), "nn.avg_pool2d", **pooled, ceil_mode=True, count_include_pad=False)
call(traced(nn.avg_pool2d), "nn.avg_pool2d", kernel_size=2, divisor_override=3)
call(traced(nn.adaptive_avg_pool2d), "nn.adaptive_avg_pool2d", output_size=2)
call(traced(nn.adaptive_max_pool2d), "nn.adaptive_max_pool2d", output_size=(2, 4))
call(traced(nn.batch_norm), "nn.batch_norm", eps=0.5, momentum=0.25, affine=True)
call(traced(nn.batch_norm), "nn.batch_norm", eps=0.5, momentum=0.25, affine=False)
call(traced(nn.clip), "nn.clip", min=-0.5, max=0.5)
call(traced(lambda x, dim: nn.concat([x, x], dim)), "nn.concat", dim=1)
kernel = {"out_channels": 6, "kernel_size": 3, "stride": 2, "padding": 1, "dilation": 1}
call(traced(nn.conv2d), "nn.conv2d", **kernel, groups=2, bias=False)
call(traced(nn.conv2d), "nn.conv2d", out_channels=4, kernel_size=(3, 2), padding=((1, 0), (0, 1)))
call(traced(nn.conv_transpose2d), "nn.conv_transpose2d", **kernel, output_padding=1, groups=2,
     bias=False)  # fmt: skip
call(traced(nn.conv_transpose2d), "nn.conv_transpose2d", out_channels=4, kernel_size=2, stride=2,
     output_size=(16, 17))  # fmt: skip
call(traced(lambda x, **n: nn.cross_entropy(x, x, **n), "N", 4), "nn.cross_entropy",
     label_smoothing=0.25)  # fmt: skip
call(traced(lambda x, **n: nn.cross_entropy(x, x.argmax(1), **n), "N", 4), "nn.cross_entropy",
     ignore_index=-100)  # fmt: skip
call(traced(lambda x, **n: nn.binary_cross_entropy_with_logits(x, x, **n), "N", 4),
     "nn.binary_cross_entropy_with_logits", pos_weight=2.5)  # fmt: skip
call(traced(nn.dropout), "nn.dropout", p=0.25)
call(traced(nn.flatten), "nn.flatten", start_dim=2, end_dim=3)
call(traced(lambda x, dim: nn.gather(x, x.argmax(1), dim), 3, 4), "nn.gather", dim=1)
for dims in (3, (2, 3)):
    call(traced(nn.flip), "nn.flip", dims=dims)
    call(traced(lambda x, dims: x.flip(dims)), "nn.Tensor.flip", dims=dims)
call(traced(spread("flip")), "nn.Tensor.flip", dims=(2, 3))
call(traced(nn.leaky_relu), "nn.leaky_relu", negative_slope=0.25)
call(traced(nn.linear, "N", 4), "nn.linear", out_features=3, bias=True)
call(traced(nn.log_softmax), "nn.log_softmax", dim=1)
call(traced(nn.softmax), "nn.softmax", dim=1)
for two in (nn.maximum, nn.minimum):
    call(traced(two), f"nn.{two.__name__}", y=0.5)
    call(traced(lambda x, two=two, **n: two(n["x_"], x)), f"nn.{two.__name__}", x_=0.5)
call(traced(lambda x, **n: nn.where(x > 0, n["x_"], x)), "nn.where", x_=0.5)
call(traced(lambda x, **n: nn.where(x > 0, x, **n)), "nn.where", y=0.5)
call(traced(nn.normalize), "nn.normalize", mean=0.5, std=0.25)
call(traced(nn.normalize), "nn.normalize", mean=(0.5, 1.0, 0.25, 0.0), std=(0.5, 1.0, 0.25, 2.0))
call(traced(lambda x, **n: nn.one_hot(x.argmax(1), **n)), "nn.one_hot", num_classes=8)
call(traced(nn.pad), "nn.pad", pads=((0, 0), (0, 0), (1, 2), (0, 1)), value=0.5)
call(traced(lambda x, shape: x + nn.parameter(shape, name="w")), "nn.parameter", shape=(4, 1, 8))
call(traced(nn.reshape), "nn.reshape", shape=(-1, 8, 32))
for layer in (nn.interpolate, nn.upsample):
    up = f"nn.{layer.__name__}"
    call(traced(partial(layer, mode="bilinear")), up, size=(4, 5), align_corners=True)
    call(traced(layer), up, scale_factor=2.0)
    call(traced(layer), up, scale_factor=(2, 0.5))
smooth = partial(nn.interpolate, mode="bicubic")
call(traced(smooth), "nn.interpolate", size=4, antialias=True, recompute_scale_factor=True)
call(traced(nn.pixel_shuffle), "nn.pixel_shuffle", upscale_factor=2)
call(traced(nn.pixel_unshuffle), "nn.pixel_unshuffle", downscale_factor=2)
call(traced(nn.tile), "nn.tile", dims=(2, 1))

# ---- in one and three dimensions ---------------------------------------------------------------

LINE, BOX = ("N", 4, 8), ("N", 4, 8, 8, 8)
lined = {"kernel_size": 2, "stride": 2, "padding": 1, "ceil_mode": True}
for shape in (LINE, BOX):
    d = len(shape) - 2
    each, sides = (2, 3, 2)[:d], ((1, 0), (0, 1), (1, 1))[:d]
    for pool in ("max_pool", "avg_pool"):
        path = f"{pool}{d}d"
        call(traced(getattr(nn, path), *shape), f"nn.{path}", **lined)
        call(traced(getattr(nn, path), *shape), f"nn.{path}", kernel_size=each, padding=sides)
    path = f"max_pool{d}d"
    call(traced(getattr(nn, path), *shape), f"nn.{path}", kernel_size=2, dilation=2)
    path = f"avg_pool{d}d"
    call(traced(getattr(nn, path), *shape), f"nn.{path}", kernel_size=2, padding=1,
         count_include_pad=False)  # fmt: skip
    path = f"conv{d}d"
    call(traced(getattr(nn, path), *shape), f"nn.{path}", **kernel, groups=2, bias=False)
    call(traced(getattr(nn, path), *shape), f"nn.{path}", out_channels=4, kernel_size=each,
         padding=sides)  # fmt: skip
    path = f"conv_transpose{d}d"
    call(traced(getattr(nn, path), *shape), f"nn.{path}", **kernel, output_padding=1, groups=2,
         bias=False)  # fmt: skip
    call(traced(getattr(nn, path), *shape), f"nn.{path}", out_channels=4, kernel_size=2, stride=2,
         output_size=(16, 17, 16)[:d])  # fmt: skip
call(traced(nn.avg_pool3d, *BOX), "nn.avg_pool3d", kernel_size=2, divisor_override=3)
call(traced(nn.adaptive_avg_pool1d, *LINE), "nn.adaptive_avg_pool1d", output_size=2)
call(traced(nn.adaptive_max_pool1d, *LINE), "nn.adaptive_max_pool1d", output_size=2)
call(traced(nn.adaptive_avg_pool3d, *BOX), "nn.adaptive_avg_pool3d", output_size=(2, 4, 1))
call(traced(nn.adaptive_max_pool3d, *BOX), "nn.adaptive_max_pool3d", output_size=(2, 4, 1))


def unpooled(d: int) -> Callable[..., nn.Tensor]:
    """What is pooled with indices in d dimensions, and put back."""
    pool, unpool = getattr(nn, f"max_pool{d}d"), getattr(nn, f"max_unpool{d}d")

    def layer(
        x: nn.Tensor, kernel_size: Any, stride: Any, return_indices: Any, **numbers: Any
    ) -> Any:
        y, places = pool(x, kernel_size, stride, return_indices=return_indices)
        return unpool(y, places, kernel_size, stride, **numbers)

    return layer


for shape in (LINE, ("N", 4, 8, 8), BOX):
    d = len(shape) - 2
    back = {"kernel_size": 2, "stride": 2, "return_indices": True, "output_size": (9, 8, 8)[:d]}
    back |= {"padding": 0}
    for path in (f"nn.max_pool{d}d", f"nn.max_unpool{d}d"):
        call(traced(unpooled(d), *shape), path, **back)
    path = f"lp_pool{d}d"
    call(traced(getattr(nn, path), *shape), f"nn.{path}", norm_type=2.0, kernel_size=3, stride=2,
         ceil_mode=True)  # fmt: skip

# ---- activations and norms ---------------------------------------------------------------------

for curve in (nn.celu, nn.elu):
    call(traced(curve), f"nn.{curve.__name__}", alpha=0.5)
for shrink in (nn.hardshrink, nn.softshrink):
    call(traced(shrink), f"nn.{shrink.__name__}", lambd=0.25)
call(traced(nn.softplus), "nn.softplus", beta=2.0)
call(traced(nn.prelu), "nn.prelu", num_parameters=4, init=0.5)
for along in (nn.glu, nn.hardmax, nn.softmin, nn.cumsum, nn.cumprod):
    call(traced(along), f"nn.{along.__name__}", dim=1)
call(traced(nn.group_norm), "nn.group_norm", num_groups=2, eps=0.5, affine=False)
call(traced(nn.instance_norm), "nn.instance_norm", eps=0.5, affine=True)
normed = {"normalized_shape": (8, 8), "eps": 0.5, "elementwise_affine": True}
call(traced(nn.layer_norm), "nn.layer_norm", **normed, bias=False)
call(traced(nn.layer_norm), "nn.layer_norm", normalized_shape=8, elementwise_affine=False)
call(traced(nn.rms_norm), "nn.rms_norm", **normed)
call(traced(nn.rms_norm), "nn.rms_norm", normalized_shape=8, elementwise_affine=False)
call(traced(nn.local_response_norm), "nn.local_response_norm", size=3, alpha=0.5, beta=0.25, k=2.0)
call(traced(lambda x, **n: nn.nll_loss(x, x.argmax(1), **n), "N", 4), "nn.nll_loss",
     ignore_index=-100)  # fmt: skip

# ---- places, order, integers -------------------------------------------------------------------

for find in (nn.argmax, nn.argmin):
    call(traced(find), f"nn.{find.__name__}", dim=1, keepdim=True)
for dims in (1, (1, 3)):
    call(traced(nn.logsumexp), "nn.logsumexp", dim=dims, keepdim=True)
call(traced(lambda x, **n: x + nn.arange(**n).cast("f32")), "nn.arange", end=8)
call(traced(lambda x, **n: nn.topk(x, **n)[0]), "nn.topk", k=2, dim=1, largest=False, sorted=True)
for triangle in (nn.tril, nn.triu):
    call(traced(triangle), f"nn.{triangle.__name__}", diagonal=-1)
call(traced(lambda x, dim: nn.take_along_dim(x, x.argmax(1, keepdim=True), dim)),
     "nn.take_along_dim", dim=1)  # fmt: skip
for put in (nn.scatter, nn.scatter_add, partial(nn.scatter_reduce, reduce="amax")):
    path = f"nn.{getattr(put, 'func', put).__name__}"
    call(traced(lambda x, dim, put=put: put(x, dim, index=x.argmax(1, keepdim=True), src=x[:, :1])),
         path, dim=1)  # fmt: skip
for rest in (nn.fmod, nn.remainder):
    call(traced(rest), f"nn.{rest.__name__}", other=2.5)
shifts = (nn.bitwise_left_shift, nn.bitwise_right_shift)
for bits in (nn.bitwise_and, nn.bitwise_or, nn.bitwise_xor, *shifts):
    call(traced(lambda x, other, f=bits: f(x.argmax(1), other)), f"nn.{bits.__name__}", other=3)

# ---- tensors -----------------------------------------------------------------------------------

for name in ("sum", "mean", "max", "min", "prod"):
    call(traced(method(name)), f"nn.Tensor.{name}", dim=1, keepdim=True)
    call(traced(method(name)), f"nn.Tensor.{name}", dim=(1, 3))
call(traced(method("var")), "nn.Tensor.var", dim=1, keepdim=True, correction=0)
for name in ("argmax", "argmin"):
    call(traced(method(name)), f"nn.Tensor.{name}", dim=1, keepdim=True)
call(traced(method("flatten")), "nn.Tensor.flatten", start_dim=1, end_dim=2)
call(traced(method("eq")), "nn.Tensor.eq", other=1.0)
call(traced(spread("reshape")), "nn.Tensor.reshape", dims=(-1, 8, 32))
call(traced(spread("permute")), "nn.Tensor.permute", dims=(0, 2, 3, 1))
call(traced(spread("expand"), "N", 1, 8), "nn.Tensor.expand", dims=(-1, 4, -1))
call(traced(lambda x, index: x[:, index]), "nn.Tensor.__getitem__", index=-1)
call(traced(lambda x, index: x[:, index]), "nn.Tensor.__getitem__", index=2)
call(traced(lambda x, a, b, c: x[:, a:b, ::c]), "nn.Tensor.__getitem__", a=-3, b=-1, c=2)
for sign in ("add", "sub", "mul", "truediv", "pow", "radd", "rsub", "rmul", "rtruediv", "rpow"):
    operator = f"__{sign}__"
    call(traced(lambda x, o=operator, **n: getattr(x, o)(n["other"])), f"nn.Tensor.{operator}",
         other=0.5)  # fmt: skip
for sign in ("lt", "le", "gt", "ge"):
    operator = f"__{sign}__"
    call(traced(lambda x, o=operator, **n: getattr(x, o)(n["other"])), f"nn.Tensor.{operator}",
         other=0.5)  # fmt: skip
