"""Fashion-MNIST trained by one process or by many: the same script, and the same accuracy.

The data (Xiao, Rasul and Vollgraf 2017) are in the Debian package ``dataset-fashion-mnist``; on
other systems, put the four files of their repository, zalandoresearch/fashion-mnist, into a folder
that every machine finds, and give it as ``--data``.

Expect a line for each of 5 epochs from the first rank alone, and a test accuracy of at least 0.90,
which differs by a few thousandths with the number of ranks: each batch norm takes the statistics
of its rank's images. With ``--sync-batch-norm`` it takes those of all, and the run is that of one
process but for rounding, which training lets grow. A run that is interrupted goes on where it was
when it is started again, on any number of ranks.

    python examples/09_fashion_mnist_on_ranks.py
    mpiexec -n 2 python examples/09_fashion_mnist_on_ranks.py [--data FOLDER] [--folder .]
        [--epochs 5] [--batch-size 128] [--sync-batch-norm] [--accumulate 1] [--quick]
"""

import argparse
from pathlib import Path

import cauce
from cauce import nn
from cauce.training import Checkpoints, OneCycle, epochs_to_steps

DEBIAN = Path("/usr/share/datasets/fashion-mnist")


@cauce.network
def fashion(image, classes=10):
    x = nn.normalize(image, mean=0.286, std=0.353)  # of the training pixels
    for channels in (16, 32):
        x = nn.conv2d(x, channels, 3, padding=1, bias=False)
        x = nn.max_pool2d(nn.relu(nn.batch_norm(x)), 2)
    return nn.linear(nn.dropout(nn.flatten(x), 0.25), classes)


def load(folder, part):
    paths = [folder / f"{part}-{what}-ubyte.gz" for what in ("images-idx3", "labels-idx1")]
    for path in paths:
        if not path.is_file():
            raise SystemExit(
                f"There is no {path}. Get the data by one of\n"
                "  apt-get install dataset-fashion-mnist      on Debian and its kin\n"
                "  --data FOLDER      with the four files of zalandoresearch/fashion-mnist, as is"
            )
    return cauce.load_idx(*paths)


parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--data", type=Path, default=DEBIAN, help="the folder of the four files")
parser.add_argument("--folder", type=Path, default=Path("."), help="where checkpoints and files go")
parser.add_argument("--epochs", type=int, default=5)
parser.add_argument("--batch-size", type=int, default=128, help="of all ranks together")
parser.add_argument("--seed", type=int, default=0, help="of weights, order and dropout")
parser.add_argument(
    "--sync-batch-norm", action="store_true", help="statistics of all ranks' images"
)
parser.add_argument("--accumulate", type=int, default=1, help="parts that a rank computes in turn")
parser.add_argument("--quick", action="store_true", help="3 epochs of 6,000 pictures")
options = parser.parse_args()

train, test = load(options.data, "train"), load(options.data, "t10k")
if options.quick:
    train, options.epochs = train[:6000], 3

ranks = cauce.distributed.mpi()  # one, where mpiexec has not started this script
model = fashion.init(image=("N", 1, 28, 28), seed=options.seed)
trainer = cauce.Trainer(
    model,
    optimizer=cauce.SGD(0.1, momentum=0.9, weight_decay=5e-4),
    seed=options.seed,
    distributed=ranks,
    accumulate=options.accumulate,
    sync_batch_norm=options.sync_batch_norm,
)
checkpoints = Checkpoints(options.folder / "fashion_ranks_run", every=100)
if trainer.resume(checkpoints) and ranks.rank == 0:
    print("an earlier run goes on")
history = trainer.fit(
    train,
    options.epochs,
    batch_size=options.batch_size,
    validate=test,
    lr=OneCycle(0.1, total_steps=epochs_to_steps(options.epochs, train, options.batch_size)),
    checkpoints=checkpoints,
)
if ranks.rank == 0:  # what all ranks hold, one of them writes
    model.save(options.folder / "fashion_ranks.safetensors")
    print(
        f"test accuracy {history[-1].validation['accuracy']:.4f} on {ranks.size} ranks after "
        f"{len(history)} epochs, which took {sum(epoch.seconds for epoch in history):.0f} s"
    )
