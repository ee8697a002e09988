"""Work on many machines by the engines that clusters have; ``cauce.distributed`` is what users see.

The folder is not called ``distributed``: that is the name of a package of Dask, which it would hide
in a checkout.
"""
