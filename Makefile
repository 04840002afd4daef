# Copyright The regfish-issuer Authors
# SPDX-License-Identifier: Apache-2.0

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

MODULES := . hack/kube hack/tools
VERSION ?= $(or $(shell git describe --tags --always --dirty 2>/dev/null),dev)
FUZZTIME ?= 10s

GOLANGCI_LINT := bin/tools/golangci-lint-kube-api-linter
CONTROLLER_GEN := bin/tools/controller-gen

# Whoever brings Kubernetes test binaries along does not have to build them.
ASSETS := $(if $(KUBEBUILDER_ASSETS),,kube)

##@ Set up

.PHONY: help
help: ## Show this text.
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 } \
		/^##\+ / { printf "  %17s %s\n", "", substr($$0, 5) }' Makefile

.PHONY: kube
kube: ## Build etcd, kube-apiserver, kube-controller-manager and kubectl into bin/kube; minutes once, then nothing.
	@hack/kube/build.sh

.PHONY: tools
tools: ## Build the pinned linter and code generator into bin/tools.
	@hack/build.sh hack/tools bin/tools \
		sigs.k8s.io/controller-tools/cmd/controller-gen \
		sigs.k8s.io/kube-api-linter/cmd/golangci-lint-kube-api-linter

##@ Develop

.PHONY: generate
generate: tools ## Write deepcopy functions, CRDs and the controller's role from the Go code.
	$(CONTROLLER_GEN) object:headerFile=hack/header.txt paths=./api/...
	$(CONTROLLER_GEN) crd paths=./api/... output:crd:dir=config/crd/bases
	$(CONTROLLER_GEN) rbac:roleName=regfish-issuer-controller paths=./internal/... paths=./cmd/... output:rbac:dir=config/rbac

.PHONY: build
build: ## Build the controller and the simulator into bin.
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/ ./cmd/...

.PHONY: demo
demo: $(ASSETS) ## Turn a Certificate into a Secret on a real control plane.
##+ SCENARIO=dv|ov|wildcard|rejected|denied|bad-key chooses what happens (dv).
##+ KEEP=1 leaves the control plane running and says how to reach it.
##+ BREAK=dns|gate|ledger|person breaks one part; the demo must then fail.
	@go run ./hack/demo \
		$(if $(SCENARIO),-scenario=$(SCENARIO)) $(if $(filter-out 0,$(KEEP)),-keep) $(if $(BREAK),-break=$(BREAK))

##@ Prove

.PHONY: test
test: $(ASSETS) ## Run all tests with the race detector, in random order. A skipped test is a failure.
	@go run ./hack/gotest -race -shuffle=on -timeout=20m ./...

.PHONY: fuzz
fuzz: $(ASSETS) ## Run every fuzz target for FUZZTIME (10s).
	@hack/fuzz.sh $(FUZZTIME)

.PHONY: demo-breaks
demo-breaks: $(ASSETS) ## Run every demo scenario, then break the demo in every way it offers: it must notice.
	@hack/demo-breaks.sh

.PHONY: lint
lint: tools ## Check formatting, go vet, golangci-lint.
	@unformatted=$$(gofmt -l .); [[ -z $$unformatted ]] || { echo "run gofmt on:" $$unformatted; exit 1; }
	go vet ./...
	$(GOLANGCI_LINT) run

.PHONY: verify
verify: generate lint ## Regenerate, tidy, lint, and fail if the working tree is not what is committed.
	@for module in $(MODULES); do echo "go -C $$module mod tidy -diff"; go -C $$module mod tidy -diff; done
	@dirty=$$(git status --porcelain); [[ -z $$dirty ]] || { \
		git --no-pager diff --stat; \
		printf 'make verify: these files are not committed, or generated from older code:\n%s\n' "$$dirty"; exit 1; }

.PHONY: presubmit
presubmit: ## Run exactly what CI runs: verify, test, fuzz, demo-breaks.
	@for section in verify test fuzz demo-breaks; do \
		printf '\n=== make %s\n' $$section; start=$$SECONDS; \
		$(MAKE) $$section; \
		printf '=== make %s passed in %ds\n' $$section $$((SECONDS - start)); \
	done

.PHONY: clean
clean: ## Delete everything that was built.
	rm -rf bin
