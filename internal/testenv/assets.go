// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const module = "github.com/regfish/regfish-issuer"

// Root returns the folder that holds this module's go.mod. It walks up from the working directory, which is the
// package's own folder in a test, and passes over nested modules.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find module root: %w", err)
	}
	for {
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && bytes.HasPrefix(mod, []byte("module "+module+"\n")) {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("find module root: no go.mod of %s above the working directory", module)
		}
		dir = parent
	}
}

// Assets returns the folder with etcd, kube-apiserver, kube-controller-manager and kubectl: KUBEBUILDER_ASSETS if it is
// set, else bin/kube below the module's root.
func Assets() (string, error) {
	dir := os.Getenv("KUBEBUILDER_ASSETS")
	if dir == "" {
		root, err := Root()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(root, "bin", "kube")
	}
	for _, name := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kubectl"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return "", fmt.Errorf("find Kubernetes binaries: %w: run `make kube`, or set KUBEBUILDER_ASSETS", err)
		}
	}
	return filepath.Abs(dir)
}

// CertManagerCRDs returns the folder with cert-manager's CRDs, in the very version this module is built with.
func CertManagerCRDs() (string, error) {
	dir, err := ModuleDir(".", "github.com/cert-manager/cert-manager")
	return filepath.Join(dir, "deploy", "crds"), err
}

// ModuleDir returns the folder in the module cache of what the module in pinnedBy, seen from
// this module's root, pins. That it is not there is an error.
func ModuleDir(pinnedBy, path string) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	list := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", path)
	list.Dir = filepath.Join(root, pinnedBy)
	var stderr bytes.Buffer
	list.Stderr = &stderr
	out, err := list.Output()
	dir := strings.TrimSpace(string(out))
	if err == nil && dir == "" {
		err = errors.New("it is not in the module cache")
	}
	if err != nil {
		return "", fmt.Errorf("find module %s: %w: %s", path, err, stderr.String())
	}
	return dir, nil
}
