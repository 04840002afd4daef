// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package purchase

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	cmutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/credentials"
	"github.com/regfish/regfish-issuer/internal/pki"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

// Fields by which purchases are selected at the API server.
const (
	FieldNamesHash       = "spec.namesHash"
	FieldCertificateID   = "spec.certificateID"
	FieldNamespace       = "spec.beneficiary.namespace"
	FieldCertificateName = "spec.beneficiary.certificateName"
)

// IndexNames is what purchases are selected by in the cache, with NamesKey: one index for all
// that is read of them for a decision, because each takes 400 bytes of memory a purchase.
const IndexNames = "names"

// NamesKey is the same for all purchases whose names exclude each other, at whatever
// endpoint. That others have it too is only unlikely: who selects by it looks at the names.
func NamesKey(names []string) string {
	h := fnv.New64a()
	for _, name := range pki.CanonicalNames(names) {
		_, _ = io.WriteString(h, name+"\x00") // it never fails
	}
	return strconv.FormatUint(h.Sum64(), 36)
}

// Gatherer reads what a decision depends on.
type Gatherer struct {
	// Live reads from the API server, never from a cache.
	Live client.Reader
	// Ledger is the namespace of the purchases, and LedgerUID its UID.
	Ledger    string
	LedgerUID types.UID
	// ClusterUID is the UID of the namespace kube-system, which tells clusters apart.
	ClusterUID types.UID
	// Endpoint returns the canonical endpoint of an issuer, or why it may not be
	// called.
	Endpoint func(v1alpha1.Issuer) (string, error)
}

// Facts reads the facts of a decision for a request that is approved and passed
// the preflight. Objects come through cached, to wait on, or, where that is nil, from
// the API server, to spend on. The issuer is returned beside the facts; it is nil if
// there is none.
func (g *Gatherer) Facts(ctx context.Context, cached client.Reader, cr *cmapi.CertificateRequest, request *pki.Request, now time.Time) (Facts, v1alpha1.Issuer, error) {
	reader := cached
	if cached == nil {
		reader = g.Live
	}
	f := Facts{Now: now, Asked: cr.CreationTimestamp.Time, Live: map[types.UID]bool{}, Cluster: g.ClusterUID}
	issuer, err := GetIssuer(ctx, reader, cr)
	if err != nil {
		return Facts{}, nil, err
	}
	f.Want = want(cr, request)
	if issuer == nil {
		f.Issuer = notReady("there is no %s; create it, or correct spec.issuerRef.", f.Want.Issuer)
		f.Purchases, err = g.ofBeneficiary(ctx, cached, f.Want)
		return f, nil, errors.Join(err, g.complete(ctx, reader, cached == nil, cr, &f))
	}
	slots, buckets := SlotsOf(issuer, nil, now)
	f.Slots, f.InNamespace = slots, slotsIn(issuer, buckets, cr.Namespace)
	f.Issuer = f.Want.from(issuer, now)
	if problem := g.ready(issuer); problem != nil {
		f.Issuer = problem
	}
	if f.Want.Endpoint, err = g.Endpoint(issuer); err != nil {
		f.Issuer = notReady("%s is not ready: %v", f.Want.Issuer, err)
		f.Purchases, err = g.ofBeneficiary(ctx, cached, f.Want)
		return f, issuer, errors.Join(err, g.complete(ctx, reader, cached == nil, cr, &f))
	}
	if f.Override, err = g.override(ctx, cr, issuer, &f.Want); err != nil {
		return Facts{}, nil, err
	}
	if f.Purchases, f.Elsewhere, err = g.ofNames(ctx, cached, f.Want); err != nil {
		return Facts{}, nil, err
	}
	return f, issuer, g.complete(ctx, reader, cached == nil, cr, &f)
}

