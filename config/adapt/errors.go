package adapt

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/schema"
)

// Problem is one thing that is wrong with a Caddyfile.
type Problem struct {
	// Text is the whole sentence, with the place and the import chain.
	Text string
	// File and Line are the innermost place; Line is 0 if there is none.
	File string
	Line int
	// Err is the error behind.
	Err error
}

// Errors is everything that is wrong with a Caddyfile, as far as it could be
// found at once.
type Errors []Problem

// maxErrors bounds how many are looked for.
const maxErrors = 20

// Error returns the sentences, each on a line of its own.
func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Text
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the errors behind.
func (es Errors) Unwrap() []error {
	out := make([]error, 0, len(es))
	for _, e := range es {
		if e.Err != nil {
			out = append(out, e.Err)
		}
	}
	return out
}

// Problems returns them with file and line, without pointers: there is no
// document.
func (es Errors) Problems() schema.Problems {
	out := make(schema.Problems, len(es))
	for i, e := range es {
		out[i] = schema.Problem{File: e.File, Line: e.Line, Message: e.Text}
	}
	return out
}

// asErrors makes Errors of any error.
func asErrors(err error) Errors {
	if err == nil {
		return nil
	}
	var es Errors
	if errors.As(err, &es) {
		return es
	}
	p := Problem{Text: err.Error(), Err: err}
	var e *caddyfile.Error
	if errors.As(err, &e) {
		p.File, p.Line = e.File, e.Line
	}
	return Errors{p}
}

// placed gives an error the place of a token unless it has one.
func placed(t caddyfile.Token, err error) error {
	var es Errors
	var e *caddyfile.Error
	if err == nil || errors.As(err, &es) || errors.As(err, &e) {
		return err
	}
	return t.Wrap(err)
}

// within says in which directive or option errors were found. Errors of a block
// in it have a place already, and get that of the directive as well.
func within(t caddyfile.Token, err error) Errors {
	nested := errors.As(err, new(Errors))
	es := asErrors(placed(t, err))
	out := make(Errors, len(es))
	for i, e := range es {
		e.Text = fmt.Sprintf("parsing caddyfile tokens for '%s': %s", t.Text, e.Text)
		if nested {
			e.Text += fmt.Sprintf(", at %s:%d", t.File(), t.Line)
		}
		out[i] = e
	}
	return out
}

// fail keeps an error and returns all so far.
func (r *run) fail(err error) Errors {
	for _, e := range asErrors(err) {
		if len(r.errs) < maxErrors {
			r.errs = append(r.errs, e)
		}
	}
	return r.errs
}

// collected is a list of errors that is nil while it is empty.
type collected struct{ errs Errors }

func (c *collected) add(err error) {
	for _, e := range asErrors(err) {
		if len(c.errs) < maxErrors {
			c.errs = append(c.errs, e)
		}
	}
}

// full reports whether further errors would not be kept.
func (c *collected) full() bool { return len(c.errs) >= maxErrors }

func (c *collected) err() error {
	if len(c.errs) == 0 {
		return nil
	}
	return c.errs
}
