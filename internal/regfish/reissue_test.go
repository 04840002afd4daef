// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package regfish

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
)

func TestReissueSendsWhatTheVendorDocuments(t *testing.T) {
	for name, tc := range map[string]struct {
		reason  string
		id      string
		reissue ReissueRequest
		path    string
		want    string
	}{
		"the names of the order": {
			reason: "The list has to be the order's, exactly.", id: "7K9QW3M2ZT8HJ", path: "/tls/certificate/7K9QW3M2ZT8HJ/reissue",
			reissue: ReissueRequest{CSR: "pem", DCVMethod: DCVMethodCNAME, CommonName: "www.example.com", DNSNames: []string{"api.example.com"}},
			want:    `{"csr":"pem","dcv_method":"dns-cname-token","common_name":"www.example.com","dns_names":["api.example.com"]}`,
		},
		"no names": {
			reason: "The vendor takes the order's.", id: "A", path: "/tls/certificate/A/reissue",
			reissue: ReissueRequest{CSR: "pem", DCVMethod: DCVMethodEmail}, want: `{"csr":"pem","dcv_method":"email"}`,
		},
		"an id with a slash": {
			reason: "An id must not lead to another endpoint.", id: "A/../B", path: "/tls/certificate/A%2F..%2FB/reissue",
			reissue: ReissueRequest{CSR: "pem", DCVMethod: DCVMethodCNAME}, want: `{"csr":"pem","dcv_method":"dns-cname-token"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var path, sent string
			client := serve(t, func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				path, sent = r.RequestURI, string(body)
				answer(http.StatusOK, jsonType, fixture(t, "reissue.json"))(w, r)
			})
			got := client.Reissue(t.Context(), tc.id, tc.reissue, yes)
			if got.Outcome != Accepted || got.Certificate.ID != "7K9QW3M2ZT8HJ" {
				t.Fatalf("outcome is %v of %q: %v", got.Outcome, got.Certificate.ID, got.Err)
			}
			if path != tc.path || sent != tc.want {
				t.Errorf("sent to %s\n%s\nwant %s\n%s\n%s", path, sent, tc.path, tc.want, tc.reason)
			}
			r := got.Certificate.Reissue
			if !r.Active() || r.ID != "4711" || r.Validation == nil || len(r.Validation.DNSRecords) != 1 {
				t.Errorf("the answer's reissue is %+v", r)
			}
		})
	}
}

func TestReissueIsSentLikeAnOrder(t *testing.T) {
	var arrived atomic.Int32
	var give http.HandlerFunc
	client := serve(t, func(w http.ResponseWriter, r *http.Request) { arrived.Add(1); give(w, r) })
	for name, tc := range map[string]struct {
		reason string
		id     string
		give   http.HandlerFunc
		may    func() error
		want   Outcome
		kind   Kind
		sent   int32
	}{
		"a refusal":             {"The vendor's words and number together.", "A", answer(409, jsonType, `{"success":false,"message":"no"}`), yes, Rejected, KindConflict, 1},
		"a proxy's refusal":     {"Nobody knows what the vendor did.", "A", answer(409, htmlType, htmlPage), yes, Unknown, KindConflict, 1},
		"the vendor broke down": {"It may have begun the reissue.", "A", answer(502, jsonType, `{"success":false}`), yes, Unknown, KindUnavailable, 1},
		"too many":              {"It was turned away at the door.", "A", answer(429, jsonType, `{"success":false}`), yes, NotSent, KindTooMany, 1},
		"nobody vouches":        {"Nothing leaves without leave.", "A", nil, nil, NotSent, KindRefused, 0},
		"not the leader":        {"Nothing leaves without leave.", "A", nil, func() error { return errors.New("the lease is lost") }, NotSent, KindRefused, 0},
		"an id that is a step":  {"It would lead to the list.", "..", nil, yes, NotSent, KindInvalid, 0},
		"an empty id":           {"It would lead to the list.", "", nil, yes, NotSent, KindInvalid, 0},
	} {
		t.Run(name, func(t *testing.T) {
			arrived.Store(0)
			give = tc.give
			got := client.Reissue(t.Context(), tc.id, ReissueRequest{CSR: "pem", DCVMethod: DCVMethodCNAME}, tc.may)
			if got.Outcome != tc.want || got.Err == nil || got.Err.Kind != tc.kind || arrived.Load() != tc.sent {
				t.Errorf("%v, %v, %d sent; want %v of kind %v and %d. %s", got.Outcome, got.Err, arrived.Load(), tc.want, tc.kind, tc.sent, tc.reason)
			}
		})
	}
}

func TestReissueStatus(t *testing.T) {
	for status, want := range map[string]struct{ active, failed bool }{
		ReissuePending: {active: true}, ReissueProcessing: {active: true}, ReissuePendingApproval: {active: true},
		ReissueIssued: {}, ReissueCancelled: {failed: true}, ReissueRejected: {failed: true}, ReissueFailed: {failed: true},
		"": {}, "something new": {active: true},
	} {
		r := &Reissue{Status: status}
		if r.Active() != want.active || r.Failed() != want.failed {
			t.Errorf("%q is active: %t, failed: %t; want %+v", status, r.Active(), r.Failed(), want)
		}
	}
	if none := (*Reissue)(nil); none.Active() || none.Failed() {
		t.Error("a certificate that was never reissued has a reissue")
	}
}