// complete reads what the purchases make necessary to know.
func (g *Gatherer) complete(ctx context.Context, reader client.Reader, needCertificate bool, cr *cmapi.CertificateRequest, f *Facts) error {
	for i := range f.Purchases {
		p := &f.Purchases[i]
		if ph := phaseOf(p); ph == phaseUnplaced || ph == phaseSpent {
			live, err := RequestLive(ctx, reader, p)
			if err != nil {
				return err
			}
			_, uid := requestOf(p)
			f.Live[uid] = live
		}
		if inherits(p, f.Want, f.Now) {
			// That the Certificate is gone is noted from time to time, and it may have been
			// created again since. Two that both exist are two lineages.
			back, err := g.Exists(ctx, lastBeneficiary(p))
			if err != nil {
				return err
			}
			if back {
				p.Status.BeneficiaryGoneSince = nil
			}
		}
		needCertificate = needCertificate || (wasIssued(p) && (serves(p, f.Want) || inLineage(p, f.Want, f.Now)))
	}
	if !needCertificate {
		return nil
	}
	var err error
	f.Certificate, err = g.Certificate(ctx, cr)
	if f.Certificate != nil {
		f.ReplacesNotAfter = f.Certificate.Status.NotAfter
	}
	return err
}

// want is what the request itself says; the issuer adds the rest.
func want(cr *cmapi.CertificateRequest, request *pki.Request) Want {
	w := Want{
		Beneficiary: v1alpha1.Beneficiary{Namespace: cr.Namespace, RequestName: cr.Name, RequestUID: cr.UID},
		Issuer:      IssuerRefOf(cr),
		Request:     request,
		Labels:      cr.Labels,
	}
	if owner := metav1.GetControllerOf(cr); owner != nil && owner.Kind == cmapi.CertificateKind && owner.APIVersion == cmapi.SchemeGroupVersion.String() {
		w.Beneficiary.CertificateName = owner.Name
	}
	return w
}

// from adds what the issuer decides about the order, and returns what its owner has to
// add before a request with these names can be served.
func (w *Want) from(issuer v1alpha1.Issuer, now time.Time) *IssuerProblem {
	spec, product := issuer.GetSpec(), issuer.GetStatus().Product
	w.Reuse = spec.ReusePolicy
	w.ValidityDays = ValidityDays(spec.ValidityDays, now)
	w.DCVMethod, w.DCVEmails, w.Publisher = spec.DCV.Method, spec.DCV.Emails, spec.DCV.Publisher
	sku := spec.SKU
	if i := slices.IndexFunc(w.Request.DNSNames, isWildcard); i >= 0 {
		sku, product = spec.WildcardSKU, issuer.GetStatus().WildcardProduct
		if sku == "" {
			return &IssuerProblem{v1alpha1.ReasonWildcardSKURequired, fmt.Sprintf("the request has the wildcard %s, and spec.wildcardSKU of %s names no product for wildcards; its owner has to set it, for example to RapidSSLWildcard.", w.Request.DNSNames[i], w.Issuer)}
		}
	}
	w.SKU = sku
	if product == nil || !strings.EqualFold(product.SKU, sku) {
		// The issuer was not looked at since sku changed, and is not Ready before.
		return nil
	}
	w.SKU = product.SKU
	if TakesOrganization(*product) {
		w.OrganizationID = spec.OrganizationID
	}
	return nil
}

func isWildcard(name string) bool { return strings.HasPrefix(name, "*.") }

// TakesOrganization reports whether an organization belongs to an order of the product:
// the catalogue says so, or that the product is more than domain-validated.
func TakesOrganization(p v1alpha1.Product) bool {
	return p.OrganizationRequired || (p.ValidationLevel != "" && p.ValidationLevel != "dv")
}

