// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package regfish

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// maxKeyBytes bounds an API key. The vendor documents no length; real keys are
// far shorter, and a whole file pasted into a Secret by mistake is far longer.
const maxKeyBytes = 512

// redacted stands wherever a key would otherwise be printed.
const redacted = "[redacted]"

// Key is a regfish API key. No verb of fmt, no encoder and no logger prints it.
type Key struct {
	// reveal returns the key. It is a closure and not a string because fmt and
	// every reflecting dumper print the unexported strings of a struct that
	// holds a Key, and never ask the Key; none can look into a closure.
	reveal func() string
}

// ParseKey makes a Key of what a Secret holds. White space around it is
// dropped: most keys reach a Secret with the newline of the file they were
// kept in. Anything that could not stand in a header is refused, with an error
// that does not show the value.
func ParseKey(raw []byte) (Key, error) {
	value := strings.Trim(string(raw), " \t\r\n")
	if value == "" {
		return Key{}, errors.New("API key is empty")
	}
	if len(value) > maxKeyBytes {
		return Key{}, fmt.Errorf("API key is longer than %d bytes", maxKeyBytes)
	}
	for _, b := range []byte(value) {
		if b < 0x20 || b > 0x7e {
			return Key{}, errors.New("API key has a control or non-ASCII character")
		}
	}
	return Key{reveal: func() string { return value }}, nil
}

// Fingerprint tells keys apart without showing them: 16 lower-case hexadecimal
// digits. It is empty for the zero Key.
func (k Key) Fingerprint() string {
	if k.IsZero() {
		return ""
	}
	// The prefix keeps the fingerprint from being looked up in tables of plain
	// hashes, and from ever equalling a hash made of the key for another use.
	sum := sha256.Sum256([]byte("regfish-issuer API key fingerprint v1\x00" + k.reveal()))
	return hex.EncodeToString(sum[:8])
}

// IsZero tells whether k holds no key.
func (k Key) IsZero() bool { return k.reveal == nil }

// String hides the key.
func (k Key) String() string { return redacted }

// GoString hides the key from %#v.
func (k Key) GoString() string { return redacted }

// Format hides the key from every verb.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalJSON hides the key.
func (k Key) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText hides the key.
func (k Key) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue hides the key from log/slog.
func (k Key) LogValue() slog.Value { return slog.StringValue(redacted) }
