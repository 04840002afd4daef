// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	legacy "github.com/go-json-experiment/json/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
)

// What is watched is listed before, and a list of ten thousand objects is 100 MB. client-go
// reads it as a whole, or has it streamed as events of which it decodes each three times. Here
// the objects of a list are decoded one by one as they come, and what is not kept of one is
// gone before the next, which takes a third of the time and little memory: lists gives the
// cache's HTTP client a transport that does so for those who ask for it in their context, and
// the cache informers that ask. The decoder is that of Go 1.27, which takes half the time.

// asClients says that objects are read as client-go reads those of a watch: as encoding/json
// does, and only by the exact names of fields. Errors stay those that say where a list was
// cut off: client-go tells by them that it is worth a second request.
var asClients = json.JoinOptions(legacy.DefaultOptionsV1(), json.MatchCaseInsensitiveNames(false), legacy.ReportErrorsWithLegacySemantics(false))

// lists prepares the options of a cache to list in this way.
func lists(options *cache.Options, config *rest.Config) error {
	config = rest.CopyConfig(config)
	if config.UserAgent == "" {
		// As controller-runtime does for its other clients. Without any, this may be
		// http.DefaultClient, which belongs to everybody.
		config.UserAgent = rest.DefaultKubernetesUserAgent()
	}
	c, err := rest.HTTPClientFor(config)
	if err != nil {
		return fmt.Errorf("make HTTP client: %w", err)
	}
	c.Transport = itemByItem{c.Transport}
	options.HTTPClient = c
	options.NewInformer = func(lw toolscache.ListerWatcher, o runtime.Object, resync time.Duration, by toolscache.Indexers) toolscache.SharedIndexInformer {
		_, ledger := o.(*v1alpha1.RegfishPurchase)
		l := lister{toolscache.ToListerWatcherWithContext(lw), reflect.TypeOf(o).Elem(), options.DefaultTransform}
		for kind, of := range options.ByObject {
			if reflect.TypeOf(kind) == reflect.TypeOf(o) && of.Transform != nil {
				l.keep = of.Transform
			}
		}
		return indexedOnce{toolscache.NewSharedIndexInformer(l, o, resync, by), ledger}
	}
	return nil
}

// indexedOnce keeps an index for those reads that are made. controller-runtime has every value
// in it twice, for reads of one namespace and for reads of all, which was as large as a third
// of the objects. Purchases are only read in the namespace of the ledger, and what the other
// kinds are selected by in all.
type indexedOnce struct {
	toolscache.SharedIndexInformer
	inNamespace bool
}

// everywhere begins the values of an index for reads of all namespaces.
const everywhere = "__all_namespaces/"

// AddIndexers adds indexers without the values that are not read.
func (i indexedOnce) AddIndexers(all toolscache.Indexers) error {
	once := toolscache.Indexers{}
	for name, values := range all {
		once[name] = func(o any) ([]string, error) {
			found, err := values(o)
			return slices.DeleteFunc(found, func(v string) bool { return strings.HasPrefix(v, everywhere) == i.inNamespace }), err
		}
	}
	return i.SharedIndexInformer.AddIndexers(once)
}

// lister lists objects of one type item by item.
type lister struct {
	toolscache.ListerWatcherWithContext
	of   reflect.Type
	keep toolscache.TransformFunc
}

// IsWatchListSemanticsUnSupported says that lists are not to be streamed as events.
func (lister) IsWatchListSemanticsUnSupported() bool { return true }

// List is ListWithContext.
func (l lister) List(o metav1.ListOptions) (runtime.Object, error) {
	return l.ListWithContext(context.Background(), o)
}

// Watch is WatchWithContext.
func (l lister) Watch(o metav1.ListOptions) (watch.Interface, error) {
	return l.WatchWithContext(context.Background(), o)
}

// ListWithContext returns the list that the API server gives for o, with what the cache keeps
// of its items. One that is no JSON is read as client-go does.
func (l lister) ListWithContext(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	var list *internalversion.List // of the last answer
	rest, err := l.ListerWatcherWithContext.ListWithContext(withItems(ctx, func() each {
		list = &internalversion.List{}
		return func(d *jsontext.Decoder) error {
			item := reflect.New(l.of).Interface()
			if err := json.UnmarshalDecode(d, item); err != nil {
				return err
			}
			kept, err := l.keep(item)
			if err != nil {
				return err
			}
			list.Items = append(list.Items, kept.(runtime.Object))
			return nil
		}
	}), o)
	if err != nil || list == nil {
		return rest, err
	}
	head, err := meta.ListAccessor(rest)
	if err != nil {
		return nil, err
	}
	list.SetResourceVersion(head.GetResourceVersion())
	list.SetContinue(head.GetContinue())
	list.SetRemainingItemCount(head.GetRemainingItemCount())
	return list, nil
}

type itemsKey struct{}

// each decodes one item of a list.
type each func(*jsontext.Decoder) error

// withItems returns a context for the request of a list whose items are handed to what begin
// returns. It is called for every answer: client-go makes a request again whose answer was cut
// off, and what came of that one does not count.
func withItems(ctx context.Context, begin func() each) context.Context {
	return context.WithValue(ctx, itemsKey{}, begin)
}

// itemByItem hands the items of a list to whoever asks for them in the context of the
// request, and what else the list says to the caller.
type itemByItem struct{ http.RoundTripper }

func (t itemByItem) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(r)
	begin, asked := r.Context().Value(itemsKey{}).(func() each)
	if err != nil || !asked || resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		return resp, err
	}
	defer func() { _ = resp.Body.Close() }() // it was read to its end, or is of no use
	rest, err := eachItem(resp.Body, begin())
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", r.URL.Path, err)
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(rest)), int64(len(rest))
	return resp, nil
}

// eachItem reads an object and has each item of its field items decoded. It returns the
// object without these. To have read less than a whole list is an error: what is missing would
// seem to be deleted.
func eachItem(body io.Reader, decode each) ([]byte, error) {
	d := jsontext.NewDecoder(body, asClients)
	if err := begins(d, '{'); err != nil {
		return nil, err
	}
	rest, found := map[string]jsontext.Value{}, false
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		if name := name.String(); name != "items" {
			value, err := d.ReadValue()
			if err != nil {
				return nil, err
			}
			rest[name] = value.Clone()
			continue
		}
		if err := begins(d, '['); err != nil {
			return nil, err
		}
		found = true
		for d.PeekKind() != ']' {
			if err := decode(d); err != nil {
				return nil, err
			}
		}
		if _, err := d.ReadToken(); err != nil {
			return nil, err
		}
	}
	// A list that was cut off has no end.
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	// At the end the transport says whether it has come whole.
	switch _, err := d.ReadToken(); {
	case err == nil:
		return nil, errors.New("something follows the list")
	case !errors.Is(err, io.EOF):
		return nil, err
	case !found:
		return nil, errors.New("there are no items")
	}
	return json.Marshal(rest, asClients)
}

func begins(d *jsontext.Decoder, with jsontext.Kind) error {
	switch t, err := d.ReadToken(); {
	case err != nil:
		return err
	case t.Kind() != with:
		return fmt.Errorf("there is %v where %c begins", t, with)
	}
	return nil
}
