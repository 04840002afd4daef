// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package simulator

// CNAMEAnswer is what FuzzDNSAnswer calls.
var CNAMEAnswer = cnameAnswer
