// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the golden files anew; look at what changed before you commit it")

// golden compares text with a file below testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v: run `make chart UPDATE=1`", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("hack/chart/%s (-file +now); if it is meant, run `make chart UPDATE=1`:\n%s", path, diff)
	}
}

// everything sets every value that adds something.
const everything = `
image: {repository: registry.example.com/team/regfish-issuer, digest: "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", pullPolicy: Always}
imagePullSecrets: [{name: registry}]
allowedEndpoints: ["https://api.regfish.com", "https://api.example.com:9443"]
consoleHosts: [console.example.com]
namespaces: [shop, blog]
clusterResourceNamespace: keys
issuerNamespaces: [shop]
secretNames: [regfish-api]
concurrency: 4
log: {format: text, verbosity: 2}
extraArgs: ["--poll-interval=30s"]
extraEnv: [{name: GODEBUG, value: netdns=go}]
issuers:
- {kind: RegfishClusterIssuer, name: regfish, labels: {team: platform}, annotations: {note: ours}, spec: {apiKeySecretRef: {name: regfish-api}, sku: RapidSSL}}
- {kind: RegfishIssuer, name: regfish, namespace: shop, spec: {apiKeySecretRef: {name: regfish-api}, sku: RapidSSL, purchaseLimit: {count: 10}}}
- {kind: RegfishIssuer, name: here, spec: {apiKeySecretRef: {name: regfish-api}, sku: RapidSSL}}
serviceAccount: {annotations: {note: ours}, labels: {team: platform}}
approver: {subjects: [{kind: ServiceAccount, name: cm, namespace: pki}]}
metrics:
  port: 9443
  certificateSecret: metrics-tls
  readers: [{kind: ServiceAccount, name: prometheus, namespace: monitoring}]
  service: {annotations: {note: ours}, labels: {team: platform}}
  serviceMonitor: {enabled: true, interval: 30s, scrapeTimeout: 10s, labels: {prometheus: main}, annotations: {note: ours}}
  podMonitor: {enabled: true, interval: 1m, scrapeTimeout: 10s, labels: {prometheus: main}, annotations: {note: ours}, tlsConfig: {insecureSkipVerify: true}, authorization: {credentials: {name: scrape, key: token}}}
networkPolicy:
  metricsFrom: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]
  apiServerCIDRs: [10.0.0.1/32]
  extraEgress: [{to: [{ipBlock: {cidr: 10.1.0.0/16}}]}]
replicas: 3
resources: {requests: {cpu: 100m, memory: 256Mi}, limits: {memory: 256Mi}}
terminationGracePeriodSeconds: 180
podDisruptionBudget: {maxUnavailable: 50%}
priorityClassName: system-cluster-critical
nodeSelector: {kubernetes.io/os: linux, pool: system}
tolerations: [{key: system, operator: Exists}]
affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/arch, operator: In, values: [amd64, arm64]}]}]}}}
topologySpreadConstraints: [{maxSkew: 1, topologyKey: topology.kubernetes.io/zone, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app.kubernetes.io/name: regfish-issuer}}}]
volumes: [{name: roots, configMap: {name: roots}}]
volumeMounts: [{name: roots, mountPath: /etc/ssl/certs, readOnly: true}]
podLabels: {team: platform}
podAnnotations: {note: ours}
deploymentAnnotations: {note: ours}
commonLabels: {cost-centre: "42"}
`

// nothing switches off whatever can be switched off.
const nothing = `
crds: {enabled: false}
serviceAccount: {create: false}
rbac: {create: false}
approver: {enabled: false}
ledger: {policy: false}
metrics: {enabled: false}
networkPolicy: {enabled: false}
podDisruptionBudget: {enabled: false}
replicas: 1
resources: {requests: null}
nodeSelector: {kubernetes.io/os: null}
topologySpreadConstraints: []
podSecurityContext: {runAsUser: null}
`

