// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"context"
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
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	clientjson "k8s.io/apimachinery/pkg/util/json"
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
		"an item that is none":           {reason: "it is no list of objects", body: `{"items": [1]}`, fails: "unmarshal JSON number"},
		"a number for a field":           {reason: "it is no object with fields", body: `{"items": [], 1}`, fails: "must be a string"},
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
					return func(d *jsontext.Decoder) error {
						var o metav1.PartialObjectMetadata
						err := json.UnmarshalDecode(d, &o)
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

// What stands in an object has to be the same whether it came by a list or by a watch, which
// client-go decodes. An object that one of them refused would keep everything from being
// listed.
func TestItemsAreDecodedAsClientGoDoes(t *testing.T) {
	for name, text := range map[string]string{
		"base64 with line breaks":  `{"spec": {"request": "LS0t\nLS1C\r\nRUdJTg=="}}`,
		"no valid UTF-8":           "{\"spec\": {\"username\": \"a\xffb\"}}",
		"a field twice":            `{"spec": {"username": "first", "username": "second", "groups": ["a", "b"]}, "spec": {"groups": ["c"]}}`,
		"a field in other letters": `{"spec": {"userName": "x", "IsCA": true}}`,
		"nothing for a field":      `{"metadata": {"creationTimestamp": null, "labels": null}, "spec": {"usages": null, "duration": null, "request": null}, "status": null}`,
		"times and durations":      `{"metadata": {"creationTimestamp": "2026-11-30T12:00:00Z"}, "spec": {"duration": "2160h0m0s"}}`,
		"fields that nobody knows": `{"spec": {"more": [{"a": 1e400}]}, "extra": -0}`,
		"a long number":            `{"metadata": {"generation": 9223372036854775807}}`,
	} {
		t.Run(name, func(t *testing.T) {
			var want, got cmapi.CertificateRequest
			if err := clientjson.Unmarshal([]byte(text), &want); err != nil {
				t.Fatal(err)
			}
			if _, err := eachItem(strings.NewReader(`{"items": [`+text+`]}`), func(d *jsontext.Decoder) error { return json.UnmarshalDecode(d, &got) }); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("it differs from client-go's (-want +got):\n%s", diff)
			}
		})
	}
}

// Every field of every kind that is listed is read. The decoder is stricter than client-go's
// about how Go types are declared, and those of others may change.
func TestEveryFieldIsReadAsClientGoDoes(t *testing.T) {
	for _, kind := range []client.Object{
		&cmapi.CertificateRequest{}, &v1alpha1.RegfishIssuer{}, &v1alpha1.RegfishClusterIssuer{}, &v1alpha1.RegfishOrder{}, &v1alpha1.RegfishPurchase{},
	} {
		t.Run(fmt.Sprintf("%T", kind), func(t *testing.T) {
			fillIn(reflect.ValueOf(kind).Elem())
			text, err := clientjson.Marshal(kind)
			if err != nil {
				t.Fatal(err)
			}
			want, got := reflect.New(reflect.TypeOf(kind).Elem()).Interface(), reflect.New(reflect.TypeOf(kind).Elem()).Interface()
			if err := clientjson.Unmarshal(text, want); err != nil {
				t.Fatal(err)
			}
			if _, err := eachItem(strings.NewReader(`{"items": [`+string(text)+`]}`), func(d *jsontext.Decoder) error { return json.UnmarshalDecode(d, got) }); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("it differs from client-go's (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(kind, got); diff != "" {
				t.Errorf("it differs from what was written (-want +got):\n%s", diff)
			}
		})
	}
}

// fillIn gives every field a value.
func fillIn(v reflect.Value) {
	stamp := time.Date(2026, time.June, 1, 12, 0, 0, 0, time.Local)
	switch known := v.Addr().Interface().(type) {
	case *metav1.Time:
		known.Time = stamp
		return
	case *metav1.MicroTime:
		known.Time = stamp
		return
	case *metav1.Duration:
		known.Duration = time.Hour
		return
	case *metav1.FieldsV1:
		known.SetRawString(`{"f:spec":{}}`)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fillIn(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			fillIn(v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fillIn(v.Index(0))
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fillIn(key)
		fillIn(value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint8:
		v.SetUint(7)
	default:
		v.SetInt(7)
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
