// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

func TestLinksResolve(t *testing.T) {
	checked := 0
	for _, p := range documents(t) {
		for _, match := range link.FindAllStringSubmatch(codeSpan.ReplaceAllString(p.prose, ""), -1) {
			if strings.Contains(match[1], "://") {
				continue
			}
			checked++
			file, anchor, _ := strings.Cut(match[1], "#")
			target := p
			if file != "" {
				name := path.Join(path.Dir(p.path), file)
				if _, err := os.Stat(filepath.Join(root, name)); err != nil {
					t.Errorf("%s links to %s: %v", p.path, match[1], err)
					continue
				}
				if anchor != "" {
					target = document(t, name)
				}
			}
			if anchor != "" && !slices.Contains(target.slugs(), anchor) {
				t.Errorf("%s links to %s: %s has no such heading", p.path, match[1], target.path)
			}
		}
	}
	if checked == 0 {
		t.Error("no link was found")
	}
}

// ours is how a path in this repository begins; what is below bin is built.
var ours = regexp.MustCompile(`^(api|charts|cmd|config|docs|hack|internal)(/[\w.-]+)*$`)

func TestPathsExist(t *testing.T) {
	checked := 0
	for _, p := range documents(t) {
		for _, command := range p.commands() {
			for _, word := range strings.Fields(command) {
				if !ours.MatchString(word) {
					continue
				}
				checked++
				if _, err := os.Stat(filepath.Join(root, word)); err != nil {
					t.Errorf("%s names %s: %v", p.path, word, err)
				}
			}
		}
	}
	if checked == 0 {
		t.Error("no path was found")
	}
}