// ready returns why the issuer cannot be bought with.
func (g *Gatherer) ready(issuer v1alpha1.Issuer) *IssuerProblem {
	ref := issuer.Ref()
	c := meta.FindStatusCondition(issuer.GetStatus().Conditions, v1alpha1.ConditionReady)
	switch {
	case !issuer.GetDeletionTimestamp().IsZero():
		return notReady("%s is being deleted.", ref)
	case c == nil || c.ObservedGeneration != issuer.GetGeneration():
		return notReady("%s was not checked yet.", ref)
	case c.Status != metav1.ConditionTrue:
		who := ", and its owner has to act"
		if c.Reason == v1alpha1.ReasonEndpointUnreachable {
			who = "" // it may come back by itself
		}
		return notReady("%s is not ready (%s)%s: %s", ref, c.Reason, who, c.Message)
	case issuer.GetStatus().Ledger == nil || issuer.GetStatus().Ledger.NamespaceUID != g.LedgerUID || issuer.GetStatus().Ledger.Namespace != g.Ledger:
		return notReady("the ledger of %s is another one than this controller's: another installation serves it, and one of the two has to be removed.", ref)
	}
	return nil
}

func notReady(format string, args ...any) *IssuerProblem {
	return &IssuerProblem{Reason: v1alpha1.ReasonIssuerNotReady, Message: fmt.Sprintf(format, args...)}
}

// ofNames reads the purchases of the names of w at its endpoint, and those that its
// beneficiary has of them at others.
func (g *Gatherer) ofNames(ctx context.Context, cached client.Reader, w Want) (here, elsewhere []v1alpha1.RegfishPurchase, err error) {
	hash := w.NamesHash()
	if here, err = g.named(ctx, cached, w, client.MatchingFields{FieldNamesHash: hash}); err != nil {
		return nil, nil, err
	}
	if cached == nil {
		elsewhere, err = g.ofBeneficiary(ctx, nil, w)
		return here, elsewhere, err
	}
	for i := range here {
		if isElsewhere(&here[i], w) {
			elsewhere = append(elsewhere, here[i])
		}
	}
	return slices.DeleteFunc(here, func(p v1alpha1.RegfishPurchase) bool { return p.Spec.NamesHash != hash }), elsewhere, nil
}

// ofBeneficiary reads the purchases that were made for the beneficiary and the names of
// w, at other endpoints than that of w, if that is known. What was paid for is shown and
// followed also while the issuer is gone or names another endpoint.
func (g *Gatherer) ofBeneficiary(ctx context.Context, cached client.Reader, w Want) ([]v1alpha1.RegfishPurchase, error) {
	found, err := g.named(ctx, cached, w, client.MatchingFields{FieldNamespace: w.Beneficiary.Namespace, FieldCertificateName: w.Beneficiary.CertificateName})
	return slices.DeleteFunc(found, func(p v1alpha1.RegfishPurchase) bool { return !isElsewhere(&p, w) }), err
}

// isElsewhere reports whether p is what the beneficiary of w has of its names at another
// endpoint.
func isElsewhere(p *v1alpha1.RegfishPurchase, w Want) bool {
	b := p.Spec.Beneficiary
	return p.Spec.Endpoint != w.Endpoint && b.Namespace == w.Beneficiary.Namespace && b.CertificateName == w.Beneficiary.CertificateName && sameNames(p, w)
}

// named reads purchases of the names of w: those that the fields select at the API server, or
// all that the cache has, which its caller chooses from.
func (g *Gatherer) named(ctx context.Context, cached client.Reader, w Want, fields client.MatchingFields) ([]v1alpha1.RegfishPurchase, error) {
	if cached != nil {
		fields = client.MatchingFields{IndexNames: NamesKey(w.Request.DNSNames)}
	}
	return g.list(ctx, cached, fields)
}

// list reads the purchases that the fields select. What is cached belongs to the cache: it is
// copied by whoever changes it.
func (g *Gatherer) list(ctx context.Context, cached client.Reader, fields client.MatchingFields) ([]v1alpha1.RegfishPurchase, error) {
	reader, options := g.Live, []client.ListOption{client.InNamespace(g.Ledger), fields}
	if cached != nil {
		reader, options = cached, append(options, client.UnsafeDisableDeepCopy)
	}
	var list v1alpha1.RegfishPurchaseList
	if err := reader.List(ctx, &list, options...); err != nil {
		return nil, fmt.Errorf("list purchases: %w", err)
	}
	return list.Items, nil
}

