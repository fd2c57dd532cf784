package transcripts_test

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// check compares an outcome with what the client needs.
func (r *replay) check(got outcome, want expectation) error {
	if want.Status != 0 && got.status != want.Status {
		return fmt.Errorf("status %d, want %d: %s", got.status, want.Status, got.body)
	}
	for name, pattern := range want.Headers {
		expr, err := regexp.Compile(`^(?:` + r.fill(pattern, regexp.QuoteMeta) + `)$`)
		if err != nil {
			return err
		}
		if values := got.header.Values(name); len(values) != 1 || !expr.MatchString(values[0]) {
			return fmt.Errorf("header %s is %q, want one like %s", name, values, expr)
		}
	}
	if want.JSON != nil {
		if err := r.covers(got.json, want.JSON); err != nil {
			return fmt.Errorf("%w in the answer %s", err, got.body)
		}
	}
	members, _ := got.json.(map[string]any)
	for _, name := range want.Absent {
		if _, ok := members[name]; ok {
			return fmt.Errorf("the answer has the member %s", name)
		}
	}
	if !strings.Contains(got.body, want.Body) {
		return fmt.Errorf("the answer has no %q: %s", want.Body, got.body)
	}
	return r.checkRedirect(got, want)
}

func (r *replay) checkRedirect(got outcome, want expectation) error {
	if want.Redirect == "" {
		return nil
	}
	if got.redirect == nil {
		return fmt.Errorf("the person was not sent back: %d %s", got.status, got.body)
	}
	query := got.redirect.Query()
	to := *got.redirect
	to.RawQuery = ""
	if filled := r.fill(want.Redirect, plain); to.String() != filled {
		return fmt.Errorf("the person was sent to %s, want %s", to.String(), filled)
	}
	for name, value := range want.Query {
		if len(query[name]) != 1 || !r.equal(query.Get(name), value) {
			return fmt.Errorf("the redirect has %s=%q, want %s", name, query[name], r.fill(value, plain))
		}
	}
	return nil
}

// covers reports where a JSON value lacks a part of another.
func (r *replay) covers(got, want any) error {
	switch want := want.(type) {
	case map[string]any:
		members, ok := got.(map[string]any)
		if !ok {
			return errors.New("no object")
		}
		for name, value := range want {
			if err := r.covers(members[name], value); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	case []any:
		elements, ok := got.([]any)
		if !ok {
			return errors.New("no list")
		}
		for _, value := range want {
			if !slices.ContainsFunc(elements, func(e any) bool { return r.covers(e, value) == nil }) {
				return fmt.Errorf("no element %v", value)
			}
		}
	case string:
		if text, ok := got.(string); !ok || !r.equal(text, want) {
			return fmt.Errorf("%v, want %s", got, r.fill(want, plain))
		}
	default:
		if !reflect.DeepEqual(got, want) {
			return fmt.Errorf("%v, want %v", got, want)
		}
	}
	return nil
}

// equal compares a text with a wanted one.
func (r *replay) equal(got, want string) bool {
	if want == "*" {
		return got != ""
	}
	return got == r.fill(want, plain)
}
