# Everything that is built or checked here. "make" lists the targets.
# Needs Go, Node and make; "make deps" installs what the tests need beyond that.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL: # each stage uses all cores by itself

# Tools run by their exact version and are no part of the library's module graph.
GOLANGCI_LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOVULNCHECK   := golang.org/x/vuln/cmd/govulncheck@v1.9.0

# What xcaddy builds with, for the checks too: Caddy is then compiled once for both.
export CGO_ENABLED := 0
export GOFLAGS := $(GOFLAGS) -buildvcs=false -trimpath -tags=nobadger,nomysql,nopgx

# The model of "make run": the real one when the environment names one.
ASSISTANT_PROVIDER ?= $(if $(OPENAI_API_KEY)$(OPENAI_BASE_URL),openai,demo)

MODULES  := . cmd/xbuild e2e
ENGINES  := $(CURDIR)/.cache/engines
PYTHON   := $(CURDIR)/.cache/python
PACKAGES := $(patsubst %/package-lock.json,%/node_modules,$(shell find . \( -name node_modules -o -name .cache \) -prune -o -name package-lock.json -print))
SOURCES  := go.mod go.sum xcaddy.json $(wildcard *.go) $(shell find assistant asyncapi caddymodule termchat webchat cmd/xbuild \
	\( -name node_modules -o -name testdata \) -prune -o -type f -not -name '*_test.go' -print)

FUZZTIME ?= 30s
SOAK     ?= 10m
CHAOS    ?= 1h
RIG      ?= paced
ROUNDS   ?= 5

##@ Use

.PHONY: run
run: caddy ## Build and serve the example at http://localhost:8080
	ASSISTANT_PROVIDER=$(ASSISTANT_PROVIDER) ./caddy run --config Caddyfile.example --adapter caddyfile

.PHONY: build
build: caddy ## Build ./caddy as xcaddy.json says, if a source has changed

caddy: $(SOURCES)
	go run -C cmd/xbuild . -config "$(CURDIR)/xcaddy.json" -o "$(CURDIR)/caddy"

##@ Test

.PHONY: test
test: deps ## All of the following: what must pass before a change is done
	@began=0; for stage in check unit js e2e; do \
		$(MAKE) --no-print-directory $$stage; \
		echo "$$stage took $$((SECONDS - began)) s"; began=$$SECONDS; \
	done

.PHONY: deps
deps: programs $(PACKAGES) $(PYTHON) ## Install what the tests need: Debian packages as root, npm and Python packages

.PHONY: programs
programs:
	@.ci/deps

$(PYTHON): e2e/asyncapi/requirements.txt | programs
	rm -rf $@
	/usr/bin/python3 -m venv $@
	$@/bin/pip install --quiet --no-deps --requirement $<
	$@/bin/pip check
	touch $@

%/node_modules: %/package-lock.json | programs
	npm ci --prefix $* --prefer-offline --no-audit --no-fund
	touch $@

.PHONY: check
check: ## Formatting, linters, go.mod files, known vulnerabilities
	for module in $(MODULES); do \
		echo "check $$module"; \
		(cd $$module && go mod tidy -diff && go run $(GOLANGCI_LINT) run ./...); \
	done
	.ci/vulncheck $(GOVULNCHECK)

.PHONY: unit
unit: ## Go tests with the race detector, what is too slow for that without it, and the seeds of the fuzz targets
	CGO_ENABLED=1 go test -race -timeout 10m ./...
	go test ./assistant/media ./assistant/sqlite
	go test -C cmd/xbuild ./...

