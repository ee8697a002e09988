"""Backends: what a graph becomes. They share the run-time contract of ``contract.py``."""