// TestManifests states what the chart makes, but for the CRDs, which are copies.
func TestManifests(t *testing.T) {
	for name, text := range map[string]string{"default": "", "everything": everything, "nothing": nothing} {
		t.Run(name, func(t *testing.T) {
			out, err := helm(t, nil, append([]string{"template", "regfish-issuer", here(), "--namespace", "regfish-issuer", "--set", "crds.enabled=false"}, values(t, text)...)...)
			if err != nil {
				t.Fatalf("helm template: %v\n%s", err, out)
			}
			objects(t, out)
			golden(t, "manifests/"+name+".yaml", out)
		})
	}
}

// TestLint: Helm's own complaints, as errors.
func TestLint(t *testing.T) {
	for name, text := range map[string]string{"default": "", "everything": everything, "nothing": nothing} {
		if out, err := helm(t, nil, append([]string{"lint", "--strict", here()}, values(t, text)...)...); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// TestGeneratedFiles: what the chart takes from elsewhere is what is there.
func TestGeneratedFiles(t *testing.T) {
	files, err := generated(root)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range files {
		got, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Errorf("%v: run `make generate`", err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is older than what it is made of: run `make generate`", path)
		}
	}
	there, err := filepath.Glob(filepath.Join(root, chart, "files", "crds", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range there {
		below, err := filepath.Rel(root, path)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := files[below]; !ok {
			t.Errorf("%s is a copy of nothing: run `make generate`", below)
		}
	}
}

// TestREADMERefusesValuesWithoutComments: a value that nobody explained is a value
// that nobody finds.
func TestREADMERefusesValuesWithoutComments(t *testing.T) {
	tests := []struct{ name, values, want string }{
		{"a value and its comment", "## Pod\n\n# How many.\nreplicas: 2\n", "| `replicas` | `2` | How many. |\n"},
		{"a comment of two lines", "## Pod\n\n# How\n# many.\nreplicas: 2\n", "| `replicas` | `2` | How many. |\n"},
		{"a value below a group", "## Pod\nimage:\n  # Its tag.\n  tag: \"\"\n", "| `image.tag` | `\"\"` | Its tag. |\n"},
		{"a value with a default of its own", "## Pod\n# Labels.\nnodeSelector:\n  os: linux\n", "| `nodeSelector` | `{\"os\":\"linux\"}` | Labels. |\n"},
		{"a value without a comment", "## Pod\nreplicas: 2\n", ""},
		{"a value without a section", "# How many.\nreplicas: 2\n", ""},
		{"a value whose comment is further up", "## Pod\n# How many.\n\nreplicas: 2\n", ""},
	}
	for _, tc := range tests {
		sections, err := parse([]byte(tc.values))
		if (err == nil) != (tc.want != "") {
			t.Errorf("%s: %v", tc.name, err)
		} else if err == nil && !strings.Contains(tables(sections), tc.want) {
			t.Errorf("%s: %s", tc.name, tables(sections))
		}
	}
}

// TestSchemaKnowsExactlyTheValues: the schema and values.yaml are written by hand,
// both; what stands in one of them only could not be set, or would not be refused.
func TestSchemaKnowsExactlyTheValues(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(here(), "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	text, err = os.ReadFile(filepath.Join(here(), "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var defaults map[string]any
	if err := yaml.Unmarshal(text, &defaults); err != nil {
		t.Fatal(err)
	}
	checked := 0
	var walk func(path string, schema, defaults map[string]any)
	walk = func(path string, schema, defaults map[string]any) {
		properties, _ := schema["properties"].(map[string]any)
		if schema["additionalProperties"] != false {
			t.Errorf("%s: a typo would not be refused", path)
		}
		for _, name := range slices.Sorted(maps.Keys(properties)) {
			property := properties[name].(map[string]any)
			def, found := defaults[name]
			// Helm sets global, and resources has one default of three.
			if !found && path+name != "global" && path != "resources." {
				t.Errorf("%s%s is in the schema and not in values.yaml", path, name)
			}
			if _, below := property["properties"]; below {
				next, _ := def.(map[string]any)
				walk(path+name+".", property, next)
			}
		}
		for name := range defaults {
			checked++
			if _, found := properties[name]; !found {
				t.Errorf("%s%s is in values.yaml and not in the schema", path, name)
			}
		}
	}
	walk("", schema, defaults)
	if checked == 0 {
		t.Error("no value was found")
	}
}

// TestValuesThatAreRefused: a mistake is found before anything is installed, and the
// message names the value.
func TestValuesThatAreRefused(t *testing.T) {
	tests := []struct{ name, values, says string }{
		{"a value that does not exist", "replicaCount: 3", "'replicaCount' not allowed"},
		{"a value in the wrong place", "repository: x", "'repository' not allowed"},
		{"a typo further down", "metrics: {serviceMonitor: {enable: true}}", "'/metrics/serviceMonitor': additional properties 'enable' not allowed"},
		{"a word where a number has to be", "metrics: {port: https}", "'/metrics/port'"},
		{"a word where a switch has to be", "crds: {keep: \"yes\"}", "'/crds/keep'"},
		{"an endpoint that would show the key", "allowedEndpoints: ['http://api.regfish.com']", "'/allowedEndpoints/0'"},
		{"an endpoint with a path", "allowedEndpoints: ['https://api.regfish.com/v2']", "'/allowedEndpoints/0'"},
		{"two endpoints in one", "allowedEndpoints: ['https://api.regfish.com,https://evil.example']", "'/allowedEndpoints/0'"},
		{"no endpoint", "allowedEndpoints: []", "'/allowedEndpoints'"},
		{"a grace period that cuts an order in half", "terminationGracePeriodSeconds: 30", "'/terminationGracePeriodSeconds'"},
		{"a digest that is none", "image: {digest: latest}", "'/image/digest'"},
		{"an approver without a namespace", "approver: {subjects: [{kind: ServiceAccount, name: cert-manager}]}", "missing property 'namespace'"},
		{"nobody who approves, and not switched off", "approver: {subjects: []}", "'/approver/subjects'"},
		{"an issuer of another kind", "issuers: [{kind: Issuer, name: x, spec: {apiKeySecretRef: {name: x}, sku: x}}]", "'/issuers/0/kind'"},
		{"an issuer without a Secret", "issuers: [{kind: RegfishIssuer, name: x, spec: {sku: x}}]", "missing property 'apiKeySecretRef'"},
		{"an address without a mask", "networkPolicy: {apiServerCIDRs: [10.0.0.1]}", "'/networkPolicy/apiServerCIDRs/0'"},
		{"an argument that is none", "extraArgs: [poll-interval=1s]", "'/extraArgs/0'"},
		{"a PodMonitor that could not scrape", "metrics: {podMonitor: {enabled: true}}", "metrics.podMonitor.authorization"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			out, err := helm(t, nil, append([]string{"template", "x", here()}, values(t, tc.values)...)...)
			if err == nil || !strings.Contains(out, tc.says) {
				t.Errorf("want a refusal with %q, got %v:\n%.500s", tc.says, err, out)
			}
		})
	}
}

// TestUmbrella: as a dependency of another chart it renders the same, since templates
// of all charts share their names.
func TestUmbrella(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "charts", "regfish-issuer"), os.DirFS(here())); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"Chart.yaml":             "apiVersion: v2\nname: platform\nversion: 0.0.1\ndependencies: [{name: regfish-issuer, version: '*-0'}]\n",
		"templates/_helpers.tpl": `{{ define "labels" }}oops{{ end }}{{ define "name" }}oops{{ end }}`,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := helm(t, nil, "template", "regfish-issuer", dir, "--namespace", "regfish-issuer")
	if err != nil {
		t.Fatalf("helm template: %v\n%s", err, out)
	}
	if diff := cmp.Diff(render(t, ""), objects(t, out)); diff != "" {
		t.Errorf("(-alone +as a dependency):\n%s", diff)
	}
}
