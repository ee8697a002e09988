"""Ranks of MPI, by mpi4py: processes that ``mpiexec`` has started together."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ..ir.communicator import Communicator, evenly, starts
from ..ir.errors import MissingExtra, install
from ..ir.tracebacks import user_facing
from ..ir.types import Array

if TYPE_CHECKING:
    from mpi4py import MPI

T = TypeVar("T")

# Arrays up to so many bytes go to all ranks in one message each: what counts is their number.
SMALL = 2**13
# How long a rank that fails waits for each one before it, and at most, before it speaks: an error
# that all of them meet is told by the first, which ends the others.
_PATIENCE, _LONGEST = 0.2, 3.0


class MpiRanks(Communicator):
    """The ranks of an MPI communicator.

    A sum of large arrays is scattered: each rank adds up one part of it, in the order of the ranks,
    and gives the result to all. So 2 (n - 1)/n of the array pass through each rank, which is the
    least there can be (Patarasuk and Yuan 2009, "Bandwidth optimal all-reduce algorithms"), and
    which algorithm the library takes for a message does not change the bits, as that of
    ``MPI_Allreduce`` may.

    Args:
        world: the communicator, which is used for nothing else.
    """

    def __init__(self, world: MPI.Intracomm) -> None:
        from mpi4py import MPI

        self._world = world
        self.rank, self.size = world.Get_rank(), world.Get_size()
        shared = world.Split_type(MPI.COMM_TYPE_SHARED)
        self._neighbours = shared.Get_size()
        shared.Free()
        self._room = np.empty(0, np.uint8)

    def __repr__(self) -> str:
        return f"<rank {self.rank} of {self.size} of MPI>"

    def __reduce__(self) -> tuple[Any, ...]:
        return mpi, ()

    @property
    def neighbours(self) -> int:
        return self._neighbours

    def all_reduce(self, array: Array) -> None:
        if self.size == 1:
            return
        flat = array.reshape(-1)
        whole = array.nbytes <= SMALL
        counts = (flat.size,) * self.size if whole else evenly(flat.size, self.size)
        own = counts[self.rank]
        kind = self._kind(array.dtype)
        room = self._rows(own, array.dtype)
        if whole:
            self._world.Allgather([flat, own, kind], [room, own, kind])
        else:
            places = starts(counts)
            sent = [flat, (counts, places), kind]
            self._world.Alltoallv(sent, [room, ((own,) * self.size, None), kind])
        total = room[0]
        for row in room[1:]:
            total += row
        if whole:
            flat[...] = total
        else:
            self._world.Allgatherv([total, own, kind], [flat, (counts, places), kind])

    def broadcast(self, value: T) -> T:
        return self._world.bcast(value)

    def _rows(self, count: int, dtype: np.dtype[Any]) -> Array:
        """Memory for what each rank sends, kept from sum to sum."""
        nbytes = self.size * count * dtype.itemsize
        if self._room.nbytes < nbytes:
            self._room = np.empty(nbytes, np.uint8)
        return self._room[:nbytes].view(dtype).reshape(self.size, count)

    @staticmethod
    def _kind(dtype: np.dtype[Any]) -> MPI.Datatype:
        from mpi4py.util import dtlib

        return dtlib.from_numpy_dtype(dtype)


_ranks: MpiRanks | None = None


@user_facing
def mpi() -> Communicator:
    """The ranks that ``mpiexec`` has started, for ``Trainer(distributed=...)``.

    ::

        ranks = cauce.distributed.mpi()
        trainer = cauce.Trainer(model, distributed=ranks)
        trainer.fit(train, epochs=10, batch_size=256)

    run by ``mpiexec -n 4 python train.py``: each rank computes a quarter of every batch of 256. In
    a process that was started by itself there is one rank.

    From then on an exception that a rank does not catch ends all ranks, with its message; a rank
    that dies is noticed by ``mpiexec``, which ends the others.

    Raises:
        MissingExtra: mpi4py is not installed, or finds no library of MPI.
    """
    global _ranks
    if _ranks is None:
        try:
            from mpi4py import MPI
        except ModuleNotFoundError as error:
            raise MissingExtra(
                "training on MPI needs mpi4py, which is not installed", fix=install("mpi4py")
            ) from error
        except (ImportError, RuntimeError) as error:
            raise MissingExtra(
                f"mpi4py finds no library of MPI: {error}",
                fix="install Open MPI or MPICH: apt-get install openmpi-bin",
            ) from error
        _ranks = MpiRanks(MPI.COMM_WORLD.Dup())
        if _ranks.size > 1:
            _end_together(MPI.COMM_WORLD, _ranks.rank)
    return _ranks


def _end_together(world: MPI.Intracomm, rank: int) -> None:
    """Let an exception that nothing catches end all ranks, which would wait for this one."""
    show = sys.excepthook

    def end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        time.sleep(min(_PATIENCE * rank, _LONGEST))
        sys.stdout.flush()
        print(f"rank {rank} of {world.Get_size()} ends all ranks:", file=sys.stderr)
        show(kind, error, trace)
        sys.stderr.flush()
        world.Abort(1)
        os._exit(1)

    sys.excepthook = end
