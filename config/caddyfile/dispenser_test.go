package caddyfile

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func dispense(t *testing.T, text string) *Dispenser {
	t.Helper()
	tokens, err := Lex(text, &Origin{File: "F"})
	if err != nil {
		t.Fatal(err)
	}
	return NewDispenser(tokens)
}

func TestDispenserMoves(t *testing.T) {
	d := dispense(t, "dir1 a b {\n\tx y\n}\ndir2 c\ndir3\n")
	if d.Val() != "" || d.Prev() || d.OpensBlock() {
		t.Error("a new Dispenser has a token")
	}
	if !d.NextArg() || d.Val() != "dir1" || d.NextLine() {
		t.Fatal("NextArg at the start")
	}
	if d.CountRemainingArgs() != 2 || d.Val() != "dir1" {
		t.Error("CountRemainingArgs")
	}
	var a, b, c string
	if !d.Args(&a, &b) || a+b != "ab" || d.Args(&c) || d.Val() != "b" {
		t.Errorf("Args: %q %q %q at %q", a, b, c, d.Val())
	}
	if d.NextArg() || !d.OpensBlock() {
		t.Error("the brace is an argument")
	}
	for range 4 {
		d.Next()
	}
	if d.Val() != "}" || d.NextArg() || !d.NextLine() || d.Val() != "dir2" || d.Line() != 4 {
		t.Fatalf("at %q", d.Val())
	}
	if !d.AllArgs(&a) || a != "c" || d.NextArg() {
		t.Errorf("AllArgs: %q", a)
	}
	if !d.Prev() || d.Val() != "dir2" || !d.Next() || !d.Next() || d.Next() || d.Val() != "dir3" {
		t.Errorf("the end is %q", d.Val())
	}
	if d.AllArgs(&a) || d.RemainingArgs() != nil {
		t.Error("dir3 has arguments")
	}
	d.Reset()
	if !d.Next() || d.AllArgs(&a) {
		t.Error("AllArgs with too many")
	}
	d = dispense(t, "x \"a\" `b` c \"{\" { \n}")
	d.Next()
	if got := d.RemainingArgsRaw(); !slices.Equal(got, []string{`"a"`, "`b`", "c", `"{"`}) || d.Val() != "{" || d.Token().Opens() {
		t.Errorf("RemainingArgsRaw: %q at %q", got, d.Val())
	}
}

func TestDispenserBlocks(t *testing.T) {
	d := dispense(t, "a x {\n\tb y {\n\t\tc\n\t}\n\td {\n\t}\n\te\n}\nf {\n}\ng\n")
	var log []string
	for d.Next() {
		log = append(log, "dir "+d.Val()+strings.Join(d.RemainingArgs(), ","))
		for outer := d.Nesting(); d.NextBlock(outer); {
			log = append(log, d.Val()+strings.Join(d.RemainingArgs(), ","))
			for inner := d.Nesting(); d.NextBlock(inner); {
				log = append(log, ">"+d.Val())
			}
		}
	}
	if got, want := strings.Join(log, " "), "dir ax by >c d e dir f dir g"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	// A closing brace with something after it closes nothing.
	d = dispense(t, "a {\n\tb\n} c\n")
	d.Next()
	n := 0
	for d.NextBlock(0) {
		n++
	}
	if n != 3 {
		t.Errorf("%d lines", n)
	}
}

