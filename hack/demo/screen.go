// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// screen is what the person who watches sees. The DNS automation speaks beside
// the story, so lines are written one at a time.
type screen struct {
	mu      sync.Mutex
	out     io.Writer
	chapter int
}

// heading begins the next chapter.
func (s *screen) heading(title string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.chapter++
	s.print("\n%d. %s\n\n", s.chapter, title)
}

// say tells something, one line at a time.
func (s *screen) say(format string, args ...any) {
	s.indented("  ", fmt.Sprintf(format, args...))
}

// verdict stands out, as the line that ends a failed demo does.
func (s *screen) verdict(word, what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.print("\n%s: %s\n", word, what)
}

// command shows a command as it is typed.
func (s *screen) command(command string) { s.indented("  $ ", command) }

// output shows what a command answered.
func (s *screen) output(text string) { s.indented("    ", text) }

func (s *screen) indented(indent, text string) {
	text = strings.TrimRight(text, "\n")
	if text == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for line := range strings.SplitSeq(text, "\n") {
		s.print("%s\n", strings.TrimRight(indent+line, " "))
	}
}

// wait shows what is being started, and how long that took.
func (s *screen) wait(what string, start func() error) error {
	s.mu.Lock()
	s.print("  %-66s", what)
	s.mu.Unlock()
	began := time.Now()
	err := start()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.print("\n")
		return err
	}
	s.print("%5.1fs\n", time.Since(began).Seconds())
	return nil
}

// print writes to the screen. Nobody watches a screen that cannot be written to.
func (s *screen) print(format string, args ...any) { _, _ = fmt.Fprintf(s.out, format, args...) }