// Certificate reads the Certificate that owns the request, nil if there is none.
func (g *Gatherer) Certificate(ctx context.Context, cr *cmapi.CertificateRequest) (*cmapi.Certificate, error) {
	owner := metav1.GetControllerOf(cr)
	if owner == nil || owner.Kind != cmapi.CertificateKind {
		return nil, nil
	}
	var c cmapi.Certificate
	if err := g.Live.Get(ctx, client.ObjectKey{Namespace: cr.Namespace, Name: owner.Name}, &c); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	return &c, nil
}

// Exists reports whether the Certificate of the beneficiary does, by a live read.
func (g *Gatherer) Exists(ctx context.Context, b v1alpha1.Beneficiary) (bool, error) {
	var c cmapi.Certificate
	err := g.Live.Get(ctx, client.ObjectKey{Namespace: b.Namespace, Name: b.CertificateName}, &c)
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("read certificate: %w", err)
	}
	return err == nil, nil
}

// GetIssuer reads the issuer that the request names, nil if there is none or the
// kind is not ours.
func GetIssuer(ctx context.Context, reader client.Reader, cr *cmapi.CertificateRequest) (v1alpha1.Issuer, error) {
	return LookUpIssuer(ctx, reader, IssuerRefOf(cr))
}

// LookUpIssuer reads an issuer, nil if there is none or the kind is not ours.
func LookUpIssuer(ctx context.Context, reader client.Reader, ref v1alpha1.IssuerRef) (v1alpha1.Issuer, error) {
	var issuer v1alpha1.Issuer
	switch ref.Kind {
	case v1alpha1.KindIssuer:
		issuer = &v1alpha1.RegfishIssuer{}
	case v1alpha1.KindClusterIssuer:
		issuer = &v1alpha1.RegfishClusterIssuer{}
	default:
		return nil, nil
	}
	if err := reader.Get(ctx, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, issuer); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		return nil, fmt.Errorf("read %s: %w", ref, err)
	}
	return issuer, nil
}

// IssuerRefOf is the issuer that the request names. A request without a kind
// means a RegfishIssuer, as cert-manager's own default is the namespaced kind.
func IssuerRefOf(cr *cmapi.CertificateRequest) v1alpha1.IssuerRef {
	ref := v1alpha1.IssuerRef{Kind: cr.Spec.IssuerRef.Kind, Name: cr.Spec.IssuerRef.Name}
	if ref.Kind == "" {
		ref.Kind = v1alpha1.KindIssuer
	}
	if ref.Kind != v1alpha1.KindClusterIssuer {
		ref.Namespace = cr.Namespace
	}
	return ref
}

// RequestLive reports whether the request of the last attempt of p, or the one that
// p was made for if there is none, still exists and is to be served.
func RequestLive(ctx context.Context, reader client.Reader, p *v1alpha1.RegfishPurchase) (bool, error) {
	name, uid := requestOf(p)
	var cr cmapi.CertificateRequest
	if err := reader.Get(ctx, client.ObjectKey{Namespace: p.Spec.Beneficiary.Namespace, Name: name}, &cr); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	return cr.UID == uid && ToServe(&cr), nil
}

// ToServe reports whether the request is approved and still to be answered.
func ToServe(cr *cmapi.CertificateRequest) bool {
	if !cr.DeletionTimestamp.IsZero() || len(cr.Status.Certificate) > 0 {
		return false
	}
	if !cmutil.CertificateRequestIsApproved(cr) || cmutil.CertificateRequestIsDenied(cr) {
		return false
	}
	switch cmutil.CertificateRequestReadyReason(cr) {
	case cmapi.CertificateRequestReasonFailed, cmapi.CertificateRequestReasonDenied, cmapi.CertificateRequestReasonIssued:
		return false
	}
	return !cmutil.CertificateRequestHasCondition(cr, cmapi.CertificateRequestCondition{Type: cmapi.CertificateRequestConditionInvalidRequest, Status: cmmeta.ConditionTrue})
}

