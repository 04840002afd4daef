// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

// sabotage is one way to break the controller.
type sabotage struct {
	name  string
	edits []edit
	// test of the package has to fail with what it notices; pkg is the simulation if it is
	// empty.
	test, pkg string
	flags     []string
	notices   string
}

// edit replaces text in a file, which is to be there once, or in all places.
type edit struct {
	file, old, new string
	all            bool
}

const (
	spender    = "internal/purchase/spender.go"
	gather     = "internal/purchase/gather.go"
	plan       = "internal/purchase/plan.go"
	look       = "internal/purchase/look.go"
	match      = "internal/purchase/match.go"
	record     = "internal/purchase/record.go"
	evidence   = "internal/purchase/evidence.go"
	observe    = "internal/controller/purchase/observe.go"
	deliver    = "internal/controller/order/deliver.go"
	reissuing  = "internal/purchase/reissuing.go"
	reissue    = "internal/purchase/reissue.go"
	lineage    = "internal/purchase/lineage.go"
	order      = "internal/purchase/order.go"
	clientFile = "internal/regfish/order.go"
)

// family has the schedules of a family notice.
func family(name, notices string, seeds string, edits ...edit) sabotage {
	return sabotage{edits: edits, test: "TestFamilies/^" + name + "$", flags: []string{"-enough=1", "-families=" + seeds}, notices: notices}
}

func (s sabotage) named(name string) sabotage {
	s.name = name
	return s
}

// from begins at another seed than the first.
func (s sabotage) from(seed string) sabotage {
	s.flags = append(s.flags, "-first="+seed)
	return s
}

