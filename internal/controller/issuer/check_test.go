// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/credentials"
	"github.com/regfish/regfish-issuer/internal/poller"
	"github.com/regfish/regfish-issuer/internal/regfish"
)

var noon = time.Date(2026, time.June, 1, 12, 0, 0, 0, time.UTC)

var ours = v1alpha1.Ledger{Namespace: "regfish-issuer", NamespaceUID: "ledger"}

// vendor is a vendor with a catalogue and an account.
type vendor struct {
	products []regfish.Product
	noProducts,
	noList,
	noOrganizations error
	organizations []regfish.Organization
	// patient reports whether the last call lets orders go first.
	patient bool
}

func (v *vendor) Products(ctx context.Context) ([]regfish.Product, error) {
	v.patient = ctx == poller.AfterOrders(ctx)
	return v.products, v.noProducts
}

func (v *vendor) MayList(context.Context) error { return v.noList }

func (v *vendor) Organizations(context.Context) ([]regfish.Organization, error) {
	return v.organizations, v.noOrganizations
}

func theIssuer(sku string) *v1alpha1.RegfishClusterIssuer {
	return &v1alpha1.RegfishClusterIssuer{
		ObjectMeta: metav1.ObjectMeta{Name: "regfish", Generation: 3},
		Spec:       v1alpha1.IssuerSpec{URL: "https://api.regfish.com", SKU: sku, APIKeySecretRef: v1alpha1.SecretKeyReference{Name: "regfish-api"}},
	}
}

func vendorSays(kind regfish.Kind, status int) error {
	return &regfish.Error{Op: "list", Kind: kind, Status: status, Message: "words of the vendor"}
}

