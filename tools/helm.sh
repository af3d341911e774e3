#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds Helm for tests/tree/test_helm.py: tools/helm.sh BUILD makes BUILD/helm. Needs Go and its module proxy; takes minutes, so only
# `make nightly` does it. Debian has no package of it.
set -eu
build=$(realpath "$1")
[ -x "$build/helm" ] || GOBIN="$build" go install helm.sh/helm/v3/cmd/helm@v3.22.0
