// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/regfish/regfish-issuer/api/v1alpha1"
	"github.com/regfish/regfish-issuer/internal/regfish"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
)

// vendor is a simulator in a process of its own.
type vendor struct {
	url  string
	ca   []byte
	cmd  *exec.Cmd
	http *http.Client
}

// startVendor starts the simulator and returns when it serves.
func startVendor(program, dir, logs string) (*vendor, error) {
	caFile := filepath.Join(dir, "simulator-ca.pem")
	log, err := os.Create(filepath.Join(logs, "simulator.log"))
	if err != nil {
		return nil, fmt.Errorf("make a log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(program, "--listen=127.0.0.1:0", "--ca-file="+caFile)
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C must not reach it before its turn.
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the simulator: %w", err)
	}
	v := &vendor{cmd: cmd}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err == nil {
		v.url = strings.TrimSpace(line)
		v.ca, err = os.ReadFile(caFile)
	}
	roots := x509.NewCertPool()
	if err == nil && !roots.AppendCertsFromPEM(v.ca) {
		err = errors.New("it wrote no certificate")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the simulator: %w", err), v.stop())
	}
	v.http = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, MaxIdleConnsPerHost: 16}}
	return v, nil
}

func (v *vendor) stop() error {
	_ = v.cmd.Process.Kill() // One that has ended cannot be killed, and the next line waits for it.
	_ = v.cmd.Wait()
	return nil
}

// call calls the simulator; in and out may be nil.
func (v *vendor) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		encoded, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(ctx, method, v.url+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("x-api-key", simulator.DefaultKey)
	resp, err := v.http.Do(req)
	if err != nil {
		return fmt.Errorf("call the simulator: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("call the simulator: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s: %.200s", method, path, resp.Status, answer)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}

// publish puts a validation record into the vendor's DNS.
func (v *vendor) publish(ctx context.Context, r v1alpha1.DNSRecord) error {
	return v.call(ctx, http.MethodPost, "/_simulator/records", map[string]string{"name": r.Name, "type": r.Type, "data": r.Value}, nil)
}

// sold is when each host was ordered. What was ordered twice is an error.
func (v *vendor) sold(ctx context.Context) (map[string]time.Time, error) {
	var purchases []simulator.Purchase
	if err := v.call(ctx, http.MethodGet, "/_simulator/purchases", nil, &purchases); err != nil {
		return nil, err
	}
	times := map[string]time.Time{}
	for _, p := range purchases {
		if _, twice := times[p.Names[0]]; twice {
			return nil, fmt.Errorf("%s was bought twice", p.Names[0])
		}
		times[p.Names[0]] = p.Time
	}
	return times, nil
}

// calls is how often the API was called, and each of its endpoints.
func (v *vendor) calls(ctx context.Context) (map[string]int, int, error) {
	var calls map[string]int
	if err := v.call(ctx, http.MethodGet, "/_simulator/calls", nil, &calls); err != nil {
		return nil, 0, err
	}
	sum := 0
	for _, n := range calls {
		sum += n
	}
	return calls, sum, nil
}

// order orders as the controller does, and returns what the vendor says of the order.
func (v *vendor) order(ctx context.Context, host string, csr []byte, days int) (*regfish.Certificate, error) {
	var answer struct {
		Response regfish.Certificate `json:"response"`
	}
	err := v.call(ctx, http.MethodPost, "/tls/certificate", map[string]any{
		"sku": "RapidSSL", "common_name": host, "dns_names": []string{}, "csr": string(csr), "dcv_method": "dns-cname-token", "validity_days": days,
	}, &answer)
	if err == nil && answer.Response.ID == "" {
		err = fmt.Errorf("the order of %s has no id", host)
	}
	return &answer.Response, err
}
