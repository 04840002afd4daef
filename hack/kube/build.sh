#!/usr/bin/env bash
# Copyright The regfish-issuer Authors
# SPDX-License-Identifier: Apache-2.0
#
# Usage: [K8S=1.34.4] hack/kube/build.sh [OUT [COMMAND...]]
#
# Builds etcd, kube-apiserver, kube-controller-manager and kubectl from source
# into OUT (bin/kube), and the further commands of Kubernetes that are named: a node needs
# kubelet, kube-proxy and kube-scheduler. The first run takes several minutes. K8S names
# another version of Kubernetes than the one that this module pins; it gets a module of
# its own, below bin.
set -euo pipefail

cd "$(dirname "$0")/../.."

module=hack/kube
pinned=$(go -C hack/kube list -m -f '{{.Version}}' k8s.io/kubernetes)
version=${K8S:+v${K8S#v}}
version=${version:-$pinned}
if [[ $version != "$pinned" ]]; then
	module=bin/kube-module-$version
	mkdir -p "$module"
	cp -r hack/kube/etcd "$module/"
	if [[ ! -f $module/go.sum ]]; then
		# Kubernetes' own go.mod names its staging modules, which other modules know by
		# a version that follows from Kubernetes'.
		gomod=$(go -C hack/kube mod download -json "k8s.io/kubernetes@$version" | sed -n 's/.*"GoMod": "\(.*\)".*/\1/p')
		{
			printf 'module github.com/regfish/regfish-issuer/hack/kube\n\ngo 1.26.0\n\n'
			sed -n 's/^godebug default=.*/&/p' hack/kube/go.mod
			for command in kube-apiserver kube-controller-manager kube-proxy kube-scheduler kubectl kubelet; do
				echo "tool k8s.io/kubernetes/cmd/$command"
			done
			echo "require k8s.io/kubernetes $version"
			go -C hack/kube list -m -f 'require {{.Path}} {{.Version}}' go.etcd.io/etcd/server/v3
			sed -n "s|^[[:space:]]*\(k8s.io/[^ ]*\) => ./staging/.*|replace \1 => \1 v0.${version#v1.}|p" "$gomod"
		} >"$module/go.mod"
		go -C "$module" mod tidy
	fi
fi

IFS=. read -r major minor _ <<<"${version#v}"
flags=()
# Without these the API server calls itself v0.0.0, and what looks at the
# version of the cluster decides wrongly.
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
	flags+=("-X $package.gitVersion=$version")
	flags+=("-X $package.gitMajor=$major")
	flags+=("-X $package.gitMinor=$minor")
done

out=${1:-bin/kube}
commands=(kube-apiserver kube-controller-manager kubectl "${@:2}")
LDFLAGS="${flags[*]}" hack/build.sh "$module" "$out" ./etcd "${commands[@]/#/k8s.io/kubernetes/cmd/}"
