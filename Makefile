# Copyright The regfish-issuer Authors
# SPDX-License-Identifier: Apache-2.0

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

MODULES := . hack/helm hack/kube hack/peers hack/tools
VERSION ?= $(or $(shell git describe --tags --always --dirty 2>/dev/null),dev)
FUZZTIME ?= 10s
ROUNDS ?= $(if $(FULL),200,20)

# Without -buildvcs the state of the working tree would be in the bytes.
BUILD := CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$(VERSION)"
ARCH ?= $(shell go env GOARCH)
TARGET ?= controller
IMAGE ?= registry.example.com/$(if $(filter simulator,$(TARGET)),regfish-simulator,regfish-issuer):dev

GOLANGCI_LINT := bin/tools/golangci-lint-kube-api-linter
CONTROLLER_GEN := bin/tools/controller-gen

# Whoever brings Kubernetes test binaries along does not have to build them. K8S names
# a version to build instead of the pinned one.
KUBE := bin/kube$(if $(K8S),-$(K8S))
ASSETS := $(if $(KUBEBUILDER_ASSETS),,kube)
ifdef K8S
ASSETS := kube
export KUBEBUILDER_ASSETS := $(CURDIR)/$(KUBE)
endif

##@ Set up

.PHONY: help
help: ## Show this text.
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 } \
		/^##\+ / { printf "  %17s %s\n", "", substr($$0, 5) }' Makefile

.PHONY: kube
kube: ## Build etcd, kube-apiserver, kube-controller-manager and kubectl into bin/kube; minutes once, then nothing.
##+ K8S=1.34.4 builds and uses another version of Kubernetes, here and in every target below.
	@K8S=$(K8S) hack/kube/build.sh $(KUBE)

.PHONY: node
node: ## Build kube-scheduler, kube-proxy and kubelet beside them, for make cluster and make e2e.
	@K8S=$(K8S) hack/kube/build.sh $(KUBE) kube-scheduler kube-proxy kubelet

.PHONY: tools
tools: ## Build the pinned linter and code generator into bin/tools.
	@hack/build.sh hack/tools bin/tools \
		sigs.k8s.io/controller-tools/cmd/controller-gen \
		sigs.k8s.io/kube-api-linter/cmd/golangci-lint-kube-api-linter

.PHONY: helm
helm: ## Build the pinned Helm into bin/helm and fetch the CRDs of the Prometheus operator; minutes once, then nothing.
	@hack/build.sh hack/helm bin/helm helm.sh/helm/v4/cmd/helm
	@go -C hack/helm mod download github.com/prometheus-operator/prometheus-operator

.PHONY: peers
peers: ## Build the external issuer that make bench compares this one with into bin/peers; minutes once, then nothing.
	@hack/build.sh hack/peers bin/peers github.com/cert-manager/aws-privateca-issuer
	@go -C hack/peers mod download github.com/cert-manager/aws-privateca-issuer

##@ Develop

.PHONY: generate
generate: tools ## Write deepcopy functions, CRDs, the controller's role and docs/metrics.md from the Go code, and what the chart has of them.
	$(CONTROLLER_GEN) object:headerFile=hack/header.txt paths=./api/...
	$(CONTROLLER_GEN) crd paths=./api/... output:crd:dir=config/crd/bases
	$(CONTROLLER_GEN) rbac:roleName=regfish-issuer-controller paths=./internal/... paths=./cmd/... output:rbac:dir=config/rbac
	go run ./hack/chart
	go run ./hack/metrics

.PHONY: build
build: ## Build the controller and the simulator into bin.
	$(BUILD) -o bin/ ./cmd/...

.PHONY: binaries
binaries: ## Build the binaries for an image into bin/image.
	GOOS=linux GOARCH=$(ARCH) $(BUILD) -o bin/image/linux-$(ARCH)/ ./cmd/...

.PHONY: image
image: binaries ## Build a container image with docker, podman or buildah.
##+ IMAGE= names it; TARGET=controller|simulator chooses what is in it (controller).
##+ ARCH=amd64|arm64 chooses the platform; ARCHIVE= also writes it to a file.
	@VERSION=$(VERSION) hack/image.sh $(TARGET) $(ARCH) $(IMAGE) $(ARCHIVE)

.PHONY: demo
demo: $(ASSETS) ## Turn a Certificate into a Secret on a real control plane.
##+ SCENARIO=dv|ov|wildcard|rejected|denied|bad-key|renew chooses what happens (dv).
##+ KEEP=1 leaves the control plane running and says how to reach it.
##+ BREAK=dns|gate|ledger|person breaks one part; the demo must then fail.
	@go run ./hack/demo \
		$(if $(SCENARIO),-scenario=$(SCENARIO)) $(if $(filter-out 0,$(KEEP)),-keep) $(if $(BREAK),-break=$(BREAK))

.PHONY: cluster
cluster: node ## Run a Kubernetes of one node, with kubelet and containerd, until Ctrl-C. Root on Linux.
##+ Debian: apt-get install --no-install-recommends containerd runc
##+ containernetworking-plugins buildah nftables conntrack iproute2
	@mkdir -p bin && go build -o bin/cluster ./hack/cluster
	@KUBEBUILDER_ASSETS=$(CURDIR)/$(KUBE) bin/cluster

