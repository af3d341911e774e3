# SPDX-License-Identifier: Apache-2.0
"""bench/fleet.py runs, and prints each of its parts. What it measures on a busy machine says nothing, so no number is checked."""
import json
import os
import subprocess
import sys

from conftest import BUILD, ROOT
from nats_fleet import needs_fleet

pytestmark = needs_fleet(BUILD)


def test_the_benchmark_of_fleets_runs_and_prints_each_part(tmp_path):
    found = tmp_path / "found.json"
    done = subprocess.run([sys.executable, ROOT + "/bench/fleet.py", BUILD, "--rounds", "1", "--seconds", "0.1", "--parts", "fleets,nats", "--json", found],
                          capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    assert done.returncode == 0, done.stderr
    for part in ("session calls", "3 workers", "predicted", "nats-server, request and answer", "R3, cluster of three"):
        assert part in done.stdout, done.stdout
    everything = json.loads(found.read_text())
    assert all(row["per_second"] > 0 and 0 < row["p50_ms"] <= row["p99_ms"] for row in everything["fleets"].values())
    assert all(row["per_second"] > 0 for kind in everything["nats"].values() for row in kind.values())
