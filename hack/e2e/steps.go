// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	apiutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
	"github.com/regfish/regfish-issuer/internal/testenv"
)

// slow is how long regfish takes to answer an order that a replica is stopped in the
// middle of.
const slow = 20 * time.Second

func (r *ring) steps() []step {
	return []step{
		{"cert-manager", r.startCertManager},
		{"The vendor, in a pod", r.startSimulator},
		{"helm install", r.install},
		{"Issuers", r.issuers},
		{"Domain-validated certificates, of both kinds of issuer", r.domainValidated},
		{"An organization-validated certificate, which a person completes", r.organizationValidated},
		{"Metrics, with authorization and without", r.metrics},
		{"The leader's pod is deleted while it sends an order", r.podDeleted},
		{"The leader's process is killed while it sends an order", r.processKilled},
		{"helm upgrade with an order being sent and one being validated", r.upgrade},
		{"The API key is nowhere", r.noKey},
		{"helm uninstall, and the ledger stays", r.uninstall},
	}
}

func (r *ring) create(ctx context.Context, objects ...client.Object) error {
	for _, o := range objects {
		if err := r.client.Create(ctx, o); err != nil {
			return fmt.Errorf("create %T %s: %w", o, o.GetName(), err)
		}
	}
	return nil
}

// The issuers, by name.
const (
	dv = "e2e-dv" // a RegfishIssuer and a RegfishClusterIssuer
	ov = "e2e-ov"
)

func (r *ring) issuers(ctx context.Context) error {
	ca, err := r.get(ctx, "ca.pem")
	if err != nil {
		return err
	}
	spec := v1alpha1.IssuerSpec{APIKeySecretRef: v1alpha1.SecretKeyReference{Name: "regfish-api"}, URL: r.url, CABundle: ca, SKU: "RapidSSL"}
	own := &v1alpha1.RegfishIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: dv}, Spec: spec}
	all := &v1alpha1.RegfishClusterIssuer{ObjectMeta: metav1.ObjectMeta{Name: dv}, Spec: spec}
	spec.SKU, spec.OrganizationID = "SecureSite", simulator.OrganizationIncomplete
	organization := &v1alpha1.RegfishClusterIssuer{ObjectMeta: metav1.ObjectMeta{Name: ov}, Spec: spec}
	r.atEnd(func(ctx context.Context) error {
		return errors.Join(client.IgnoreNotFound(r.client.Delete(ctx, all)), client.IgnoreNotFound(r.client.Delete(ctx, organization)))
	})
	if err := r.create(ctx, testenv.APIKeySecret(release, "regfish-api", apiKey), testenv.APIKeySecret(tenant, "regfish-api", apiKey), own, all, organization); err != nil {
		return err
	}
	for _, i := range []v1alpha1.Issuer{own, all, organization} {
		err := r.until(ctx, i.Ref().String()+" is Ready", func() error {
			if err := r.client.Get(ctx, client.ObjectKeyFromObject(i), i); err != nil {
				return err
			}
			if !meta.IsStatusConditionTrue(i.GetStatus().Conditions, v1alpha1.ConditionReady) {
				return fmt.Errorf("its conditions are %+v", i.GetStatus().Conditions)
			}
			return nil
		})
		if err != nil {
			return err
		}
		r.say("%s is Ready, for %s", i.Ref(), i.GetSpec().SKU)
	}
	r.startDNS(ctx)
	return nil
}

// certificate makes a Certificate.
func (r *ring) certificate(ctx context.Context, name, kind, issuer string) (*cmapi.Certificate, error) {
	c := testenv.Certificate(tenant, name, testenv.WithIssuer(kind, issuer), testenv.WithDNSNames(name+".example.com"))
	return c, r.create(ctx, c)
}

// ready waits until cert-manager has written the certificate into its Secret.
func (r *ring) ready(ctx context.Context, c *cmapi.Certificate) error {
	began := time.Now()
	err := r.until(ctx, "Certificate "+c.Name+" is Ready", func() error {
		if err := r.client.Get(ctx, client.ObjectKeyFromObject(c), c); err != nil {
			return err
		}
		if !apiutil.CertificateHasCondition(c, cmapi.CertificateCondition{Type: cmapi.CertificateConditionReady, Status: cmmeta.ConditionTrue}) {
			return fmt.Errorf("its conditions are %+v", c.Status.Conditions)
		}
		return nil
	})
	if err != nil {
		return err
	}
	var secret corev1.Secret
	if err := r.client.Get(ctx, client.ObjectKey{Namespace: tenant, Name: c.Spec.SecretName}, &secret); err != nil {
		return fmt.Errorf("cert-manager wrote no Secret: %w", err)
	}
	r.say("Certificate %s is Ready after %.0f s, and its Secret has a certificate until %s", c.Name, time.Since(began).Seconds(), c.Status.NotAfter.UTC().Format(time.DateOnly))
	return nil
}

