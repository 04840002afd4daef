#!/usr/bin/env bash
# Copyright The regfish-issuer Authors
# SPDX-License-Identifier: Apache-2.0
#
# Usage: hack/kube/build.sh [OUT]
#
# Builds etcd, kube-apiserver, kube-controller-manager and kubectl from source
# into OUT (bin/kube). The first run takes several minutes.
set -euo pipefail

cd "$(dirname "$0")/../.."

version=$(go -C hack/kube list -m -f '{{.Version}}' k8s.io/kubernetes)
IFS=. read -r major minor _ <<<"${version#v}"
flags=()
# Without these the API server calls itself v0.0.0, and what looks at the
# version of the cluster decides wrongly.
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
	flags+=("-X $package.gitVersion=$version")
	flags+=("-X $package.gitMajor=$major")
	flags+=("-X $package.gitMinor=$minor")
done

LDFLAGS="${flags[*]}" hack/build.sh hack/kube "${1:-bin/kube}" \
	./etcd \
	k8s.io/kubernetes/cmd/kube-apiserver \
	k8s.io/kubernetes/cmd/kube-controller-manager \
	k8s.io/kubernetes/cmd/kubectl
