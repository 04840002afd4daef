// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
)

//go:embed thresholds.json
var thresholds []byte

// Where the figures go, as data and as a page, seen from the module's root.
const (
	out  = "bin/bench.json"
	page = "bin/bench.md"
)

// row is one figure and its bar.
type row struct {
	Name string `json:"name"`
	// Part is the part of the bench that measures it.
	Part string `json:"part"`
	// Kind is simulated or real.
	Kind string `json:"kind"`
	Unit string `json:"unit"`
	// Most and Least are the bar: a larger figure, or a smaller one, misses it.
	Most  *float64 `json:"most,omitempty"`
	Least *float64 `json:"least,omitempty"`
	Value *float64 `json:"value,omitempty"`
}

// misses says how the row misses its bar; empty if it does not.
func (r row) misses() string {
	switch {
	case r.Value == nil:
		return r.Name + " was not measured"
	case r.Most != nil && *r.Value > *r.Most:
		return fmt.Sprintf("%s is %.4g %s, and may be %g at most", r.Name, *r.Value, r.Unit, *r.Most)
	case r.Least != nil && *r.Value < *r.Least:
		return fmt.Sprintf("%s is %.4g %s, and has to be %g at least", r.Name, *r.Value, r.Unit, *r.Least)
	}
	return ""
}

func (r row) String() string {
	value, bar := "not measured", ""
	if r.Value != nil {
		value = fmt.Sprintf("%.4g", *r.Value)
	}
	if r.Most != nil {
		bar = fmt.Sprintf("at most %g", *r.Most)
	}
	if r.Least != nil {
		bar = fmt.Sprintf("at least %g", *r.Least)
	}
	return fmt.Sprintf("%-52s %12s %-6s %-16s %s", r.Name, value, r.Unit, bar, r.Kind)
}

// table is what stands behind a figure.
type table struct {
	Name    string   `json:"name"`
	Columns []string `json:"columns"`
	Rows    [][]any  `json:"rows"`
}

// bench is one run, and what bin/bench.json holds of it.
type bench struct {
	Time    time.Time `json:"time"`
	Version string    `json:"version"`
	// Scale is what all counts were divided by; 1 in a run whose figures count.
	Scale  int     `json:"scale"`
	Rows   []row   `json:"rows"`
	Tables []table `json:"tables"`

	programs programs
	steady   time.Duration
	part     string
}

// parts of the bench, in their order.
var parts = []struct {
	name    string
	measure func(*bench, context.Context) error
}{
	{"simulated", (*bench).simulated},
	{"idle", real((*bench).idle, plane{controllerManager: true})},
	{"burst", real((*bench).burst, plane{controllerManager: true, audited: true})},
	{"throughput", (*bench).throughput},
	{"failover", real((*bench).failover, plane{controllerManager: true})},
	{"scale", real((*bench).tenThousand, plane{audited: true})},
}

// plane is what a rig's control plane has beside etcd and kube-apiserver: a controller
// manager, an audit log, the CRDs of other external issuers.
type plane struct{ controllerManager, audited, peers bool }

