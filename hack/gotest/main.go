// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("connect to go test: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start go test: %w", err)
	}
	err = report(out, os.Stdout)
	// go test has the last word too: not every failure of it is an event.
	return errors.Join(err, cmd.Wait())
}

// event is one line of "go test -json"; "go doc test2json" describes it.
type event struct {
	Action  string
	Package string
	Test    string // empty: the event is about the package
	Output  string
}

// pkg is what is known about a package whose tests run.
type pkg struct {
	output []event
	passed map[string]bool // tests, whose output nobody needs
	ran    bool
}

// report reads the events of one run of go test from r and writes what a person
// wants to see to w. The error says why the run counts as failed.
func report(r io.Reader, w io.Writer) error {
	var passed, failed, skipped, empty int
	var broken []string     // packages
	var complaints []string // of tests that failed
	pkgs := map[string]*pkg{}
	for d := json.NewDecoder(r); ; {
		var e event
		if err := d.Decode(&e); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("read test events: %w", err)
		}
		p := pkgs[e.Package]
		if p == nil {
			p = &pkg{passed: map[string]bool{}}
			pkgs[e.Package] = p
		}
		switch e.Action {
		case "build-output":
			fmt.Fprint(w, e.Output)
		case "output":
			p.output = append(p.output, e)
		case "pass", "fail", "skip":
			if e.Test == "" {
				p.print(w, e.Action)
				switch {
				case e.Action == "fail":
					broken = append(broken, e.Package)
				case e.Action == "pass" && !p.ran:
					empty++
					fmt.Fprintf(w, "FAIL\t%s has test files and ran no test\n", e.Package)
				}
				p.output = nil
				break
			}
			p.ran = true
			switch e.Action {
			case "pass":
				passed++
				p.passed[e.Test] = true
			case "fail":
				failed++
				complaints = append(complaints, p.complaints(e.Test)...)
			case "skip":
				skipped++
			}
		}
	}

	if len(complaints) > 0 {
		// A test may print the log of a whole program after what it failed for.
		fmt.Fprintf(w, "\nWhat the tests failed for, or logged:\n%s", strings.Join(complaints, ""))
	}
	fmt.Fprintf(w, "\n%d passed, %d failed, %d skipped\n", passed, failed, skipped)
	switch {
	case len(broken) > 0: // by a test, by the build, or by ending early
		return fmt.Errorf("failed: %s", strings.Join(broken, ", "))
	case skipped > 0:
		return fmt.Errorf("%d tests were skipped: a test that cannot run must fail and name what it needs", skipped)
	case empty > 0:
		return fmt.Errorf("%d packages ran no test", empty)
	case passed == 0:
		return errors.New("no test ran")
	}
	return nil
}

// complaint is the beginning of what a test logs.
var complaint = regexp.MustCompile(`^\s*\w+_test\.go:\d+: `)

// complaints are the first lines of what the test logged, with its name.
func (p *pkg) complaints(test string) []string {
	lines := []string{test + "\n"}
	for _, e := range p.output {
		if e.Test == test && complaint.MatchString(e.Output) {
			lines = append(lines, strings.TrimRight(fmt.Sprintf("%.500s", e.Output), "\n")+"\n")
		}
	}
	return lines
}

// print writes the result of a package and the output of what did not pass.
func (p *pkg) print(w io.Writer, result string) {
	for _, e := range p.output {
		noise := strings.HasPrefix(e.Output, "=== ") || p.passed[e.Test]
		if e.Test == "" && result != "fail" {
			// Between the tests a package that passes has one line worth reading.
			noise = !strings.HasPrefix(e.Output, "ok ")
		}
		if !noise {
			fmt.Fprint(w, e.Output)
		}
	}
}
