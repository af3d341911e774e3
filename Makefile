# Aliases over Meson, which alone knows how to build. Each target does all of its own set-up.
.PHONY: all setup run check test nightly test-python test-typescript npm-package cases bench bench-peers bench-plot bench-page bench-mcp bench-dialects bench-branches bench-verify bench-network bench-clients bench-code bench-tools bench-neighbours bench-fleet bench-serve soak-serve asan tsan fuzz install deb artifacts docs format tidy clean

BUILD ?= build
ARGS ?=

# Builds the playground again if it was built before npm was installed.
REMAKE_PAGE = ! command -v npm >/dev/null || find $(BUILD) -maxdepth 1 -name playground_assets.c -size -2 -delete

all: setup
	@$(REMAKE_PAGE)
	ninja -C $(BUILD)

setup:
	@tools/bootstrap.sh
	@if test -f $(BUILD)/build.ninja && ! grep -qF '"build": "$(abspath $(BUILD))"' $(BUILD)/meson-info/meson-info.json; then \
		echo "pyexec: $(BUILD) was made in another folder; it is set up again with its options"; meson setup --wipe $(BUILD); fi
	@test -f $(BUILD)/build.ninja || meson setup $(BUILD) $(ARGS)

run: all
	@tools/demo.sh $(BUILD)/pyexec

# Every test; ends with "N passed, N failed".
test: all
	@tools/bootstrap.sh test
	@$(REMAKE_PAGE)
	@tools/run-tests.sh $(BUILD)

# All of ../shared/cases, with the packages that make test leaves out for their size (torch, tensorflow, jax: 10 GB).
cases: all
	@tools/bootstrap.sh test
	PYEXEC_CASES=all PYEXEC_BUILD=$(abspath $(BUILD)) PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -m pytest -q -rs -p no:cacheprovider tests/run/test_cases.py

# Tests for each commit, in under a minute: unit tests, the tree's own rules, a few whole programs.
check: all
	@tools/bootstrap.sh test
	@tools/check.sh $(BUILD)

# Tests that take hours: sanitizers, every fault, kills, long fuzzing, a soak; writes docs/nightly.md. To run only some parts: make nightly PARTS='fuzz soak'
nightly: all
	@tools/bootstrap.sh test
	@tools/nightly.py $(PARTS)

bench: all
	$(BUILD)/pyexec bench

# Only the Python client's tests.
test-python: all
	@tools/bootstrap.sh test
	tools/python-tests.sh $(BUILD)

# Only the TypeScript client's tests; only some of them: make test-typescript FILES='client tools'
test-typescript: all
	tools/typescript-tests.sh $(BUILD) $(FILES)

# The npm packages: the client, and the program for this platform.
npm-package: all
	tools/npm-package.sh $(BUILD)/artifacts $(BUILD)

# The problems of HumanEval, which are not part of this repository; without them the comparison leaves them out.
HUMANEVAL ?= $(wildcard ../shared/data/HumanEval.jsonl.gz)
PEERS = bench/peers.py $(BUILD)/pyexec --folder $(BUILD)/peers $(if $(HUMANEVAL),--humaneval $(HUMANEVAL))
# Interpreters that the page compares.
PYTHONS ?=

# Compares pyexec with other programs that run Python code, which are installed into $(BUILD)/peers.
bench-peers: all
	$(PEERS)

# The same comparison, drawn for the README; needs an idle machine.
bench-plot: all
	$(PEERS) --plot docs/bench.svg

# Measures everything that docs/performance.md shows, and writes it there; needs an idle machine for half an hour.
bench-page: all
	$(PEERS) --half-load 300 $(if $(PYTHONS),--pythons $(PYTHONS)) --plot docs/bench.svg --markdown docs/performance.md --json $(BUILD)/peers.json

# How much time HTTP adds to the C API, and how many requests it serves; needs an idle machine.
bench-serve: all
	bench/serve.py $(BUILD)

# Mixed traffic, kills and disconnects for MINUTES. After that nothing may be left over.
MINUTES ?= 10
soak-serve: all
	tests/support/soak_serve.py $(MINUTES) $(BUILD)/pyexec

