"""Classify a folder of images on a cluster: Dask's, on this machine or wherever its scheduler is.

Without arguments a small network learns handwritten digits, those that it has never seen are
written as files, and two processes of a Dask cluster on this machine say what is on them. Expect
after some ten seconds ``classes.csv`` with a line for each file, how many images a second each
worker has done, and an accuracy of at least 0.97. A file that is no image has its error in the
table, and stops nothing.

    python examples/08_classify_folder.py [--workers 2]
    python examples/08_classify_folder.py --images photos --model net.safetensors

On several machines: start ``dask scheduler`` on one, ``dask worker tcp://HOST:8786`` on each, all
with cauce installed and with the images at the same place, and then

    python examples/08_classify_folder.py --images /data/photos --model net.onnx \\
        --scheduler tcp://HOST:8786

docs/clusters.md has more: SLURM, Kubernetes, other engines.
"""

import argparse
import csv
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from distributed import Client, LocalCluster
from PIL import Image

import cauce
from cauce import nn


@cauce.network
def digits(image, classes=10):
    x = nn.relu(nn.batch_norm(nn.conv2d(image, 16, 3, padding=1, bias=False)))
    x = nn.max_pool2d(x, 2)
    x = nn.relu(nn.batch_norm(nn.conv2d(x, 32, 3, padding=1, bias=False)))
    return nn.linear(nn.flatten(x), classes)


def learned_digits(folder):
    """A network that knows digits; those that it has not seen are files, in a folder for each."""
    train, test = cauce.load_digits()
    model = digits.init(image=("N", 1, 8, 8), seed=0)
    model.preprocessing = cauce.Preprocessing(8, channels="L", classes=[*"0123456789"])
    trainer = cauce.Trainer(model, optimizer=cauce.SGD(0.05, momentum=0.9))
    trainer.fit(train, 8, batch_size=64, progress=False)
    for number, (image, label) in enumerate(zip(test.images, test.labels)):
        file = folder / str(label) / f"{number:03}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.rint(255 * image[0]).astype(np.uint8)).save(file)
    (folder / "0" / "broken.png").write_text("no image")
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=Path, default=Path("digits"), help="a folder")
    parser.add_argument("--model", type=Path, help="a file of cauce or of ONNX")
    parser.add_argument("--scheduler", help="the address of a Dask scheduler")
    parser.add_argument("--workers", type=int, default=2, help="processes, without a scheduler")
    parser.add_argument("--batch", type=int, default=16)
    options = parser.parse_args()

    if options.model is None:
        model = learned_digits(options.images)
    elif options.model.suffix == ".onnx":
        model = cauce.load_onnx(options.model)
    else:
        model = cauce.load(options.model)
    endings = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}
    files = sorted(path for path in options.images.rglob("*") if path.suffix.lower() in endings)

    with ExitStack() as stack:
        address = options.scheduler
        if address is None:
            cluster = LocalCluster(
                n_workers=options.workers, threads_per_worker=1, dashboard_address=":0"
            )
            address = stack.enter_context(cluster)
        client = stack.enter_context(Client(address))
        results = cauce.distributed.map_images(
            model, files, client, batch=options.batch, top=1, errors="return"
        )
        right = counted = 0
        with open("classes.csv", "w", newline="") as table:
            writer = csv.writer(table)
            writer.writerow(["file", "class", "probability", "error"])
            for file, found, error in results:
                if error is not None:
                    writer.writerow([file, "", "", str(error).partition("\n")[0]])
                    continue
                name, probability = found[0]
                writer.writerow([file, name, f"{probability:.4f}", ""])
                counted += 1
                right += name == file.parent.name
    print(results.report)
    # Where each class has a folder of its own, it is known what is right.
    if right:
        print(f"accuracy {right / counted:.4f}")


if __name__ == "__main__":
    main()
