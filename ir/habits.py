"""What programs of PyTorch, Keras and NumPy ask for, and what to write instead: the one table.

:mod:`cauce.ir.remedies` reads it when a name or an argument is not known.
"""

from __future__ import annotations

from collections.abc import Mapping

_TRAIN = "cauce.Trainer(model, loss='cross_entropy', optimizer=cauce.SGD(0.1)).fit(train, epochs=5)"
_TO_TRAIN = f"compile makes a model run; to train it: {_TRAIN}"
_RUN = "predict = cauce.compile(model); predict(images)"
_CPU = "leave it out: cauce computes on the processor"
_FORMS = "leave it out: training takes the training form of the network, compile that for inference"
_NUMBERS = "numbers come when the compiled network is called"
_SPLIT = "slices, such as x[:, :8] and x[:, 8:]"
_NETWORK = "a network is a function of tensors, decorated with @cauce.network; layers are calls"
_LOGITS = "nn.cross_entropy(logits, target), or loss='cross_entropy' of the Trainer"
_KEEPS = "freeze what is not to be trained: model.freeze('conv1.*')"
_BORDERS = "nn.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)])"
OWN_LOSS = (
    "write it as a function (output, target) -> scalar, with the tensors and losses of cauce.nn"
)

# What is asked of a tensor and of nn alike. Names that stand side by side ask for the same.
_BOTH = {
    "abs": "abs(x)",
    "add": "x + y",
    "bmm matmul mm": "x @ y",
    "cat": "nn.concat([x, y], dim=1)",
    "clamp": "nn.clip(x, min=0.0, max=1.0)",
    "mul multiply": "x * y",
    "split": _SPLIT,
    "square": "x * x",
    "squeeze": "x.reshape(...) without the size of 1",
    "transpose": "x.permute(...) takes all dimensions in their new order",
    "unsqueeze": "x.reshape(...) with a size of 1",
}

# Attributes and methods of a tensor; those that nn has are found by themselves.
_TENSOR = {
    "T": "x.permute(1, 0) is the transpose of a matrix",
    "all": "(~x).cast('f32').sum().eq(0)",
    "any": "x.cast('f32').sum() > 0",
    "astype float to": "x.cast('f32')",
    "backward": "cauce.gradients(loss, [x]) within a network; the Trainer does it by itself",
    "bool": "x.cast('bool')",
    "chunk": _SPLIT,
    "clone copy": "x itself: a tensor never changes",
    "contiguous": "x itself: how it lies in memory is left to the compiler",
    "cpu cuda device": _CPU,
    "detach requires_grad requires_grad_": _KEEPS,
    "dim rank": "x.ndim",
    "div": "x / y",
    "double": "x.cast('f64')",
    "expand_as": "x.expand(*y.shape)",
    "ge": "x >= y",
    "get_shape size": "x.shape",
    "grad": "cauce.gradients(loss, [x]) within a network",
    "gt": "x > y",
    "half": "x.cast('f16')",
    "index_select": "nn.gather(x, indices, dim=0)",
    "int": "x.cast('i32')",
    "item numpy tolist": _NUMBERS,
    "le": "x <= y",
    "logical_and": "x & y",
    "logical_not": "~x",
    "logical_or": "x | y",
    "long": "x.cast('i64')",
    "lt": "x < y",
    "masked_fill": "nn.where(mask, 0.0, x)",
    "ne": "~x.eq(y)",
    "neg": "-x",
    "norm": "(x * x).sum().sqrt()",
    "numel": "the product of x.shape",
    "pow": "x ** 2",
    "relu_": "nn.relu(x)",
    "repeat": "nn.tile(x, (1, 2, 1, 1))",
    "rot90": "x.permute(0, 1, 3, 2).flip(2)",
    "std": "x.var(...).sqrt()",
    "sub": "x - y",
    "swapaxes": "x.permute(...), which takes all dimensions in their new order",
    "type_as": "x.cast(y.dtype)",
    "view": "x.reshape(...)",
}

