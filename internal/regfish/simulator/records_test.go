// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package simulator_test

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/regfish/regfish-issuer/internal/regfish"
	"github.com/regfish/regfish-issuer/internal/regfish/simulator"
)

func TestRecordsThroughTheClient(t *testing.T) {
	v := start(t)
	want := regfish.Record{Name: "_dnsauth.example.com.", Type: "CNAME", Data: "a.dcv.digicert.com.", TTL: 60, Annotation: "note", Active: true}
	created, err := v.client.CreateRecord(t.Context(), regfish.Record{Name: "_DNSauth.example.com", Type: "CNAME", Data: "a.dcv.digicert.com.", TTL: 60, Annotation: "note"})
	if err != nil {
		t.Fatal(err)
	}
	want.ID = created.ID
	if created != want || created.ID == 0 {
		t.Errorf("created %+v, want %+v", created, want)
	}
	again, err := v.client.CreateRecord(t.Context(), want)
	if err != nil || len(v.Records()) != 1 {
		t.Errorf("the same again: %+v, %v, %d records", again, err, len(v.Records()))
	}
	listed, err := v.client.Records(t.Context(), "example.com")
	if err != nil || !reflect.DeepEqual(listed, []regfish.Record{want}) {
		t.Errorf("listed %+v, %v", listed, err)
	}
	if empty, err := v.client.Records(t.Context(), "example.org"); err != nil || len(empty) != 0 {
		t.Errorf("another zone has %v, %v", empty, err)
	}
	if _, err := v.client.Records(t.Context(), "www.example.com"); regfish.KindOf(err) != regfish.KindZoneNotFound {
		t.Errorf("a name that is no zone: %v", err)
	}
	for range 2 {
		if err := v.client.DeleteRecord(t.Context(), created.ID); err != nil || len(v.Records()) != 0 {
			t.Errorf("delete: %v, %d records", err, len(v.Records()))
		}
	}
}

func TestARecordThroughTheAPIValidatesAnOrder(t *testing.T) {
	v := start(t)
	cert := v.order(t, "www.example.com")
	r := cert.Validation.DNSRecords[0]
	if _, err := v.client.CreateRecord(t.Context(), regfish.Record{Name: r.Name, Type: r.Type, Data: r.Value, TTL: 60}); err != nil {
		t.Fatal(err)
	}
	if got := v.get(t, cert.ID); got.Status != regfish.StatusIssued {
		t.Errorf("status is %s", got.Status)
	}
}

func TestZones(t *testing.T) {
	v := start(t, func(o *simulator.Options) { o.Zones = []string{"sub.Example.com.", "example.com"} })
	create := func(name string) regfish.Kind {
		_, err := v.client.CreateRecord(t.Context(), regfish.Record{Name: name, Type: "TXT", Data: "x", TTL: 60})
		return regfish.KindOf(err)
	}
	for name, want := range map[string]regfish.Kind{
		"a.example.com.": regfish.KindNone, "a.sub.example.com.": regfish.KindNone, "a.example.org.": regfish.KindZoneNotFound, "badexample.com.": regfish.KindZoneNotFound,
	} {
		if got := create(name); got != want {
			t.Errorf("%s: kind %d, want %d", name, got, want)
		}
	}
	for zone, want := range map[string]string{"example.com": "a.example.com.", "sub.example.com": "a.sub.example.com."} {
		records, err := v.client.Records(t.Context(), zone)
		if err != nil || len(records) != 1 || records[0].Name != want {
			t.Errorf("%s has %+v, %v, want %s alone", zone, records, err, want)
		}
	}
	if _, err := v.client.Records(t.Context(), "example.org"); regfish.KindOf(err) != regfish.KindZoneNotFound {
		t.Errorf("a foreign zone: %v", err)
	}
}

