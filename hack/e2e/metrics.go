// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// metrics scrapes the leader as Prometheus would, as somebody who may not, and as nobody.
func (r *ring) metrics(ctx context.Context) error {
	leader, err := r.leader(ctx)
	if err != nil {
		return err
	}
	address, stop, err := r.forward(ctx, leader.Name, 8443)
	if err != nil {
		return err
	}
	defer stop()
	reader := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: "prometheus"}}
	stranger := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: "stranger"}}
	if err := r.create(ctx, reader, stranger); err != nil {
		return err
	}
	for _, scrape := range []struct {
		who     string
		account *corev1.ServiceAccount
		status  int
	}{
		{"the ServiceAccount that metrics.readers names", reader, http.StatusOK},
		{"another ServiceAccount", stranger, http.StatusForbidden},
		{"nobody", nil, http.StatusUnauthorized},
	} {
		token := ""
		if scrape.account != nil {
			if token, err = r.token(ctx, scrape.account); err != nil {
				return err
			}
		}
		status, body, err := get(ctx, "https://"+address+"/metrics", token)
		if err != nil {
			return fmt.Errorf("scrape as %s: %w", scrape.who, err)
		}
		if served := strings.Contains(body, "controller_runtime_reconcile_total"); status != scrape.status || served != (status == http.StatusOK) {
			return fmt.Errorf("%s got %d, and was to get %d: %.200s", scrape.who, status, scrape.status, body)
		}
		if strings.Contains(body, canary) {
			return fmt.Errorf("the API key is in the metrics")
		}
		r.say("%s gets %d %s", scrape.who, status, http.StatusText(status))
	}
	return nil
}

func (r *ring) token(ctx context.Context, account *corev1.ServiceAccount) (string, error) {
	request := authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(3600))}}
	if err := r.client.SubResource("token").Create(ctx, account, &request); err != nil {
		return "", fmt.Errorf("get a token of %s: %w", account.Name, err)
	}
	return request.Status.Token, nil
}

var forwarded = regexp.MustCompile(`Forwarding from (127\.0\.0\.1:\d+)`)

// forward makes a port of a pod reachable from here.
func (r *ring) forward(ctx context.Context, pod string, port int) (address string, stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, r.kubectl, "port-forward", "-n", release, "pod/"+pod, fmt.Sprintf(":%d", port))
	cmd.Env = append(os.Environ(), "KUBECONFIG="+r.kubeconfig)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		cancel()
		return "", nil, fmt.Errorf("forward a port: %w", err)
	}
	stop = func() {
		cancel()
		_ = cmd.Wait() // It was told to end.
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if match := forwarded.FindStringSubmatch(lines.Text()); match != nil {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return match[1], stop, nil
		}
	}
	stop()
	return "", nil, fmt.Errorf("forward a port: kubectl ended")
}

// get scrapes. Nobody signed the certificate of the endpoint.
func get(ctx context.Context, url, token string) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	c := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	answer, err := c.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(body), err
}