// real is a part that has a rig to itself.
func real(measure func(*bench, context.Context, *rig) error, has plane) func(*bench, context.Context) error {
	return func(b *bench, ctx context.Context) error {
		r, err := b.newRig(ctx, has)
		if err != nil {
			return err
		}
		return errors.Join(measure(b, ctx, r), r.end())
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b := &bench{Time: time.Now().UTC()}
	chosen := flag.String("rows", "", "comma-separated `parts` to measure: "+names()+" (default: all)")
	flag.IntVar(&b.Scale, "scale", 1, "`number` by which counts are divided, to try the bench itself")
	flag.DurationVar(&b.steady, "steady", 20*time.Minute, "`time` for which the steady state is watched")
	flag.StringVar(&b.Version, "version", "dev", "`version` of this tree")
	flag.Parse()
	// What the libraries in this process say is not what the controller says.
	ctrl.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	if err := b.run(ctx, *chosen); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func names() string {
	var all []string
	for _, p := range parts {
		all = append(all, p.name)
	}
	return strings.Join(all, ", ")
}

func (b *bench) run(ctx context.Context, chosen string) error {
	var all []row
	if err := json.Unmarshal(thresholds, &all); err != nil {
		return fmt.Errorf("read thresholds.json: %w", err)
	}
	if b.Scale < 1 {
		return errors.New("-scale has to be 1 at least")
	}
	wanted := slices.DeleteFunc(strings.Split(cmp.Or(chosen, strings.ReplaceAll(names(), " ", "")), ","), func(s string) bool { return s == "" })
	for _, name := range wanted {
		if !strings.Contains(","+strings.ReplaceAll(names(), " ", "")+",", ","+name+",") {
			return fmt.Errorf("-rows: there is no %q; there are %s", name, names())
		}
	}
	dir, err := os.MkdirTemp("", "regfish-issuer-bench-")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer os.RemoveAll(dir)
	if b.programs, err = build(ctx, dir); err != nil {
		return err
	}
	var missed []error
	for _, p := range parts {
		if !slices.Contains(wanted, p.name) {
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		began := time.Now()
		fmt.Printf("\n=== %s\n", p.name)
		b.part = p.name
		b.Rows = append(b.Rows, slices.DeleteFunc(slices.Clone(all), func(r row) bool { return r.Part != p.name })...)
		if err := p.measure(b, ctx); err != nil {
			missed = append(missed, fmt.Errorf("%s: %w", p.name, err))
			fmt.Printf("FAIL: %v; what was logged is in bin/bench-logs/%s\n", err, p.name)
		}
		fmt.Printf("=== %s took %.0f s\n", p.name, time.Since(began).Seconds())
		// After each, so that a run that is ended early leaves what it has.
		if err := b.write(); err != nil {
			return err
		}
	}
	fmt.Println()
	for _, r := range b.Rows {
		fmt.Println(r)
		if text := r.misses(); text != "" {
			missed = append(missed, errors.New(text))
		}
	}
	return errors.Join(missed...)
}

func (b *bench) write() error {
	encoded, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the figures: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	return errors.Join(os.WriteFile(out, append(encoded, '\n'), 0o644), os.WriteFile(page, []byte(b.page()), 0o644))
}

// scaled is a count, or what is left of it in a run that tries the bench itself.
func (b *bench) scaled(n int) int { return max(4, n/b.Scale) }

// figure fills in the value of a row of this part. A figure without a bar is one that
// nobody looks at.
func (b *bench) figure(name string, value float64) {
	i := slices.IndexFunc(b.Rows, func(r row) bool { return r.Name == name && r.Part == b.part })
	if i < 0 {
		b.Rows = append(b.Rows, row{Name: name, Part: b.part, Unit: "without a bar in thresholds.json", Most: new(float64)})
		i = len(b.Rows) - 1
	}
	b.Rows[i].Value = &value
	fmt.Println(b.Rows[i])
}

// table shows what stands behind a figure.
func (b *bench) table(name string, columns []string, rows ...[]any) {
	b.Tables = append(b.Tables, table{name, columns, rows})
	fmt.Printf("  %s: %s\n", name, strings.Join(columns, ", "))
	for _, row := range rows {
		fmt.Print("   ")
		for _, cell := range row {
			if n, ok := cell.(float64); ok {
				fmt.Printf(" %10.4g", n)
			} else {
				fmt.Printf(" %-52v", cell)
			}
		}
		fmt.Println()
	}
}

// requests shows what the controller asked the API server for, for each of n certificates.
func (b *bench) requests(name string, all map[asked]int, n int) {
	keys := slices.SortedFunc(maps.Keys(all), func(x, y asked) int {
		return cmp.Or(cmp.Compare(all[y], all[x]), strings.Compare(x.String(), y.String()))
	})
	var rows [][]any
	for _, k := range keys {
		counts := "read"
		if k.write() {
			counts = "write"
		} else if k.Object == "events" || k.Object == "leases" {
			counts = "apart"
		}
		rows = append(rows, []any{k.String(), float64(all[k]) / float64(n), counts})
	}
	b.table(name, []string{"request", "for each", "counts as"}, rows...)
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// simulated runs the tests that tell figures.
func (b *bench) simulated(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "go", "test", "-json", "-count=1", "./internal/poller", "-args", "-days=30")
	cmd.Stderr = os.Stderr
	events, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start go test: %w", err)
	}
	measured, err := told(events)
	if err := errors.Join(err, cmd.Wait()); err != nil {
		return fmt.Errorf("go test: %w", err)
	}
	for _, name := range sorted(measured) {
		b.figure(name, measured[name])
	}
	return nil
}

// told are the figures that the tests told, by name.
func told(events io.Reader) (map[string]float64, error) {
	found := map[string]float64{}
	for d := json.NewDecoder(events); ; {
		var e struct{ Action, Key, Value string }
		if err := d.Decode(&e); errors.Is(err, io.EOF) {
			return found, nil
		} else if err != nil {
			return nil, fmt.Errorf("read what go test says: %w", err)
		}
		name, ok := strings.CutPrefix(e.Key, "bench.")
		if e.Action != "attr" || !ok {
			continue
		}
		value, err := strconv.ParseFloat(e.Value, 64)
		if err != nil {
			return nil, fmt.Errorf("figure %s: %w", name, err)
		}
		// Of several runs the worst counts.
		found[name] = max(found[name], value)
	}
}
