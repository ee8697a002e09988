"""The command line: ``main`` reads it, and each command is a module with ``add`` and ``run``."""
