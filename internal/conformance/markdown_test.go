// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// root is the module's folder, seen from this package's.
const root = "../.."

// page is a document, read in the few ways that these tests need.
type page struct {
	path string // below root
	text string
	// prose is the text with everything between fences blanked, line by line.
	prose  string
	fences []fence
	tables []table
	// headings of any level, as written.
	headings []heading
}

type heading struct {
	level int
	text  string
}

// fence is a fenced block.
type fence struct {
	line     int
	language string
	text     string
}

// table is a table with the headings that it stands under.
type table struct {
	section, heading string // the last headings of level two and three
	columns          []string
	rows             [][]string
}

// words are the first cells of the table's rows, which are code each.
func (tb table) words() []string {
	var words []string
	for _, row := range tb.rows {
		words = append(words, strings.Trim(row[0], "`"))
	}
	return words
}

// document reads one document.
func document(t *testing.T, path string) page {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return parse(path, string(text))
}

// documents reads all documents: those beside go.mod, those below docs and the chart's.
func documents(t *testing.T) []page {
	t.Helper()
	var pages []page
	for _, pattern := range []string{"*.md", "charts/*/*.md", "docs/*.md", "docs/*/*.md"} {
		paths, err := fs.Glob(os.DirFS(root), pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			pages = append(pages, document(t, path))
		}
	}
	return pages
}

func parse(path, text string) page {
	p := page{path: path, text: text}
	var prose []string
	var open *fence
	var section, sub string
	for i, line := range strings.Split(text, "\n") {
		trimmed := strings.TrimSpace(line)
		if language, found := strings.CutPrefix(trimmed, "```"); found {
			if open == nil {
				open = &fence{line: i + 1, language: language}
			} else {
				p.fences = append(p.fences, *open)
				open = nil
			}
			prose = append(prose, "")
			continue
		}
		if open != nil {
			open.text += line + "\n"
			prose = append(prose, "")
			continue
		}
		prose = append(prose, line)
		if level := len(line) - len(strings.TrimLeft(line, "#")); level > 0 {
			h := heading{level, strings.TrimSpace(line[level:])}
			p.headings = append(p.headings, h)
			switch level {
			case 2:
				section, sub = h.text, ""
			case 3:
				sub = h.text
			}
		}
		if strings.HasPrefix(trimmed, "|") {
			p.addRow(cells(trimmed), section, sub, i > 0 && strings.HasPrefix(strings.TrimSpace(prose[i-1]), "|"))
		}
	}
	p.prose = strings.Join(prose, "\n")
	return p
}

func (p *page) addRow(row []string, section, sub string, more bool) {
	if !more {
		p.tables = append(p.tables, table{section: section, heading: strings.Trim(sub, "`"), columns: row})
		return
	}
	if strings.Trim(strings.Join(row, ""), "-:") != "" {
		last := &p.tables[len(p.tables)-1]
		last.rows = append(last.rows, row)
	}
}

func cells(line string) []string {
	row := strings.Split(strings.Trim(line, "|"), "|")
	for i := range row {
		row[i] = strings.TrimSpace(row[i])
	}
	return row
}

var codeSpan = regexp.MustCompile("`([^`\n]+)`")

// spans are the pieces of code in the prose.
func (p page) spans() []string {
	var spans []string
	for _, match := range codeSpan.FindAllStringSubmatch(p.prose, -1) {
		spans = append(spans, match[1])
	}
	return spans
}

// commands are the shell's share of the document: fenced blocks without their
// comments, and pieces of code in the prose.
func (p page) commands() []string {
	commands := p.spans()
	for _, f := range p.fences {
		if f.language != "sh" {
			continue
		}
		for line := range strings.Lines(f.text) {
			command, _, _ := strings.Cut(line, " #")
			commands = append(commands, command)
		}
	}
	return commands
}

// slugs are the anchors that the document's headings get.
func (p page) slugs() []string {
	var slugs []string
	for _, h := range p.headings {
		slug := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(h.text), "")
		slugs = append(slugs, strings.ReplaceAll(slug, " ", "-"))
	}
	return slugs
}

// difference returns the words of a that are not in b, sorted.
func difference(a, b []string) []string {
	missing := slices.DeleteFunc(slices.Clone(a), func(word string) bool { return slices.Contains(b, word) })
	slices.Sort(missing)
	return slices.Compact(missing)
}
