// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

// Package store is a Kubernetes API server in memory, for schedules that a real one
// cannot be made to follow: every call of a client can be stopped, lost or answered
// late, and every client has a cache of its own that lags behind as far as it is told.
//
// It owns the rules of the API server that the controllers rely on: versions and
// preconditions, merge patches, status apart from the rest, what of a record cannot be
// changed, selection by fields, and the collection of what is owned. A test runs one
// table of calls against it and against a real API server, and they have to answer the
// same. It must not know what the controllers do, and it is no part of the controller.
package store
