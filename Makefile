# Everything a contributor types. `make help` lists it.
# Needs only make and Python >= 3.11; PYTHON=python3.12 chooses another one.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Touched when everything is installed; older than pyproject.toml means: install again.
STAMP := $(VENV)/.installed

# Every package with its version and the hashes of its files, for all systems at once; they name no index.
LOCKS := deploy/locks

PROTOS := $(wildcard proto/lever/v1/*.proto)
OUT ?= .

.DEFAULT_GOAL := help
.PHONY: help setup run test faults check format proto generate generate-go bench soak lock audit clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## create .venv and install everything; quick when that is done

$(STAMP): pyproject.toml $(LOCKS)/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Lever needs Python 3.11 or newer; name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "This Python cannot make virtual environments. On Debian or Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r $(LOCKS)/dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
	@$(BIN)/python -m service.server.kernels

run: $(STAMP) ## serve the example experiments with the embedded store; data in .lever
	$(BIN)/lever serve --data-dir .lever --experiments deploy/examples --web-port 8081

test: $(STAMP) ## run every test, a process for each core; ARGS="-k word" narrows
	$(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)

faults: $(STAMP) ## all tests of faults, on both engines, then the chaos run
	$(BIN)/python -m pytest tests/faults -m "" $(ARGS)
	$(BIN)/python -m loadtest faults --json
	$(BIN)/python -m loadtest cluster --json

check: $(STAMP) ## lint, formatting, types, contract, figures of documents
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/buf lint proto
	$(BIN)/python -m loadtest tables --check

format: $(STAMP) ## format the code and repair what ruff can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

proto: $(STAMP) generate generate-go ## regenerate the stubs of the server and of the clients from proto/ (needs Go)

# Without the stamp, so that the drift test can call it. The server and the client each have the stubs below a package of
# their own. Both keep the .proto's own path as the name of the file: of one name and one content protobuf takes any
# number in a process, those of an application that generates its own too. Only the imports know the package.
generate:
	$(call stubs,$(OUT),service/pb,service.pb,$(PROTOS))
	$(call stubs,$(OUT)/service/client/python,lever_client/pb,lever_client.pb,$(filter %/personalization.proto,$(PROTOS)))

define stubs
mkdir -p $(1)/$(2)
$(BIN)/python -m grpc_tools.protoc -I proto --plugin=protoc-gen-mypy_grpc=$(BIN)/protoc-gen-mypy_grpc \
	--python_out=$(1)/$(2) --pyi_out=$(1)/$(2) --grpc_python_out=$(1)/$(2) --mypy_grpc_out=quiet:$(1)/$(2) $(4)
sed -i.bak -E 's/^(from|import) lever\.v1/\1 $(3).lever.v1/' $(1)/$(2)/lever/v1/*_pb2*.py*
rm $(1)/$(2)/lever/v1/*.bak
endef

# The plugins are those of the client's go.mod.
generate-go:
	cd service/client/go && GOBIN=$(abspath $(OUT))/.venv/go go install tool
	mkdir -p $(OUT)/service/client/go
	$(BIN)/python -m grpc_tools.protoc -I proto --plugin=$(OUT)/.venv/go/protoc-gen-go --plugin=$(OUT)/.venv/go/protoc-gen-go-grpc \
		--go_out=$(OUT)/service/client/go --go_opt=module=lever \
		--go-grpc_out=$(OUT)/service/client/go --go-grpc_opt=module=lever $(filter %/personalization.proto,$(PROTOS))

bench: $(STAMP) ## measure kernels and the server on this machine; numbers in docs/numbers
	$(BIN)/python -m loadtest kernels --out docs/numbers/kernels.json
	$(BIN)/python -m loadtest rpc --out docs/numbers/rpc.json
	$(BIN)/python -m loadtest open --out docs/numbers
	$(BIN)/python -m loadtest scale --out docs/numbers
	$(BIN)/python -m loadtest tables

soak: $(STAMP) ## ten minutes of traffic: do memory and descriptors grow? MINUTES=60 for longer
	$(BIN)/python -m loadtest soak --minutes $(or $(MINUTES),10) --json

lock: $(STAMP) ## renew deploy/locks: the newest versions that pyproject.toml allows
	$(SUPPLY)
	$(TOOLS)/uv $(COMPILE) --upgrade -o $(LOCKS)/runtime.txt pyproject.toml
	$(TOOLS)/uv $(COMPILE) --upgrade --all-extras --group dev --constraint $(LOCKS)/runtime.txt -o $(LOCKS)/dev.txt pyproject.toml

audit: $(STAMP) ## ask a database of vulnerabilities about every locked version; says so where none is reached
	$(SUPPLY)
	PATH="$(CURDIR)/$(TOOLS):$$PATH" python3 deploy/locks/audit.py

# A venv of their own: what makes the lock must not be in it. pip older than 25.1 does not know --group.
TOOLS := .venv/supply/bin
SUPPLY = $(BIN)/python -m venv .venv/supply && $(TOOLS)/python -m pip install --quiet --upgrade pip && $(TOOLS)/python -m pip install --quiet --group supply
COMPILE := pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url

clean: ## remove the environment and all caches; data in .lever stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find bandits service loadtest tests -name __pycache__ -prune -exec rm -rf {} +