# Names of nn.
_LAYERS = {
    "Activation": "nn.relu(x), nn.sigmoid(x), ...",
    "AdaptiveAvgPool1d": "nn.adaptive_avg_pool1d(x, 1)",
    "AdaptiveAvgPool3d": "nn.adaptive_avg_pool3d(x, 1)",
    "AdaptiveMaxPool1d": "nn.adaptive_max_pool1d(x, 1)",
    "AdaptiveMaxPool3d": "nn.adaptive_max_pool3d(x, 1)",
    "AdaptiveAvgPool2d": "nn.adaptive_avg_pool2d(x, 1), or nn.global_avg_pool(x) for [N, C]",
    "AdaptiveMaxPool2d": "nn.adaptive_max_pool2d(x, 1)",
    "Add": "x + y",
    "AveragePooling1D AvgPool1d": "nn.avg_pool1d(x, 2)",
    "AveragePooling2D AvgPool2d": "nn.avg_pool2d(x, 2)",
    "AveragePooling3D AvgPool3d": "nn.avg_pool3d(x, 2)",
    "BCELoss": "nn.binary_cross_entropy(p, target)",
    "BCEWithLogitsLoss BinaryCrossentropy": "nn.binary_cross_entropy_with_logits(logits, target)",
    "BatchNorm1d BatchNorm2d BatchNormalization": "nn.batch_norm(x)",
    "CategoricalCrossentropy CrossEntropyLoss SparseCategoricalCrossentropy": _LOGITS,
    "Concatenate concatenate": "nn.concat([x, y], dim=1)",
    "Conv1D Conv1d": "nn.conv1d(x, out_channels, 3)",
    "Conv1DTranspose ConvTranspose1d": "nn.conv_transpose1d(x, out_channels, 3)",
    "Conv2D Conv2d": "nn.conv2d(x, out_channels, 3)",
    "Conv2DTranspose ConvTranspose2d": "nn.conv_transpose2d(x, out_channels, 3)",
    "Conv3D Conv3d": "nn.conv3d(x, out_channels, 3)",
    "Conv3DTranspose ConvTranspose3d": "nn.conv_transpose3d(x, out_channels, 3)",
    "Dense Linear": "nn.linear(x, out_features)",
    "DepthwiseConv2D": "nn.conv2d(x, x.channels, 3, groups=x.channels)",
    "Dropout": "nn.dropout(x, 0.5)",
    "CELU": "nn.celu(x)",
    "ELU": "nn.elu(x)",
    "Embedding": "nn.gather(nn.parameter((100, 8), nn.init.normal(1.0), name='table'), indices)",
    "Flatten": "nn.flatten(x)",
    "GELU": "nn.gelu(x)",
    "GLU": "nn.glu(x, dim=1), which halves the channels",
    "GlobalAveragePooling2D": "nn.global_avg_pool(x)",
    "GlobalMaxPooling2D": "x.max(dim=(2, 3))",
    "GroupNorm": "nn.group_norm(x, num_groups=1)",
    "Hardshrink": "nn.hardshrink(x)",
    "Hardsigmoid": "nn.hardsigmoid(x)",
    "Hardswish": "nn.hardswish(x)",
    "Hardtanh": "nn.clip(x, -1.0, 1.0)",
    "Identity": "x itself",
    "Input": "the shapes of the inputs are given to init: net.init(image=('N', 3, 32, 32))",
    "KLDivLoss": "nn.kl_divergence(logits, target)",
    "L1Loss l1_loss": "abs(x - target).mean()",
    "InstanceNorm1d InstanceNorm2d": "nn.instance_norm(x)",
    "LayerNorm LayerNormalization": "nn.layer_norm(x, x.shape[-1])",
    "LeakyReLU": "nn.leaky_relu(x, 0.01)",
    "LogSoftmax": "nn.log_softmax(x, dim=1)",
    "LocalResponseNorm": "nn.local_response_norm(x, 5)",
    "MSELoss MeanSquaredError": "nn.mse_loss(x, target)",
    "LPPool1d": "nn.lp_pool1d(x, 2, 3)",
    "LPPool2d": "nn.lp_pool2d(x, 2, 3)",
    "LPPool3d": "nn.lp_pool3d(x, 2, 3)",
    "MaxUnpool1d": "nn.max_unpool1d(x, indices, 2)",
    "MaxUnpool2d": "nn.max_unpool2d(x, indices, 2)",
    "MaxUnpool3d": "nn.max_unpool3d(x, indices, 2)",
    "MaxPool1d MaxPooling1D": "nn.max_pool1d(x, 2)",
    "MaxPool2d MaxPooling2D": "nn.max_pool2d(x, 2)",
    "Mish": "nn.mish(x)",
    "MaxPool3d MaxPooling3D": "nn.max_pool3d(x, 2)",
    "Module Sequential": _NETWORK,
    "ModuleList": _NETWORK + ", which Python's loops repeat",
    "NLLLoss": "nn.nll_loss(log_probabilities, target)",
    "PReLU": "nn.prelu(x)",
    "Parameter": "nn.parameter((8, 4), nn.init.normal(0.1), name='w')",
    "RMSNorm": "nn.rms_norm(x, x.shape[-1])",
    "ReLU": "nn.relu(x)",
    "ReLU6": "nn.relu6(x)",
    "SELU": "nn.selu(x)",
    "SiLU swish": "nn.silu(x)",
    "Sigmoid": "nn.sigmoid(x)",
    "Softmax": "nn.softmax(x, dim=1)",
    "Softplus": "nn.softplus(x)",
    "Softshrink": "nn.softshrink(x)",
    "Softsign": "nn.softsign(x)",
    "Tanh": "nn.tanh(x)",
    "PixelShuffle": "nn.pixel_shuffle(x, 2)",
    "PixelUnshuffle": "nn.pixel_unshuffle(x, 2)",
    "ReflectionPad2d": "nn.pad(x, (1, 1, 1, 1), 'reflect')",
    "ReplicationPad2d": "nn.pad(x, (1, 1, 1, 1), 'replicate')",
    "UpSampling2D Upsample": "nn.upsample(x, scale_factor=2)",
    "ZeroPad2d ZeroPadding2D": _BORDERS,
    "amax": "x.max(dim=1)",
    "amin": "x.min(dim=1)",
    "exp": "x.exp()",
    "functional": "the functions of nn themselves: nn.relu(x), nn.cross_entropy(logits, target)",
    "log": "x.log()",
    "max": "x.max(dim=1), or nn.maximum(x, y)",
    "mean": "x.mean(dim=1)",
    "min": "x.min(dim=1), or nn.minimum(x, y)",
    "permute": "x.permute(0, 2, 3, 1)",
    "sqrt": "x.sqrt()",
    "stack": "nn.concat([x, y], dim=1) of tensors reshaped to have a size of 1 there",
    "sum": "x.sum(dim=1)",
}

