// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package testenv_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/internal/testenv"
)

// patience is how long real parts may take on a busy machine.
const patience = 2 * time.Minute

func TestMissingBinariesNameTheRemedy(t *testing.T) {
	t.Setenv("KUBEBUILDER_ASSETS", t.TempDir())
	_, err := testenv.Assets()
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "make kube") {
		t.Errorf("Assets: got %v, want an error that says `make kube`", err)
	}
}

func TestBinariesBelongBelowTheModuleRoot(t *testing.T) {
	t.Setenv("KUBEBUILDER_ASSETS", "")
	root, err := testenv.Root()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "internal", "testenv", "doc.go")); err != nil {
		t.Errorf("Root is not this module's: %v", err)
	}
	// Whoever uses binaries of his own has none in bin/kube, and is told that this is the place.
	want := filepath.Join(root, "bin", "kube")
	if got, err := testenv.Assets(); got != want && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("Assets: got %q, %v, want %q", got, err, want)
	}
}

func TestKubeconfigServesKubectl(t *testing.T) {
	env := testenv.New(t)
	assets, err := testenv.Assets()
	if err != nil {
		t.Fatal(err)
	}
	plane := &testenv.ControlPlane{Config: env.Config}
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := plane.WriteKubeconfig(kubeconfig); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(filepath.Join(assets, "kubectl"), "--kubeconfig", kubeconfig,
		"get", "namespace", env.Namespace, "-o", "name").CombinedOutput()
	if want := "namespace/" + env.Namespace + "\n"; err != nil || string(out) != want {
		t.Errorf("kubectl: got %q, %v, want %q", out, err, want)
	}
	info, err := os.Stat(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("kubeconfig has mode %s: it holds a private key", info.Mode())
	}
}

func TestDeletedNamespaceDisappears(t *testing.T) {
	env := testenv.New(t)
	secret := testenv.APIKeySecret(env.Namespace, "regfish-api", "key")
	if err := env.Client.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: env.Namespace}}
	if err := env.Client.Delete(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, patience, gone(t, env.Client, namespace))
	if err := gone(t, env.Client, secret)(); err != nil {
		t.Error(err)
	}
}

func TestOwnedObjectIsCollected(t *testing.T) {
	env := testenv.New(t)
	owner := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: env.Namespace, Name: "owner"}}
	if err := env.Client.Create(t.Context(), owner); err != nil {
		t.Fatal(err)
	}
	owned := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
		Namespace: env.Namespace, Name: "owned",
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(owner, corev1.SchemeGroupVersion.WithKind("ConfigMap"))},
	}}
	if err := env.Client.Create(t.Context(), owned); err != nil {
		t.Fatal(err)
	}
	if err := env.Client.Delete(t.Context(), owner); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, patience, gone(t, env.Client, owned))
}

// gone returns a check that the API server has no such object.
func gone(t *testing.T, c client.Client, obj client.Object) func() error {
	return func() error {
		err := c.Get(t.Context(), client.ObjectKeyFromObject(obj), obj)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(fmt.Errorf("%s is not gone", obj.GetName()), err)
	}
}

func TestControlPlaneEndsWithItsProcess(t *testing.T) {
	victim := exec.Command(os.Args[0])
	temp := t.TempDir()
	victim.Env = append(os.Environ(), dieEnv+"=1", "TMPDIR="+temp)
	var stdout, stderr bytes.Buffer
	victim.Stdout, victim.Stderr = &stdout, &stderr
	if err := victim.Run(); err == nil || !strings.Contains(stderr.String(), "a test panics") {
		t.Fatalf("the victim did not panic: %v\n%s%s", err, stdout.String(), stderr.String())
	}
	server, err := url.Parse(strings.TrimSpace(stdout.String()))
	if err != nil || server.Host == "" {
		t.Fatalf("the victim started no API server: %v\n%s", err, stdout.String())
	}
	testenv.Eventually(t, patience, func() error {
		conn, err := net.Dial("tcp", server.Host)
		if err == nil {
			return errors.Join(fmt.Errorf("%s still answers", server.Host), conn.Close())
		}
		left, err := os.ReadDir(temp)
		if err != nil {
			return err
		}
		if len(left) > 0 {
			return fmt.Errorf("%s is left", left)
		}
		return nil
	})
}
