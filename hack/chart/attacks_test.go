// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	apiutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/testenv"
)

// Who attacks, and who may do something.
const (
	tenant = "mallory" // may edit its namespace, make issuers there, and ask for certificates
	onCall = "oncall"  // is bound to the role of the ledger's operators
	backup = "backup"  // is bound to the role of the ledger's restorers
)

// resolve is the annotation by which a person decides what is held.
const resolve = v1alpha1.AnnotationResolve

// successor is a change of a purchase's record that the CRD's own rules let pass.
const successor = `{"spec":{"successors":[{"number":2,"action":"New","requestUID":"x","time":"2026-01-01T00:00:00.000000Z"}]}}`

// as returns a client of somebody. An administrator impersonates, as whoever tries out
// roles does.
func (r *release) as(user string, groups ...string) client.Client {
	r.t.Helper()
	config := rest.CopyConfig(r.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: append(groups, "system:authenticated")}
	c, err := client.New(config, client.Options{Scheme: r.Client.Scheme(), Mapper: r.Client.RESTMapper()})
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// people gives everybody what they have in a well-run cluster. cert-manager's own
// chart lets those who may edit a namespace do this with its kinds.
func (w *world) people() {
	w.t.Helper()
	certificates := &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "certificates"},
		Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{"cert-manager.io"}, Resources: []string{"certificates", "certificaterequests"}, Verbs: []string{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}},
			{APIGroups: []string{v1alpha1.Group}, Resources: []string{"regfishissuers"}, Verbs: []string{"create", "delete", "get", "list", "patch", "update", "watch"}},
		},
	}
	w.create(certificates)
	w.bind(w.Namespace, tenant, "Role", certificates.Name)
	w.bind(w.Namespace, tenant, "ClusterRole", "edit")
	w.bind(w.namespace, onCall, "Role", "regfish-issuer-ledger-operator")
	w.bind(w.namespace, backup, "Role", "regfish-issuer-ledger-restorer")
	// What the API server allows and what its policies forbid follows what is written
	// with a delay.
	p := w.purchases()[0]
	for user, verb := range map[string]func() error{
		tenant: func() error {
			return w.as(tenant).List(w.t.Context(), &v1alpha1.RegfishOrderList{}, client.InNamespace(w.Namespace))
		},
		backup: func() error {
			return w.as(backup).List(w.t.Context(), &v1alpha1.RegfishPurchaseList{}, client.InNamespace(w.namespace))
		},
		onCall: func() error {
			err := w.as(onCall).Patch(w.t.Context(), p.DeepCopy(), merge(`{"metadata":{"annotations":{"any":"other"}}}`), client.DryRunAll)
			if apierrors.IsInvalid(err) || apierrors.IsForbidden(err) && strings.Contains(err.Error(), "ValidatingAdmissionPolicy") {
				return nil
			}
			return fmt.Errorf("the policy is not in force: %v", err) //nolint:errorlint // there may be none
		},
	} {
		w.eventually(user+" has what it is given", verb)
	}
}

func merge(patch string) client.Patch { return client.RawPatch(types.MergePatchType, []byte(patch)) }

