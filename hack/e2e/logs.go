// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// logs are everything that the controllers print, of pods and processes that are gone
// too.
type logs struct {
	dir      string
	mu       sync.Mutex
	followed map[string]bool
	running  sync.WaitGroup
}

// newLogs makes the folder. cert-manager, which runs in this process, logs there too.
func newLogs(dir string) (*logs, error) {
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
		return nil, fmt.Errorf("make a folder for logs: %w", err)
	}
	file, err := os.Create(filepath.Join(dir, "cert-manager.log"))
	if err != nil {
		return nil, fmt.Errorf("make a log: %w", err)
	}
	logger := logr.FromSlogHandler(slog.NewTextHandler(file, nil))
	klog.SetLogger(logger)
	ctrl.SetLogger(logger)
	return &logs{dir: dir, followed: map[string]bool{}}, nil
}

// followLogs keeps what every process of the release prints, in files.
func (r *ring) followLogs(ctx context.Context) {
	ctx, stop := context.WithCancel(ctx)
	r.logs.running.Go(func() {
		for ctx.Err() == nil {
			r.lookForPods(ctx)
			select {
			case <-ctx.Done():
			case <-time.After(500 * time.Millisecond):
			}
		}
	})
	r.atEnd(func(context.Context) error { stop(); r.logs.running.Wait(); return nil })
}

func (r *ring) lookForPods(ctx context.Context) {
	var pods corev1.PodList
	if err := r.client.List(ctx, &pods, client.InNamespace(release)); err != nil {
		return
	}
	for _, p := range pods.Items {
		for _, c := range p.Status.ContainerStatuses {
			if c.State.Running == nil {
				continue
			}
			name := fmt.Sprintf("%s-%d.log", p.Name, c.RestartCount)
			r.logs.mu.Lock()
			known := r.logs.followed[name]
			r.logs.followed[name] = true
			r.logs.mu.Unlock()
			if !known {
				r.logs.running.Go(func() { r.follow(ctx, p.Name, c.Name, name) })
			}
		}
	}
}

// follow copies what a process prints, until it ends.
func (r *ring) follow(ctx context.Context, pod, container, name string) {
	stream, err := r.clients.CoreV1().Pods(release).GetLogs(pod, &corev1.PodLogOptions{Container: container, Follow: true}).Stream(ctx)
	if err != nil {
		r.logs.mu.Lock()
		defer r.logs.mu.Unlock()
		delete(r.logs.followed, name) // It is tried again.
		return
	}
	defer func() { _ = stream.Close() }()
	file, err := os.Create(filepath.Join(r.logs.dir, name))
	if err != nil {
		return
	}
	defer func() { _ = file.Close() }()
	_, _ = io.Copy(file, stream)
}

// noKey fails if the key is in a log, or in anything that the API server shows to people
// who may not read Secrets.
func (r *ring) noKey(ctx context.Context) error {
	files, err := filepath.Glob(filepath.Join(r.logs.dir, "*.log"))
	if err != nil {
		return fmt.Errorf("find the logs: %w", err)
	}
	lines := 0
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("read a log: %w", err)
		}
		if bytes.Contains(text, []byte(canary)) {
			return fmt.Errorf("the API key is in %s", path)
		}
		lines += bytes.Count(text, []byte("\n"))
	}
	objects, err := r.run(ctx, nil, r.kubectl, "get", "events,certificates,certificaterequests,regfishorders,regfishpurchases,rfi,rfci,pods,configmaps,leases", "-A", "-o", "yaml")
	if err != nil {
		return err
	}
	if bytes.Contains([]byte(objects), []byte(canary)) {
		return errors.New("the API key is in an object that is no Secret")
	}
	if len(files) < 4 || lines < 100 {
		return fmt.Errorf("%d logs with %d lines were read, which proves little", len(files), lines)
	}
	r.say("the API key is in none of %d lines that %d processes logged at verbosity %d, and in no event, condition or other object (%d KiB) but its Secrets", lines, len(files), verbosity, len(objects)>>10)
	return nil
}