# Losses and metrics as functions, which nn has by the same name or as another.
LOSSES: dict[str, str] = {
    "Accuracy": "metrics=['accuracy']",
    "SparseCategoricalAccuracy": "metrics=['accuracy']",
    "binary_cross_entropy": "loss='binary_cross_entropy'",
    "binary_cross_entropy_with_logits": "loss='binary_cross_entropy_with_logits'",
    "cross_entropy": "loss='cross_entropy'",
    "mse_loss": "loss='mse_loss'",
}

# Attributes and methods of a model.
_MODEL = {
    "add": _NETWORK,
    "apply": "weight_init= of each layer, or model.load_state_dict(values)",
    "children layers modules": "model.summary() lists the layers, model.graph.nodes holds them",
    "compile": f"cauce.compile(model) to run it; to train it, {_TRAIN}",
    "count_params": "model.parameter_count()",
    "cpu cuda device to": _CPU,
    "double": "init(..., dtype='f64') makes a model of that type",
    "eval": _FORMS,
    "evaluate": "cauce.Trainer(model).evaluate(test)",
    "export": "cauce.export_onnx(model, 'model.onnx')",
    "fit": _TRAIN,
    "float": "init(..., dtype='f32') makes a model of that type",
    "forward": _RUN,
    "get_weights weights": "model.state_dict()",
    "half": "init(..., dtype='f16') makes a model of that type",
    "load": "model = cauce.load('model.safetensors')",
    "load_weights": "model.load_state_dict(values), or model = cauce.load('model.safetensors')",
    "named_parameters": "model.state_dict().items()",
    "requires_grad_": _KEEPS,
    "save_weights": "model.save('model.safetensors')",
    "set_weights": "model.load_state_dict(values)",
    "train": f"{_TRAIN}; {_FORMS}",
    "trainable": "model.freeze('conv1.*') and model.unfreeze('conv1.*')",
    "zero_grad": "leave it out: each step computes its gradients anew",
}

