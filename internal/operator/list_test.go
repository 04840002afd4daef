// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/controller"
	"github.com/regfish/regfish-issuer/internal/pki"
	"github.com/regfish/regfish-issuer/internal/purchase"
	"github.com/regfish/regfish-issuer/internal/testenv"
)

// A list is read item by item only if it is whole, and what is no list of items is left to
// whoever asked.
func TestItemsOfAListAreReadOneByOne(t *testing.T) {
	const list = `{"kind": "L", "metadata": {"resourceVersion": "7", "continue": "c"}, "items": [{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}], "x": 1}`
	for name, tt := range map[string]struct {
		reason string
		body   string
		kind   string
		status int
		ignore bool // nobody asks for the items
		items  []string
		rest   string
		fails  string
	}{
		"a list":                         {reason: "what is no item is read as ever", body: list, items: []string{"a", "b"}, rest: `{"kind":"L","metadata":{"resourceVersion":"7","continue":"c"},"x":1}`},
		"a list without items":           {reason: "there may be none", body: `{"items": [], "kind": "L"}`, rest: `{"kind":"L"}`},
		"a list that nobody asked for":   {reason: "other requests are not touched", body: list, ignore: true, rest: list},
		"a refusal":                      {reason: "it says why", body: `{"kind": "Status"}`, status: http.StatusForbidden, rest: `{"kind": "Status"}`},
		"another encoding":               {reason: "client-go can read it", body: "k8s\x00", kind: "application/vnd.kubernetes.protobuf", rest: "k8s\x00"},
		"a list that was cut in an item": {reason: "objects would seem to be gone", body: list[:100], fails: "unexpected EOF"},
		"a list that was cut at its end": {reason: "objects would seem to be gone", body: list[:strings.Index(list, "]")+1], fails: "EOF"},
		"items that are none":            {reason: "it is no list", body: `{"items": {}}`, fails: "there is { where [ begins"},
		"no list":                        {reason: "all objects would seem to be gone", body: `{"kind": "Status", "status": "Success"}`, fails: "there are no items"},
		"a list and more":                {reason: "it is not what was sent", body: list + list, fails: "something follows"},
		"no object":                      {reason: "it is no list", body: `[]`, fails: "there is [ where { begins"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				if tt.kind != "" {
					w.Header().Set("Content-Type", tt.kind)
				}
				if tt.status != 0 {
					w.WriteHeader(tt.status)
				}
				fmt.Fprint(w, tt.body)
			}))
			defer server.Close()
			var items []string
			ctx := t.Context()
			if !tt.ignore {
				ctx = withItems(ctx, func() each {
					return func(d *json.Decoder) error {
						var o metav1.PartialObjectMetadata
						err := d.Decode(&o)
						items = append(items, o.Name)
						return err
					}
				})
			}
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := itemByItem{http.DefaultTransport}.RoundTrip(req)
			if tt.fails != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fails) {
					t.Errorf("%s: %v, want %q", tt.reason, err, tt.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			rest, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.items, items); diff != "" || string(rest) != tt.rest {
				t.Errorf("%s: the rest is %s, items (-want +got):\n%s", tt.reason, rest, diff)
			}
		})
	}
}

