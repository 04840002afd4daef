// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// patience is how long one sabotage may take to be noticed, the build included.
const patience = 3 * time.Minute

func main() {
	only := flag.String("run", "", "only the sabotages whose names match")
	flag.Parse()
	if err := run(*only); err != nil {
		fmt.Fprintln(os.Stderr, "sabotage:", err)
		os.Exit(1)
	}
}

func run(only string) error {
	pattern, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "sabotage-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var missed []error
	tried := 0
	for _, s := range sabotages {
		if !pattern.MatchString(s.name) {
			continue
		}
		tried++
		begun := time.Now()
		noticed, err := s.try(dir)
		if err != nil {
			missed = append(missed, fmt.Errorf("%s is missed", s.name))
			fmt.Printf("MISSED  %-60s %4.0fs %v\n", s.name, time.Since(begun).Seconds(), err)
			continue
		}
		fmt.Printf("caught  %-60s %4.0fs %s\n", s.name, time.Since(begun).Seconds(), noticed)
	}
	if tried == 0 {
		return fmt.Errorf("no sabotage is named %q", only)
	}
	return errors.Join(missed...)
}

// edited returns the files of the repository at root as the sabotage has them.
func (s sabotage) edited(root string) (map[string]string, error) {
	broken := map[string]string{}
	for _, e := range s.edits {
		path, err := filepath.Abs(filepath.Join(root, e.file))
		if err != nil {
			return nil, err
		}
		text, ok := broken[path]
		if !ok {
			source, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			text = string(source)
		}
		if n := strings.Count(text, e.old); n == 0 || (n > 1 && !e.all) {
			return nil, fmt.Errorf("%s has %d times, and is to have once: %q; the sabotage has to follow the code", e.file, n, e.old)
		}
		broken[path] = strings.ReplaceAll(text, e.old, e.new)
	}
	return broken, nil
}

// try breaks the controller and runs the schedules that have to notice. It returns what
// they said.
func (s sabotage) try(dir string) (string, error) {
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	broken, err := s.edited(".")
	if err != nil {
		return "", err
	}
	for path, text := range broken {
		file, err := os.CreateTemp(dir, "*-"+filepath.Base(path))
		if err != nil {
			return "", err
		}
		_, err = file.WriteString(text)
		if err := errors.Join(err, file.Close()); err != nil {
			return "", err
		}
		overlay.Replace[path] = file.Name()
	}
	encoded, err := json.Marshal(overlay)
	if err != nil {
		return "", err
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, encoded, 0o600); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	pkg := "./internal/simulation"
	if s.pkg != "" {
		pkg = s.pkg
	}
	args := append([]string{"test", "-overlay=" + list, "-vet=off", "-count=1", "-run=" + s.test, pkg}, s.flags...)
	out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput()
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("nothing was noticed within %s", patience)
	case err == nil:
		return "", errors.New("nothing was noticed")
	}
	// Not any failure will do: a build that breaks has noticed nothing.
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimSpace(line); strings.Contains(line, s.notices) {
			return line, nil
		}
	}
	return "", fmt.Errorf("it failed, and not with %q:\n%.2000s", s.notices, out)
}
