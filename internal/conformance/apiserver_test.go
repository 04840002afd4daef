// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"context"
	"errors"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/internal/testenv"
)

func TestMain(m *testing.M) {
	testenv.Main(m, testenv.Options{CRDPaths: []string{"config/crd/bases"}})
}

// minManifests is less than there are: a reader that finds no YAML must not pass.
const minManifests = 10

func TestManifestsAreAccepted(t *testing.T) {
	env := testenv.New(t)
	all := manifests(t, "config/samples", "config/manager", "config/rbac", "config/simulator")
	blocks := 0
	for _, p := range documents(t) {
		for _, f := range p.fences {
			if f.language == "yaml" {
				blocks++
				from := fmt.Sprintf("%s:%d", p.path, f.line)
				all = append(all, manifest{from, decode(t, from, f.text)})
			}
		}
	}
	if blocks == 0 || len(all) <= minManifests {
		t.Fatalf("%d manifests were found, %d of them in documents", len(all), blocks)
	}
	for _, m := range all {
		t.Run(m.from, func(t *testing.T) {
			for _, o := range m.objects {
				if err := accept(t.Context(), env.Client, o); err != nil {
					t.Errorf("%s %s: %v", o.GetKind(), o.GetName(), err)
				}
			}
		})
	}
}

// accept returns why the API server does not take the object as it stands.
// Nothing is dropped in silence, and a status is checked as the controller would
// write it.
func accept(ctx context.Context, c client.Client, o *unstructured.Unstructured) error {
	namespaced, err := c.IsObjectNamespaced(o)
	switch {
	case err != nil:
		return err
	case namespaced && o.GetNamespace() == "":
		return fmt.Errorf("it names no namespace")
	case namespaced:
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: o.GetNamespace()}}
		if err := client.IgnoreAlreadyExists(c.Create(ctx, ns)); err != nil {
			return fmt.Errorf("create namespace: %w", err)
		}
	}
	strict := client.WithFieldValidation(c, metav1.FieldValidationStrict)
	status, hasStatus := o.Object["status"]
	if !hasStatus {
		// That the name is taken, by a namespace made above, the API server only
		// finds out once it has accepted everything else.
		return client.IgnoreAlreadyExists(strict.Create(ctx, o.DeepCopy(), client.DryRunAll))
	}
	made := o.DeepCopy()
	if err := strict.Create(ctx, made); err != nil {
		return err
	}
	made.Object["status"] = status
	return errors.Join(strict.Status().Update(ctx, made, client.DryRunAll), c.Delete(ctx, made))
}

// What this refuses is why a document that passes can be trusted.
func TestManifestsThatAreRefused(t *testing.T) {
	env := testenv.New(t)
	order := func(status string) string {
		return `
apiVersion: certmanager.regfish.com/v1alpha1
kind: RegfishOrder
metadata: {name: www-1, namespace: ` + env.Namespace + `}
spec:
  requestRef: {name: www-1, uid: "1"}
  issuerRef: {group: certmanager.regfish.com, kind: RegfishIssuer, name: regfish}
status: ` + status
	}
	issuer := func(spec string) string {
		return `
apiVersion: certmanager.regfish.com/v1alpha1
kind: RegfishIssuer
metadata: {name: regfish, namespace: ` + env.Namespace + `}
spec: ` + spec
	}
	cases := map[string]struct {
		manifest string
		refused  bool
		reason   string
	}{
		"an issuer as it should be": {
			manifest: issuer(`{apiKeySecretRef: {name: regfish-api}, sku: RapidSSL}`),
			reason:   "or the others would be refused for any reason",
		},
		"an order with a status as it should be": {
			manifest: order(`{state: Issued}`),
			reason:   "or the others would be refused for any reason",
		},
		"a spec field that does not exist": {
			manifest: issuer(`{apiKeySecretRef: {name: regfish-api}, sku: RapidSSL, product: RapidSSL}`), refused: true,
			reason: "the API server would drop it in silence, and the reader would rely on it",
		},
		"a spec field that is missing": {
			manifest: issuer(`{sku: RapidSSL}`), refused: true,
			reason: "the reader could not apply it",
		},
		"a spec that breaks a rule": {
			manifest: issuer(`{apiKeySecretRef: {name: regfish-api}, sku: RapidSSL, url: "http://api.regfish.com"}`), refused: true,
			reason: "no schema says this, only a rule that the API server evaluates",
		},
		"a status field that does not exist": {
			manifest: order(`{stage: Issued}`), refused: true,
			reason: "the status in an example is what the reader looks for in the cluster",
		},
		"a status field of another type": {
			manifest: order(`{notAfter: tomorrow}`), refused: true,
			reason: "the create drops the status unread, so the status is written once more",
		},
		"an object without a namespace": {
			manifest: "apiVersion: v1\nkind: Secret\nmetadata: {name: regfish-api}", refused: true,
			reason: "where a Secret is decides who may use it",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := accept(t.Context(), env.Client, decode(t, name, tc.manifest)[0])
			if refused := err != nil; refused != tc.refused {
				t.Errorf("%s: got %v", tc.reason, err)
			}
		})
	}
}
