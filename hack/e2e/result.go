// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// result is what e2e.json has.
type result struct {
	Date       string       `json:"date"`
	Version    string       `json:"version"`
	Kubernetes string       `json:"kubernetes"`
	Nodes      []string     `json:"nodes"`
	Passed     bool         `json:"passed"`
	Seconds    float64      `json:"seconds"`
	Billed     int          `json:"billed"`     // orders that the vendor bills
	Duplicates int          `json:"duplicates"` // of them, for a key that was bought for before
	Lost       int          `json:"lost"`       // of them, not in the ledger
	Steps      []stepResult `json:"steps"`

	began time.Time
}

type stepResult struct {
	Title   string   `json:"title"`
	Seconds float64  `json:"seconds"`
	Seen    []string `json:"seen"`
	Failed  string   `json:"failed,omitempty"`
}

// describe notes what the run is made with.
func (r *ring) describe(ctx context.Context) error {
	r.result.began = time.Now()
	r.result.Date, r.result.Version = r.result.began.UTC().Format(time.DateOnly), r.version
	version, err := r.clients.Discovery().ServerVersion()
	if err != nil {
		return fmt.Errorf("reach the cluster: %w", err)
	}
	r.result.Kubernetes = version.GitVersion
	if err := r.alone(ctx); err != nil {
		return err
	}
	nodes, err := r.clients.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	for _, n := range nodes.Items {
		i := n.Status.NodeInfo
		r.result.Nodes = append(r.result.Nodes, fmt.Sprintf("%s: kubelet %s, %s, %s, Linux %s", n.Name, i.KubeletVersion, i.ContainerRuntimeVersion, i.OSImage, i.KernelVersion))
	}
	r.print("regfish-issuer %s on Kubernetes %s, %s\n", r.version, r.result.Kubernetes, strings.Join(r.result.Nodes, "; "))
	return nil
}

// write writes the results, as data and as a page.
func (r *ring) write(failure error) error {
	r.result.Passed = failure == nil
	r.result.Seconds = time.Since(r.result.began).Seconds()
	data, err := json.MarshalIndent(r.result, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the results: %w", err)
	}
	if err := os.WriteFile(filepath.Join(r.out, "e2e.json"), append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the results: %w", err)
	}
	if err := os.WriteFile(filepath.Join(r.out, "e2e.md"), []byte(r.result.page()), 0o644); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	r.print("\n%s in %.0f s: the vendor bills %d orders; bought twice %d, lost %d. %s and e2e.md have it all.\n",
		map[bool]string{true: "passed", false: "FAILED"}[r.result.Passed], r.result.Seconds, r.result.Billed, r.result.Duplicates, r.result.Lost, filepath.Join(r.out, "e2e.json"))
	return nil
}

// page is the run as people read it.
func (r result) page() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# End to end on a real node, %s\n\n", r.Date)
	fmt.Fprintf(&b, "What `make e2e` printed, as it wrote it. The release is the packaged chart with images\nbuilt from %s, on Kubernetes %s.\n\n", r.Version, r.Kubernetes)
	for _, n := range r.Nodes {
		fmt.Fprintf(&b, "- %s\n", n)
	}
	fmt.Fprintf(&b, "\nThe vendor's ledger: %d orders billed, %d bought twice, %d lost. The run took %.0f seconds and\n%s.\n", r.Billed, r.Duplicates, r.Lost, r.Seconds, map[bool]string{true: "passed", false: "failed"}[r.Passed])
	for i, s := range r.Steps {
		fmt.Fprintf(&b, "\n## %d. %s\n\n%.0f seconds.\n\n", i+1, s.Title, s.Seconds)
		for _, line := range s.Seen {
			fmt.Fprintf(&b, "- %s\n", line)
		}
		if s.Failed != "" {
			fmt.Fprintf(&b, "- **Failed**: %s\n", s.Failed)
		}
	}
	return b.String()
}
