// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package operator_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/testenv"
)

// costs are the commands of docs/costs.md that were not run yet.
type costs struct {
	w        *world
	commands []string
}

func newCosts(w *world) *costs {
	w.t.Helper()
	text, err := os.ReadFile("../../docs/costs.md")
	if err != nil {
		w.t.Fatal(err)
	}
	c := &costs{w: w}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "kubectl ") {
			c.commands = append(c.commands, strings.TrimSpace(line))
		}
	}
	return c
}

// run runs the command of the page that has the words, with the given ones in the place of
// the page's examples, and returns the lines that it says.
func (c *costs) run(has string, words ...string) []string {
	c.w.t.Helper()
	i := slices.IndexFunc(c.commands, func(line string) bool { return strings.Contains(line, has) })
	if i < 0 {
		c.w.t.Fatalf("the page has no command with %s, or it was run already: %q", has, c.commands)
	}
	command := c.commands[i]
	c.commands = slices.Delete(c.commands, i, i+1)
	for j := 0; j < len(words); j += 2 {
		if !strings.Contains(command, words[j]) {
			c.w.t.Fatalf("%q has no %q", command, words[j])
		}
	}
	words = append(words, "-n regfish-issuer", "-n "+c.w.ledger, "regfishclusterissuer regfish ", "regfishclusterissuer "+c.w.cluster+" ")
	said := strings.TrimSpace(c.w.Kubectl(strings.NewReplacer(words...).Replace(command)))
	c.w.t.Logf("%s\n%s", command, said)
	return strings.Split(said, "\n")
}

// rows fails the test unless each line but the heading begins with one of the words, in
// their order.
func (c *costs) rows(lines []string, begin ...string) {
	c.w.t.Helper()
	var got []string
	for _, line := range lines[1:] {
		got = append(got, strings.Fields(line)[0])
	}
	if !slices.Equal(got, begin) {
		c.w.t.Errorf("rows of %q, want %q", got, begin)
	}
}