func TestOrdersGoBeforeAnotherLookAtWhatIsReady(t *testing.T) {
	for name, tt := range map[string]struct {
		reason     string
		conditions []metav1.Condition
		want       bool
	}{
		"an issuer that nobody looked at":  {reason: "its orders wait for it"},
		"an issuer that is not Ready":      {reason: "its orders wait for it", conditions: []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, ObservedGeneration: 3}}},
		"an issuer that was Ready before":  {reason: "its orders wait until what changed was looked at", conditions: []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, ObservedGeneration: 2}}},
		"an issuer that is Ready as it is": {reason: "orders are placed with it meanwhile", conditions: []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, ObservedGeneration: 3}}, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			i, v := theIssuer("RapidSSL"), &vendor{}
			i.Status.Conditions = tt.conditions
			if _, err := check(t.Context(), func(context.Context, v1alpha1.Issuer) (Vendor, error) { return v, nil }, i); err != nil {
				t.Fatal(err)
			}
			if v.patient != tt.want {
				t.Errorf("orders go first: %t, want %t: %s", v.patient, tt.want, tt.reason)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	dv := []regfish.Product{
		{SKU: "SecureSite", Name: "Secure Site", Type: "OV", OrganizationRequired: true},
		{SKU: "RapidSSL", Name: "Rapid\x00 SSL", Type: "DV"},
		{SKU: "GeoTrust", ValidationLevel: "Dv", Type: "other"},
	}
	rapid := &v1alpha1.Product{SKU: "RapidSSL", Name: "Rapid SSL", ValidationLevel: "dv"}
	for name, tt := range map[string]struct {
		reason  string
		sku     string
		vendor  vendor
		connect error
		product *v1alpha1.Product
		problem string // reason of Ready; empty: none
		says    string
		fails   bool
	}{
		"a product of the catalogue": {
			reason: "it can be bought", sku: "RapidSSL", vendor: vendor{products: dv}, product: rapid,
		},
		"a product in another case": {
			reason: "the catalogue's own spelling is ordered", sku: "rapidSSL", vendor: vendor{products: dv}, product: rapid,
		},
		"a product whose level stands apart from its type": {
			reason: "the level says what is checked", sku: "GeoTrust", vendor: vendor{products: dv}, product: &v1alpha1.Product{SKU: "GeoTrust", ValidationLevel: "dv"},
		},
		"a product that is not in the catalogue": {
			reason: "its owner is told what there is", sku: "Rapid", vendor: vendor{products: dv},
			problem: v1alpha1.ReasonProductUnknown, says: `spec.sku "Rapid" is not in the catalogue of this account; it has: GeoTrust, RapidSSL, SecureSite.`,
		},
		"an empty catalogue": {
			reason: "nothing can be bought", sku: "RapidSSL", problem: v1alpha1.ReasonProductUnknown,
		},
		"a key that is not known, for the catalogue": {
			reason: "its owner has to put in another one", sku: "RapidSSL", vendor: vendor{noProducts: vendorSays(regfish.KindUnauthorized, 401)},
			problem: v1alpha1.ReasonKeyRejected, says: `Secret "regfish-api"`,
		},
		"a key that is not known, for the list": {
			reason: "its owner has to put in another one", sku: "RapidSSL", vendor: vendor{products: dv, noList: vendorSays(regfish.KindUnauthorized, 401)},
			problem: v1alpha1.ReasonKeyRejected,
		},
		"a key that may not read the catalogue": {
			reason: "its owner has to give it a role", sku: "RapidSSL", vendor: vendor{noProducts: vendorSays(regfish.KindForbidden, 403)},
			problem: v1alpha1.ReasonKeyForbidden, says: "read the product catalogue",
		},
		"a key that may not list": {
			reason: "without the list an order that was lost could never be found", sku: "RapidSSL", vendor: vendor{products: dv, noList: vendorSays(regfish.KindForbidden, 403)},
			problem: v1alpha1.ReasonKeyForbidden, says: "list certificates",
		},
		"a vendor that does not answer": {
			reason: "it is tried again", sku: "RapidSSL", vendor: vendor{noProducts: vendorSays(regfish.KindTransport, 0)},
			problem: v1alpha1.ReasonEndpointUnreachable, says: "spec.url https://api.regfish.com could not be asked",
		},
		"a list that breaks off": {
			reason: "it is tried again", sku: "RapidSSL", vendor: vendor{products: dv, noList: vendorSays(regfish.KindUnavailable, 503)},
			problem: v1alpha1.ReasonEndpointUnreachable,
		},
		"a web page for an answer": {
			reason: "it makes no sense", sku: "RapidSSL", vendor: vendor{noProducts: vendorSays(regfish.KindUnreadable, 200)},
			problem: v1alpha1.ReasonEndpointUnreachable,
		},
		"a Secret that is missing": {
			reason: "whoever connects says why", sku: "RapidSSL", connect: &credentials.Problem{Reason: v1alpha1.ReasonSecretNotFound, Message: "no Secret."},
			problem: v1alpha1.ReasonSecretNotFound, says: "no Secret.",
		},
		"an API server that does not answer": {
			reason: "it says nothing about the issuer", sku: "RapidSSL", connect: errors.New("the API server does not answer"), fails: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := tt.vendor
			f, err := check(t.Context(), func(context.Context, v1alpha1.Issuer) (Vendor, error) {
				if tt.connect != nil {
					return nil, tt.connect
				}
				return &v, nil
			}, theIssuer(tt.sku))
			if (err != nil) != tt.fails {
				t.Fatalf("%s: error %v", tt.reason, err)
			}
			if diff := cmp.Diff(tt.product, f.Product); diff != "" {
				t.Errorf("%s: product (-want +got):\n%s", tt.reason, diff)
			}
			got, says := "", ""
			if f.Problem != nil {
				got, says = f.Problem.Reason, f.Problem.Message
			}
			if got != tt.problem || !strings.Contains(says, tt.says) {
				t.Errorf("%s: problem %q (%s), want %q (%s)", tt.reason, got, says, tt.problem, tt.says)
			}
		})
	}
}

