// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

// Package credentials goes from an issuer to a client of the API that the issuer
// names: which Secret may be read, which endpoint may be called, and what to
// tell the issuer's owner when one of them is not right. Secrets are read by a
// live get at every use, so that a rotated key acts at once and no Secret is
// ever held in a cache. It must not decide what is sent with the client, and it
// must never put the content of a Secret into an error.
package credentials
