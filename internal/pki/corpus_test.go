// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"bytes"
	"compress/gzip"
	"crypto"
	"crypto/elliptic"
	_ "crypto/md5" // for a signature that must be refused
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"
)

// hostile is one delivery that must not be published.
type hostile struct {
	class    string // the way in which it is hostile
	name     string // the variant, as a sentence
	delivery []byte
	expect   Expect
	want     Class
	reason   string
}

// corpus is every hostile delivery, made anew with a CA of its own.
func corpus(t testing.TB) []hostile {
	t.Helper()

	// The honest world: a root, an intermediate, and a request for two names.
	rootKey, caKey := ecdsaKey(t, elliptic.P384()), ecdsaKey(t, elliptic.P256())
	root := newRoot(t, "Root", rootKey)
	ca := root.newCA(t, "Issuing CA", caKey)
	key := ecdsaKey(t, elliptic.P256())
	names := []string{"www.example.com", "api.example.com"}
	request := requestFor(t, key, names...)
	expect := Expect{Request: request, Now: now, NotBefore: now.Add(-MaxBackdate)}
	leaf := ca.issue(t, key.Public(), names)
	good := chain(leaf, ca.cert)
	if _, err := Gate(good, expect); err != nil {
		t.Fatalf("the honest delivery is refused, so the hostile ones prove nothing: %v", err)
	}

	// Other CAs and keys.
	otherKey := ecdsaKey(t, elliptic.P256())
	otherRoot := newRoot(t, "Other Root", ecdsaKey(t, elliptic.P256()))
	impostor := root.newCA(t, "Issuing CA", ecdsaKey(t, elliptic.P256())) // the CA's name, another key
	renamed := root.newCA(t, "Renamed CA", caKey)                         // the CA's key, another name
	rsaCAKey := rsaKey(t, 2048)
	rsaCA := root.newCA(t, "RSA CA", rsaCAKey)

	var all []hostile
	add := func(class, name string, want Class, delivery []byte, reason string, changes ...func(*Expect)) {
		h := hostile{class: class, name: name, delivery: delivery, expect: expect, want: want, reason: reason}
		for _, change := range changes {
			change(&h.expect)
		}
		all = append(all, h)
	}
	// issued is a delivery whose leaf differs from the honest one.
	issued := func(changes ...template) []byte { return chain(ca.issue(t, key.Public(), names, changes...), ca.cert) }
	dnsNames := func(names ...string) template { return func(c *x509.Certificate) { c.DNSNames = names } }
	valid := func(from, until time.Time) template {
		return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = from, until }
	}

	const wrongKey = "the Secret's private key would not fit, and cert-manager would ask again without end"
	add("wrong key", "another ECDSA key", WrongKey, chain(ca.issue(t, otherKey.Public(), names), ca.cert), wrongKey)
	add("wrong key", "an RSA key for an ECDSA request", WrongKey, chain(ca.issue(t, rsaKey(t, 2048).Public(), names), ca.cert), wrongKey)
	add("wrong key", "an Ed25519-sized key of the wrong curve", WrongKey, chain(ca.issue(t, ecdsaKey(t, elliptic.P224()).Public(), names), ca.cert), wrongKey)

	const missingName = "clients of the name would be turned away"
	add("missing name", "one of two names is missing", MissingName, issued(dnsNames("www.example.com")), missingName)
	add("missing name", "a name stands in the common name only", MissingName, issued(dnsNames("api.example.com")), missingName)
	add("missing name", "no DNS name at all", MissingName, issued(dnsNames()), missingName)
	add("missing name", "a wildcard stands in for the names", MissingName, issued(dnsNames("*.example.com")), "who asks for names by themselves gets them, since a wildcard is another purchase")
	add("missing name", "a name is spelled with a trailing dot", MissingName, issued(dnsNames("www.example.com.", "api.example.com")), "no client matches it")

	const foreignName = "whoever holds the Secret could pose as a name nobody here proved to own"
	add("foreign name", "a name of another domain", ForeignName, issued(dnsNames(append(names, "www.example.net")...)), foreignName)
	add("foreign name", "another name of the domain", ForeignName, issued(dnsNames(append(names, "admin.example.com")...)), foreignName)
	add("foreign name", "a wildcard above the names", ForeignName, issued(dnsNames(append(names, "*.example.com")...)), foreignName)
	add("foreign name", "a NUL byte cuts the name short", ForeignName, issued(dnsNames(append(names, "www.example.com\x00.example.net")...)), foreignName)
	add("foreign name", "only the common name is foreign", ForeignName, issued(func(c *x509.Certificate) { c.Subject.CommonName = "www.example.net" }), "old clients read it")
	add("foreign kind of name", "an IP address", ForeignName, issued(func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(192, 0, 2, 1)} }), foreignName)
	add("foreign kind of name", "an e-mail address", ForeignName, issued(func(c *x509.Certificate) { c.EmailAddresses = []string{"ceo@example.com"} }), foreignName)
	add("foreign kind of name", "a URI", ForeignName, issued(func(c *x509.Certificate) { c.URIs = []*url.URL{{Scheme: "spiffe", Host: "example.com"}} }), foreignName)
	add("foreign kind of name", "a directory name, which crypto/x509 leaves out", ForeignName, issued(func(c *x509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{subjectAltName(t, dnsName("www.example.com"), dnsName("api.example.com"), directoryName(t))}
	}), foreignName)

	add("foreign kind of name", "bytes behind the end of the list", ForeignName, issued(func(c *x509.Certificate) {
		list := subjectAltName(t, dnsName("www.example.com"), dnsName("api.example.com"))
		list.Value = append(list.Value, 0)
		c.ExtraExtensions = []pkix.Extension{list}
	}), "clients that read on may find any name there")

	const expired = "cert-manager would ask again at once and without end"
	add("expired", "the leaf expired a second ago", Expired, issued(valid(now.Add(-47*time.Hour), now.Add(-time.Second))), expired)
	add("expired", "the leaf expired last year", Expired, issued(valid(now.AddDate(-2, 0, 0), now.AddDate(-1, 0, 0))), expired, func(e *Expect) { e.NotBefore = time.Time{} })
	expiredCA := root.newCA(t, "Issuing CA", caKey, valid(now.AddDate(-2, 0, 0), now.Add(-time.Second)))
	add("expired", "the intermediate has expired", Expired, chain(leaf, expiredCA.cert), "clients refuse the chain")

	const notYet = "nothing is wrong with it but the time"
	add("not yet valid", "in a second", NotYetValid, issued(valid(now.Add(time.Second), now.AddDate(0, 6, 0))), notYet)
	add("not yet valid", "in exactly 48 hours", NotYetValid, issued(valid(now.Add(48*time.Hour), now.AddDate(0, 6, 0))), notYet)
	lateCA := root.newCA(t, "Issuing CA", caKey, valid(now.Add(time.Hour), now.AddDate(1, 0, 0)))
	add("not yet valid", "the intermediate in an hour", NotYetValid, chain(leaf, lateCA.cert), notYet)
	add("valid too late", "a second after the 48 hours", ValidTooLate, issued(valid(now.Add(48*time.Hour+time.Second), now.AddDate(0, 6, 0))), "a person has to decide about so long a wait")
	add("valid too late", "in a year", ValidTooLate, issued(valid(now.AddDate(1, 0, 0), now.AddDate(2, 0, 0))), "a person has to decide about so long a wait")
	add("not yet valid and wrong", "another key too", WrongKey, chain(ca.issue(t, otherKey.Public(), names, valid(now.Add(time.Hour), now.AddDate(0, 6, 0))), ca.cert), "waiting would end in the same refusal")
	add("not yet valid and wrong", "not for servers either", NotServerAuth, issued(valid(now.Add(time.Hour), now.AddDate(0, 6, 0)), func(c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}), "waiting would end in the same refusal")

	const isCA = "whoever holds the Secret could issue certificates for anybody"
	add("CA as leaf", "the right key and names, as a CA", IsCA, issued(func(c *x509.Certificate) { c.IsCA = true; c.KeyUsage |= x509.KeyUsageCertSign }), isCA)
	add("CA as leaf", "the intermediate alone", IsCA, chain(ca.cert), isCA)
	add("CA as leaf", "the request's key in a CA above the real leaf", IsCA, chain(root.newCA(t, "www.example.com", key).cert, root.cert), isCA)

	const order = "servers present the file as it is, and clients fail on another order"
	add("shuffled", "the intermediate first", IsCA, chain(ca.cert, leaf), order)
	add("shuffled", "the root before the intermediate", BrokenChain, chain(leaf, root.cert, ca.cert), order)
	add("shuffled", "the root first", IsCA, chain(root.cert, ca.cert, leaf), order)

	// Two CAs that signed each other: A by B, B by A.
	aKey, bKey := ecdsaKey(t, elliptic.P256()), ecdsaKey(t, elliptic.P256())
	a, b := newRoot(t, "A", aKey), newRoot(t, "B", bKey)
	aByB, bByA := b.newCA(t, "A", aKey), a.newCA(t, "B", bKey)
	looped := a.issue(t, key.Public(), names)
	add("looped", "the topmost was issued by the one below it", BrokenChain, chain(looped, aByB.cert, bByA.cert), "who follows the issuers never arrives")
	add("looped", "round and round with other serial numbers", BrokenChain, chain(looped, aByB.cert, bByA.cert, b.newCA(t, "A", aKey).cert, a.newCA(t, "B", bKey).cert), "who follows the issuers never arrives")

	add("looped", "a detour before the root", BrokenChain, chain(looped, aByB.cert, bByA.cert, root.newCA(t, "A", aKey).cert, root.cert), "it passes one CA twice")

	small := bytes.Repeat(chain(leaf), 100)
	if len(small) > maxChain { // the certificates are about 600 bytes each
		t.Fatalf("100 certificates have %d bytes, so their number is not what is refused", len(small))
	}
	add("too many", "100 certificates", TooMany, small, "each costs a signature to verify")
	eleven := chain(leaf, ca.cert)
	for range maxCertificates - 1 {
		eleven = append(eleven, chain(otherRoot.newCA(t, "More", otherKey).cert)...)
	}
	add("too many", "one more than is read", TooMany, eleven, "each costs a signature to verify")

	const tooLarge = "memory and time are bounded, and cert-manager does not read so much either"
	add("too large", "10 MiB of certificates", TooLarge, bytes.Repeat(good, 10<<20/len(good)+1), tooLarge)
	add("too large", "10 MiB of white space before an honest chain", TooLarge, append(bytes.Repeat([]byte(" "), 10<<20), good...), tooLarge)
	add("too large", "one certificate above its own bound", TooLarge, issued(padding(28_000)), tooLarge)
	wide := longLines(chain(ca.issue(t, key.Public(), names, padding(26_540))))
	heavy := root
	var tall []byte
	for i := range 4 {
		heavy = heavy.newCA(t, strings.Repeat("H", i+1), caKey, padding(17_150))
		tall = append(chain(heavy.cert), tall...)
	}
	tall = longLines(append(chain(heavy.issue(t, key.Public(), names)), tall...))
	if len(wide) > maxBlock || len(tall) > maxChain {
		t.Fatalf("deliveries of %d and %d bytes are too large already while their lines are long", len(wide), len(tall))
	}
	add("too large", "one certificate, unless its lines are long", TooLarge, append(wide, chain(ca.cert)...), "it is published with PEM's line length")
	add("too large", "all together, unless their lines are long", TooLarge, tall, "it is published with PEM's line length")
	giant := root.newCA(t, "Giant CA", caKey)
	giantCert := sign(t, certificate("Giant CA"), root.cert, giantKey(8200), root.key)
	add("too large", "an issuer key that takes seconds to verify with", TooLarge, chain(giant.issue(t, key.Public(), names), giantCert), tooLarge)

	const unreadable = "it is no chain, and the vendor may deliver one the next time"
	add("trailing garbage", "text after the chain", Unreadable, append(good, "Have a nice day\n"...), unreadable)
	add("trailing garbage", "a NUL byte after the chain", Unreadable, append(good, 0), unreadable)
	add("trailing garbage", "text between the certificates", Unreadable, bytes.Join([][]byte{chain(leaf), chain(ca.cert)}, []byte("issuer:\n")), unreadable)
	add("trailing garbage", "text before the chain", Unreadable, append([]byte("Bag Attributes\n"), good...), unreadable)
	add("trailing garbage", "bytes after the certificate inside its block", Unreadable, append(block(typeCertificate, append(bytes.Clone(leaf.Raw), 0, 0)), chain(ca.cert)...), unreadable)

	add("compressed", "a gzip bomb", Unreadable, gzipped(t, make([]byte, 10<<20)), "decompression is the transport's matter, which bounds it")
	add("compressed", "an honest chain, compressed", Unreadable, gzipped(t, good), "decompression is the transport's matter, which bounds it")

	add("deep JSON", "arrays in arrays", Unreadable, []byte(strings.Repeat("[", 40_000)+strings.Repeat("]", 40_000)), unreadable)
	add("deep JSON", "objects in objects", Unreadable, []byte(strings.Repeat(`{"a":`, 15_000)+"1"+strings.Repeat("}", 15_000)), unreadable)

	add("success:false", "the vendor's error with status 200", Unreadable, []byte(`{"success":false,"message":"certificate file not ready","error":"certificate file not ready"}`), unreadable)
	add("success:false", "the error with the chain inside", Unreadable, envelope(t, false, good), unreadable)
	add("JSON envelope", "the chain inside a successful one", Unreadable, envelope(t, true, good), "the download is not enveloped, and half understood is not understood")
	add("JSON envelope", "after the chain", Unreadable, append(good, envelope(t, true, nil)...), unreadable)

	add("HTML", "a login page", Unreadable, []byte("<!DOCTYPE html><html><body>Please log in</body></html>"), unreadable)
	add("HTML", "the chain inside a page", Unreadable, []byte("<html><pre>"+string(good)+"</pre></html>"), unreadable)

	leafOnly := chain(leaf)
	add("truncated", "in the middle of the leaf", Unreadable, leafOnly[:len(leafOnly)/2], unreadable)
	add("truncated", "in the middle of the intermediate", Unreadable, good[:len(good)-100], unreadable)
	add("truncated", "in the end line", Unreadable, good[:len(good)-len("CERTIFICATE-----\n")], unreadable)
	add("truncated", "between leaf and intermediate", Unreadable, leafOnly, "a server without its intermediate is not trusted by most clients")
	add("truncated", "the leaf is cut off and an intact chain follows", Unreadable, append(bytes.Clone(leafOnly[:len(leafOnly)/2]), good...), "a decoder that skips what it cannot read would not notice")
	add("truncated", "the leaf is cut off in its first line and an intact chain follows", Unreadable, append([]byte("-----BEGIN CERTIFICATE-----MII\n"), good...), "a decoder that skips what it cannot read would not notice")
	add("truncated", "the binary form inside an intact block", Unreadable, append(block(typeCertificate, leaf.Raw[:len(leaf.Raw)-10]), chain(ca.cert)...), unreadable)

	add("wrong content", "binary instead of PEM", Unreadable, leaf.Raw, unreadable)
	add("wrong content", "the signing request sent back", Unreadable, request.PEM, unreadable)
	add("wrong content", "a PKCS #7 block", Unreadable, block("PKCS7", leaf.Raw), unreadable)
	add("wrong content", "a private key behind the chain", Unreadable, append(good, block("PRIVATE KEY", []byte("secret"))...), "a key that the vendor knows is no key")
	add("wrong content", "a trusted certificate of OpenSSL's", Unreadable, bytes.ReplaceAll(good, []byte("CERTIFICATE"), []byte("TRUSTED CERTIFICATE")), unreadable)
	add("wrong content", "a block with headers", Unreadable, bytes.Replace(good, []byte("CERTIFICATE-----\n"), []byte("CERTIFICATE-----\nProc-Type: 4,ENCRYPTED\n\n"), 1), unreadable)
	add("wrong content", "not base64", Unreadable, bytes.Replace(good, []byte("MII"), []byte("M!I"), 1), unreadable)

	add("empty", "nothing", Unreadable, nil, unreadable)
	add("empty", "white space only", Unreadable, []byte(" \r\n\t\n"), unreadable)
	add("empty", "an empty block", Unreadable, append(block(typeCertificate, nil), chain(ca.cert)...), unreadable)

	const old = "during a reissue the vendor serves the certificate that is to be replaced"
	notThis := func(cert *x509.Certificate) func(*Expect) {
		sum := sha256.Sum256(cert.Raw)
		return func(e *Expect) { e.NotThis, e.NotBefore = hex.EncodeToString(sum[:]), time.Time{} }
	}
	add("old certificate during a reissue", "with the same key", OldCertificate, good, old, notThis(leaf))
	oldLeaf := ca.issue(t, otherKey.Public(), names)
	add("old certificate during a reissue", "with the former key", OldCertificate, chain(oldLeaf, ca.cert), old, notThis(oldLeaf))
	add("old certificate during a reissue", "its hash written in capitals", OldCertificate, good, old, notThis(leaf), func(e *Expect) { e.NotThis = strings.ToUpper(e.NotThis) })

	add("duplicate", "the leaf twice", Duplicate, chain(leaf, leaf, ca.cert), "servers would present it twice")
	add("duplicate", "the intermediate twice", Duplicate, chain(leaf, ca.cert, ca.cert), "servers would present it twice")
	add("duplicate", "the leaf at the end", Duplicate, chain(leaf, ca.cert, leaf), "servers would present it twice")

	const weak = "clients do not trust it, and others may have forged it"
	sha1 := func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA1WithRSA }
	rsaLeaf := rsaCA.issue(t, key.Public(), names)
	add("weak signature", "the leaf with SHA-1", WeakSignature, chain(rsaCA.issue(t, key.Public(), names, sha1), rsaCA.cert), weak)
	add("weak signature", "the leaf with MD5", WeakSignature, chain(resign(t, rsaLeaf, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 4}, crypto.MD5, rsaCAKey), rsaCA.cert), weak)
	add("weak signature", "an unknown algorithm", WeakSignature, chain(resign(t, rsaLeaf, asn1.ObjectIdentifier{1, 2, 3}, crypto.SHA256, rsaCAKey), rsaCA.cert), weak)
	sha1CA := newRoot(t, "RSA Root", rsaCAKey).newCA(t, "Issuing CA", caKey, sha1)
	add("weak signature", "the intermediate with SHA-1", WeakSignature, chain(leaf, sha1CA.cert, newRoot(t, "RSA Root", rsaCAKey).cert), weak)
	weakCA := root.newCA(t, "Weak CA", rsaKey(t, 1024))
	add("weak signature", "an issuer with an RSA key of 1024 bits", WeakSignature, chain(weakCA.issue(t, key.Public(), names), weakCA.cert), weak)

	const other = "each purchase's certificate belongs to its own request"
	add("other order's certificate", "the same names, another request's key", WrongKey, chain(ca.issue(t, rsaKey(t, 2048).Public(), names), ca.cert), other)
	add("other order's certificate", "the same key, other names", MissingName, chain(ca.issue(t, key.Public(), []string{"www.example.net"}), ca.cert), other)
	add("issued earlier", "a second before the bound", IssuedEarlier, issued(valid(now.Add(-MaxBackdate-time.Second), now.AddDate(0, 6, 0))), "it was there before this purchase")
	add("issued earlier", "last year's, still valid", IssuedEarlier, issued(valid(now.AddDate(-1, 0, 0), now.AddDate(0, 1, 0))), "it was there before this purchase")

	const broken = "clients cannot follow it to a root"
	add("forged", "the leaf's signature is damaged", BrokenChain, chain(flipSignature(t, leaf), ca.cert), broken)
	add("forged", "the intermediate's signature is damaged", BrokenChain, chain(leaf, flipSignature(t, ca.cert), root.cert), broken)
	add("forged", "the issuer has the right name and another key", BrokenChain, chain(leaf, impostor.cert), broken)
	add("broken chain", "the issuer has the right key and another name", BrokenChain, chain(leaf, renamed.cert), broken)
	add("broken chain", "the intermediate is missing", BrokenChain, chain(leaf, root.cert), broken)
	add("broken chain", "another CA's root is at the end", BrokenChain, chain(leaf, ca.cert, otherRoot.cert), broken)
	serverAsCA := authority{ca.issue(t, otherKey.Public(), []string{"server.example.net"}), otherKey}
	add("broken chain", "the issuer is a server certificate", BrokenChain, chain(serverAsCA.issue(t, key.Public(), names), serverAsCA.cert, ca.cert), "any customer of the CA could have made it")

	self := authority{certificate("www.example.com"), key}
	add("self-signed", "the leaf signed itself", BrokenChain, chain(self.issue(t, key.Public(), names)), "nobody trusts it")
	add("self-signed", "the root's own signature is damaged", BrokenChain, chain(leaf, ca.cert, flipSignature(t, root.cert)), "it is not the root that it says it is")
	add("self-signed", "a root's name, signed by another key", BrokenChain, chain(leaf, ca.cert, authority{root.cert, otherRoot.key}.newCAUnchecked(t, "Root", rootKey)), "it is not the root that it says it is")

	const notServer = "TLS clients check what the certificate may be used for"
	add("not for servers", "client authentication only", NotServerAuth, issued(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), notServer)
	mailCA := root.newCA(t, "Mail CA", caKey, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection} })
	add("not for servers", "an intermediate for e-mail only", NotServerAuth, chain(mailCA.issue(t, key.Public(), names), mailCA.cert, root.cert), notServer)

	const client = "a TLS client refuses it"
	shortCA := root.newCA(t, "Short CA", rsaCAKey, func(c *x509.Certificate) { c.MaxPathLenZero = true })
	subCA := shortCA.newCA(t, "Sub CA", caKey)
	add("unverifiable", "more intermediates than the CA allows", Unverifiable, chain(subCA.issue(t, key.Public(), names), subCA.cert, shortCA.cert), client)
	netCA := root.newCA(t, "Net CA", caKey, func(c *x509.Certificate) {
		c.PermittedDNSDomainsCritical, c.PermittedDNSDomains = true, []string{"example.net"}
	})
	add("unverifiable", "an intermediate constrained to another domain", Unverifiable, chain(netCA.issue(t, key.Public(), names), netCA.cert, root.cert), client)
	add("unverifiable", "a precertificate, poisoned for clients", Unverifiable, issued(func(c *x509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 3}, Critical: true, Value: []byte{5, 0}}}
	}), client)

	return all
}

