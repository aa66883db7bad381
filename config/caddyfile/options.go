package caddyfile

import (
	"errors"
	"fmt"
)

// Options is the table of the lines that a directive's block may hold. C is
// what the lines are read into. A table is a value that is made once and read
// by any number of goroutines:
//
//	var options = caddyfile.Options[Config]{Lines: []caddyfile.Option[Config]{
//		{Name: "lb_retries", Args: caddyfile.Exactly(1), Set: caddyfile.Int(func(c *Config) *int { return &c.Retries })},
//		{Name: "flush", Args: caddyfile.None, Set: caddyfile.Flag(func(c *Config) *bool { return &c.Flush })},
//		{Name: "headers", Args: caddyfile.None, Block: true, Set: readHeaders},
//	}}
type Options[C any] struct {
	// Unknown is the sentence for a name that is not in the table, with one %s for
	// it. Default "unrecognized subdirective %s".
	Unknown string
	// Lines are the options.
	Lines []Option[C]
	// Other, if not nil, is asked about each name that is not in the table, with d
	// at the name. It reads the line, block and all, and returns true; or it
	// returns false and moves nothing.
	Other func(c *C, d *Dispenser) (bool, error)
}

// Option is one kind of line.
type Option[C any] struct {
	// Name is the first word of the line.
	Name string
	// Now, if not empty, is how Name is spelled today; using Name warns.
	Now string
	// Args is how many arguments there may be. The zero value allows none.
	Args Count
	// Block says that a block may follow the arguments. Set must read it, with
	// NextBlock or Options.Parse. Without it a block is an error.
	Block bool
	// Once is the sentence for a second line of this name. Empty: there may be
	// several.
	Once string
	// Set takes the line. d is at the last argument. An error that has no place
	// yet gets that of d.
	Set func(c *C, d *Dispenser, args []Token) error
}

// Count is a number of arguments.
type Count struct {
	min  int
	more int // that may follow min; -1: any number
}

// None allows no arguments.
var None = Count{}

// Exactly allows n arguments.
func Exactly(n int) Count { return Count{min: n} }

// Between allows from low to high arguments.
func Between(low, high int) Count { return Count{low, high - low} }

// AtLeast allows n arguments or more.
func AtLeast(n int) Count { return Count{n, -1} }

// Allows reports whether there may be n arguments.
func (c Count) Allows(n int) bool { return n >= c.min && (c.more < 0 || n <= c.min+c.more) }

// Parse reads the block that opens on the line of d's current token into c, if
// one does. The error, if any, is an *Error. Lines are read in order, so that
// what a Set function wrote is there for those after it.
func (o *Options[C]) Parse(d *Dispenser, c *C) error {
	var seen map[string]bool
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		opt := o.find(d.Val())
		if opt == nil {
			if err := o.other(d, c); err != nil {
				return err
			}
			continue
		}
		if opt.Once != "" {
			if seen[opt.Name] {
				return d.Errf("%s", opt.Once)
			}
			if seen == nil {
				seen = map[string]bool{}
			}
			seen[opt.Name] = true
		}
		if opt.Now != "" {
			d.Warnf("%s is an older spelling; use %s", opt.Name, opt.Now)
		}
		if err := opt.line(d, c); err != nil {
			return err
		}
	}
	return nil
}

func (o *Options[C]) find(name string) *Option[C] {
	for i := range o.Lines {
		if o.Lines[i].Name == name {
			return &o.Lines[i]
		}
	}
	return nil
}

// line reads the rest of one line.
func (opt *Option[C]) line(d *Dispenser, c *C) error {
	name, inner := d.Val(), d.Nesting()
	args := d.RemainingArgTokens()
	if !opt.Args.Allows(len(args)) {
		return d.ArgErr()
	}
	if !opt.Block && d.OpensBlock() {
		brace, _ := d.Peek()
		return &Error{Msg: brace.argErr().Msg, File: d.File(), Line: d.Line(), Imports: d.Token().Imports(), Hint: "'" + name + "' takes no block"}
	}
	if err := opt.Set(c, d, args); err != nil {
		return placed(d, err)
	}
	for d.Nesting() > inner && d.NextBlock(inner) { // a Set that stopped early
	}
	return nil
}

// other reads a line whose name is not in the table.
func (o *Options[C]) other(d *Dispenser, c *C) error {
	t := d.Token()
	if o.Other != nil {
		if ok, err := o.Other(c, d); err != nil {
			return placed(d, err)
		} else if ok {
			return nil
		}
	}
	sentence := o.Unknown
	if sentence == "" {
		sentence = "unrecognized subdirective %s"
	}
	return t.Errf(sentence, Shorten(t.Text)).Suggest(t.Text, o.Names())
}

// placed gives err the place of d's current token unless it has one.
func placed(d *Dispenser, err error) error {
	var e *Error
	if errors.As(err, &e) {
		return err
	}
	return d.WrapErr(err)
}

// Names returns the names in the table, without older spellings.
func (o *Options[C]) Names() []string {
	out := make([]string, 0, len(o.Lines))
	for i := range o.Lines {
		if o.Lines[i].Now == "" {
			out = append(out, o.Lines[i].Name)
		}
	}
	return out
}

// String returns a Set for an option with one argument that is kept as it is.
func String[C any, S ~string](field func(c *C) *S) func(*C, *Dispenser, []Token) error {
	return func(c *C, _ *Dispenser, args []Token) error {
		*field(c) = S(first(args))
		return nil
	}
}

// Strings returns a Set for an option whose arguments are appended to a list.
func Strings[C any](field func(c *C) *[]string) func(*C, *Dispenser, []Token) error {
	return func(c *C, _ *Dispenser, args []Token) error {
		for _, a := range args {
			*field(c) = append(*field(c), a.Text)
		}
		return nil
	}
}

// Flag returns a Set for an option without arguments that sets a field to true.
func Flag[C any, B ~bool](field func(c *C) *B) func(*C, *Dispenser, []Token) error {
	return func(c *C, _ *Dispenser, _ []Token) error {
		*field(c) = true
		return nil
	}
}

// Parsed returns a Set for an option with one argument that parse reads. The
// sentence is the error, with one %s for the argument and one %w for what parse
// says; if it is empty, that alone is the error.
func Parsed[C, T any](sentence string, parse func(string) (T, error), field func(c *C) *T) func(*C, *Dispenser, []Token) error {
	return func(c *C, _ *Dispenser, args []Token) error {
		v, err := parse(first(args))
		if err != nil {
			if sentence != "" {
				err = fmt.Errorf(sentence, Shorten(first(args)), err)
			}
			return err
		}
		*field(c) = v
		return nil
	}
}

// first is the argument of an option that has one.
func first(args []Token) string {
	if len(args) == 0 {
		return ""
	}
	return args[0].Text
}
