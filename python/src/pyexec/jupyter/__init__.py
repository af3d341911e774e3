# SPDX-License-Identifier: Apache-2.0
"""Jupyter: a kernel whose notebook is a pyexec session. `python -m pyexec.jupyter install` makes it known."""
