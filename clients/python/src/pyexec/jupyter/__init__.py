# SPDX-License-Identifier: Apache-2.0
"""A Jupyter kernel in which each notebook is a pyexec session. `python -m pyexec.jupyter install` installs it."""