// An issuer of products that are ordered for an organization, or of a product for
// wildcards, is checked for both before an order can be refused for them.
func TestCheckOfOrganizationsAndWildcards(t *testing.T) {
	catalogue := []regfish.Product{
		{SKU: "RapidSSL", Type: "dv"}, {SKU: "RapidSSLWildcard", Type: "dv"},
		{SKU: "SecureSite", Type: "OV", OrganizationRequired: true}, {SKU: "TrueBusinessID", ValidationLevel: "ov"},
		{SKU: "Incomplete"},
	}
	account := []regfish.Organization{
		{ID: "hdl_1", Name: "Example GmbH", Status: "ready", UsableForOrdering: true}, {ID: "hdl_2", Name: "New GmbH", Status: "in review\x1b"},
		{ID: "hdl_3", Name: "Other\nGmbH", Status: "validated", UsableForOrdering: true},
	}
	for name, tt := range map[string]struct {
		reason  string
		spec    v1alpha1.IssuerSpec
		status  v1alpha1.IssuerStatus
		vendor  vendor
		problem string
		says    []string
		product *v1alpha1.Product
	}{
		"an organization that can be used": {
			reason: "it can be bought", spec: v1alpha1.IssuerSpec{SKU: "SecureSite", OrganizationID: "hdl_1"}, vendor: vendor{organizations: account},
		},
		"no organization where one is required": {
			reason: "its owner has to choose one of those that can be used", spec: v1alpha1.IssuerSpec{SKU: "securesite"}, vendor: vendor{organizations: account},
			problem: v1alpha1.ReasonOrganizationRequired,
			says:    []string{"spec.sku SecureSite can only be ordered for an organization, and spec.organizationID names none", "hdl_1 (Example GmbH), hdl_3 (Other GmbH)."},
		},
		"no organization where the catalogue does not require one": {
			reason: "regfish takes the order, and a person completes it there", spec: v1alpha1.IssuerSpec{SKU: "TrueBusinessID"}, vendor: vendor{noOrganizations: vendorSays(regfish.KindForbidden, 403)},
		},
		"an organization of another account": {
			reason: "the order would be refused", spec: v1alpha1.IssuerSpec{SKU: "SecureSite", OrganizationID: "hdl_9"}, vendor: vendor{organizations: account},
			problem: v1alpha1.ReasonOrganizationRequired, says: []string{"spec.organizationID hdl_9 is no organization of this account", "hdl_1 (Example GmbH)"},
		},
		"an organization of another account, for a product that takes one": {
			reason: "it would be sent all the same", spec: v1alpha1.IssuerSpec{SKU: "TrueBusinessID", OrganizationID: "hdl_9"}, vendor: vendor{organizations: account},
			problem: v1alpha1.ReasonOrganizationRequired, says: []string{"hdl_9"},
		},
		"an organization that cannot be used yet": {
			reason: "a person has to complete it", spec: v1alpha1.IssuerSpec{SKU: "SecureSite", OrganizationID: "hdl_2"}, vendor: vendor{organizations: account},
			problem: v1alpha1.ReasonOrganizationRequired, says: []string{`does not accept orders for the organization hdl_2`, `its status is "in review"`, "hdl_1"},
		},
		"an account without organizations": {
			reason: "one has to be created at regfish first", spec: v1alpha1.IssuerSpec{SKU: "SecureSite"},
			problem: v1alpha1.ReasonOrganizationRequired, says: []string{"The account has no organization that can be ordered for; create one in the regfish console"},
		},
		"an organization for a domain-validated product": {
			reason: "it is not sent, so it is not looked for", spec: v1alpha1.IssuerSpec{SKU: "RapidSSL", OrganizationID: "hdl_9"}, vendor: vendor{noOrganizations: vendorSays(regfish.KindForbidden, 403)},
		},
		"a key that may not list organizations": {
			reason: "its owner has to give it a role", spec: v1alpha1.IssuerSpec{SKU: "SecureSite", OrganizationID: "hdl_1"}, vendor: vendor{noOrganizations: vendorSays(regfish.KindForbidden, 403)},
			problem: v1alpha1.ReasonKeyForbidden, says: []string{"list organizations"},
		},
		"organizations that cannot be listed": {
			reason: "it is tried again", spec: v1alpha1.IssuerSpec{SKU: "SecureSite", OrganizationID: "hdl_1"}, vendor: vendor{noOrganizations: vendorSays(regfish.KindUnavailable, 502)},
			problem: v1alpha1.ReasonEndpointUnreachable,
		},
		"a product for wildcards": {
			reason: "both can be bought", spec: v1alpha1.IssuerSpec{SKU: "RapidSSL", WildcardSKU: "rapidsslWILDCARD"},
		},
		"a product for wildcards that is not in the catalogue": {
			reason: "a wildcard would be refused", spec: v1alpha1.IssuerSpec{SKU: "RapidSSL", WildcardSKU: "RapidWildcard"},
			problem: v1alpha1.ReasonProductUnknown, says: []string{`spec.wildcardSKU "RapidWildcard" is not in the catalogue`, "RapidSSLWildcard"},
		},
		"a product for wildcards that needs an organization": {
			reason: "a wildcard would be refused", spec: v1alpha1.IssuerSpec{SKU: "RapidSSL", WildcardSKU: "SecureSite"}, vendor: vendor{organizations: account},
			problem: v1alpha1.ReasonOrganizationRequired, says: []string{"spec.wildcardSKU SecureSite can only be ordered for an organization"},
		},
		"an entry that lost its level": {
			reason: "what is bought must not change with an answer that is incomplete", spec: v1alpha1.IssuerSpec{SKU: "Incomplete"},
			status:  v1alpha1.IssuerStatus{Product: &v1alpha1.Product{SKU: "Incomplete", ValidationLevel: "ov", OrganizationRequired: true}},
			vendor:  vendor{organizations: account},
			problem: v1alpha1.ReasonOrganizationRequired, product: &v1alpha1.Product{SKU: "Incomplete", ValidationLevel: "ov", OrganizationRequired: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := tt.vendor
			v.products = catalogue
			issuer := theIssuer("")
			tt.spec.URL, tt.spec.APIKeySecretRef = issuer.Spec.URL, issuer.Spec.APIKeySecretRef
			issuer.Spec, issuer.Status = tt.spec, tt.status
			f, err := check(t.Context(), func(context.Context, v1alpha1.Issuer) (Vendor, error) { return &v, nil }, issuer)
			if err != nil {
				t.Fatal(err)
			}
			got, says := "", ""
			if f.Problem != nil {
				got, says = f.Problem.Reason, f.Problem.Message
			}
			if got != tt.problem {
				t.Errorf("%s: problem %q (%s), want %q", tt.reason, got, says, tt.problem)
			}
			for _, words := range tt.says {
				if !strings.Contains(says, words) {
					t.Errorf("%s: %q does not say %q", tt.reason, says, words)
				}
			}
			if tt.product != nil && !cmp.Equal(tt.product, f.Product) {
				t.Errorf("%s: product %+v", tt.reason, f.Product)
			}
			if tt.problem == "" && tt.spec.WildcardSKU != "" && (f.Wildcard == nil || f.Wildcard.SKU != "RapidSSLWildcard") {
				t.Errorf("%s: product for wildcards %+v", tt.reason, f.Wildcard)
			}
		})
	}
}