func TestRecordAPI(t *testing.T) {
	// One record to begin with: a.example.com CNAME b.example.com, id 1.
	const record = `{"id":1,"name":"a.example.com.","type":"CNAME","data":"b.example.com.","ttl":3600,"auto":false,"active":true}`
	ok := func(response string) string { return `{"success":true,"code":0,"response":` + response + `}` }
	const notFound = `{"success":false,"code":15001,"error":"Record not found"}`
	const bad = `{"success":false,"message":"Invalid request payload","error":"Invalid request payload"}`
	const conflict = `{"success":false,"message":"A CNAME record cannot stand beside another record","error":"A CNAME record cannot stand beside another record"}`
	changed := strings.Replace(record, "b.example.com.", "c.example.com.", 1)
	tests := map[string]struct {
		method, path, body string
		status             int
		want               string
	}{
		"list":                              {"GET", "/dns/example.com/rr", "", 200, ok("[" + record + "]")},
		"list an empty zone":                {"GET", "/dns/example.org/rr", "", 200, ok("[]")},
		"list a foreign zone":               {"GET", "/dns/a.example.com/rr", "", 200, notFound},
		"list a zone called rr":             {"GET", "/dns/rr/rr", "", 200, notFound},
		"read":                              {"GET", "/dns/rr/1", "", 200, ok(record)},
		"read an unknown one":               {"GET", "/dns/rr/2", "", 404, notFound},
		"read one that is no number":        {"GET", "/dns/rr/x", "", 404, notFound},
		"create the same":                   {"POST", "/dns/rr", `{"name":"A.example.com","type":"cname","data":"B.example.com"}`, 417, `{"success":false,"code":15003,"error":"Record already exists"}`},
		"create another CNAME there":        {"POST", "/dns/rr", `{"name":"a.example.com.","type":"CNAME","data":"c.example.com."}`, 400, conflict},
		"create a TXT beside a CNAME":       {"POST", "/dns/rr", `{"name":"a.example.com.","type":"TXT","data":"x"}`, 400, conflict},
		"create a CNAME at the apex":        {"POST", "/dns/rr", `{"name":"example.com.","type":"CNAME","data":"c.example.com."}`, 400, conflict},
		"create a TXT":                      {"POST", "/dns/rr", `{"id":0,"name":"t.example.com.","type":"TXT","data":"Some Text","ttl":60}`, 200, ok(`{"id":2,"name":"t.example.com.","type":"TXT","data":"Some Text","ttl":60,"auto":false,"active":true}`)},
		"create without data":               {"POST", "/dns/rr", `{"name":"t.example.com.","type":"TXT"}`, 400, bad},
		"create a CNAME to nowhere":         {"POST", "/dns/rr", `{"name":"t.example.com.","type":"CNAME","data":"."}`, 400, bad},
		"create an unknown type":            {"POST", "/dns/rr", `{"name":"t.example.com.","type":"SPF","data":"x"}`, 400, bad},
		"create with a short TTL":           {"POST", "/dns/rr", `{"name":"t.example.com.","type":"TXT","data":"x","ttl":59}`, 400, bad},
		"create with a long TTL":            {"POST", "/dns/rr", `{"name":"t.example.com.","type":"TXT","data":"x","ttl":604801}`, 400, bad},
		"create with broken JSON":           {"POST", "/dns/rr", `{"name":`, 400, bad},
		"change":                            {"PATCH", "/dns/rr/1", `{"name":"a.example.com.","type":"CNAME","data":"c.example.com."}`, 200, ok(changed)},
		"change an unknown one":             {"PATCH", "/dns/rr/2", `{"name":"a.example.com.","type":"CNAME","data":"c.example.com."}`, 404, notFound},
		"change with broken JSON":           {"PATCH", "/dns/rr/1", `{`, 400, bad},
		"change to a CNAME at the apex":     {"PATCH", "/dns/rr/1", `{"name":"example.com.","type":"CNAME","data":"c.example.com."}`, 400, conflict},
		"change by name":                    {"PATCH", "/dns/rr", `{"id":9,"name":"a.example.com.","type":"CNAME","data":"c.example.com."}`, 200, ok(changed)},
		"change by an unknown name":         {"PATCH", "/dns/rr", `{"name":"z.example.com.","type":"CNAME","data":"c.example.com."}`, 404, notFound},
		"change by name with broken JSON":   {"PATCH", "/dns/rr", `{`, 400, bad},
		"delete":                            {"DELETE", "/dns/rr/1", "", 200, `{"success":true,"code":0,"error":"Record successfully deleted"}`},
		"delete an unknown one":             {"DELETE", "/dns/rr/2", "", 404, notFound},
		"delete one that is not a number":   {"DELETE", "/dns/rr/x", "", 404, notFound},
		"delete by name, which is unknown":  {"DELETE", "/dns/rr", "", 404, `{"success":false,"message":"Not found","error":"Not found"}`},
		"a method that no endpoint is for":  {"PUT", "/dns/rr", "", 404, `{"success":false,"message":"Not found","error":"Not found"}`},
		"something that is no endpoint":     {"GET", "/dns/a/b", "", 404, `{"success":false,"message":"Not found","error":"Not found"}`},
		"an endpoint that is not simulated": {"GET", "/dns/zones", "", 404, `{"success":false,"message":"Not found","error":"Not found"}`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			v := start(t)
			v.SetRecord("A.example.com.", "cname", "b.example.com")
			status, _, text := v.call(t, simulator.DefaultKey, tc.method, tc.path, tc.body)
			if status != tc.status || !reflect.DeepEqual(decode(t, text), decode(t, tc.want)) {
				t.Errorf("answer is %d %s, want %d %s", status, text, tc.status, tc.want)
			}
		})
	}
}

func TestAChangedRecordValidatesAnOrder(t *testing.T) {
	v := start(t)
	cert := v.order(t, "www.example.com")
	r := cert.Validation.DNSRecords[0]
	v.SetRecord(r.Name, "CNAME", "wrong.example.com")
	body := fmt.Sprintf(`{"name":%q,"type":"CNAME","data":%q}`, r.Name, r.Value)
	if status, _, text := v.call(t, simulator.DefaultKey, http.MethodPatch, "/dns/rr", body); status != http.StatusOK {
		t.Fatalf("%d %s", status, text)
	}
	if got := v.get(t, cert.ID); got.Status != regfish.StatusIssued {
		t.Errorf("status is %s", got.Status)
	}
}

func TestSetRecordTwiceIsOneRecord(t *testing.T) {
	v := start(t)
	for range 2 {
		v.SetRecord("t.example.com", "TXT", "a")
		v.SetRecord("t.example.com", "TXT", "b")
		v.SetRecord("c.example.com", "CNAME", "d.example.com")
	}
	var texts []string
	for _, r := range v.Records() {
		texts = append(texts, r.Name+" "+r.Type+" "+r.Data)
	}
	want := []string{"t.example.com. TXT a", "t.example.com. TXT b", "c.example.com. CNAME d.example.com."}
	if !reflect.DeepEqual(texts, want) {
		t.Errorf("records are %q, want %q", texts, want)
	}
}
