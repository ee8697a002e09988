"""Ranks of MPI, by mpi4py: processes that ``mpiexec`` has started together."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ..ir.communicator import Communicator, evenly, starts
from ..ir.errors import MissingExtra, install
from ..ir.tracebacks import user_facing
from ..ir.types import Array
from .mpi_ends import Ends

if TYPE_CHECKING:
    from mpi4py import MPI

T = TypeVar("T")

# Arrays up to so many bytes go to all ranks in one message each: what counts is their number.
SMALL = 2**13
# The most bytes that are given to all in one message: MPI counts with 32 bits.
_LARGEST = 2**30


class MpiRanks(Communicator):
    """The ranks of an MPI communicator.

    A sum of large arrays is scattered: each rank adds up one part of it, in the order of the ranks,
    and gives the result to all. So 2 (n - 1)/n of the array pass through each rank, which is the
    least there can be (Patarasuk and Yuan 2009, "Bandwidth optimal all-reduce algorithms"), and
    which algorithm the library takes for a message does not change the bits, as that of
    ``MPI_Allreduce`` may.

    What waits for others waits for a word of their end too: see :class:`~.mpi_ends.Ends`.

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
        self._ends = Ends(world) if self.size > 1 else None

    def __repr__(self) -> str:
        return f"<rank {self.rank} of {self.size} of MPI>"

    def __reduce__(self) -> tuple[Any, ...]:
        return mpi, ()

    @property
    def neighbours(self) -> int:
        return self._neighbours

    def all_reduce(self, array: Array) -> None:
        if self._ends is None:
            return
        self._ends.begin_call()
        wait, flat = self._ends.wait, array.reshape(-1)
        whole = array.nbytes <= SMALL
        counts = (flat.size,) * self.size if whole else evenly(flat.size, self.size)
        own = counts[self.rank]
        kind = self._kind(array.dtype)
        room = self._rows(own, array.dtype)
        if whole:
            wait(self._world.Iallgather([flat, own, kind], [room, own, kind]))
        else:
            places = starts(counts)
            sent = [flat, (counts, places), kind]
            wait(self._world.Ialltoallv(sent, [room, ((own,) * self.size, None), kind]))
        total = room[0]
        for row in room[1:]:
            total += row
        if whole:
            flat[...] = total
        else:
            wait(self._world.Iallgatherv([total, own, kind], [flat, (counts, places), kind]))

    def broadcast(self, value: T) -> T:
        if self._ends is None:
            return value
        self._ends.begin_call()
        content = pickle.dumps(value, pickle.HIGHEST_PROTOCOL) if self.rank == 0 else b""
        size = np.array([len(content)], np.int64)
        self._ends.wait(self._world.Ibcast(size))
        room = np.empty(size[0], np.uint8)
        if self.rank == 0:
            room[...] = np.frombuffer(content, np.uint8)
        for start in range(0, len(room), _LARGEST):
            self._ends.wait(self._world.Ibcast(room[start : start + _LARGEST]))
        given: T = value if self.rank == 0 else pickle.loads(room.data)
        return given

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

    From then on an exception that a rank does not catch ends all ranks, with its message; where the
    process of one ends otherwise, by ``sys.exit`` say, those that wait for it raise ``WorkerLost``;
    a rank that dies is noticed by ``mpiexec``, which ends the others.

    Raises:
        MissingExtra: mpi4py is not installed, or finds no library of MPI.
    """
    global _ranks
    if _ranks is None:
        try:
            from mpi4py import MPI
        except ModuleNotFoundError:
            raise MissingExtra(
                "training on MPI needs mpi4py, which is not installed", fix=install("mpi4py")
            ) from None
        except (ImportError, RuntimeError) as error:
            raise MissingExtra(
                f"mpi4py finds no library of MPI: {error}",
                fix="install Open MPI or MPICH: apt-get install openmpi-bin",
            ) from error
        _ranks = MpiRanks(MPI.COMM_WORLD.Dup())
    return _ranks
