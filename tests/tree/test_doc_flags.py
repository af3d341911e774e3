# SPDX-License-Identifier: Apache-2.0
"""Documents name only flags that the commands have."""
import glob
import os
import re
import subprocess

from conftest import BUILD, ROOT

# Flags of the build, which help does not list.
OF_THE_BUILD = {"--config-template"}


def test_each_flag_in_the_documents_is_in_the_commands_help():
    help_texts, wrong, found = {}, [], 0
    pages = [path for pattern in ("*.md", "docs/**/*.md", "clients/*/*.md", "src/**/*.md")
             for path in glob.glob(os.path.join(ROOT, pattern), recursive=True) if os.path.basename(path) != "CHANGELOG.md"]
    for path in pages:
        with open(path) as file:
            text = file.read()
        for command, rest in re.findall(r"pyexec (run|rpc|mcp|serve|doctor|bench|policy|repl|tools)\b([^`|;#\n]*)", text):
            if command not in help_texts:
                done = subprocess.run([BUILD + "/pyexec", command, "--help"], capture_output=True, text=True, check=True)
                help_texts[command] = set(re.findall(r"--[a-z][a-z-]*", done.stdout))
            for flag in re.findall(r"(?<!\S)--[a-z][a-z-]*", rest):
                found += 1
                if not {flag, flag.replace("--no-", "--", 1)} & (help_texts[command] | OF_THE_BUILD):
                    wrong.append((os.path.relpath(path, ROOT), command, flag))
    assert found > 50 and not wrong, (found, wrong)
