// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// person stands in for somebody with a browser. All they are told is the address of a
// page, and all they can do is what a browser lets them: read it and press its button.
type person struct {
	browser *http.Client
	screen  *screen
}

// completeOrder has a person open the page of the order and press its button.
func (s *stage) completeOrder(ctx context.Context, page string) error {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(s.vendor.ServerCA()) {
		return errors.New("the authority of the page's server cannot be read")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	p := &person{&http.Client{Transport: transport}, s.screen}

	s.say("(a person opens %s in a browser)", page)
	content, err := p.open(ctx, http.MethodGet, page, "")
	if err != nil {
		return err
	}
	form := formOf(content)
	if form == nil {
		return fmt.Errorf("%s has no button to complete the order", page)
	}
	base, err := url.Parse(page)
	if err != nil {
		return fmt.Errorf("read %q: %w", page, err)
	}
	target, err := base.Parse(attribute(form, "action"))
	if err != nil {
		return fmt.Errorf("read the form of %s: %w", page, err)
	}
	s.say("(they press the button)")
	_, err = p.open(ctx, strings.ToUpper(attribute(form, "method")), target.String(), fields(form).Encode())
	return err
}

// open sends what a browser would send and shows the page that comes.
func (p *person) open(ctx context.Context, method, page, form string) (*html.Node, error) {
	request, err := http.NewRequestWithContext(ctx, method, page, strings.NewReader(form))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", page, err)
	}
	if method == http.MethodPost {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	answer, err := p.browser.Do(request)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", page, err)
	}
	defer answer.Body.Close()
	content, err := html.Parse(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", page, err)
	}
	p.screen.output(read(content))
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("open %s: the page answers %s", page, answer.Status)
	}
	return content, nil
}

// read returns what somebody sees of a page.
func read(page *html.Node) string {
	var lines []string
	for node := range page.Descendants() {
		switch node.DataAtom {
		case atom.H1, atom.P:
			lines = append(lines, text(node))
		case atom.Dt:
			lines = append(lines, "  "+text(node)+": ")
		case atom.Dd:
			lines[len(lines)-1] += text(node)
		case atom.Button:
			lines = append(lines, "  [ "+text(node)+" ]")
		default: // It holds others, or is not to be seen.
		}
	}
	return "| " + strings.Join(lines, "\n| ")
}

// formOf returns the form of a page, nil if it has none.
func formOf(page *html.Node) *html.Node {
	for node := range page.Descendants() {
		if node.DataAtom == atom.Form {
			return node
		}
	}
	return nil
}

// fields are the fields of a form as they stand.
func fields(form *html.Node) url.Values {
	values := url.Values{}
	for node := range form.Descendants() {
		if name := attribute(node, "name"); name != "" {
			values.Add(name, attribute(node, "value"))
		}
	}
	return values
}

func attribute(of *html.Node, name string) string {
	for _, a := range of.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// text is what stands in an element, on one line.
func text(in *html.Node) string {
	var words []string
	for node := range in.Descendants() {
		if node.Type == html.TextNode {
			words = append(words, strings.Fields(node.Data)...)
		}
	}
	return strings.Join(words, " ")
}
