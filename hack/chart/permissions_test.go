// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// TestPermissions states everything that the chart allows anybody. A line that is new
// in one of these files is a right that somebody gets: look at each.
func TestPermissions(t *testing.T) {
	tests := []struct{ name, values string }{
		{"default", ""},
		{"rbac-off", "rbac: {create: false}"},
		{"approver-off", "approver: {enabled: false}"},
		{"approver-elsewhere", "approver: {subjects: [{kind: ServiceAccount, name: cm, namespace: pki}, {kind: Group, name: security, apiGroup: rbac.authorization.k8s.io}]}"},
		{"view-not-aggregated", "rbac: {aggregateView: false}"},
		{"issuer-namespaces", "issuerNamespaces: [shop, blog]"},
		{"secrets-elsewhere", "clusterResourceNamespace: keys\nissuerNamespaces: [shop, keys]\nsecretNames: [regfish-api]"},
		{"namespaces", "namespaces: [shop, blog]"},
		{"metrics-off", "metrics: {enabled: false}"},
		{"metrics-readers", "metrics: {readers: [{kind: ServiceAccount, name: prometheus, namespace: monitoring}]}"},
		{"policy-off", "ledger: {policy: false}"},
		{"service-account-elsewhere", "serviceAccount: {create: false, name: issuer}"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			all := render(t, tc.values)
			golden(t, "permissions/"+tc.name+".txt", permissions(t, all))
			refuse(t, all)
		})
	}
}

// role is a Role or a ClusterRole.
type role struct {
	rules  []rbacv1.PolicyRule
	labels map[string]string
	bound  bool
}

// permissions writes who may do what, one resource a line, and which roles are bound to
// nobody.
func permissions(t *testing.T, all []*unstructured.Unstructured) string {
	t.Helper()
	roles := map[string]*role{}
	for _, o := range all {
		switch o.GetKind() {
		case "Role":
			r := into[rbacv1.Role](t, o)
			roles["Role "+r.Namespace+"/"+r.Name] = &role{rules: r.Rules}
		case "ClusterRole":
			r := into[rbacv1.ClusterRole](t, o)
			roles["ClusterRole "+r.Name] = &role{rules: r.Rules, labels: r.Labels}
		}
	}
	lines := []string{}
	for _, o := range all {
		var ref rbacv1.RoleRef
		var subjects []rbacv1.Subject
		scope := "everywhere"
		switch o.GetKind() {
		case "RoleBinding":
			b := into[rbacv1.RoleBinding](t, o)
			ref, subjects, scope = b.RoleRef, b.Subjects, "in "+b.Namespace
		case "ClusterRoleBinding":
			b := into[rbacv1.ClusterRoleBinding](t, o)
			ref, subjects = b.RoleRef, b.Subjects
		default:
			continue
		}
		name := ref.Kind + " " + ref.Name
		if ref.Kind == "Role" {
			name = "Role " + o.GetNamespace() + "/" + ref.Name
		}
		bound := roles[name]
		if bound == nil {
			t.Fatalf("%s %s binds %s, which does not exist", o.GetKind(), o.GetName(), name)
		}
		bound.bound = true
		for _, s := range subjects {
			who := strings.Trim(s.Namespace+"/"+s.Name, "/")
			lines = append(lines, rights(fmt.Sprintf("%s %s, %s:", s.Kind, who, scope), bound.rules)...)
		}
	}
	for name, r := range roles {
		var into []string
		for label, value := range r.labels {
			if to, found := strings.CutPrefix(label, "rbac.authorization.k8s.io/aggregate-to-"); found && value == "true" {
				into = append(into, to)
			}
		}
		slices.Sort(into)
		switch {
		case len(into) > 0:
			lines = append(lines, rights("whoever has "+strings.Join(into, ", ")+":", r.rules)...)
		case !r.bound:
			lines = append(lines, rights("nobody ("+name+"):", r.rules)...)
		}
	}
	if len(lines) == 0 {
		lines = append(lines, "nothing")
	}
	slices.Sort(lines)
	return strings.Join(slices.Compact(lines), "\n") + "\n"
}

// rights writes one line for each resource.
func rights(who string, rules []rbacv1.PolicyRule) []string {
	verbs := map[string][]string{}
	for _, rule := range rules {
		for _, url := range rule.NonResourceURLs {
			verbs[url] = append(verbs[url], rule.Verbs...)
		}
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				what := strings.TrimSuffix(resource+"."+group, ".")
				if len(rule.ResourceNames) > 0 {
					what += " named " + strings.Join(rule.ResourceNames, ", ")
				}
				verbs[what] = append(verbs[what], rule.Verbs...)
			}
		}
	}
	var lines []string
	for what, allowed := range verbs {
		slices.Sort(allowed)
		lines = append(lines, fmt.Sprintf("%s %s: %s", who, what, strings.Join(slices.Compact(allowed), ", ")))
	}
	return lines
}

// refuse fails the test for what no role of the chart may allow, whatever the golden
// files say.
func refuse(t *testing.T, all []*unstructured.Unstructured) {
	t.Helper()
	for _, o := range all {
		var rules []rbacv1.PolicyRule
		switch o.GetKind() {
		case "Role":
			rules = into[rbacv1.Role](t, o).Rules
		case "ClusterRole":
			rules = into[rbacv1.ClusterRole](t, o).Rules
		default:
			continue
		}
		for _, violation := range violations(rules) {
			t.Errorf("%s %s: %s", o.GetKind(), o.GetName(), violation)
		}
	}
}

func violations(rules []rbacv1.PolicyRule) []string {
	var found []string
	for _, r := range rules {
		for _, word := range slices.Concat(r.Verbs, r.APIGroups, r.Resources, r.NonResourceURLs) {
			if strings.Contains(word, "*") {
				found = append(found, "a wildcard allows what does not exist yet: "+word)
			}
		}
		for _, resource := range r.Resources {
			for _, verb := range r.Verbs {
				switch {
				case resource == "secrets" && verb != "get":
					found = append(found, verb+" of secrets shows or changes keys that no issuer names")
				case slices.Contains([]string{"impersonate", "escalate", "bind"}, verb):
					found = append(found, verb+" gives rights that are not written here")
				case slices.Contains([]string{"pods", "pods/exec", "serviceaccounts/token", "nodes/proxy"}, resource) && verb != "get":
					found = append(found, verb+" of "+resource+" leads to everything else")
				}
			}
		}
	}
	return found
}

// What is refused is why a permission that passes can be trusted.
func TestPermissionsThatAreRefused(t *testing.T) {
	tests := []struct {
		name string
		rule rbacv1.PolicyRule
		fine bool
	}{
		{"get of secrets is what the controller needs", rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get"}}, true},
		{"list of secrets shows all keys of a namespace", rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get", "list"}}, false},
		{"any verb", rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"events"}, Verbs: []string{"*"}}, false},
		{"any group", rbacv1.PolicyRule{APIGroups: []string{"*"}, Resources: []string{"events"}, Verbs: []string{"get"}}, false},
		{"any resource", rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"*"}, Verbs: []string{"get"}}, false},
		{"any page", rbacv1.PolicyRule{NonResourceURLs: []string{"/*"}, Verbs: []string{"get"}}, false},
		{"somebody else's rights", rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"users"}, Verbs: []string{"impersonate"}}, false},
		{"a shell in a pod", rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods/exec"}, Verbs: []string{"create"}}, false},
	}
	for _, tc := range tests {
		if found := violations([]rbacv1.PolicyRule{tc.rule}); (len(found) == 0) != tc.fine {
			t.Errorf("%s: %q", tc.name, found)
		}
	}
}