func (r *ring) domainValidated(ctx context.Context) error {
	for _, kind := range []string{v1alpha1.KindIssuer, v1alpha1.KindClusterIssuer} {
		c, err := r.certificate(ctx, strings.ToLower(kind), kind, dv)
		if err != nil {
			return err
		}
		if err := r.ready(ctx, c); err != nil {
			return err
		}
	}
	return r.bought(ctx, 2)
}

// order waits until the order is in the state.
func (r *ring) order(ctx context.Context, name string, state v1alpha1.State) (*v1alpha1.RegfishOrder, error) {
	o := &v1alpha1.RegfishOrder{}
	err := r.until(ctx, fmt.Sprintf("order %s is %s", name, state), func() error {
		if err := r.client.Get(ctx, client.ObjectKey{Namespace: tenant, Name: name}, o); err != nil {
			return err
		}
		if o.Status.State != state {
			return fmt.Errorf("it is %s: %s", o.Status.State, o.Status.Message)
		}
		return nil
	})
	return o, err
}

func (r *ring) organizationValidated(ctx context.Context) error {
	c, err := r.certificate(ctx, "company", v1alpha1.KindClusterIssuer, ov)
	if err != nil {
		return err
	}
	o, err := r.order(ctx, "company-1", v1alpha1.StateActionRequired)
	if err != nil {
		return err
	}
	r.say("the order waits for a person: %s", o.Status.Message)
	if err := r.tell(ctx, "certificates/"+o.Status.PurchaseRef.CertificateID+"/complete", struct{}{}); err != nil {
		return err
	}
	if err := r.ready(ctx, c); err != nil {
		return err
	}
	return r.bought(ctx, 3)
}

// sending makes a Certificate and returns once its order has reached the vendor, who has
// made it and takes a while to answer.
func (r *ring) sending(ctx context.Context, name string) (*cmapi.Certificate, error) {
	before, err := r.sold(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.tell(ctx, "faults", simulator.Fault{Endpoint: simulator.EndpointOrder, Kind: simulator.FaultSlow, AfterCommit: true, Delay: slow}); err != nil {
		return nil, err
	}
	c, err := r.certificate(ctx, name, v1alpha1.KindClusterIssuer, dv)
	if err != nil {
		return nil, err
	}
	return c, r.until(ctx, "the order is sent", func() error {
		now, err := r.sold(ctx)
		if err == nil && len(now) == len(before) {
			return errors.New("it is not there yet")
		}
		return err
	})
}

// outcome tells how the ledger records the order of a Certificate.
func (r *ring) outcome(ctx context.Context, certificate string) error {
	var ledger v1alpha1.RegfishPurchaseList
	if err := r.client.List(ctx, &ledger, client.InNamespace(release)); err != nil {
		return fmt.Errorf("read the ledger: %w", err)
	}
	for _, p := range ledger.Items {
		if p.Spec.Beneficiary.CertificateName != certificate {
			continue
		}
		for _, a := range p.Spec.Attempts {
			text := fmt.Sprintf("purchase %s, attempt %d of pod %s", p.Name, a.Number, a.Writer.PodName)
			if a.Outcome != nil {
				text += fmt.Sprintf(": %s", a.Outcome.Result)
			}
			if a.Resolution != nil {
				text += fmt.Sprintf(", then %s: %s", a.Resolution.Result, a.Resolution.Message)
			}
			r.say("%s", text)
		}
		return nil
	}
	return fmt.Errorf("the ledger has nothing for %s", certificate)
}

func (r *ring) podDeleted(ctx context.Context) error {
	leader, err := r.leader(ctx)
	if err != nil {
		return err
	}
	c, err := r.sending(ctx, "deleted")
	if err != nil {
		return err
	}
	if err := r.client.Delete(ctx, leader); err != nil {
		return fmt.Errorf("delete the leader's pod: %w", err)
	}
	r.say("pod %s was deleted while regfish took %s to answer the order that it had made", leader.Name, slow)
	if err := r.ready(ctx, c); err != nil {
		return err
	}
	now, err := r.leader(ctx)
	if err != nil {
		return err
	}
	if now.UID == leader.UID {
		return fmt.Errorf("%s still leads", leader.Name)
	}
	r.say("%s leads now", now.Name)
	return errors.Join(r.outcome(ctx, "deleted"), r.bought(ctx, 4))
}

func (r *ring) processKilled(ctx context.Context) error {
	leader, err := r.leader(ctx)
	if err != nil {
		return err
	}
	c, err := r.sending(ctx, "killed")
	if err != nil {
		return err
	}
	pid, err := processOf(leader)
	switch {
	case err != nil:
		return err
	case pid == 0:
		if err := r.client.Delete(ctx, leader, client.GracePeriodSeconds(0)); err != nil {
			return fmt.Errorf("kill the leader: %w", err)
		}
		r.say("the node is another machine, so pod %s was deleted without a grace period", leader.Name)
	default:
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			return fmt.Errorf("kill the leader: %w", err)
		}
		r.say("process %d of pod %s was killed (SIGKILL) while regfish took %s to answer the order that it had made", pid, leader.Name, slow)
	}
	if err := r.ready(ctx, c); err != nil {
		return err
	}
	now, err := r.leader(ctx)
	if err != nil {
		return err
	}
	r.say("%s leads now", now.Name)
	return errors.Join(r.outcome(ctx, "killed"), r.bought(ctx, 5))
}