// Preflight checks a request before anything is decided for it.
func Preflight(cr *cmapi.CertificateRequest) (*pki.Request, []pki.Problem) {
	return pki.Preflight(specOf(cr))
}

// Problems returns what Preflight finds.
func Problems(cr *cmapi.CertificateRequest) []pki.Problem { return pki.Problems(specOf(cr)) }

func specOf(cr *cmapi.CertificateRequest) pki.Spec {
	usages := make([]string, 0, len(cr.Spec.Usages))
	for _, u := range cr.Spec.Usages {
		usages = append(usages, string(u))
	}
	return pki.Spec{CSR: cr.Spec.Request, IsCA: cr.Spec.IsCA, Usages: usages}
}

// baseline asks the account for everything that shares a name with w, and reads
// what of it no purchase holds. A row may lack what decides whether the certificate that
// somebody named can be used, so that one is read by its id.
func (g *Gatherer) baseline(ctx context.Context, vendor Vendor, cr *cmapi.CertificateRequest, w Want, named string) (*Baseline, error) {
	b := &Baseline{}
	names := pki.ExactNames("", w.Request.DNSNames)
	var sharing []regfish.Certificate
	if err := vendor.Certificates(ctx, func(c regfish.Certificate) error {
		if c.ID != "" && (pki.ShareCanonical(c.Names(), names) || len(c.Names()) == 0) {
			sharing = append(sharing, c)
		}
		return nil
	}); err != nil {
		return nil, fmt.Errorf("list the account: %w", err)
	}
	for _, c := range sharing {
		if len(c.Names()) == 0 || c.ID == named {
			// A row without names says nothing about its names; the id does.
			whole, err := vendor.Certificate(ctx, c.ID)
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", regfish.Sanitise(c.ID, 64), err)
			}
			// What shows no names even so may be for these.
			if len(whole.Names()) > 0 && !pki.ShareCanonical(whole.Names(), names) {
				continue
			}
			c = whole
		}
		if !recordable(c.ID) {
			// It cannot be adopted either.
			continue
		}
		if b.IDs = append(b.IDs, c.ID); len(b.IDs) > maxBaseline {
			return nil, &regfish.Error{Op: "list the account", Kind: regfish.KindUnexpected, Message: fmt.Sprintf("more than %d certificates share a name with the request, which is more than can be recorded before an order", maxBaseline)}
		}
		claimed, err := g.claimed(ctx, w.Endpoint, c.ID)
		if err != nil {
			return nil, err
		}
		if claimed {
			continue
		}
		candidate, err := g.candidate(ctx, vendor, cr, w.Endpoint, c)
		if err != nil {
			return nil, err
		}
		if candidate != nil {
			b.Unclaimed = append(b.Unclaimed, *candidate)
		}
	}
	return b, nil
}

// maxBaseline is the most ids that an attempt can record.
const maxBaseline = 1000

// candidate reads what there is to know about a certificate that no purchase holds;
// nil if one holds it by now.
func (g *Gatherer) candidate(ctx context.Context, vendor Vendor, cr *cmapi.CertificateRequest, endpoint string, c regfish.Certificate) (*Candidate, error) {
	of, claimed, err := g.inFlight(ctx, endpoint, c)
	if err != nil || claimed {
		return nil, err
	}
	found := &Candidate{Certificate: c, Of: of}
	if !Usable(c) {
		return found, nil
	}
	if found.Leaf, err = leafOf(ctx, vendor, c); err != nil || found.Leaf == nil {
		return found, err
	}
	found.Earlier, err = g.earlier(ctx, cr, *found)
	return found, err
}