// TestAttacks: what those who are not the controller try, and what the API server says.
// The controller runs meanwhile, and spends nothing on any of it.
func TestAttacks(t *testing.T) {
	w := newWorld(t)
	w.run()
	w.issuer(w.clusterWide(), v1alpha1.ReasonChecked)
	cr := testenv.CertificateRequest(t, w.Namespace, "victim", testenv.WithIssuer(v1alpha1.KindClusterIssuer, issuerName), testenv.WithDNSNames("www.example.com"))
	cr.Labels = map[string]string{"team": "shop", v1alpha1.LabelNamespace: "elsewhere"}
	w.create(cr)
	testenv.Approve(t, w.Client, cr)
	order := w.order("victim", "is validating", inState(v1alpha1.StateValidating))
	purchase := w.purchases()[0]
	w.people()
	ctx := t.Context()
	mallory, operator, restorer := w.as(tenant), w.as(onCall), w.as(backup)
	admin := w.as("admin", "system:masters")
	controller := w.as("system:serviceaccount:"+w.namespace+":regfish-issuer", "system:serviceaccounts")
	key := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "regfish-api"}}
	forged := func() *v1alpha1.RegfishOrder {
		return &v1alpha1.RegfishOrder{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, GenerateName: "forged-"},
			Spec:       *order.Spec.DeepCopy(),
		}
	}
	copied := func() *v1alpha1.RegfishPurchase {
		return &v1alpha1.RegfishPurchase{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, GenerateName: "restored-"}, Spec: *purchase.Spec.DeepCopy(),
		}
	}

	attacks := []struct {
		name    string
		try     func() error
		allowed bool   // it is no attack, and has to work
		says    string // what the refusal has to say, where more than one thing could refuse
	}{
		// Orders.
		{"a tenant forges an order", func() error { return mallory.Create(ctx, forged()) }, false, ""},
		{"a tenant edits an order's status", func() error {
			return mallory.Status().Patch(ctx, order.DeepCopy(), merge(`{"status":{"state":"Issued"}}`))
		}, false, ""},
		{"a tenant points an order at another request", func() error {
			return mallory.Patch(ctx, order.DeepCopy(), merge(`{"spec":{"requestRef":{"name":"other"}}}`))
		}, false, ""},
		{"a tenant takes an order away from its request", func() error {
			return mallory.Patch(ctx, order.DeepCopy(), merge(`{"metadata":{"ownerReferences":null}}`))
		}, false, ""},
		{"a tenant deletes an order", func() error { return mallory.Delete(ctx, order.DeepCopy()) }, false, ""},
		{"a tenant reads its order", func() error { return mallory.Get(ctx, client.ObjectKeyFromObject(order), &v1alpha1.RegfishOrder{}) }, true, ""},
		{"an administrator points an order at another request", func() error {
			return admin.Patch(ctx, order.DeepCopy(), merge(`{"spec":{"requestRef":{"name":"other"}}}`))
		}, false, ""},

		// The ledger.
		{"a tenant reads a purchase", func() error {
			return mallory.Get(ctx, client.ObjectKeyFromObject(&purchase), &v1alpha1.RegfishPurchase{})
		}, false, ""},
		{"a tenant lists purchases", func() error {
			return mallory.List(ctx, &v1alpha1.RegfishPurchaseList{}, client.InNamespace(w.namespace))
		}, false, ""},
		{"a tenant creates a purchase", func() error { return mallory.Create(ctx, copied()) }, false, ""},
		{"a tenant creates a purchase in its own namespace", func() error {
			p := copied()
			p.Namespace = w.Namespace
			return mallory.Create(ctx, p)
		}, false, ""},
		{"a tenant decides a hold", func() error { return mallory.Patch(ctx, purchase.DeepCopy(), decide("retry:1")) }, false, ""},
		{"a tenant deletes a purchase", func() error { return mallory.Delete(ctx, purchase.DeepCopy()) }, false, ""},
		{"a tenant edits a purchase's status", func() error {
			return mallory.Status().Patch(ctx, purchase.DeepCopy(), merge(`{"status":{"state":"Ended"}}`))
		}, false, ""},
		{"whoever is on call decides a hold", func() error { return operator.Patch(ctx, purchase.DeepCopy(), decide("abandon"), client.DryRunAll) }, true, ""},
		{"whoever is on call sets a label", func() error {
			return operator.Patch(ctx, purchase.DeepCopy(), merge(`{"metadata":{"labels":{"cost-centre":"42"}}}`))
		}, true, ""},
		{"whoever is on call removes a label that a request brought", func() error {
			return operator.Patch(ctx, purchase.DeepCopy(), merge(`{"metadata":{"labels":{"team":null}}}`))
		}, true, ""},
		{"whoever is on call edits what is recorded", func() error {
			return operator.Patch(ctx, purchase.DeepCopy(), merge(successor))
		}, false, "only the controller writes what a purchase records"},
		{"whoever is on call replaces the vendor's id", func() error {
			return operator.Patch(ctx, purchase.DeepCopy(), merge(`{"spec":{"certificateID":"STOLEN"}}`))
		}, false, ""},
		{"whoever is on call sets one of our labels", func() error {
			return operator.Patch(ctx, purchase.DeepCopy(), merge(`{"metadata":{"labels":{"certmanager.regfish.com/beneficiary-namespace":"other"}}}`))
		}, false, "are the controller's"},
		{"whoever is on call adds one of our labels", func() error {
			return operator.Patch(ctx, purchase.DeepCopy(), merge(`{"metadata":{"labels":{"certmanager.regfish.com/new":"x"}}}`))
		}, false, "are the controller's"},
		{"whoever is on call removes one of our labels", func() error {
			return operator.Patch(ctx, purchase.DeepCopy(), merge(`{"metadata":{"labels":{"certmanager.regfish.com/issuer-name":null}}}`))
		}, false, "are the controller's"},
		{"whoever is on call sets another annotation", func() error {
			return operator.Patch(ctx, purchase.DeepCopy(), merge(`{"metadata":{"annotations":{"certmanager.regfish.com/takeover":"x"}}}`))
		}, false, "the only annotation"},
		{"whoever is on call sets another annotation beside a decision", func() error {
			return operator.Patch(ctx, purchase.DeepCopy(), merge(`{"metadata":{"annotations":{"certmanager.regfish.com/resolve":"abandon","x":"y"}}}`))
		}, false, "the only annotation"},
		{"whoever is on call holds a purchase up with a finalizer", func() error {
			return operator.Patch(ctx, purchase.DeepCopy(), merge(`{"metadata":{"finalizers":["example.com/never"]}}`))
		}, false, "finalizers"},
		{"whoever is on call gives a purchase an owner that can vanish", func() error {
			return operator.Patch(ctx, purchase.DeepCopy(), merge(fmt.Sprintf(`{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Secret","name":"x","uid":%q}]}}`, key.UID+"x")))
		}, false, "owners"},
		{"whoever is on call edits a purchase's status", func() error {
			return operator.Status().Patch(ctx, purchase.DeepCopy(), merge(`{"status":{"state":"Ended"}}`))
		}, false, ""},
		{"whoever is on call deletes a purchase", func() error { return operator.Delete(ctx, purchase.DeepCopy()) }, false, ""},
		{"whoever is on call creates a purchase", func() error { return operator.Create(ctx, copied()) }, false, ""},
		{"the backup reads the ledger", func() error {
			return restorer.List(ctx, &v1alpha1.RegfishPurchaseList{}, client.InNamespace(w.namespace))
		}, true, ""},
		{"the backup restores a purchase", func() error { return restorer.Create(ctx, copied(), client.DryRunAll) }, true, ""},
		{"the backup decides a hold", func() error { return restorer.Patch(ctx, purchase.DeepCopy(), decide("abandon")) }, false, ""},
		{"the backup overwrites a purchase", func() error { return restorer.Update(ctx, purchase.DeepCopy()) }, false, ""},
		{"the backup deletes a purchase", func() error { return restorer.Delete(ctx, purchase.DeepCopy()) }, false, ""},
		{"the backup reads the key", func() error { return restorer.Get(ctx, client.ObjectKeyFromObject(key), &corev1.Secret{}) }, false, ""},
		{"an administrator edits what is recorded", func() error {
			return admin.Patch(ctx, purchase.DeepCopy(), merge(successor))
		}, false, "only the controller writes what a purchase records"},
		{"an administrator edits a purchase's status", func() error {
			return admin.Status().Patch(ctx, purchase.DeepCopy(), merge(`{"status":{"state":"Ended"}}`))
		}, false, "only the controller writes a purchase's status"},

		// Keys and issuers.
		{"a tenant reads the cluster issuer's key", func() error { return mallory.Get(ctx, client.ObjectKeyFromObject(key), &corev1.Secret{}) }, false, ""},
		{"a tenant edits the cluster issuer", func() error {
			return mallory.Patch(ctx, w.clusterWide(), merge(`{"spec":{"url":"https://evil.example"}}`))
		}, false, ""},
		{"a tenant makes a cluster issuer", func() error {
			return mallory.Create(ctx, &v1alpha1.RegfishClusterIssuer{ObjectMeta: metav1.ObjectMeta{Name: "mine"}, Spec: w.spec})
		}, false, ""},
		{"a tenant frees its purchase limit", func() error {
			return mallory.Status().Patch(ctx, w.namespaced(), merge(`{"status":{"purchases":null}}`))
		}, false, ""},
		{"a tenant's issuer names a Secret of another namespace", func() error { return w.strict(mallory, `{"name":"regfish-api","namespace":"`+w.namespace+`"}`) }, false, "unknown field"},
		{"a tenant's issuer points at plain HTTP", func() error {
			return mallory.Patch(ctx, w.namespaced(), merge(`{"spec":{"url":"http://169.254.169.254/latest/meta-data"}}`))
		}, false, "spec.url"},
		{"a tenant's issuer hides a host behind a user name", func() error {
			return mallory.Patch(ctx, w.namespaced(), merge(`{"spec":{"url":"https://api.regfish.com@evil.example"}}`))
		}, false, "spec.url"},

		// Approval and identity.
		{"a tenant approves its own request", func() error {
			own := cr.DeepCopy()
			apiutil.SetCertificateRequestCondition(own, cmapi.CertificateRequestConditionApproved, "True", "x", "x")
			return mallory.Status().Update(ctx, own)
		}, false, ""},
		{"a tenant becomes the controller", func() error {
			account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "regfish-issuer"}}
			return mallory.SubResource("token").Create(ctx, account, &authenticationv1.TokenRequest{})
		}, false, ""},
		{"a tenant takes the lead", func() error {
			return mallory.Patch(ctx, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "regfish-issuer"}}, merge(`{"spec":{"holderIdentity":"mallory"}}`))
		}, false, ""},
		{"a tenant lets the controller read another namespace", func() error {
			return mallory.Create(ctx, &rbacv1.RoleBinding{
				ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "x"},
				RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "regfish-issuer-secret-reader"},
				Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: tenant}},
			})
		}, false, ""},

		// The controller, once somebody else has its token.
		{"a stolen token lists Secrets", func() error { return controller.List(ctx, &corev1.SecretList{}, client.InNamespace(w.namespace)) }, false, ""},
		{"a stolen token reads a Secret elsewhere", func() error {
			return controller.Get(ctx, client.ObjectKey{Namespace: "kube-system", Name: "x"}, &corev1.Secret{})
		}, false, ""},
		{"a stolen token makes a pod", func() error {
			return controller.Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "x"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "x", Image: "x"}}}})
		}, false, ""},
		{"a stolen token asks for a certificate", func() error {
			return controller.Create(ctx, testenv.CertificateRequest(t, w.Namespace, "x", testenv.WithIssuer(v1alpha1.KindClusterIssuer, issuerName), testenv.WithDNSNames("x.example.com")))
		}, false, ""},
		{"a stolen token makes an issuer", func() error {
			return controller.Create(ctx, &v1alpha1.RegfishClusterIssuer{ObjectMeta: metav1.ObjectMeta{Name: "x"}, Spec: w.spec})
		}, false, ""},
		{"a stolen token puts a purchase where tenants are", func() error {
			p := copied()
			p.Namespace = w.Namespace
			return controller.Create(ctx, p)
		}, false, ""},
		{"a stolen token gives itself rights", func() error {
			return controller.Patch(ctx, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "regfish-issuer-controller"}}, merge(`{"rules":[]}`))
		}, false, ""},
	}
	denied := 0
	for _, a := range attacks {
		err := a.try()
		refused := apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err)
		switch {
		case a.allowed && err != nil:
			t.Errorf("%s: it was to be allowed: %v", a.name, err)
		case !a.allowed && !refused:
			t.Errorf("%s: it was to be refused: %v", a.name, err)
		case !a.allowed && !strings.Contains(err.Error(), a.says):
			t.Errorf("%s: it was refused, but not because of %q: %v", a.name, a.says, err)
		case !a.allowed:
			denied++
		}
	}
	const atLeast = 20
	if denied < atLeast {
		t.Errorf("only %d attacks were tried and denied", denied)
	}
	t.Logf("%d attacks denied", denied)

	// The labels of the request that collide with ours gained nothing.
	if got := purchase.Labels[v1alpha1.LabelNamespace]; got != w.Namespace || purchase.Labels["team"] != "shop" {
		t.Errorf("the labels of the purchase are %v", purchase.Labels)
	}
	w.bought(1)
}