// TestCosts runs every command of docs/costs.md on what the controller bought.
func TestCosts(t *testing.T) {
	w := newWorld(t)
	w.StartCertManager(testenv.CertManagerOptions{})
	w.automateDNS()
	w.run()
	bought := func(name, team string) *v1alpha1.RegfishPurchase {
		t.Helper()
		c := testenv.Certificate(w.Namespace, name, testenv.WithIssuer(v1alpha1.KindClusterIssuer, w.cluster), testenv.WithECDSA(), testenv.WithDNSNames(name+".example.com"))
		c.Labels = map[string]string{"team": team}
		w.create(c)
		w.certificateReady(c)
		var found *v1alpha1.RegfishPurchase
		w.eventually("the purchase for "+name+" is Issued", func() error {
			for _, p := range w.purchases() {
				if p.Spec.Beneficiary.CertificateName == name && p.Status.State == v1alpha1.StateIssued {
					found = &p
					return nil
				}
			}
			return fmt.Errorf("ledger %+v", w.purchases())
		})
		return found
	}
	www, api, blog := bought("www", "shop"), bought("api", "shop"), bought("blog", "web")
	// A busy cert-manager now and then makes a request twice, with another key. What was meant
	// for the first was reissued for the second then, or has ended unsent and is in the ledger.
	unsent := func(certificates ...string) []*v1alpha1.RegfishPurchase {
		var found []*v1alpha1.RegfishPurchase
		for _, p := range w.purchases() {
			if slices.Contains(certificates, p.Spec.Beneficiary.CertificateName) && p.Status.State == v1alpha1.StateEnded {
				found = append(found, &p)
			}
		}
		return found
	}
	sorted := func(ps ...*v1alpha1.RegfishPurchase) []string {
		var names []string
		for _, p := range ps {
			names = append(names, p.Name)
		}
		return slices.Sorted(slices.Values(names))
	}
	c := newCosts(w)

	c.rows(c.run("-l team=shop"), sorted(append(unsent("www", "api"), www, api)...)...)

	begin := time.Date(time.Now().UTC().Year(), (time.Now().UTC().Month()-1)/3*3+1, 1, 0, 0, 0, 0, time.UTC)
	quarter := []string{"2026-10-01", begin.Format(time.DateOnly), "2027-01-01", begin.AddDate(0, 3, 0).Format(time.DateOnly)}
	sum := c.run("awk", quarter...)
	if want := "3 " + w.Namespace + " RapidSSL"; !slices.Equal(sum, []string{want}) {
		t.Errorf("in the quarter: %q, want %q", sum, want)
	}

	running := c.run("--field-selector status.state=Issued")
	var names, until []string
	for _, line := range running[1:] {
		words := strings.Fields(line)
		names, until = append(names, words[0]), append(until, words[len(words)-2])
	}
	if slices.Sort(names); !slices.Equal(names, sorted(www, api, blog)) || !slices.IsSorted(until) || !slices.Contains(until, www.Status.ContractNotAfter.UTC().Format(time.RFC3339)) {
		t.Errorf("what is paid for, and until when: %q", running)
	}

	// A lost Secret is a reissue.
	w.reissued("www", www)
	one := c.run("spec.beneficiary.certificateName=www", "namespace=shop", "namespace="+w.Namespace)
	c.rows(one, sorted(append(unsent("www"), www)...)...)
	column := slices.Index(strings.Fields(strings.ReplaceAll(one[0], "CONTRACT UNTIL", "UNTIL")), "REISSUES")
	if column < 0 || !slices.ContainsFunc(one[1:], func(line string) bool {
		row := strings.Fields(line)
		return row[0] == www.Name && row[column] == fmt.Sprint(www.Status.Reissues)
	}) {
		t.Errorf("the reissue is not shown in %q", one)
	}

	why := strings.Join(c.run(".status.plan.reason"), "\n")
	first := v1alpha1.ActionNew
	if blog.Status.Reissues > 0 {
		first = v1alpha1.ActionReissue
	}
	for _, says := range []string{"www-2 Reissue " + www.Spec.CertificateID + " is paid for until", "blog-1 " + first + " "} {
		if !strings.Contains(strings.Join(strings.Fields(why), " "), w.Namespace+" "+says) {
			t.Errorf("no order says %q: %s", says, why)
		}
	}

	c.run(`"count":0`)
	more := testenv.Certificate(w.Namespace, "more", testenv.WithIssuer(v1alpha1.KindClusterIssuer, w.cluster), testenv.WithECDSA(), testenv.WithDNSNames("more.example.com"))
	w.create(more)
	w.order("more-1", "waits", placed(v1alpha1.ReasonPurchasesPaused))
	w.reissued("blog", blog)
	w.bought(3)

	w.edit(func(s *v1alpha1.IssuerSpec) { s.PurchaseLimit.Count = new(int32(50)) })
	w.certificateReady(more)
	c.run("reusePolicy")
	w.loseSecret("api")
	w.eventually("another certificate is bought for api", func() error {
		if n := len(w.vendor.Purchases()); n != 5 {
			return fmt.Errorf("%d were bought", n)
		}
		return nil
	})
	if len(c.commands) > 0 {
		t.Errorf("commands of the page that were not run: %q", c.commands)
	}
}

// loseSecret deletes the Secret of a Certificate, for which cert-manager makes a new key.
func (w *world) loseSecret(name string) {
	w.t.Helper()
	w.remove(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: name + "-tls"}})
}

// reissued loses the Secret of a Certificate and waits until p was reissued for it: once for
// each key that cert-manager makes.
func (w *world) reissued(name string, p *v1alpha1.RegfishPurchase) {
	w.t.Helper()
	before := p.Status.Reissues
	w.loseSecret(name)
	w.eventually("the reissue of "+p.Name+" is shown", func() error {
		if err := w.get(p); err != nil {
			return err
		}
		if p.Status.Reissues <= before || p.Status.State != v1alpha1.StateIssued {
			return fmt.Errorf("%d reissues, %s", p.Status.Reissues, p.Status.State)
		}
		return nil
	})
	w.certificateReady(&cmapi.Certificate{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: name}})
	if err := w.get(p); err != nil {
		w.t.Fatal(err)
	}
	keys := map[string]bool{}
	for _, r := range p.Spec.Reissues {
		if keys[r.KeySHA256] {
			w.t.Errorf("%s was reissued twice for one key: %+v", p.Name, p.Spec.Reissues)
		}
		keys[r.KeySHA256] = true
	}
}
