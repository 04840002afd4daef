// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// shell runs the commands that a user would type, in a folder with the manifests
// and with the kubectl that was built beside the API server.
type shell struct {
	screen *screen
	dir    string
	env    []string
}

func newShell(screen *screen, dir, assets string) *shell {
	return &shell{screen: screen, dir: dir, env: append(os.Environ(),
		"PATH="+assets+string(os.PathListSeparator)+os.Getenv("PATH"),
		"KUBECONFIG="+filepath.Join(dir, "kubeconfig"),
		// What a user has set up for other clusters must not change what is shown, and this cluster must leave nothing
		// behind in a home directory.
		"KUBERC=off",
		"KUBECACHEDIR="+filepath.Join(dir, "cache"),
	)}
}

// run shows and runs commands until one fails.
func (s *shell) run(ctx context.Context, commands ...string) error {
	for _, command := range commands {
		s.screen.command(command)
		cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
		cmd.Dir, cmd.Env = s.dir, s.env
		// The whole pipeline has to end when the context does, not only its shell.
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
		cmd.WaitDelay = time.Second
		out, err := cmd.CombinedOutput()
		s.screen.output(string(out))
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return fmt.Errorf("%s: %s", command, strings.TrimSpace(string(out)))
		}
	}
	return nil
}

// write makes a file that commands can name.
func (s *shell) write(name, content string) error {
	return os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o600)
}