func TestOrganizationsAreListedInBounds(t *testing.T) {
	var account []regfish.Organization
	for i := range 500 {
		account = append(account, regfish.Organization{ID: fmt.Sprintf("hdl_%03d", i), Name: strings.Repeat("ö\x1b", 10<<10), UsableForOrdering: true})
	}
	problem, err := organization(t.Context(), &vendor{organizations: account}, theIssuer("SecureSite"), Findings{Product: &v1alpha1.Product{SKU: "SecureSite", OrganizationRequired: true}})
	if err != nil || problem == nil || len(problem.Message) > 1024 || strings.ContainsFunc(problem.Message, func(r rune) bool { return r < ' ' }) ||
		!strings.Contains(problem.Message, "hdl_009") || strings.Contains(problem.Message, "hdl_010") || !strings.Contains(problem.Message, "...") {
		t.Errorf("%+v", problem)
	}
}

func TestProductListsTheCatalogueInBounds(t *testing.T) {
	var catalogue []regfish.Product
	for i := range 500 {
		catalogue = append(catalogue, regfish.Product{SKU: fmt.Sprintf("SKU%03d\x1b[31m%s", 499-i, strings.Repeat("x", 10<<10))})
	}
	_, problem := product("spec.sku", "RapidSSL", nil, catalogue)
	message := problem.Message
	if len(message) > 1024 || strings.ContainsFunc(message, func(r rune) bool { return r < ' ' }) || !strings.Contains(message, "SKU000") || strings.Contains(message, "SKU010") || !strings.Contains(message, "...") {
		t.Errorf("%d bytes: %.200q", len(message), message)
	}
}

