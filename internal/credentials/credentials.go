// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package credentials

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/poller"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// defaultKey is the key of the Secret where the API server could not default it,
// as in objects made by tests.
const defaultKey = "api-key"

// maxClients bounds the clients that are kept for their open connections; a
// rotated key leaves an old one behind.
const maxClients = 64

// Problem says why an issuer cannot be used. Reason is one of the reasons of
// Ready on an issuer; Message names the field and the remedy.
type Problem struct {
	Reason  string
	Message string
}

// Error is the message.
func (p *Problem) Error() string { return p.Message }

// KeyProblem is what the vendor's answer says about the issuer's key, nil if it says
// nothing. doing is what was tried, such as "list certificates".
func KeyProblem(issuer v1alpha1.Issuer, err error, doing string) *Problem {
	secret := issuer.GetSpec().APIKeySecretRef.Name
	switch regfish.KindOf(err) { //nolint:exhaustive // the other kinds say nothing about the key
	case regfish.KindUnauthorized:
		return &Problem{v1alpha1.ReasonKeyRejected, fmt.Sprintf("regfish does not accept the API key in Secret %q; put a valid key there. It is looked at again within a minute.", secret)}
	case regfish.KindForbidden:
		return &Problem{v1alpha1.ReasonKeyForbidden, fmt.Sprintf("regfish does not let the API key in Secret %q %s; give the key a role that may. It is looked at again within a minute.", secret, doing)}
	}
	return nil
}

// Resolver finds the client for an issuer.
type Resolver struct {
	// Reader reads Secrets live. It must not be a cache.
	Reader client.Reader
	// ClusterResourceNamespace is where the Secrets of RegfishClusterIssuers are.
	ClusterResourceNamespace string
	// AllowedEndpoints are the canonical endpoints that issuers may name.
	AllowedEndpoints []string
	// UserAgent is sent with every call.
	UserAgent string
	// ReaderRole is the ClusterRole that, bound in a namespace, lets the
	// controller read Secrets there; ServiceAccount is the controller's own, as
	// namespace:name. Both only appear in the remedy of SecretForbidden.
	ReaderRole, ServiceAccount string
	// Timeout of a read; OrderTimeout of an order. Zero means the client's
	// defaults.
	Timeout, OrderTimeout time.Duration
	// Dial makes the connections of the clients; nil: over the network.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Accounts say when a call may be made. Nil for no limits, which is for tests.
	Accounts *poller.Accounts

	mu      sync.Mutex
	clients map[[32]byte]*poller.Client
}

// Endpoint returns the canonical endpoint of the issuer if it may be called, and
// a *Problem otherwise. It reads nothing.
func (r *Resolver) Endpoint(issuer v1alpha1.Issuer) (string, error) {
	endpoint, err := regfish.CanonicalEndpoint(issuer.GetSpec().URL)
	if err != nil {
		return "", &Problem{v1alpha1.ReasonEndpointNotAllowed, fmt.Sprintf("spec.url cannot be used: %v.", err)}
	}
	if !slices.Contains(r.AllowedEndpoints, endpoint) {
		return "", &Problem{v1alpha1.ReasonEndpointNotAllowed, fmt.Sprintf(
			"spec.url %s is not among the endpoints that the controller may call (%s); whoever runs the controller can add it with --allowed-endpoints.",
			endpoint, strings.Join(r.AllowedEndpoints, ", "))}
	}
	return endpoint, nil
}

// Client returns a client for the issuer with the key that its Secret holds now.
// An error that the issuer's owner can mend is a *Problem; any other error is
// the API server's. There is no other way to regfish: whatever calls it is limited with
// everything else that uses the key.
func (r *Resolver) Client(ctx context.Context, issuer v1alpha1.Issuer) (*poller.Client, error) {
	endpoint, err := r.Endpoint(issuer)
	if err != nil {
		return nil, err
	}
	key, err := r.key(ctx, issuer)
	if err != nil {
		return nil, err
	}
	bundle := issuer.GetSpec().CABundle
	id := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%s", endpoint, key.Fingerprint(), bundle))
	r.mu.Lock()
	defer r.mu.Unlock()
	if c, ok := r.clients[id]; ok {
		return c, nil
	}
	vendor, err := regfish.New(regfish.Config{
		Endpoint: endpoint, Key: key, CABundle: bundle, UserAgent: r.UserAgent,
		Timeout: r.Timeout, OrderTimeout: r.OrderTimeout, Dial: r.Dial,
	})
	if err != nil {
		return nil, &Problem{v1alpha1.ReasonEndpointUnreachable, fmt.Sprintf("spec.caBundle cannot be used: %v.", err)}
	}
	if r.clients == nil || len(r.clients) >= maxClients {
		for _, old := range r.clients {
			old.Close()
		}
		r.clients = map[[32]byte]*poller.Client{}
	}
	c := r.Accounts.Client(vendor)
	r.clients[id] = c
	return c, nil
}

// key reads the API key of the issuer from the one namespace its kind allows.
func (r *Resolver) key(ctx context.Context, issuer v1alpha1.Issuer) (regfish.Key, error) {
	ref := issuer.GetSpec().APIKeySecretRef
	if ref.Key == "" {
		ref.Key = defaultKey
	}
	name := client.ObjectKey{Namespace: issuer.GetNamespace(), Name: ref.Name}
	if issuer.Ref().Kind == v1alpha1.KindClusterIssuer {
		name.Namespace = r.ClusterResourceNamespace
	}
	// The client refuses such a name itself, but with an error that would be tried
	// again for ever, out of the owner's sight.
	if wrong := validation.NameIsDNSSubdomain(name.Name, false); len(wrong) > 0 {
		return regfish.Key{}, &Problem{v1alpha1.ReasonSecretNotFound, fmt.Sprintf(
			"spec.apiKeySecretRef.name: no Secret can be called %q; name one in namespace %q.", name.Name, name.Namespace)}
	}
	var secret corev1.Secret
	switch err := r.Reader.Get(ctx, name, &secret); {
	case apierrors.IsNotFound(err):
		return regfish.Key{}, &Problem{v1alpha1.ReasonSecretNotFound, fmt.Sprintf(
			"spec.apiKeySecretRef.name: there is no Secret %q in namespace %q; create it with the regfish API key under %q.", name.Name, name.Namespace, ref.Key)}
	case apierrors.IsForbidden(err):
		return regfish.Key{}, &Problem{v1alpha1.ReasonSecretForbidden, fmt.Sprintf(
			"spec.apiKeySecretRef.name: the controller may not read Secret %q in namespace %q; allow it with: kubectl create rolebinding %s --namespace %s --clusterrole %s --serviceaccount %s",
			name.Name, name.Namespace, r.ReaderRole, name.Namespace, r.ReaderRole, r.ServiceAccount)}
	case err != nil:
		return regfish.Key{}, fmt.Errorf("read secret %s: %w", name, err)
	}
	raw, ok := secret.Data[ref.Key]
	if !ok {
		return regfish.Key{}, &Problem{v1alpha1.ReasonSecretNotFound, fmt.Sprintf(
			"spec.apiKeySecretRef.key: Secret %q in namespace %q has no key %q; put the regfish API key there.", name.Name, name.Namespace, ref.Key)}
	}
	key, err := regfish.ParseKey(raw)
	if err != nil {
		return regfish.Key{}, &Problem{v1alpha1.ReasonKeyInvalid, fmt.Sprintf(
			"key %q of Secret %q in namespace %q cannot be a regfish API key: %v.", ref.Key, name.Name, name.Namespace, err)}
	}
	return key, nil
}
