// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

// Command cluster runs a Kubernetes of one node on this machine, with kubelet and
// containerd, as root on Linux. It runs until Ctrl-C, or for as long as the command runs
// that it is given, and leaves nothing behind: no process, mount, bridge, rule or file.
//
//	cluster [-image ARCHIVE]... [COMMAND...]
//
// The command finds the cluster by KUBECONFIG and E2E_KUBECONFIG. The Kubernetes
// binaries are those of bin/kube; containerd, runc, buildah and the CNI plugins come from
// the distribution. There is no DNS in the cluster, and NetworkPolicies are taken but not
// enforced.
//
// It owns the one node that it makes, and must not touch a cluster that somebody else runs.
package main