# Attributes and methods of a Trainer.
TRAINER: dict[str, str] = {
    "compile": "leave it out: a Trainer is compiled when it is made",
    "load": "trainer.resume('runs/first')",
    "predict": "predict = cauce.compile(trainer.model); predict(images)",
    "save": "trainer.model.save('model.safetensors'), or fit(..., checkpoints=Checkpoints('runs'))",
    "summary": "trainer.model.summary()",
    "test": "trainer.evaluate(test)",
    "train": "trainer.fit(train, epochs=5)",
    "validate": "trainer.evaluate(test), or fit(..., validate=test)",
}

# Names of the package, beside those of layers.
_PACKAGE = {
    "DataLoader": "batches of a cauce.Dataset: Trainer.fit makes them, cauce.training.batches too",
    "DataParallel DistributedDataParallel": "cauce.Trainer(model, "
    "distributed=cauce.distributed.mpi())",
    "RMSprop": "docs/recipes/add-a-loss-or-an-optimizer.md writes it",
    "Tensor": "cauce.nn.Tensor",
    "cuda device": _CPU,
    "data": "cauce.Dataset(images, labels, classes)",
    "functional layers": "cauce.nn",
    "keras": "cauce.nn for layers, cauce.Trainer for fit",
    "losses": "cauce.nn.cross_entropy, cauce.nn.mse_loss, ...",
    "manual_seed set_seed": "seed= of init and of the Trainer",
    "no_grad": "leave it out: gradients are written only where something is trained",
    "optim optimizers": "cauce.SGD, cauce.Adam, cauce.AdamW",
    "save": "model.save('model.safetensors')",
    "tensor": "NumPy arrays are fed to what cauce.compile gives",
}

