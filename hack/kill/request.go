// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"

	apiutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
)

// request is a CertificateRequest, as cert-manager would make it, approved.
type request struct {
	name, host string
	key        *ecdsa.PrivateKey
	csr        []byte
}

// newRequest makes the request of that number for a host. It is not in the cluster yet.
func newRequest(number int, host string) (*request, error) {
	q := &request{name: fmt.Sprintf("r%d", number), host: host}
	var err error
	if q.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{host}}, q.key)
	if err != nil {
		return nil, fmt.Errorf("make a signing request: %w", err)
	}
	q.csr = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	return q, nil
}

// create creates and approves the request.
func (r *ring) create(ctx context.Context, q *request) error {
	cr := &cmapi.CertificateRequest{
		ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: q.name},
		Spec: cmapi.CertificateRequestSpec{
			Request: q.csr, IssuerRef: cmmeta.IssuerReference{Group: v1alpha1.Group, Kind: v1alpha1.KindClusterIssuer, Name: issuer},
		},
	}
	if err := r.client.Create(ctx, cr); err != nil {
		return fmt.Errorf("create request %s: %w", q.name, err)
	}
	before := cr.DeepCopy()
	apiutil.SetCertificateRequestCondition(cr, cmapi.CertificateRequestConditionApproved, cmmeta.ConditionTrue, "ApprovedByRing", "The ring approved.")
	if err := r.client.Status().Patch(ctx, cr, client.MergeFrom(before)); err != nil {
		return fmt.Errorf("approve request %s: %w", q.name, err)
	}
	return nil
}

// again deletes a request and creates it again with the same key, as cert-manager does
// when somebody deletes it.
func (r *ring) again(ctx context.Context, q *request) error {
	cr := &cmapi.CertificateRequest{ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: q.name}}
	if err := r.client.Delete(ctx, cr); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete request %s: %w", q.name, err)
	}
	return r.create(ctx, q)
}
