# SPDX-License-Identifier: Apache-2.0
"""OpenTelemetry's own collector takes the traces of `pyexec serve`. `make nightly` builds it (tools/otelcol.sh)."""
import contextlib
import os
import re
import socket
import subprocess

import pytest

from conftest import BUILD
from serving import serving
from waiting import wait_until

pytestmark = pytest.mark.skipif(not (os.path.exists(BUILD + "/otelcol") and os.path.exists(BUILD + "/pyexec-otlp")),
                                reason="no collector: tools/otelcol.sh builds it in minutes, for `make nightly`")
CONFIG = """
receivers: {otlp: {protocols: {http: {endpoint: "127.0.0.1:%d"}}}}
exporters: {debug: {verbosity: detailed}}
service:
  telemetry: {metrics: {level: none}}
  pipelines: {traces: {receivers: [otlp], exporters: [debug]}}
"""
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@contextlib.contextmanager
def otelcol(folder):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "conf.yaml").write_text(CONFIG % port)
    with open(folder / "log", "w") as log:
        process = subprocess.Popen([BUILD + "/otelcol", "--config", str(folder / "conf.yaml")], stdout=log, stderr=log)
    try:
        wait_until(lambda: "Everything is ready" in (folder / "log").read_text(), "the collector does not start", 60)
        yield "http://127.0.0.1:%d" % port
    finally:
        process.terminate()
        process.wait(60)


def fields(span):
    return dict(re.findall(r"^    (Trace ID|Parent ID|ID|Name|Kind|TraceState|Status code) +: (.*)$", span, re.M))


def test_the_collector_takes_the_spans_with_their_links_and_attributes(own, tmp_path):
    with otelcol(tmp_path) as url:
        with serving(own, env={"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_SERVICE_NAME": "shop"}) as server:
            server.result("1/0", headers={"traceparent": "00-%s-%s-01" % (TRACE, PARENT), "tracestate": "a=b"})
        text = wait_until(lambda: (log := (tmp_path / "log").read_text()).count("\nSpan #") == 4 and log, "the collector has not got 4 spans", 60)
        assert server.process.returncode == 0
    spans = {fields(part)["Name"]: fields(part) for part in re.split(r"\nSpan #\d+", text)[1:]}
    assert set(spans) == {"POST /v1/execute", "queue", "clone", "run"}
    root = spans["POST /v1/execute"]
    assert root["Parent ID"] == PARENT and root["Kind"] == "Server" and root["TraceState"] == "a=b" and root["Status code"] == "Unset"
    assert all(span["Trace ID"] == TRACE for span in spans.values())
    assert all(spans[name]["Parent ID"] == root["ID"] for name in ("queue", "clone", "run"))
    assert spans["run"]["Status code"] == "Error" and "-> service.name: Str(shop)" in text and "-> pyexec.cpu_ms: Double(" in text