# Arguments. ``name=`` is the argument of ours that means the same; all else is a sentence. What a
# function takes otherwise than others do stands under ``function.argument``.
_ARGUMENTS = {
    "Adam.beta_1 Adam.beta_2 AdamW.beta_1 AdamW.beta_2": "write betas=(0.9, 0.999)",
    "Trainer.callbacks": "arguments of fit: early_stopping=EarlyStopping(5), "
    "checkpoints=Checkpoints('runs')",
    "Trainer.epochs": "it is an argument of fit: trainer.fit(train, epochs=5)",
    "accumulate_grad_batches gradient_accumulation_steps": "accumulate=",
    "activation": "apply it to the result: nn.relu(nn.conv2d(x, 16, 3))",
    "linear.activation": "apply it to the result: nn.relu(nn.linear(x, 64))",
    "alpha": "negative_slope=",
    "axes axis dims": "dim=",
    "beta_initializer": "the shift starts at 0; load_state_dict sets it otherwise",
    "bias_initializer": "bias_init=",
    "callbacks": "early_stopping=EarlyStopping(5) and checkpoints=Checkpoints('runs')",
    "compile.loss compile.metrics compile.optimizer": _TO_TRAIN,
    "criterion": "loss=",
    "data_format": "images are [N, C, H, W]: x.permute(0, 3, 1, 2) makes them so",
    "decay": "weight_decay=",
    "device": _CPU,
    "dilation_rate": "dilation=",
    "epsilon": "eps=",
    "features out_dim units": "out_features=",
    "filters": "out_channels=",
    "gamma_initializer": "gamma_init=",
    "in_channels num_features": "leave it out: the channels of the input are known",
    "in_features": "leave it out: the features of the input are known",
    "inplace": "leave it out: a tensor never changes, memory is shared where that is possible",
    "input inputs": "the tensor comes first, without a name",
    "input_shape": "the shapes of the inputs are given to init: net.init(image=('N', 3, 32, 32))",
    "keepdims": "keepdim=",
    "kernel pool_size": "kernel_size=",
    "kernel_initializer": "weight_init=",
    "learning_rate": "lr=",
    "other": "the tensor comes without a name",
    "padding_mode": "padding is with zeros; nn.pad(x, ..., value=1.0) takes another constant",
    "param_groups": "learning rates by name: lr_factors={'backbone.*': 0.1}",
    "params": f"leave it out: an optimizer gets the parameters of the model by itself: {_TRAIN}",
    "prob rate": "p=",
    "return_indices": "leave it out: a gradient finds the places of the maxima by itself",
    "shuffle": "leave it out: fit draws an order for each epoch, evaluate keeps that of the data",
    "size_average": "write reduction='mean' or reduction='sum'",
    "steps_per_epoch": "leave it out: an epoch takes every image once",
    "strides": "stride=",
    "track_running_stats": "leave it out: training keeps running statistics, inference uses them",
    "training": _FORMS,
    "use_bias": "bias=",
    "validation_data": "validate=",
    "validation_split": "train, test = data.split(0.2), then fit(train, ..., validate=test)",
    "verbose": "write progress=True or progress=False",
    "workers": "leave it out: batches are made by the process that trains",
    "x y": "fit takes images and labels together: Dataset(images, labels, classes)",
}

# How a function is called whose order of arguments others have otherwise.
CALLS: dict[str, str] = {
    "Adam": f"write Adam(lr=1e-3); the Trainer hands it the parameters: {_TRAIN}",
    "AdamW": f"write AdamW(lr=1e-3); the Trainer hands it the parameters: {_TRAIN}",
    "SGD": f"write SGD(0.1, momentum=0.9); the Trainer hands it the parameters: {_TRAIN}",
    "batch_norm": "write nn.batch_norm(x): the channels are known; options go by name, eps=1e-5",
    "conv2d": "write nn.conv2d(x, out_channels, kernel_size): the channels of x are known; "
    "options go by name, stride=2",
    "conv_transpose2d": "write nn.conv_transpose2d(x, out_channels, kernel_size): the channels of "
    "x are known; options go by name, stride=2",
    "cross_entropy": "write nn.cross_entropy(logits, target); options go by name, weight=[1, 2]",
    "fit": "write fit(Dataset(images, labels, classes), epochs=5); options go by name",
    "linear": "write nn.linear(x, out_features): the features of x are known; options go by name, "
    "bias=False",
}


def _table(rows: Mapping[str, str]) -> dict[str, str]:
    """What to write instead of each name, in the order of names."""
    return dict(sorted((name, fix) for names, fix in rows.items() for name in names.split()))


TENSOR, LAYERS = _table(_BOTH | _TENSOR), _table(_BOTH | _LAYERS)
MODEL, PACKAGE, ARGUMENTS = map(_table, (_MODEL, _PACKAGE, _ARGUMENTS))