// decide is the patch by which a person decides what is held.
func decide(how string) client.Patch {
	return merge(fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, resolve, how))
}

// strict makes an issuer whose reference to a Secret is ref, and lets nothing be
// dropped in silence.
func (w *world) strict(c client.Client, ref string) error {
	o := &unstructured.Unstructured{}
	text := fmt.Sprintf(`{"apiVersion":"certmanager.regfish.com/v1alpha1","kind":"RegfishIssuer","metadata":{"name":"mine","namespace":%q},"spec":{"sku":"RapidSSL","apiKeySecretRef":%s}}`, w.Namespace, ref)
	if err := json.Unmarshal([]byte(text), &o.Object); err != nil {
		return err
	}
	return client.WithFieldValidation(c, metav1.FieldValidationStrict).Create(w.t.Context(), o)
}

// TestDeputy: what the API server has to accept, and the controller must not fall for.
func TestDeputy(t *testing.T) {
	w := newWorld(t)
	// An endpoint that is allowed and sends whoever calls it somewhere else.
	var stolen atomic.Int64
	thief := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { stolen.Add(1) }))
	t.Cleanup(thief.Close)
	redirector := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, thief.URL+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	t.Cleanup(redirector.Close)
	w.do("upgrade", w.values(), "--set-json", fmt.Sprintf("allowedEndpoints=[%q,%q]", w.url, redirector.URL))
	w.run()
	w.issuer(w.clusterWide(), v1alpha1.ReasonChecked)
	w.issuer(w.namespaced(), v1alpha1.ReasonChecked)

	t.Run("issuers that point elsewhere", func(t *testing.T) {
		bundle := redirector.Certificate()
		for name, tc := range map[string]struct{ url, reason string }{
			"metadata":   {"https://169.254.169.254", v1alpha1.ReasonEndpointNotAllowed},
			"api-server": {"https://kubernetes.default.svc", v1alpha1.ReasonEndpointNotAllowed},
			"elsewhere":  {thief.URL, v1alpha1.ReasonEndpointNotAllowed},
			"redirector": {redirector.URL, v1alpha1.ReasonEndpointUnreachable},
		} {
			i := &v1alpha1.RegfishIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: name}, Spec: w.spec}
			i.Spec.URL, i.Spec.CABundle = tc.url, pemOf(bundle.Raw)
			w.create(i)
			w.issuer(i, tc.reason)
		}
		if n := stolen.Load(); n != 0 {
			t.Errorf("%d calls reached a host that is not allowed", n)
		}
	})

	t.Run("a Secret by a path", func(t *testing.T) {
		i := &v1alpha1.RegfishIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "path"}, Spec: w.spec}
		i.Spec.APIKeySecretRef.Name = "../../" + w.namespace + "/secrets/regfish-api"
		w.create(i)
		w.issuer(i, v1alpha1.ReasonSecretNotFound)
	})

	t.Run("a Secret of another namespace", func(t *testing.T) {
		// The name exists in the controller's namespace, where it may read.
		w.create(testenv.APIKeySecret(w.namespace, "only-there", apiKey))
		i := &v1alpha1.RegfishIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "borrower"}, Spec: w.spec}
		i.Spec.APIKeySecretRef.Name = "only-there"
		w.create(i)
		w.issuer(i, v1alpha1.ReasonSecretNotFound)
	})

	other := testenv.Namespace(t, w.Client)
	quiet := []client.Object{}
	ask := func(namespace, name string, change func(*cmapi.CertificateRequest), mods ...testenv.Mod) *cmapi.CertificateRequest {
		cr := testenv.CertificateRequest(t, namespace, name, append([]testenv.Mod{testenv.WithDNSNames(name + ".example.com")}, mods...)...)
		if change != nil {
			change(cr)
		}
		w.create(cr)
		return cr
	}
	// Another namespace's issuer, by its name.
	foreign := ask(other, "foreign", nil, testenv.WithIssuer(v1alpha1.KindIssuer, issuerName))
	testenv.Approve(t, w.Client, foreign)
	// A request that nobody approved, and an order that says it was.
	undecided := ask(w.Namespace, "undecided", nil, testenv.WithIssuer(v1alpha1.KindClusterIssuer, issuerName))
	// Orders that were written by hand: of a request that does not exist, of one that
	// nobody approved, and of one in another namespace.
	for name, uid := range map[string]types.UID{"nothing": "1", "undecided": undecided.UID, "foreign": foreign.UID} {
		o := &v1alpha1.RegfishOrder{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: name},
			Spec: v1alpha1.OrderSpec{
				RequestRef: v1alpha1.RequestRef{Name: name, UID: uid},
				IssuerRef:  v1alpha1.OrderIssuerRef{Group: v1alpha1.Group, Kind: v1alpha1.KindClusterIssuer, Name: issuerName},
			},
		}
		w.create(o)
		quiet = append(quiet, o)
	}
	// A request whose annotations try whatever an issuer could allow to be overridden,
	// and whose labels collide with the controller's.
	overriding := ask(w.Namespace, "overriding", func(cr *cmapi.CertificateRequest) {
		cr.Annotations = map[string]string{}
		maps.Copy(cr.Annotations, map[string]string{
			v1alpha1.Group + "/sku": "SecureSitePro", v1alpha1.Group + "/validity-days": "1", v1alpha1.Group + "/organization-id": "1",
			v1alpha1.Group + "/url": thief.URL, resolve: "purchase", v1alpha1.Group + "/takeover": "yes",
		})
		cr.Labels = map[string]string{v1alpha1.LabelIssuerName: "other", v1alpha1.LabelNamespace: "other", "team": "shop"}
	}, testenv.WithIssuer(v1alpha1.KindClusterIssuer, issuerName))
	testenv.Approve(t, w.Client, overriding)

	// The one annotation that an issuer can allow, and this one does not.
	sourced := ask(w.Namespace, "sourced", func(cr *cmapi.CertificateRequest) {
		cr.Annotations = map[string]string{v1alpha1.AnnotationSourceCertificateID: "ABCDEFGHJKMNP"}
	}, testenv.WithIssuer(v1alpha1.KindClusterIssuer, issuerName))
	testenv.Approve(t, w.Client, sourced)
	w.order("sourced", "is refused", inState(v1alpha1.StateFailed))

	// What follows was asked for after all of that, so all of that was looked at.
	w.order("overriding", "is validating", inState(v1alpha1.StateValidating))
	w.eventually("the foreign request says why it waits", func() error {
		if err := w.get(foreign); err != nil {
			return err
		}
		if got := apiutil.CertificateRequestReadyReason(foreign); got != cmapi.CertificateRequestReasonPending {
			return fmt.Errorf("it is %q: %+v", got, foreign.Status)
		}
		return nil
	})
	w.automateDNS()
	last := ask(w.Namespace, "last", nil, testenv.WithIssuer(v1alpha1.KindClusterIssuer, issuerName))
	testenv.Approve(t, w.Client, last)
	w.order("last", "is issued", inState(v1alpha1.StateIssued))

	w.bought(2)
	for _, p := range w.purchases() {
		if p.Spec.SKU != w.spec.SKU || p.Spec.ValidityDays != 199 || p.Spec.Endpoint != w.url || p.Spec.Action != v1alpha1.ActionNew {
			t.Errorf("an annotation changed what was bought: %+v", p.Spec)
		}
		if p.Labels[v1alpha1.LabelIssuerName] != issuerName || p.Labels[v1alpha1.LabelNamespace] != w.Namespace {
			t.Errorf("a label of a request replaced ours: %v", p.Labels)
		}
		for name := range p.Annotations {
			t.Errorf("the annotation %s was copied", name)
		}
	}
	if err := w.get(undecided); err != nil {
		t.Fatal(err)
	}
	if len(undecided.Status.Conditions) != 0 {
		t.Errorf("something was written on a request that nobody approved: %+v", undecided.Status.Conditions)
	}
	for _, o := range quiet {
		order := o.(*v1alpha1.RegfishOrder)
		if err := w.get(order); err != nil {
			if !apierrors.IsNotFound(err) {
				t.Error(err)
			}
			continue
		}
		if order.Status.PurchaseRef != nil || meta.IsStatusConditionTrue(order.Status.Conditions, v1alpha1.ConditionPlaced) {
			t.Errorf("the forged order %s has a purchase: %+v", order.Name, order.Status)
		}
	}
	if n := stolen.Load(); n != 0 {
		t.Errorf("%d calls reached a host that is not allowed", n)
	}
}

// TestTenantDeletesItsNamespace: that works, with orders in it, and the ledger keeps
// what was paid for.
func TestTenantDeletesItsNamespace(t *testing.T) {
	w := newWorld(t)
	w.run()
	w.issuer(w.clusterWide(), v1alpha1.ReasonChecked)
	cr := testenv.CertificateRequest(t, w.Namespace, "www", testenv.WithIssuer(v1alpha1.KindClusterIssuer, issuerName), testenv.WithDNSNames("www.example.com"))
	w.create(cr)
	testenv.Approve(t, w.Client, cr)
	w.order("www", "is validating", inState(v1alpha1.StateValidating))
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.Namespace}}
	if err := w.Client.Delete(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	w.eventually("the namespace is gone", func() error {
		if err := w.get(ns); !apierrors.IsNotFound(err) {
			return errors.Join(fmt.Errorf("its status is %+v", ns.Status), err)
		}
		return nil
	})
	w.bought(1)
}
