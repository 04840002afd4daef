// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
)

// logTo sends every log line, of ours and of the libraries, to standard error.
func logTo(format string, verbosity int) error {
	options := &slog.HandlerOptions{Level: slog.Level(-verbosity)}
	var handler slog.Handler
	switch format {
	case "text":
		handler = slog.NewTextHandler(os.Stderr, options)
	case "json":
		handler = slog.NewJSONHandler(os.Stderr, options)
	default:
		return fmt.Errorf("--log-format %q: use text or json", format)
	}
	logger := logr.FromSlogHandler(&late{to: handler})
	ctrl.SetLogger(logger)
	klog.SetLogger(logger)
	return nil
}

// late formats attributes when there is a line that shows them. controller-runtime adds seven
// to a logger for every reconcile, and hardly any of those says anything: formatted at once
// they were a tenth of the garbage that the reconciles of a start left. What is added must not
// change afterwards.
type late struct {
	to    slog.Handler
	attrs []slog.Attr
}

// Enabled asks the handler that writes.
func (l *late) Enabled(ctx context.Context, level slog.Level) bool { return l.to.Enabled(ctx, level) }

// WithAttrs keeps the attributes.
func (l *late) WithAttrs(attrs []slog.Attr) slog.Handler { return &late{l, attrs} }

// WithGroup begins a group after the attributes.
func (l *late) WithGroup(name string) slog.Handler { return l.formatted().WithGroup(name) }

// Handle writes a line.
func (l *late) Handle(ctx context.Context, r slog.Record) error {
	return l.formatted().Handle(ctx, r)
}

// formatted is the handler that writes, with all attributes.
func (l *late) formatted() slog.Handler {
	to := l.to
	if before, ok := to.(*late); ok {
		to = before.formatted()
	}
	return to.WithAttrs(l.attrs)
}
