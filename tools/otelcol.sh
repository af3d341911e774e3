#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Builds OpenTelemetry's collector for tests/serve/test_otlp_collector.py: tools/otelcol.sh BUILD makes BUILD/otelcol. Needs Go and its
# module proxy; downloads 200 modules and takes minutes, so only `make nightly` does it.
set -euo pipefail
build=$(realpath "$1")
source=$(realpath "$(dirname "$0")/../tests/support/otelcol.go")
[ ! "$build/otelcol" -nt "$source" ] || exit 0
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp "$source" "$folder/main.go"
cd "$folder"
go mod init otelcol
version=v0.165.0
go get "go.opentelemetry.io/collector/otelcol@$version" "go.opentelemetry.io/collector/service@$version" \
    "go.opentelemetry.io/collector/receiver/otlpreceiver@$version" "go.opentelemetry.io/collector/exporter/debugexporter@$version" \
    go.opentelemetry.io/collector/confmap/provider/fileprovider@v1.71.0
go mod tidy
go build -o "$build/otelcol" .