// processOf finds the process of the controller in the pod; 0 if it runs on another
// machine. The kubelet names control groups by the pod's UID.
func processOf(pod *corev1.Pod) (int, error) {
	groups, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		return 0, fmt.Errorf("find the leader's process: %w", err)
	}
	uid := string(pod.UID)
	for _, path := range groups {
		text, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(text, []byte(uid)) && !bytes.Contains(text, []byte(strings.ReplaceAll(uid, "-", "_"))) {
			continue
		}
		dir := filepath.Dir(path)
		if line, _ := os.ReadFile(filepath.Join(dir, "cmdline")); bytes.HasPrefix(line, []byte("/regfish-issuer\x00")) {
			return strconv.Atoi(filepath.Base(dir))
		}
	}
	return 0, nil
}

func (r *ring) upgrade(ctx context.Context) error {
	r.dns.leaveAlone("validating")
	waiting, err := r.certificate(ctx, "validating", v1alpha1.KindIssuer, dv)
	if err != nil {
		return err
	}
	before, err := r.order(ctx, "validating-1", v1alpha1.StateValidating)
	if err != nil {
		return err
	}
	sent, err := r.sending(ctx, "upgraded")
	if err != nil {
		return err
	}
	old, err := r.pods(ctx)
	if err != nil {
		return err
	}
	if err := r.do(ctx, "upgrade", "--set", "podAnnotations.e2e=upgraded"); err != nil {
		return err
	}
	now, err := r.pods(ctx)
	if err != nil {
		return err
	}
	for _, p := range now {
		for _, q := range old {
			if p.UID == q.UID {
				return fmt.Errorf("pod %s was not replaced", p.Name)
			}
		}
	}
	r.say("helm upgraded the release; %d pods replaced %d, one of them while it sent an order", len(now), len(old))
	r.dns.leaveAlone("")
	if err := errors.Join(r.ready(ctx, waiting), r.ready(ctx, sent)); err != nil {
		return err
	}
	after, err := r.order(ctx, "validating-1", v1alpha1.StateIssued)
	if err != nil {
		return err
	}
	if before.UID != after.UID || before.Status.PurchaseRef.CertificateID != after.Status.PurchaseRef.CertificateID {
		return fmt.Errorf("the order became another one: %+v, then %+v", before.Status, after.Status)
	}
	return errors.Join(r.outcome(ctx, "upgraded"), r.bought(ctx, 7))
}

func (r *ring) uninstall(ctx context.Context) error {
	var pods corev1.PodList
	if err := r.client.List(ctx, &pods, client.InNamespace(vendor)); err != nil {
		return fmt.Errorf("look at the simulator: %w", err)
	}
	for _, p := range pods.Items {
		for _, c := range p.Status.ContainerStatuses {
			if c.RestartCount > 0 {
				return fmt.Errorf("the simulator was restarted, and forgot what it had sold: pod %s", p.Name)
			}
		}
	}
	if _, err := r.run(ctx, nil, r.helm, "uninstall", release, "--namespace", release, "--wait", "--timeout=5m"); err != nil {
		return err
	}
	return r.bought(ctx, 7)
}
