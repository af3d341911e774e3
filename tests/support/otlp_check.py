"""Checks exports against OpenTelemetry's own definitions: reads bodies in OTLP/JSON, one on each line, and prints the number of spans in each.
Runs with the packages of tests/serve/otlp-requirements.txt. An unknown or misspelt member, or a value of a wrong type, is an error."""
import base64
import json
import sys

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


def bytes_of(hexadecimal, length):
    assert len(hexadecimal) == 2 * length and hexadecimal == hexadecimal.lower() and set(hexadecimal) != {"0"}, hexadecimal
    return base64.b64encode(bytes.fromhex(hexadecimal)).decode()


def check(body):
    value = json.loads(body)
    for resource in value["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                # Unlike other JSON of protobuf, OTLP has ids in hexadecimal digits and enums as numbers.
                span["traceId"] = bytes_of(span["traceId"], 16)
                span["spanId"] = bytes_of(span["spanId"], 8)
                if "parentSpanId" in span:
                    span["parentSpanId"] = bytes_of(span["parentSpanId"], 8)
                assert type(span["kind"]) is int and type(span["status"]["code"]) is int
                assert 0 < int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"])
    message = json_format.Parse(json.dumps(value), ExportTraceServiceRequest())
    spans = [span for resource in message.resource_spans for scope in resource.scope_spans for span in scope.spans]
    assert all(len(span.trace_id) == 16 and len(span.span_id) == 8 and span.name for span in spans)
    names = [item.key for item in message.resource_spans[0].resource.attributes]
    assert "service.name" in names and len(set(names)) == len(names), names
    return len(spans)


for line in sys.stdin:
    print(check(line))