##@ Prove

.PHONY: test
test: $(ASSETS) helm ## Run all tests with the race detector, in random order. A skipped test is a failure.
	@packages=$$(go list ./... | grep -v -e '/hack/chart$$'); \
		go run ./hack/gotest -race -shuffle=on -timeout=20m $$packages
	@$(MAKE) chart

.PHONY: sim
sim: ## Play schedules of crashes, lost answers and two leaders against the controllers in memory, and count what was bought.
##+ SEEDS= is how many are drawn (10000), DEPTH= how many faults are placed at the calls of a first
##+ request in all ways that can be told apart (2; one fewer where a second request comes).
##+ bin/sim.json has the totals. A schedule that fails names the command that plays it again.
	go test -count=1 -timeout=60m -run='Exhaustive|Random|Unheard|Families|Outside' ./internal/simulation \
		-seeds=$(or $(SEEDS),10000) -depth=$(or $(DEPTH),2) -unheard=300 -families=15 -outside=300 -out=$(CURDIR)/bin/sim.json

.PHONY: sim-sabotage
sim-sabotage: ## Break the controllers in named ways, one at a time: the simulation has to notice each.
	go run ./hack/sabotage

.PHONY: chart
chart: $(ASSETS) helm ## Lint, render, install, upgrade, attack and uninstall the Helm chart on a real API server.
##+ UPDATE=1 writes its golden files anew: look at what changed before you commit it.
##+ What it tests are programs of their own, in which the race detector would see nothing.
	@go run ./hack/gotest -shuffle=on -timeout=15m ./hack/chart $(if $(UPDATE),-update)

.PHONY: kill
kill: $(ASSETS) ## Kill replicas, and stop them past their lease, while they send orders. Results: bin/kill.json.
##+ ROUNDS=200 is what a release needs, and takes twenty minutes (20); SEED= repeats a run's schedule.
	@mkdir -p bin && go run ./hack/kill -version $(VERSION) -rounds $(ROUNDS) $(if $(SEED),-seed $(SEED))

.PHONY: e2e
e2e: helm $(if $(E2E_KUBECONFIG),$(ASSETS),node) ## Install the chart on a real node and work with it. Results: bin/e2e.json.
##+ The node is that of make cluster, or those of the cluster that E2E_KUBECONFIG names,
##+ which can pull or has E2E_IMAGE and E2E_SIMULATOR: docs/try.md builds them.
ifdef E2E_KUBECONFIG
	@go build -o bin/e2e ./hack/e2e
	@bin/e2e -version $(VERSION) $(if $(E2E_IMAGE),-image $(E2E_IMAGE)) $(if $(E2E_SIMULATOR),-simulator $(E2E_SIMULATOR))
else
	@$(MAKE) image IMAGE=registry.example.com/regfish-issuer:e2e ARCHIVE=bin/image/controller.tar
	@$(MAKE) image TARGET=simulator IMAGE=registry.example.com/regfish-simulator:e2e ARCHIVE=bin/image/simulator.tar
	@go build -o bin/ ./hack/cluster ./hack/e2e
	@KUBEBUILDER_ASSETS=$(CURDIR)/$(KUBE) bin/cluster -image bin/image/controller.tar -image bin/image/simulator.tar bin/e2e -version $(VERSION)
endif

.PHONY: reproducible
reproducible: ## Build the binaries twice with empty caches, and compare them. Minutes.
	@hack/reproducible.sh $(ARCH)

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

.PHONY: bench
bench: $(ASSETS) peers ## Measure what thousands of orders cost, write bin/bench.json, and fail if a bar is missed. A quiet machine, an hour.
##+ ROWS=idle,burst measures some parts only; STEADY=1m shortens the longest (20m).
	@mkdir -p bin && go build -o bin/bench ./hack/bench
	@bin/bench -version $(VERSION) $(if $(ROWS),-rows $(ROWS)) $(if $(STEADY),-steady $(STEADY))

.PHONY: verify
verify: generate lint ## Regenerate, tidy, lint, and fail if the working tree is not what is committed.
	@for module in $(MODULES); do echo "go -C $$module mod tidy -diff"; go -C $$module mod tidy -diff; done
	@dirty=$$(git status --porcelain); [[ -z $$dirty ]] || { \
		git --no-pager diff --stat; \
		printf 'make verify: these files are not committed, or generated from older code:\n%s\n' "$$dirty"; exit 1; }

.PHONY: presubmit
presubmit: ## Run exactly what CI runs: verify, test, sim, sim-sabotage, fuzz, demo-breaks, kill.
##+ FULL=1 adds what takes long: 200 rounds of kill, e2e and bench.
	@for section in verify test sim sim-sabotage fuzz demo-breaks kill $(if $(FULL),e2e bench); do \
		printf '\n=== make %s\n' $$section; start=$$SECONDS; \
		$(MAKE) $$section; \
		printf '=== make %s passed in %ds\n' $$section $$((SECONDS - start)); \
	done

.PHONY: clean
clean: ## Delete everything that was built.
	rm -rf bin
