// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const forwarding = "/proc/sys/net/ipv4/ip_forward"

// stop ends the pods, then the processes, the last first, and takes everything away.
func (n *node) stop(ctx context.Context) error {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	// What the kubelet ends itself leaves no mount and no address; the rest is taken
	// away all the same.
	if err := n.endPods(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "cluster: the kubelet did not end all pods:", err)
	}
	for _, p := range slices.Backward(n.parts) {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.ended:
		case <-time.After(15 * time.Second):
			_ = p.cmd.Process.Kill()
			<-p.ended
		}
	}
	if err := n.clean(ctx); err != nil {
		return err
	}
	fmt.Printf("the node is gone after %.0f s\n", time.Since(began).Seconds())
	return errors.Join(os.Remove(n.lock.Name()), n.lock.Close())
}

// endPods deletes everybody's namespace, and waits until no container is left.
func (n *node) endPods(ctx context.Context) error {
	if len(n.parts) == 0 || n.pki == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	clients, err := n.client()
	if err != nil {
		return err
	}
	namespaces, err := clients.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, ns := range namespaces.Items {
		if ns.Name != "default" && !strings.HasPrefix(ns.Name, "kube-") {
			if err := clients.CoreV1().Namespaces().Delete(ctx, ns.Name, metav1.DeleteOptions{}); err != nil {
				return err
			}
		}
	}
	// A controller that is sending an order would take two minutes to end.
	pods, err := clients.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, p := range pods.Items {
		_ = clients.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64(1))})
	}
	return until(ctx, func(ctx context.Context) error {
		left, err := n.ctr(ctx, "containers", "list", "--quiet")
		if err == nil && strings.TrimSpace(left) != "" {
			return fmt.Errorf("containers %s", strings.Fields(left))
		}
		return err
	})
}

// clean takes away what belongs to this node, whoever left it: processes that name its
// folder, mounts below it, the bridge, the rules, the control groups and the folder.
func (n *node) clean(ctx context.Context) error {
	err := until(ctx, func(context.Context) error {
		pids := n.processes()
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		if len(pids) > 0 {
			return fmt.Errorf("processes %v still run", pids)
		}
		return nil
	})
	if err != nil {
		return err
	}
	mounts, err := n.mounts()
	if err != nil {
		return err
	}
	for _, mount := range slices.Backward(mounts) {
		if err := syscall.Unmount(mount, 0); err != nil {
			_ = syscall.Unmount(mount, syscall.MNT_DETACH)
		}
	}
	// What is not there cannot be deleted.
	_, _ = command(ctx, "ip", "link", "delete", bridge)
	for _, family := range []string{"ip", "ip6"} {
		_, _ = command(ctx, "nft", "delete", "table", family, "kube-proxy")
	}
	removeGroups()
	if forward, err := os.ReadFile(n.path("forward")); err == nil {
		if err := os.WriteFile(forwarding, forward, 0o644); err != nil {
			return fmt.Errorf("set back whether the machine forwards: %w", err)
		}
	}
	absent, _ := os.ReadFile(n.path("absent"))
	for _, dir := range strings.Fields(string(absent)) {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("remove what the node made: %w", err)
		}
	}
	if mounts, err = n.mounts(); err != nil || len(mounts) > 0 {
		return errors.Join(err, fmt.Errorf("these are still mounted: %v", mounts))
	}
	if err := os.RemoveAll(n.dir); err != nil {
		return fmt.Errorf("remove the node's folder: %w", err)
	}
	return nil
}

// strangers are folders that the node's programs make whatever they are told. Those that
// were not there before go again.
var strangers = []string{"/etc/cni", "/run/containerd", "/var/lib/cni", "/var/lib/kubelet", "/var/log/containers"}

// remember notes which of them are not there, and whether the machine forwards, for
// whoever cleans.
func (n *node) remember() error {
	var absent []string
	for _, dir := range strangers {
		if !exists(dir) {
			absent = append(absent, dir)
		}
	}
	forward, err := os.ReadFile(forwarding)
	if err != nil {
		return fmt.Errorf("read whether the machine forwards: %w", err)
	}
	return errors.Join(n.write("absent", strings.Join(absent, "\n")), n.write("forward", string(forward)))
}

// processes are those that name the node's folder and are not this one, and those that
// run in its pods.
func (n *node) processes() []int {
	var found []int
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range lines {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil || pid == os.Getpid() {
			continue
		}
		line, _ := os.ReadFile(path)
		groups, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cgroup"))
		if bytes.Contains(line, []byte(n.dir+"/")) || bytes.Contains(groups, []byte(":/kubepods/")) {
			found = append(found, pid)
		}
	}
	return found
}

// mounts are those below the node's folder, in the order in which they were made.
func (n *node) mounts() ([]string, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("read what is mounted: %w", err)
	}
	var found []string
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 4 && strings.HasPrefix(fields[4], n.dir+"/") {
			found = append(found, fields[4])
		}
	}
	return found, nil
}

// removeGroups removes the control groups of pods, the innermost first.
func removeGroups() {
	roots, _ := filepath.Glob("/sys/fs/cgroup/*/kubepods")
	for _, root := range append(roots, "/sys/fs/cgroup/kubepods") {
		var groups []string
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				groups = append(groups, path)
			}
			return nil
		})
		for _, group := range slices.Backward(groups) {
			_ = os.Remove(group)
		}
	}
}
