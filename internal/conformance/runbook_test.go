// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"slices"
	"strings"
	"testing"
)

// Whoever is asked to decide finds a section that says what it means, what each choice
// costs and until when one may sleep.
func TestRunbookHasEveryHold(t *testing.T) {
	runbook := document(t, "docs/runbook.md")
	sections := map[string]string{}
	for part := range strings.SplitSeq("\n"+runbook.text, "\n## ") {
		title, text, _ := strings.Cut(part, "\n")
		sections[title] = text
	}
	checked := 0
	for _, w := range controller(t).words() {
		if w.kind != "Reason" || w.of != "Held" || !strings.HasSuffix(w.doc, "Held is True.") && !strings.Contains(w.doc, "Held is True;") {
			continue
		}
		checked++
		for _, part := range []string{"**What it means.**", "**Until when one may sleep.**", "**What to do.**"} {
			if !strings.Contains(sections[w.value], part) {
				t.Errorf("%s: the section %s does not say %s", runbook.path, w.value, part)
			}
		}
	}
	if checked < 5 {
		t.Errorf("only %d reasons of Held were found", checked)
	}
}

// Every annotation that a document tells people to set is one that the controller reads.
func TestAnnotationsExist(t *testing.T) {
	var exist []string
	for _, w := range controller(t).words() {
		if w.kind == "Annotation" {
			exist = append(exist, strings.TrimPrefix(w.value, "certmanager.regfish.com"))
		}
	}
	checked := 0
	for _, p := range documents(t) {
		for _, command := range p.commands() {
			_, annotation, found := strings.Cut(command, " certmanager.regfish.com")
			if !found || !strings.Contains(command, "kubectl annotate") {
				continue
			}
			checked++
			if name, _, _ := strings.Cut(annotation, "="); !slices.Contains(exist, name) {
				t.Errorf("%s: %q: there is no annotation %s", p.path, command, name)
			}
		}
	}
	if checked == 0 {
		t.Error("no command was found")
	}
}