var sabotages = []sabotage{
	family("lag", "duplicate:", "20", edit{file: spender,
		old: "	if err := s.Client.Create(ctx, p); err != nil {\n		return nil, fmt.Errorf(\"create purchase %s: %w\", p.Name, err)",
		new: "	if attempt != nil {\n		return p, nil\n	}\n	if err := s.Client.Create(ctx, p); err != nil {\n		return nil, fmt.Errorf(\"create purchase %s: %w\", p.Name, err)",
	}).named("leave out the intent write"),
	family("limit", "limit:", "60", edit{file: spender, all: true,
		old: "client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})",
		new: "client.MergeFrom(before)",
	}).named("drop the resourceVersion precondition"),
	family("lag", "duplicate:", "20", edit{file: spender,
		old: "	default:\n		o.Result = v1alpha1.OutcomeUnknown",
		new: "	default:\n		o.Result = v1alpha1.OutcomeRejected",
	}).named("count a timeout as rejected"),
	family("restore", "duplicate:", "20", edit{file: spender,
		old: "if facts.Baseline, err = s.baseline(ctx, vendor, cr, facts.Want, facts.named()); err != nil {",
		new: "if facts.Baseline, err = (&Baseline{}), nil; err != nil {",
	}).named("skip the baseline"),
	family("echo", "held twice:", "4", edit{file: gather,
		old: "return slices.ContainsFunc(list.Items, func(p v1alpha1.RegfishPurchase) bool { return p.Spec.Endpoint == endpoint }), nil",
		new: "return false, nil",
	}).named("skip the claimed check"),
	family("delivery", "wrong:", "20", edit{file: deliver,
		old: "	var refusal *pki.Refusal\n	switch {",
		new: "	var refusal *pki.Refusal\n	if leaf, bad := pki.ParseLeaf(delivery); err != nil && bad == nil {\n		bundle, err = &pki.Bundle{Certificate: delivery, Leaf: leaf}, nil\n	}\n	switch {",
	}).named("publish before the gate"),
	family("gone", "unwanted:", "20", edit{file: spender,
		old: "	if err := s.Live.Get(ctx, name, &cr); err != nil {\n		if apierrors.IsNotFound(err) {\n			return nil, nil, ErrGone",
		new: "	if err := s.Client.Get(ctx, name, &cr); err != nil {\n		if apierrors.IsNotFound(err) {\n			return nil, nil, ErrGone",
	}).named("read the request from cache before paying"),
	family("limit", "limit:", "40", edit{file: spender,
		old: "	full, err := s.reserve(ctx, issuer, facts)\n	if err != nil || full != nil {",
		new: "	defer func() { _, _ = s.reserve(ctx, issuer, facts) }()\n	var full *Decision\n	if err != nil || full != nil {",
	}).named("reserve the slot after the POST").from("120"),
	family("unknown", "failed:", "20", edit{file: observe,
		old: "		o.NotFound = true\n",
		new: "		o.Vendor = &regfish.Certificate{ID: p.Spec.CertificateID, Status: regfish.StatusCancelled}\n",
	}).named("treat 404 of a known id as an end"),
	family("renewal", "wrong:", "4", edit{file: plan,
		old: "	case held(p) || own || f.awaited(p, r) || (f.Want.Reuse != v1alpha1.ReusePolicyNever && fresh(f, t.notBefore, t.notAfter)):",
		new: "	case true || t.revoked:",
	}).named("hand out an old certificate for an unchanged key"),
	family("rewritten", "duplicate:", "10", edit{file: match,
		old: "!otherProduct(p, c, catalogue) && pki.ShareCanonical(c.Names(), exactNames(p))",
		new: "c.Product == p.Spec.SKU && slices.Equal(pki.ExactNames(\"\", c.Names()), exactNames(p))",
	}, edit{file: gather,
		old: "pki.ShareCanonical(c.Names(), names) || len(c.Names()) == 0",
		new: "slices.Equal(pki.ExactNames(\"\", c.Names()), names) || len(c.Names()) == 0",
	}).named("match candidates by equality"),
	family("cut", "duplicate:", "10", edit{file: evidence,
		old: "		same := r.fingerprint == a.KeyFingerprint\n",
		new: "		same := true\n		break\n",
	}).named("believe a cut list"),
	family("foreign", "duplicate:", "20", edit{file: evidence,
		old: "		same := r.fingerprint == a.KeyFingerprint\n",
		new: "		same := true\n		break\n",
	}).named("believe a foreign list"),
	family("gone", "unwanted:", "20", edit{file: spender,
		old: "	if err := s.Live.Get(ctx, name, &cr); err != nil {\n		if apierrors.IsNotFound(err) {\n			return nil, nil, ErrGone",
		new: "	if err := s.Client.Get(ctx, name, &cr); err != nil {\n		if apierrors.IsNotFound(err) {\n			return nil, nil, ErrGone",
	}, edit{file: spender,
		old: "facts, issuer, err := s.Facts(ctx, nil, cr, request, s.Clock.Now())",
		new: "facts, issuer, err := s.Facts(ctx, s.Client, cr, request, s.Clock.Now())",
	}).named("decide from cache only"),
	family("console", "foreign:", "20", edit{file: look,
		old: "	case Proved:\n		id :=",
		new: "	case Proved, Followed:\n		id :=",
	}, edit{file: look,
		old: "	case Searching, Followed, Undecided:\n	}\n	return nil",
		new: "	case Searching, Undecided:\n	}\n	return nil",
	}).named("let a provisional adoption exclude others"),
	family("skew", "duplicate:", "10", edit{file: look,
		old: "Search: Search{Begun: now, Until: now.Add(r.SettleTime), Blind: now}, next: now}",
		new: "Search: Search{Begun: lastUnresolved(p).Time.Time, Until: lastUnresolved(p).Time.Add(r.SettleTime), Blind: now}, next: now}",
	}, edit{file: look,
		old: "		pause = min(max(pause, age/8), max(pause, lastLook))",
		new: "		pause = lookAgain",
	}).named("settle by the recorded time"),
	family("restore", "duplicate:", "20", edit{file: plan,
		old: "readable, reissue, early, override, limit, unclaimed,\n	}",
		new: "readable, reissue, early, override, limit,\n	}",
	}).named("ignore unclaimed ids in the baseline"),
	family("reissue", "lost:", "20", edit{file: reissuing,
		old: "	if err := s.Client.Patch(ctx, p, client.MergeFromWithOptions(d.Purchase, client.MergeFromWithOptimisticLock{})); err != nil {",
		new: "	if err := client.IgnoreNotFound(ctx.Err()); err != nil {",
	}).named("leave out the intent of a reissue"),
	family("reissue", "lost:", "20", edit{file: reissue,
		old: "	return r.Outcome.Result != v1alpha1.OutcomeRejected && r.Outcome.Result != v1alpha1.OutcomeNotSent\n",
		new: "	return r.Outcome.Result == v1alpha1.OutcomeAccepted\n",
	}).named("count a reissue whose answer was lost as refused"),
	family("reissue", "needless:", "20", edit{file: plan,
		old: "readable, reissue, early, override, limit, unclaimed,\n	}",
		new: "readable, early, override, limit, unclaimed,\n	}",
	}).named("buy where a reissue would serve"),
	family("year", "wrong:", "20", edit{file: reissuing,
		old: "	if pki.CertificateSHA256(leaf) == open.Source.SHA256 || (open.Source.SHA256 == \"\" && sameDates) {\n		return \"\", nil\n	}\n",
		new: "",
	}, edit{file: deliver,
		old: ", NotThis: purchase.Replaced(p, in.facts.Want)}",
		new: "}",
	}).named("hand out the certificate that is being reissued"),
	family("fallback", "duplicate:", "150", edit{file: lineage,
		old: "a.Outcome.Result == v1alpha1.OutcomeRejected &&\n		(a.Outcome.HTTPStatus == 404 || a.Outcome.HTTPStatus == 409)",
		new: "(a.Outcome.HTTPStatus == 404 || a.Outcome.HTTPStatus == 409 || a.Outcome.HTTPStatus == 503)",
	}, edit{file: record,
		old: "	if slices.ContainsFunc(p.Spec.Attempts, unresolved) {",
		new: "	if slices.ContainsFunc(p.Spec.Attempts, unresolved) && !sourceRefused(p) {",
	}).named("take the 5xx of a renewal for a refusal"),
	family("lag", "altered:", "20", edit{file: order,
		old: "Conditions: before.DeepCopy().Conditions,",
		new: "Conditions: before.Conditions,",
	}).named("write into what the cache has"),
	{
		// The network of the simulation does not reset streams; the tests of the client do.
		name: "Go's default transport", pkg: "./internal/regfish", test: "^TestOrderIsSentOnceToAServerThatResetsStreams$", notices: "orders arrived over",
		edits: []edit{{file: clientFile,
			old: "	conn, err := c.connect(ctx)\n",
			new: `	usual := http.DefaultTransport.(*http.Transport).Clone()
	usual.TLSClientConfig, usual.ForceAttemptHTTP2 = c.tls.Clone(), true
	usual.TLSClientConfig.NextProtos = nil
	body, _ := json.Marshal(call.body)
	req, _ := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint+"/tls/certificate", bytes.NewReader(body))
	c.setHeaders(req)
	if resp, err := usual.RoundTrip(req); err == nil {
		return c.result(ctx, call.op, resp)
	} else if request != nil {
		return OrderResult{Outcome: Unknown, Err: c.sendError(ctx, call.op, 0, err)}
	}
	conn, err := c.connect(ctx)
`,
		}},
	},
}