# Compares a tool call of MCP with POST /v1/execute.
bench-mcp: all
	bench/mcp.py $(BUILD)/pyexec

# Compares the Python client with the C API, and our Jupyter kernel with ipykernel.
bench-clients: all
	bench/clients.py $(BUILD)

# Measures tool calls (C API, rpc, HTTP, the Python and the Java client), and sessions that wait in a tool call.
bench-tools: all
	bench/tools.py $(BUILD)

# Measures how long forks of sessions take, by the size of their files and data.
bench-branches: all
	bench/branches.py $(BUILD) $(if $(PYTHON),--python $(PYTHON)) $(if $(FOLDER),--folder $(FOLDER))

# Tests per second of verify, beside a run for each test.
bench-verify: all
	bench/verify.py $(BUILD)/pyexec

# What allowed_hosts costs: runs and requests, beside plain and direct ones. Needs root.
bench-network: all
	bench/network.py $(BUILD)/pyexec

# Fleets of 1, 2 and 3 workers beside HTTP, what one NATS server carries, and what NATS adds for each client. Parts of a processor need root.
bench-fleet: all
	bench/fleet.py $(BUILD)

# Checks that large scripts cost in proportion to their size; needs an idle machine.
bench-code: all
	bench/large_code.py $(BUILD)/pyexec --check

# Compares calls by clients of other servers with POST /v1/execute; needs an idle machine.
bench-dialects: all
	bench/dialects.py $(BUILD)/pyexec

# Measures how long sessions wait while other scripts misbehave; needs an idle machine.
bench-neighbours: all
	PYEXEC_BUILD=$(BUILD) /usr/bin/python3 tests/support/neighbours.py

# The host side (library, program, HTTP server, unit tests) under ASan and UBSan, or under TSan. A report counts as a
# failed test (tools/sanitizers.sh). SANITIZE also has the flags for the C programs that the tests link with the
# library, because a sanitizer's runtime must be loaded first.
UNDEFINED = -fsanitize-undefined-trap-on-error

# To run only some of the tests: make tsan TESTS='tests/serve tests/session'
asan:
	SANITIZE='-fsanitize=address,undefined $(UNDEFINED)' $(MAKE) test BUILD=build-asan \
		ARGS='-Db_sanitize=address,undefined -Db_lundef=false -Dc_args=$(UNDEFINED)'

tsan:
	SANITIZE=-fsanitize=thread $(MAKE) test BUILD=build-tsan ARGS='-Db_sanitize=thread -Db_lundef=false'

# Runs each fuzz target for SECONDS; only one: make fuzz TARGETS=rpc. Without clang it prints a message and is skipped.
SECONDS ?= 60

fuzz:
	@tools/bootstrap.sh fuzz || true
	@tools/fuzz.sh $(SECONDS) $(TARGETS) || [ $$? = 77 ]

install: all
	meson install -C $(BUILD)

# Debian packages, in $(BUILD)/deb.
deb:
	@tools/bootstrap.sh deb
	@tools/deb.sh $(BUILD)/deb

# Everything that users install, in $(BUILD)/artifacts. Without some parts: make artifacts WITHOUT='image arm64'. CHECK=1 builds twice and compares.
WITHOUT ?=
CHECK ?=

artifacts: setup
	@tools/bootstrap.sh artifacts
	@WITHOUT='$(WITHOUT)' CHECK='$(CHECK)' tools/artifacts.sh $(BUILD)/artifacts $(BUILD)

# Writes the files that are generated from the tables.
docs: all
	$(BUILD)/pyexec policy --markdown > docs/configuration.md
	$(BUILD)/pyexec policy --result-keys | tools/put-table.py docs/results.md result.def
	$(BUILD)/pyexec policy --config-template > packaging/pyexec.conf
	tools/client-types.py $(BUILD)/pyexec
	$(BUILD)/seccomp_gen --markdown > docs/syscalls.md

format:
	git ls-files '*.c' '*.h' | xargs clang-format-14 -i

tidy: all
	@tools/tidy.sh $(BUILD)

clean:
	rm -rf build build-*
