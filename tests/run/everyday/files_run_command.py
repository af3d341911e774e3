# Asked: list the files, newest first, with their sizes (uses the shell first).
# Input: orders.csv story.txt
import os
import subprocess

try:
    done = subprocess.run(["ls", "-l"], capture_output=True, text=True, check=True)
    print(done.stdout)
except Exception as e:
    print(f"{type(e).__name__}: no shell here, using Python")
    for entry in sorted(os.scandir("."), key=lambda e: e.name):
        if entry.is_file():
            print(f"{entry.stat().st_size:>8} {entry.name}")