func TestDispenserSegments(t *testing.T) {
	d := dispense(t, "{\n\ta b\n\tc d {\n\t\te {\n\t\t}\n\t}\n\tf\n}\n")
	d.Next()
	d = d.Over(append([]Token{{Text: "x", Origin: d.Token().Origin, Line: 1, End: 1}}, d.tokens...))
	d.Next()
	var got []string
	for d.NextBlock(0) {
		s := d.NewFromNextSegment()
		text := ""
		for s.Next() {
			text += s.Val()
		}
		got = append(got, text)
	}
	if want := []string{"ab", "cd{e{}}", "f"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestDispenserErrors(t *testing.T) {
	d := dispense(t, "a b {\n}")
	d.Next()
	cause := errors.New("cause")
	chained := NewDispenser([]Token{{Text: "w", Line: 3, Origin: &Origin{File: "S", Imports: []string{"F:7 (import s)", "S:1 (import)"}}}})
	chained.Next()
	for _, c := range []struct {
		err  error
		want string
	}{
		{d.ArgErr(), "wrong argument count or unexpected line ending after 'a', at F:1"},
		{d.SyntaxErr("}"), "syntax error: unexpected token 'a', expecting '}', at F:1"},
		{d.EOFErr(), "unexpected EOF, at F:1 near 'a'"},
		{d.Errf("no %s: %w", "a", cause), "no a: cause, at F:1"},
		{d.WrapErr(cause), "cause, at F:1"},
		{chained.ArgErr(), "wrong argument count or unexpected line ending after 'w', at S:3 import chain ['F:7 (import s)','S:1 (import)']"},
		{chained.SyntaxErr("x"), "syntax error: unexpected token 'w', expecting 'x', at S:3 import chain: ['F:7 (import s)','S:1 (import)']"},
		{d.Token().ErrFirstf("unrecognized directive: %s", "a").Suggest("lgo", []string{"log", "header"}), "F:1: unrecognized directive: a (did you mean 'log'?)"},
		{d.tokens[2].argErr(), "unexpected token '{', expecting argument, at F:1"},
	} {
		if c.err.Error() != c.want {
			t.Errorf("got  %s\nwant %s", c.err, c.want)
		}
	}
	if !errors.Is(d.Errf("x: %w", cause), cause) || !errors.Is(d.WrapErr(cause), cause) || d.WrapErr(nil) != nil {
		t.Error("the cause is lost")
	}
	long := Token{Text: strings.Repeat("ä", 5000), Origin: &Origin{}, Line: 1}
	if msg := long.argErr().Error(); len(msg) > 400 || !strings.Contains(msg, "ä...") || strings.Contains(msg, "\uFFFD") {
		t.Errorf("a long word gives %d bytes: %.300s", len(msg), msg)
	}
}

func TestNearest(t *testing.T) {
	names := []string{"reverse_proxy", "header", "handle", "log", "to"}
	for in, want := range map[string]string{"revers_proxy": "reverse_proxy", "HEADER": "header", "hadnle": "handle", "lgo": "log", "x": "", "whatever": "", "": "", "tp": "to"} {
		if got := Nearest(in, names); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// proxy is a config such as a directive has.
type proxy struct {
	Name     string
	Retries  int8
	Wait     time.Duration
	Buffer   int64
	Flush    bool
	Hosts    []string
	Code     int
	Headers  map[string]string
	Inner    inner
	Wildcard []string
}

type inner struct{ Deep bool }

func proxyOptions() Options[proxy] {
	within := Options[inner]{Unknown: "unrecognized inner option '%s'", Lines: []Option[inner]{
		{Name: "deep", Set: Flag(func(c *inner) *bool { return &c.Deep })},
	}}
	return Options[proxy]{
		Lines: []Option[proxy]{
			{Name: "name", Args: Exactly(1), Once: "name already specified", Set: String(func(c *proxy) *string { return &c.Name })},
			{Name: "retries", Args: Exactly(1), Set: Int(func(c *proxy) *int8 { return &c.Retries })},
			{Name: "wait", Args: Exactly(1), Set: Duration(func(c *proxy) *time.Duration { return &c.Wait })},
			{Name: "buffer", Args: Exactly(1), Set: Size(func(c *proxy) *int64 { return &c.Buffer })},
			{Name: "read_buffer", Now: "buffer", Args: Exactly(1), Set: Size(func(c *proxy) *int64 { return &c.Buffer })},
			{Name: "flush", Set: Flag(func(c *proxy) *bool { return &c.Flush })},
			{Name: "to", Args: AtLeast(1), Set: Strings(func(c *proxy) *[]string { return &c.Hosts })},
			{Name: "code", Args: Exactly(1), Set: Parsed("bad code '%s': %w", func(s string) (int, error) {
				return len(s), map[bool]error{true: errors.New("too long")}[len(s) > 3]
			}, func(c *proxy) *int { return &c.Code })},
			{Name: "pair", Args: Between(1, 2), Set: func(c *proxy, d *Dispenser, args []Token) error {
				if len(args) == 1 {
					return d.Errf("pair of one")
				}
				return nil
			}},
			{Name: "headers", Block: true, Set: func(c *proxy, d *Dispenser, _ []Token) error {
				c.Headers = map[string]string{}
				for nesting := d.Nesting(); d.NextBlock(nesting); {
					field, value := d.Val(), ""
					if !d.AllArgs(&value) {
						return d.ArgErr()
					}
					c.Headers[field] = value
				}
				return nil
			}},
			{Name: "inner", Block: true, Set: func(c *proxy, d *Dispenser, _ []Token) error { return within.Parse(d, &c.Inner) }},
			{Name: "lazy", Block: true, Set: func(c *proxy, d *Dispenser, _ []Token) error {
				d.NextBlock(d.Nesting())
				return nil
			}},
		},
		Other: func(c *proxy, d *Dispenser) (bool, error) {
			if !strings.HasPrefix(d.Val(), "@") {
				return false, nil
			}
			if d.Val() == "@bad" {
				return false, errors.New("bad matcher")
			}
			c.Wildcard = append(c.Wildcard, d.Val()+strings.Join(d.RemainingArgs(), ","))
			return true, nil
		},
	}
}

func TestOptions(t *testing.T) {
	options := proxyOptions()
	d := dispense(t, `proxy x {
	name a
	retries -5
	wait 1d1h
	read_buffer 4KiB
	flush
	to a b
	@m path /x
	to c
	code abc
	headers {
		A b
		C d
	}
	lazy {
		x
		y
	}
	inner {
		deep
	}
}
next`)
	var warned []Warning
	d.Warn = func(w Warning) { warned = append(warned, w) }
	d.Next()
	d.RemainingArgs()
	var c proxy
	if err := options.Parse(d, &c); err != nil {
		t.Fatal(err)
	}
	want := "{a -5 25h0m0s 4096 true [a b c] 3 map[A:b C:d] {true} [@mpath,/x]}"
	if got := fmt.Sprint(c); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if !d.Next() || d.Val() != "next" || d.Nesting() != 0 {
		t.Errorf("after the block comes %q", d.Val())
	}
	if len(warned) != 1 || warned[0] != (Warning{"F", 5, "read_buffer is an older spelling; use buffer"}) {
		t.Errorf("warnings: %v", warned)
	}
	if names := options.Names(); len(names) != 11 || slices.Contains(names, "read_buffer") {
		t.Errorf("names: %v", names)
	}
}

func TestOptionErrors(t *testing.T) {
	options := proxyOptions()
	for in, want := range map[string]string{
		"nmae a":                "unrecognized subdirective nmae, at F:2 (did you mean 'name'?)",
		"name":                  "wrong argument count or unexpected line ending after 'name', at F:2",
		"name a b":              "wrong argument count or unexpected line ending after 'b', at F:2",
		"name a\nname b":        "name already specified, at F:3",
		"flush x":               "wrong argument count or unexpected line ending after 'x', at F:2",
		"flush {\n}":            "unexpected token '{', expecting argument, at F:2 ('flush' takes no block)",
		"retries 128":           "invalid integer '128', at F:2",
		"retries x":             "invalid integer 'x', at F:2",
		"wait 5":                "bad duration value '5': time: missing unit in duration \"5\", at F:2",
		"buffer 5x":             "invalid size '5x': unhandled size name: x, at F:2",
		"code abcd":             "bad code 'abcd': too long, at F:2",
		"pair a":                "pair of one, at F:2",
		"pair a b c":            "wrong argument count or unexpected line ending after 'c', at F:2",
		"headers {\n\ta\n}":     "wrong argument count or unexpected line ending after 'a', at F:3",
		"inner {\n\tdepe\n}":    "unrecognized inner option 'depe', at F:3 (did you mean 'deep'?)",
		"@bad":                  "bad matcher, at F:2",
		"read_bufer 1":          "unrecognized subdirective read_bufer, at F:2",
		"{\n}":                  "unrecognized subdirective {, at F:2",
		"to a {\n\tname b\n}\n": "unexpected token '{', expecting argument, at F:2 ('to' takes no block)",
	} {
		d := dispense(t, "proxy {\n"+in+"\n}\n")
		d.Next()
		err := options.Parse(d, &proxy{})
		if err == nil || err.Error() != want {
			t.Errorf("%q: got %v\nwant %s", in, err, want)
		}
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%q: the error is a %T", in, err)
		}
	}
	d := dispense(t, "proxy\nname a")
	d.Next()
	if err := options.Parse(d, &proxy{}); err != nil || d.Val() != "proxy" {
		t.Errorf("no block: %v at %q", err, d.Val())
	}
}

func TestParseDuration(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"1d": 24 * time.Hour, "1.5d": 36 * time.Hour, "1d12h": 36 * time.Hour, "-1d": -24 * time.Hour, "1h2m": 62 * time.Minute, "0": 0, "1.5s": 1500 * time.Millisecond, "2d1ms": 48*time.Hour + time.Millisecond,
	} {
		if got, err := ParseDuration(in); got != want || err != nil {
			t.Errorf("%s: %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "5", "d", "1dd", "1x", ".d", "--1d", "99999999999d", strings.Repeat("1s", 600)} {
		if got, err := ParseDuration(in); err == nil {
			t.Errorf("%.20s is %v", in, got)
		}
	}
}

func TestParseSize(t *testing.T) {
	for in, want := range map[string]uint64{
		"5": 5, "5b": 5, "1k": 1000, "1KB": 1000, "1.5 MiB": 3 << 19, "1,000": 1000, "2gi": 2 << 30, "1TB": 1e12, "1PiB": 1 << 50, "1e": 1e18, "100MB": 1e8,
	} {
		if got, err := ParseSize(in); got != want || err != nil {
			t.Errorf("%s: %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "k", "-1", "1z", "1kk", "1bb", "1i", "99999999999999999999eb", "1.2.3", "18.5eib"} {
		if got, err := ParseSize(in); err == nil {
			t.Errorf("%s is %v", in, got)
		}
	}
}

// TestDrop: a token that was dropped is as if it had never been there.
func TestDrop(t *testing.T) {
	const text = "a b c d {\n\te f\n}"
	dropped := func(tokens []Token, at ...int) *Dispenser {
		d := NewDispenser(tokens)
		for range at[0] + 1 {
			d.Next()
		}
		d.Drop()
		for _, n := range at[1:] {
			for range n {
				d.Next()
			}
			d.Drop()
		}
		return d
	}
	tokens, err := Lex(text, &Origin{File: "f"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		at   []int
		read func(d *Dispenser) string
		want string
	}{
		{"current", []int{1}, (*Dispenser).Val, "a"},
		{"current of the first", []int{0}, func(d *Dispenser) string { d.Next(); return d.Val() }, "b"},
		{"two", []int{1, 1}, func(d *Dispenser) string { return d.Val() + strings.Join(d.RemainingArgs(), " ") }, "ad"},
		{"arguments", []int{1}, func(d *Dispenser) string { return strings.Join(d.RemainingArgs(), " ") }, "c d"},
		{"back", []int{2}, func(d *Dispenser) string { d.Prev(); d.Next(); d.Next(); return d.Val() }, "d"},
		{"back over it", []int{1}, func(d *Dispenser) string { d.Next(); d.Prev(); return d.Val() }, "a"},
		{"back at the start", []int{1}, func(d *Dispenser) string { return fmt.Sprint(d.Prev(), d.Val(), d.NextArg(), d.Val()) }, "falseatruec"},
		{"the error of arguments", []int{1}, func(d *Dispenser) string { return d.ArgErr().Error() }, "wrong argument count or unexpected line ending after 'a', at f:1"},
		{"segment", []int{1}, func(d *Dispenser) string { return fmt.Sprint(len(d.NextSegment())) + d.Val() }, "7}"},
		{"segment behind it", []int{1}, func(d *Dispenser) string { d.Next(); return d.NextSegment().Name() }, "c"},
		{"from the start", []int{2}, func(d *Dispenser) string { d.Reset(); d.Next(); return strings.Join(d.RemainingArgs(), " ") }, "b d"},
		{"block", []int{3}, func(d *Dispenser) string { return fmt.Sprint(d.OpensBlock(), d.NextBlock(0), d.Val()) }, "true truee"},
	} {
		if got := c.read(dropped(tokens, c.at...)); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if again, _ := Lex(text, tokens[0].Origin); !slices.Equal(again, tokens) {
		t.Error("the tokens were changed")
	}
}