// What is listed at the start is the same as what a client reads, but for what nobody reads
// of it, and is found by each index in the way in which that is read.
func TestCacheHoldsWhatIsListed(t *testing.T) {
	e := testenv.New(t)
	o := &v1alpha1.RegfishOrder{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.Namespace, Name: "www-1"},
		Spec: v1alpha1.OrderSpec{
			RequestRef: v1alpha1.RequestRef{Name: "www-1", UID: "r1"},
			IssuerRef:  v1alpha1.OrderIssuerRef{Group: v1alpha1.Group, Kind: v1alpha1.KindClusterIssuer, Name: "regfish"},
		},
	}
	w := purchase.Want{
		Beneficiary: v1alpha1.Beneficiary{Namespace: e.Namespace, CertificateName: "www", RequestName: "www-1", RequestUID: "r1"},
		Issuer:      v1alpha1.IssuerRef{Kind: v1alpha1.KindClusterIssuer, Name: "regfish"},
		Endpoint:    "https://api.regfish.com", Request: &pki.Request{DNSNames: []string{"www.example.com"}, PEM: []byte("x")}, SKU: "RapidSSL", DCVMethod: v1alpha1.DCVMethodCNAME,
	}
	p := purchase.New(w, e.Namespace, 1)
	for _, object := range []client.Object{o, p} {
		if err := e.Client.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	o.Status = v1alpha1.OrderStatus{State: v1alpha1.StateQueued, PurchaseRef: &v1alpha1.PurchaseRef{Name: p.Name}, Conditions: []metav1.Condition{
		{Type: v1alpha1.ConditionPlaced, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonPurchaseLimitReached, Message: "waits.", LastTransitionTime: metav1.Now()},
	}}
	p.Status = v1alpha1.PurchaseStatus{DCV: &v1alpha1.DCVStatus{Method: v1alpha1.DCVMethodCNAME, Records: []v1alpha1.DNSRecord{{Name: "_a.example.com.", Type: "CNAME", Value: "b.example.net."}}}}
	for _, object := range []client.Object{o, p} {
		if err := e.Client.Status().Update(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	for name, namespaces := range map[string][]string{"all namespaces": nil, "some namespaces": {e.Namespace, "default"}} {
		t.Run(name, func(t *testing.T) {
			c := start(t, Options{REST: e.Config, LedgerNamespace: e.Namespace, Namespaces: namespaces}, &v1alpha1.RegfishOrder{}, &v1alpha1.RegfishPurchase{})
			for _, by := range []client.MatchingFields{
				{controller.OrdersByIssuer: w.Issuer.String()}, {controller.OrdersQueued: w.Issuer.String()}, {controller.OrdersByPurchase: p.Name},
			} {
				var found v1alpha1.RegfishOrderList
				if err := c.List(t.Context(), &found, by); err != nil || len(found.Items) != 1 {
					t.Fatalf("%v: found %d orders, %v", by, len(found.Items), err)
				}
				want := o.DeepCopy()
				want.ManagedFields, want.TypeMeta = nil, found.Items[0].TypeMeta
				if diff := cmp.Diff(want, &found.Items[0]); diff != "" {
					t.Errorf("the cache has another order (-want +got):\n%s", diff)
				}
			}
			for _, by := range []client.MatchingFields{
				{purchase.IndexNames: purchase.NamesKey(p.Spec.DNSNames)},
				{controller.PurchasesByIssuer: w.Issuer.String()}, {controller.PurchasesByRecord: "_a.example.com."},
			} {
				var found v1alpha1.RegfishPurchaseList
				if err := c.List(t.Context(), &found, client.InNamespace(e.Namespace), by); err != nil || len(found.Items) != 1 {
					t.Fatalf("%v: found %d purchases, %v", by, len(found.Items), err)
				}
				want := p.DeepCopy()
				want.ManagedFields, want.TypeMeta = nil, found.Items[0].TypeMeta
				if diff := cmp.Diff(want, &found.Items[0]); diff != "" {
					t.Errorf("the cache has another purchase (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// cutOff is an API server whose first answer is cut off.
type cutOff struct {
	t        *testing.T
	answers  []string
	requests int
}

func (c *cutOff) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.UserAgent() == "" {
		c.t.Error("the API server is not told who asks")
	}
	body := io.Reader(strings.NewReader(c.answers[c.requests]))
	if c.requests++; c.requests == 1 {
		body = io.MultiReader(body, iotest.ErrReader(&net.OpError{Op: "read", Err: syscall.ECONNRESET}))
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(body), Request: r}, nil
}

// client-go makes a request again whose answer was cut off. What came of the first answer is
// of another time: an object that was deleted since would stay in the cache for good.
func TestListThatIsReadAgainBeginsAnew(t *testing.T) {
	const (
		head = `{"kind": "RegfishOrderList", "apiVersion": "certmanager.regfish.com/v1alpha1", "metadata": {"resourceVersion": "7"}, "items": [`
		item = `{"metadata": {"namespace": "shop", "name": %q}}`
	)
	server := &cutOff{t: t, answers: []string{head + fmt.Sprintf(item, "gone") + ",", head + fmt.Sprintf(item, "there") + "]}"}}
	config := &rest.Config{Host: "http://localhost", WrapTransport: func(http.RoundTripper) http.RoundTripper { return server }}
	options := cache.Options{DefaultTransform: cache.TransformStripManagedFields()}
	if err := lists(&options, config); err != nil {
		t.Fatal(err)
	}
	c, err := apiutil.RESTClientForGVK(v1alpha1.GroupVersion.WithKind("RegfishOrder"), false, false, config, serializer.NewCodecFactory(Scheme()), options.HTTPClient)
	if err != nil {
		t.Fatal(err)
	}
	l := lister{&toolscache.ListWatch{ListWithContextFunc: func(ctx context.Context, _ metav1.ListOptions) (runtime.Object, error) {
		var list v1alpha1.RegfishOrderList
		return &list, c.Get().Resource("regfishorders").Do(ctx).Into(&list)
	}}, reflect.TypeFor[v1alpha1.RegfishOrder](), options.DefaultTransform}
	found, err := l.ListWithContext(t.Context(), metav1.ListOptions{})
	if err != nil || server.requests != 2 {
		t.Fatalf("%d requests, %v", server.requests, err)
	}
	var names []string
	if err := meta.EachListItem(found, func(o runtime.Object) error {
		names = append(names, o.(*v1alpha1.RegfishOrder).Name)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"there"}, names); diff != "" {
		t.Errorf("listed (-want +got):\n%s", diff)
	}
}

// Without credentials and a name of its own client-go uses the client of the whole process,
// which is not to be changed.
func TestListsHaveAClientOfTheirOwn(t *testing.T) {
	var options cache.Options
	if err := lists(&options, &rest.Config{Host: "http://localhost"}); err != nil {
		t.Fatal(err)
	}
	if options.HTTPClient == http.DefaultClient || http.DefaultClient.Transport != nil {
		t.Errorf("the client of the process has the transport %T", http.DefaultClient.Transport)
	}
}
