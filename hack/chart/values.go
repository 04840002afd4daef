// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"sigs.k8s.io/yaml"
)

// section is a heading of values.yaml with the values below it.
type section struct {
	title  string
	values []value
}

// value is one value that a user can set.
type value struct {
	path    string // such as image.tag
	def     string // the default, as JSON
	meaning string
}

var key = regexp.MustCompile(`^( *)([A-Za-z][A-Za-z0-9]*):(.*)$`)

// parse reads values.yaml line by line, because the comments are half of it: "##" is
// the heading of a section, "#" above a key says what the value means. A key without
// a comment only groups the keys below it, and what stands below a key with a
// comment is part of its default.
func parse(text []byte) ([]section, error) {
	var defaults map[string]any
	if err := yaml.UnmarshalStrict(text, &defaults); err != nil {
		return nil, fmt.Errorf("read values: %w", err)
	}
	var sections []section
	var comment []string
	var above []string // the keys that the present one is below
	within := -1       // the indentation of the value whose default is being passed over
	for number, line := range strings.Split(string(text), "\n") {
		if title, found := strings.CutPrefix(line, "## "); found {
			sections = append(sections, section{title: title})
			comment = nil
			continue
		}
		trimmed := strings.TrimSpace(line)
		if said, found := strings.CutPrefix(trimmed, "#"); found {
			comment = append(comment, strings.TrimSpace(said))
			continue
		}
		match := key.FindStringSubmatch(line)
		if match == nil {
			if trimmed == "" {
				comment = nil
			}
			continue
		}
		depth := len(match[1]) / 2
		if within >= 0 && depth > within {
			continue
		}
		within = -1
		above = append(above[:min(depth, len(above))], match[2])
		if comment == nil {
			if strings.TrimSpace(match[3]) != "" {
				return nil, fmt.Errorf("line %d: %s has no comment above it", number+1, match[2])
			}
			continue
		}
		if len(sections) == 0 {
			return nil, fmt.Errorf("line %d: %s is in no section", number+1, match[2])
		}
		def, err := json.Marshal(at(defaults, above))
		if err != nil {
			return nil, err
		}
		last := &sections[len(sections)-1]
		last.values = append(last.values, value{strings.Join(above, "."), string(def), strings.Join(comment, " ")})
		comment, within = nil, depth
	}
	return sections, nil
}

// at returns the value at a path.
func at(values map[string]any, path []string) any {
	found := values[path[0]]
	if len(path) == 1 {
		return found
	}
	below, _ := found.(map[string]any)
	return at(below, path[1:])
}

// tables writes the sections as Markdown.
func tables(sections []section) string {
	var b strings.Builder
	for _, s := range sections {
		fmt.Fprintf(&b, "\n### %s\n\n| Value | Default | Meaning |\n|---|---|---|\n", s.title)
		for _, v := range s.values {
			fmt.Fprintf(&b, "| `%s` | `%s` | %s |\n", v.path, v.def, strings.ReplaceAll(v.meaning, "|", `\|`))
		}
	}
	return b.String() + "\n"
}
