// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	const (
		pass = `{"Action":"run","Package":"p","Test":"TestA"}
			{"Action":"output","Package":"p","Test":"TestA","Output":"quiet\n"}
			{"Action":"pass","Package":"p","Test":"TestA"}
			{"Action":"output","Package":"p","Output":"PASS\n"}
			{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}
			{"Action":"pass","Package":"p"}`
		skip = `{"Action":"output","Package":"q","Test":"TestB/sub","Output":"=== RUN   TestB/sub\n"}
			{"Action":"output","Package":"q","Test":"TestB/sub","Output":"b_test.go:7: no database\n"}
			{"Action":"skip","Package":"q","Test":"TestB/sub"}
			{"Action":"pass","Package":"q","Test":"TestB"}
			{"Action":"output","Package":"q","Output":"ok  \tq\t0.1s\n"}
			{"Action":"pass","Package":"q"}`
		fail = `{"Action":"output","Package":"r","Test":"TestC","Output":"c_test.go:9: got 1, want 2\n"}
			{"Action":"fail","Package":"r","Test":"TestC"}
			{"Action":"output","Package":"r","Output":"FAIL\tr\t0.1s\n"}
			{"Action":"fail","Package":"r"}`
		empty = `{"Action":"output","Package":"s","Output":"ok  \ts\t0.1s [no tests to run]\n"}
			{"Action":"pass","Package":"s"}`
		build = `{"Action":"build-output","ImportPath":"u [u.test]","Output":"u.go:1:2: undefined: x\n"}
			{"Action":"build-fail","ImportPath":"u [u.test]"}
			{"Action":"output","Package":"u","Output":"FAIL\tu [build failed]\n"}
			{"Action":"fail","Package":"u"}`
		none = `{"Action":"output","Package":"t","Output":"?   \tt\t[no test files]\n"}
			{"Action":"skip","Package":"t"}`
	)
	for name, c := range map[string]struct {
		reason string
		events string
		output string
		err    string
	}{
		"all tests pass": {
			reason: "a package that passes is one line, and one without test files is none",
			events: pass + none,
			output: "ok  \tp\t0.1s\n\n1 passed, 0 failed, 0 skipped\n",
		},
		"a subtest was skipped": {
			reason: "go test calls this ok; here it fails, and says why it was skipped",
			events: pass + skip,
			output: "ok  \tp\t0.1s\nb_test.go:7: no database\nok  \tq\t0.1s\n\n2 passed, 0 failed, 1 skipped\n",
			err:    "1 tests were skipped",
		},
		"a test failed": {
			reason: "the output of the failed test is what the developer needs, and at the end what it failed for",
			events: fail + pass,
			output: "c_test.go:9: got 1, want 2\nFAIL\tr\t0.1s\nok  \tp\t0.1s\n\nWhat the tests failed for, or logged:\nTestC\nc_test.go:9: got 1, want 2\n\n1 passed, 1 failed, 0 skipped\n",
			err:    "failed: r",
		},
		"a package does not build": {
			reason: "no test failed, and yet nothing there was tested",
			events: pass + build,
			output: "ok  \tp\t0.1s\nu.go:1:2: undefined: x\nFAIL\tu [build failed]\n\n1 passed, 0 failed, 0 skipped\n",
			err:    "failed: u",
		},
		"a package ran none of its tests": {
			reason: "a TestMain that forgets to run its tests passes go test",
			events: pass + empty,
			output: "ok  \tp\t0.1s\nok  \ts\t0.1s [no tests to run]\nFAIL\ts has test files and ran no test\n\n1 passed, 0 failed, 0 skipped\n",
			err:    "1 packages ran no test",
		},
		"there are no tests at all": {
			reason: "a wrong package pattern must not pass",
			events: none,
			output: "\n0 passed, 0 failed, 0 skipped\n",
			err:    "no test ran",
		},
		"the events are cut short": {
			reason: "half a report is not a result",
			events: pass + `{"Action":`,
			output: "ok  \tp\t0.1s\n",
			err:    "read test events",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			err := report(strings.NewReader(c.events), &out)
			if out.String() != c.output {
				t.Errorf("%s: output:\n%q, want:\n%q", c.reason, out.String(), c.output)
			}
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: error %v, want %q", c.reason, err, c.err)
			}
		})
	}
}
