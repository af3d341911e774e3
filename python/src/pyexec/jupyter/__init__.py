"""Jupyter: a kernel whose notebook is a pyexec session. `python -m pyexec.jupyter install` makes it known."""
