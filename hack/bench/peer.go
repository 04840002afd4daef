// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"time"

	apiutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/regfish/regfish-issuer/internal/testenv"
)

// pcaModule is the module of the issuer for AWS Private CA, the other external issuer that
// this one is compared with: a program of others, with two calls of its vendor for each
// certificate. hack/peers pins it.
const pcaModule = "github.com/cert-manager/aws-privateca-issuer"

const (
	pcaGroup = "awspca.cert-manager.io"
	pcaKind  = "AWSPCAClusterIssuer"
	pcaARN   = "arn:aws:acm-pca:eu-central-1:123456789012:certificate-authority/bench"
)

// pcaFiles are the program, which `make peers` builds, and the folder with its CRDs.
func pcaFiles() (program, crds string, err error) {
	root, err := testenv.Root()
	if err != nil {
		return "", "", err
	}
	program = filepath.Join(root, "bin", "peers", filepath.Base(pcaModule))
	if _, err := os.Stat(program); err != nil {
		return "", "", fmt.Errorf("%w: make peers builds it", err)
	}
	dir, err := testenv.ModuleDir("hack/peers", pcaModule)
	if err != nil {
		return "", "", fmt.Errorf("find the CRDs of the issuer for AWS Private CA: %w: make peers fetches them", err)
	}
	return program, filepath.Join(dir, "config", "crd", "bases"), nil
}

// startPCA starts the issuer for AWS Private CA, makes a cluster issuer for it and waits
// until that is Ready.
func (r *rig) startPCA(ctx context.Context, ca *authority) (*process, error) {
	vendor := httptest.NewServer(&amazon{ca: ca, issued: map[string]string{}})
	r.atEnd(func() error { vendor.Close(); return nil })
	p, err := r.launch(r.pca, filepath.Base(pcaModule), []string{
		"AWS_ENDPOINT_URL=" + vendor.URL, "AWS_ACCESS_KEY_ID=bench", "AWS_SECRET_ACCESS_KEY=bench", "AWS_EC2_METADATA_DISABLED=true",
		"AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null", // Not those of whoever runs the bench.
	},
		"--metrics-bind-address=0", "--health-probe-bind-address=0", "--disable-client-side-rate-limiting")
	if err != nil {
		return nil, err
	}
	i := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": pcaGroup + "/v1beta1", "kind": pcaKind, "metadata": map[string]any{"name": "pca"},
		"spec": map[string]any{"arn": pcaARN, "region": "eu-central-1"},
	}}
	if err := r.client.Create(ctx, i); err != nil {
		return nil, fmt.Errorf("create %s: %w", pcaKind, err)
	}
	return p, await(ctx, "the "+pcaKind+" is Ready", time.Minute, 50*time.Millisecond, func() (bool, error) {
		if !p.alive() {
			return false, fmt.Errorf("%s ended: %s", filepath.Base(pcaModule), p.tail())
		}
		if err := r.client.Get(ctx, client.ObjectKeyFromObject(i), i); err != nil {
			return false, err
		}
		conditions, _, err := unstructured.NestedSlice(i.Object, "status", "conditions")
		for _, c := range conditions {
			if c, ok := c.(map[string]any); ok && c["type"] == "Ready" && c["status"] == "True" {
				return true, nil
			}
		}
		return false, err
	})
}

// amazon stands in for AWS: it answers what the issuer for AWS Private CA calls, at once.
type amazon struct {
	ca     *authority
	mu     sync.Mutex
	issued map[string]string // certificates by ARN
}

func (a *amazon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.PostFormValue("Action") == "GetCallerIdentity" {
		fmt.Fprint(w, `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`)
		return
	}
	var in struct {
		CertificateArn, IdempotencyToken string
		Csr                              []byte
		Validity                         struct{ Value int64 }
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	out, err := map[string]string{}, error(nil)
	switch call := r.Header.Get("X-Amz-Target"); call {
	case "ACMPrivateCA.DescribeCertificateAuthority":
		fmt.Fprint(w, `{"CertificateAuthority":{"CertificateAuthorityConfiguration":{"SigningAlgorithm":"SHA256WITHECDSA"}}}`)
		return
	case "ACMPrivateCA.IssueCertificate":
		out["CertificateArn"] = pcaARN + "/certificate/" + in.IdempotencyToken
		err = a.issue(out["CertificateArn"], in.Csr, time.Unix(in.Validity.Value, 0))
	case "ACMPrivateCA.GetCertificate":
		a.mu.Lock()
		certificate, ok := a.issued[in.CertificateArn]
		a.mu.Unlock()
		if !ok {
			err = fmt.Errorf("there is no certificate %q", in.CertificateArn)
		}
		out["Certificate"], out["CertificateChain"] = certificate, string(encoded(a.ca.cert.Raw))
	default:
		err = fmt.Errorf("there is no call %q", call)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_ = json.NewEncoder(w).Encode(out) // Whoever hung up is not answered.
}

func (a *amazon) issue(arn string, csr []byte, until time.Time) error {
	block, _ := pem.Decode(csr)
	if block == nil {
		return errors.New("there is no signing request")
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, Subject: request.Subject, DNSNames: request.DNSNames,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: until, KeyUsage: x509.KeyUsageDigitalSignature,
	}, a.ca.cert, request.PublicKey, a.ca.key)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.issued[arn] = string(encoded(der))
	return nil
}

// authority is the CA of the issuers that this one is compared with.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func newAuthority() (*authority, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make a CA: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	return &authority{cert, key}, err
}

func encoded(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// certificateAuthority makes a cluster issuer of cert-manager's own with the CA.
func (r *rig) certificateAuthority(ctx context.Context, a *authority) error {
	key, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return fmt.Errorf("encode the CA's key: %w", err)
	}
	const cluster = "cert-manager" // where the Secrets of ClusterIssuers are
	ca := &cmapi.ClusterIssuer{
		ObjectMeta: metav1.ObjectMeta{Name: "ca"},
		Spec:       cmapi.IssuerSpec{IssuerConfig: cmapi.IssuerConfig{CA: &cmapi.CAIssuer{SecretName: "ca"}}},
	}
	for _, o := range []client.Object{ca, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: cluster}}, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: cluster, Name: "ca"}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{
			corev1.TLSCertKey:       encoded(a.cert.Raw),
			corev1.TLSPrivateKeyKey: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
		},
	}} {
		if err := r.client.Create(ctx, o); err != nil {
			return fmt.Errorf("create %T: %w", o, err)
		}
	}
	apiutil.SetIssuerCondition(ca, ca.Generation, cmapi.IssuerConditionReady, cmmeta.ConditionTrue, "SetByBench", "The bench set it.")
	if err := r.client.Status().Update(ctx, ca); err != nil {
		return fmt.Errorf("make the CA ready: %w", err)
	}
	return nil
}