// newCAUnchecked signs a CA in the name of a certificate that belongs to
// another key.
func (a authority) newCAUnchecked(t testing.TB, name string, key crypto.Signer) *x509.Certificate {
	t.Helper()
	parent := *a.cert
	parent.PublicKey = a.key.Public()
	return sign(t, certificate(name), &parent, key.Public(), a.key)
}

// padding makes a certificate larger, in an extension that clients ignore.
func padding(size int) template {
	return func(c *x509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Value: make([]byte, size)}}
	}
}

// longLines writes each block's base64 into one line, which PEM decoders accept.
func longLines(text []byte) []byte {
	var out []byte
	for rest := text; len(rest) > 0; {
		der, after, ok := nextBlock(rest, typeCertificate)
		if !ok {
			panic("longLines needs an intact chain")
		}
		out = append(out, "-----BEGIN CERTIFICATE-----\n"+base64.StdEncoding.EncodeToString(der)+"\n-----END CERTIFICATE-----\n"...)
		rest = after
	}
	return out
}

// giantKey is a public key nobody has the private part of.
func giantKey(bits int) *rsa.PublicKey {
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	return &rsa.PublicKey{N: n.SetBit(n, 0, 1), E: 65537}
}

func gzipped(t testing.TB, text []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(text)
	must(t, err)
	must(t, w.Close())
	return out.Bytes()
}

func envelope(t testing.TB, success bool, text []byte) []byte {
	t.Helper()
	out, err := json.Marshal(map[string]any{"success": success, "code": 0, "response": string(text)})
	must(t, err)
	return out
}

// subjectAltName is the extension of general names, of any kind.
func subjectAltName(t testing.TB, names ...asn1.RawValue) pkix.Extension {
	t.Helper()
	return pkix.Extension{Id: oidSubjectAltName, Value: sequence(t, names)}
}

func dnsName(name string) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 2, Bytes: []byte(name)}
}

func directoryName(t testing.TB) asn1.RawValue {
	t.Helper()
	name, err := asn1.Marshal(pkix.Name{CommonName: "www.example.net"}.ToRDNSequence())
	must(t, err)
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: name}
}