.PHONY: js
js: $(PACKAGES) ## JavaScript: syntax, the client's types, the chat page's tests, and that the docs page is what its source makes
	find . \( -name node_modules -o -name .cache \) -prune -o \( -name '*.js' -o -name '*.mjs' \) -print0 | xargs -0 -n 1 node --check
	e2e/asyncapi/node_modules/.bin/tsc -p webchat/client
	node --test e2e/webchat/*.test.mjs
	npm run --silent check --prefix asyncapi/docs
	npm run --silent check --prefix webchat

.PHONY: e2e
e2e: caddy $(PACKAGES) $(PYTHON) ## The built binary: protocol, model servers, browser, AsyncAPI document, several nodes
	ASSISTANT_CADDY="$(CURDIR)/caddy" go test -C e2e -count=1 -p 2 -timeout 15m ./...

.PHONY: cluster
cluster: caddy ## Of these, several nodes on one database, with faults, alone; the long form with CLUSTER=full
	ASSISTANT_CADDY="$(CURDIR)/caddy" go test -C e2e -count=1 -timeout $(if $(CLUSTER),0,10m) ./cluster

##@ Now and then

.PHONY: fuzz
fuzz: ## Fuzz each target for FUZZTIME, all of them whatever fails
	failed=0; \
	while read -r package target; do \
		echo "fuzz $$target"; \
		go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) "./$$package" </dev/null || failed=1; \
	done < <(grep -rE --include='*_test.go' '^func Fuzz' assistant asyncapi caddymodule | sed -E 's|^(.*)/[^/]*:func (Fuzz[A-Za-z0-9_]*).*|\1 \2|'); \
	exit $$failed

.PHONY: hardening
hardening: caddy ## Attack the built server ten times as long as make test does
	HARDENING=1 ASSISTANT_CADDY="$(CURDIR)/caddy" go test -C e2e -count=1 -timeout 30m -v -run '^TestHostile$$' .

.PHONY: soak
soak: caddy ## Thousands of sockets, cuts, reloads and outages of the database, for SOAK
	SOAK=$(SOAK) ASSISTANT_CADDY="$(CURDIR)/caddy" go test -C e2e -count=1 -timeout 0 -v -run '^TestSoak$$' .

.PHONY: chaos
chaos: caddy ## Random faults of several nodes for CHAOS, of a SEED that is printed
	CHAOS=$(CHAOS) ASSISTANT_CADDY="$(CURDIR)/caddy" go test -C e2e -count=1 -timeout 0 -v -artifacts -run '^TestChaos$$' ./cluster

.PHONY: engines
engines: caddy $(PACKAGES) ## Ask LiteLLM and llama.cpp, which the first time installs and builds them: half an hour
	.ci/deps engines
	e2e/models/install "$(ENGINES)"
	ENGINES="$(ENGINES)" ASSISTANT_CADDY="$(CURDIR)/caddy" go test -C e2e -tags=engines -count=1 -timeout 10m -v ./models

.PHONY: bench
bench: caddy ## Benchmarks
	go test -run '^$$' -bench . -benchmem ./...
	go test -C e2e -run '^$$' -bench . -benchmem ./nats
	ASSISTANT_CADDY="$(CURDIR)/caddy" go test -C e2e -run '^$$' -bench . -benchtime 1x . ./cluster

.PHONY: bench-rig
bench-rig: caddy e2e/bench/node/node_modules ## Measure the scenarios of RIG in ROUNDS beside other servers, or only SERVERS (a,b)
	cd e2e/bench && RIG="$(RIG)" ROUNDS="$(ROUNDS)" SERVERS="$(SERVERS)" ASSISTANT_CADDY="$(CURDIR)/caddy" go test -count=1 -timeout 0 -run '^TestRig$$'

.PHONY: webchat
webchat: webchat/node_modules ## Build the chat page from its sources: webchat/src into webchat/dist
	npm run --silent build --prefix webchat

.PHONY: screenshots
screenshots: caddy ## Take the pictures of the README
	ASSISTANT_CADDY="$(CURDIR)/caddy" go test -C e2e -count=1 ./screenshot -out "$(CURDIR)/docs"

.PHONY: clean
clean: ## Remove what was built and installed here
	rm -rf caddy $(PACKAGES) $(PYTHON) "$(ENGINES)" e2e/_artifacts

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^##@/ { printf "\n%s\n", substr($$0, 5) } /^[a-z0-9-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