func TestStatus(t *testing.T) {
	product := &v1alpha1.Product{SKU: "RapidSSL"}
	good := Findings{Product: product}
	bad := Findings{Problem: &credentials.Problem{Reason: v1alpha1.ReasonKeyRejected, Message: "bad key."}}
	theirs := v1alpha1.Ledger{Namespace: "regfish-issuer", NamespaceUID: "other"}
	for name, tt := range map[string]struct {
		reason  string
		before  v1alpha1.IssuerStatus
		f       Findings
		ready   string
		says    string
		ledger  v1alpha1.Ledger
		product *v1alpha1.Product
	}{
		"the first look at a good one": {
			reason: "it is bound to the ledger and can be used", f: good, ready: "True/Checked", says: "offers RapidSSL", ledger: ours, product: product,
		},
		"the first look at a bad one": {
			reason: "its owner is told what to mend", f: bad, ready: "False/KeyRejected", says: "bad key.", ledger: ours,
		},
		"a good one of another ledger": {
			reason: "two installations would buy everything twice", before: v1alpha1.IssuerStatus{Ledger: &theirs}, f: good,
			ready: "False/LedgerElsewhere", says: "namespace regfish-issuer (uid other)", ledger: theirs, product: product,
		},
		"a bad one of another ledger": {
			reason: "that it is another's comes first", before: v1alpha1.IssuerStatus{Ledger: &theirs}, f: bad,
			ready: "False/LedgerElsewhere", ledger: theirs,
		},
		"one that was good and is not any more": {
			reason: "what it buys is still known", before: v1alpha1.IssuerStatus{Ledger: &ours, Product: product}, f: bad,
			ready: "False/KeyRejected", ledger: ours, product: product,
		},
		"one whose product changed and that cannot be looked at": {
			reason: "the old product is not what would be bought", before: v1alpha1.IssuerStatus{Ledger: &ours, Product: &v1alpha1.Product{SKU: "SecureSite"}}, f: bad,
			ready: "False/KeyRejected", ledger: ours,
		},
		"one that is good again": {
			reason: "the condition turns", ready: "True/Checked", ledger: ours, product: product, f: good,
			before: v1alpha1.IssuerStatus{Ledger: &ours, Conditions: []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonKeyRejected}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			issuer := theIssuer("rapidssl")
			issuer.Status = tt.before
			before := issuer.DeepCopy()
			s := status(issuer, tt.f, ours, nil, 0, noon)
			c := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionReady)
			if c == nil || string(c.Status)+"/"+c.Reason != tt.ready || !strings.Contains(c.Message, tt.says) || c.ObservedGeneration != 3 {
				t.Errorf("%s: Ready is %+v, want %s", tt.reason, c, tt.ready)
			}
			if diff := cmp.Diff(&tt.ledger, s.Ledger); diff != "" {
				t.Errorf("%s: ledger (-want +got):\n%s", tt.reason, diff)
			}
			if diff := cmp.Diff(tt.product, s.Product); diff != "" {
				t.Errorf("%s: product (-want +got):\n%s", tt.reason, diff)
			}
			if diff := cmp.Diff(before, issuer); diff != "" {
				t.Errorf("the issuer was changed:\n%s", diff)
			}
			issuer.Status = s
			if diff := cmp.Diff(s, status(issuer, tt.f, ours, nil, 0, noon)); diff != "" {
				t.Errorf("the same look changes the status:\n%s", diff)
			}
		})
	}
}

// The vendor's words in Ready are bounded.
func TestStatusBoundsTheMessage(t *testing.T) {
	f := Findings{Problem: &credentials.Problem{Reason: v1alpha1.ReasonEndpointUnreachable, Message: "said:\x00\n" + strings.Repeat("ä", 10<<10)}}
	message := status(theIssuer("RapidSSL"), f, ours, nil, 0, noon).Conditions[0].Message
	if len(message) > 1024 || !strings.HasPrefix(message, "said: ä") {
		t.Errorf("%d bytes: %.40q", len(message), message)
	}
}

// An issuer that was made again finds in the ledger what it used of its limit,
// before it is Ready.
func TestStatusRebuildsTheUseOfTheLimit(t *testing.T) {
	issuer := theIssuer("RapidSSL")
	limit := int32(2)
	issuer.Spec.PurchaseLimit.Count = &limit
	made := make([]v1alpha1.RegfishPurchase, 3)
	for i := range made {
		made[i].Spec.IssuerRef = issuer.Ref()
		made[i].Spec.Beneficiary.Namespace = "shop"
		made[i].Spec.Attempts = []v1alpha1.Attempt{{Number: 1, Time: metav1.NewMicroTime(noon.Add(-time.Duration(i) * time.Minute))}}
	}
	s := status(issuer, Findings{Product: &v1alpha1.Product{SKU: "RapidSSL"}}, ours, made, 60, noon)
	if s.Purchases == nil || s.Purchases.Count != 3 || s.Purchases.NextSlotTime == nil || s.Purchases.Queued != 60 {
		t.Errorf("purchases %+v", s.Purchases)
	}
	if message := s.Conditions[0].Message; !strings.Contains(message, "offers RapidSSL. 60 orders wait for the purchase limit (2 in 24h0m0s)") {
		t.Errorf("an issuer whose queue is longer than a window says %q", message)
	}
}

func TestAgain(t *testing.T) {
	for ready, most := range map[metav1.ConditionStatus]time.Duration{metav1.ConditionTrue: 10 * time.Minute, metav1.ConditionFalse: time.Minute, metav1.ConditionUnknown: time.Minute} {
		issuer := theIssuer("RapidSSL")
		issuer.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: ready}}
		for i := range 100 {
			issuer.Name = fmt.Sprintf("issuer-%d", i)
			if got := again(issuer); got > most || got < most-most/5 {
				t.Fatalf("while Ready is %s the next look is %s off, want at most %s and a fifth less", ready, got, most)
			}
		}
	}
}