// ask asks regfish about the certificates that may be reissued or renewed. That one cannot
// be read is a fact, and not an error. The problem is what the issuer's owner has to mend.
func (g *Gatherer) ask(ctx context.Context, vendor Vendor, issuer v1alpha1.Issuer, f *Facts) (*credentials.Problem, error) {
	f.Sources = map[string]Source{}
	var problem *credentials.Problem
	for _, p := range f.toAsk() {
		id := p.Spec.CertificateID
		c, err := vendor.Certificate(ctx, id)
		switch {
		case err == nil:
			f.Sources[id] = Source{Certificate: c}
		case regfish.KindOf(err) == regfish.KindNone:
			return nil, err
		case regfish.KindOf(err) == regfish.KindNotFound:
			f.Sources[id] = Source{NotFound: true}
		default:
			reason := v1alpha1.ReasonVendorUnavailable
			if problem = credentials.KeyProblem(issuer, err, "read certificates"); problem != nil {
				reason = v1alpha1.ReasonIssuerNotReady
			}
			f.Sources[id] = Source{Problem: &IssuerProblem{reason, fmt.Sprintf("%s is paid for and may serve this request, and regfish could not be asked about it, so nothing is bought yet: %v", id, err)}}
		}
	}
	return problem, nil
}

// claimed reports whether a purchase of the ledger holds the id, which is only an
// id together with its endpoint.
func (g *Gatherer) claimed(ctx context.Context, endpoint, id string) (bool, error) {
	var list v1alpha1.RegfishPurchaseList
	if err := g.Live.List(ctx, &list, client.InNamespace(g.Ledger), client.MatchingFields{FieldCertificateID: id}); err != nil {
		return false, fmt.Errorf("look for %s in the ledger: %w", regfish.Sanitise(id, 64), err)
	}
	return slices.ContainsFunc(list.Items, func(p v1alpha1.RegfishPurchase) bool { return p.Spec.Endpoint == endpoint }), nil
}

// inFlight finds the purchase that is being placed and that the certificate may be
// the order of: the vendor lists it before its answer has come and was recorded. It
// reads the whole ledger, which is only done for what nobody claims; a purchase that
// claims it by now is reported too.
func (g *Gatherer) inFlight(ctx context.Context, endpoint string, c regfish.Certificate) (name string, claimed bool, err error) {
	var list v1alpha1.RegfishPurchaseList
	if err := g.Live.List(ctx, &list, client.InNamespace(g.Ledger)); err != nil {
		return "", false, fmt.Errorf("list purchases: %w", err)
	}
	for i := range list.Items {
		p := &list.Items[i]
		switch {
		case p.Spec.Endpoint != endpoint:
		case p.Spec.CertificateID == c.ID:
			return "", true, nil
		case phaseOf(p) == phaseUnresolved && couldBe(p, c, nil, nil):
			name = p.Name
		}
	}
	return name, false, nil
}

// earlier returns the CSR of an earlier request of the same Certificate that was
// given exactly the candidate: proof, after a restore of the ledger, that the
// candidate was bought for it.
func (g *Gatherer) earlier(ctx context.Context, cr *cmapi.CertificateRequest, c Candidate) ([]byte, error) {
	owner := metav1.GetControllerOf(cr)
	if owner == nil {
		return nil, nil
	}
	var list cmapi.CertificateRequestList
	if err := g.Live.List(ctx, &list, client.InNamespace(cr.Namespace)); err != nil {
		return nil, fmt.Errorf("list certificate requests: %w", err)
	}
	for i := range list.Items {
		other := &list.Items[i]
		if o := metav1.GetControllerOf(other); o == nil || o.Kind != owner.Kind || o.Name != owner.Name || len(other.Status.Certificate) == 0 {
			continue
		}
		if leaf, err := pki.ParseLeaf(other.Status.Certificate); err == nil && leaf.Equal(c.Leaf) {
			return other.Spec.Request, nil
		}
	}
	return nil, nil
}
