package caddyfile

import (
	"fmt"
	"strings"
	"testing"
)

// show writes tokens as LINE:text, with the quote in front.
func show(tokens []Token) string {
	var out []string
	for _, t := range tokens {
		q := ""
		if t.Quoted() {
			q = string(rune(t.Quote))
		}
		out = append(out, fmt.Sprintf("%d:%s%s", t.Line, q, t.Text))
	}
	return strings.Join(out, "|")
}

func TestLexer(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"byte-order mark", "\uFEFF:80", "1::80"},
		{"only comments", "# a\n\n  # b\n", ""},
		{"carriage return", "fo\ro\r\nb\r\n", "1:foo|2:b"},
		{"carriage return in quotes", "\"a\r\nb\" `c\rd`", "1:\"a\r\nb|2:`c\rd"},
		{"unicode space", "a\u00a0b\u2003c\td", "1:a|1:b|1:c|1:d"},
		{"comment", "a #b c\nd#e #f", "1:a|2:d#e"},
		{"comment after a quote", `"a"#b`, `1:"a`},
		{"backslash in own comment", "# c:\\x\na\nb", "1:a|3:b"},
		{"backslash in comment", "a # c:\\docs\nb\nc", "1:a|1:b|3:c"},
		{"continuation", "a \\\n b \\\r\n c\nd", "1:a|1:b|1:c|4:d"},
		{"continuation in a word", "a\\\nb\nc", "1:a|1:b|3:c"},
		{"backslash and letter", `un\x \\y`, `1:un\x|1:\\y`},
		{"backslash and less-than", `a\<b \<<END <\<E`, "1:a<b|1:<<END|1:<<E"},
		{"backslash and space", `a\ b`, "1:a|1:b"},
		{"backslash, space, word", `\ b`, `1:\b`},
		{"backslash, space, newline", "a \\ \nb", "1:a|1:b"},
		{"word, backslash, space, newline", "a\\ \nb", "1:a|2:b"},
		{"escaped opening quote", `\""" \"abc" \` + "`x`", `1:""|1:"\abc|1:` + "`x"},
		{"backslash at the end", `a \`, "1:a"},
		{"backslash at the end of a word", `a\`, "1:a"},
		{"quotes", `"a b" "x\"y" "\n\\ \t" "#{` + "`" + `"`, `1:"a b|1:"x"y|1:"\n\\ \t|1:"#{` + "`"},
		{"quote over lines", "\"a\nb\" c\nd", "1:\"a\nb|2:c|3:d"},
		{"text after a quote", `"foo"bar`, `1:"foo|1:bar`},
		{"quote in a word", `foo"bar baz"`, `1:foo"bar|1:baz"`},
		{"empty quotes", `a "" ` + "``", "1:a|1:\"|1:`"},
		{"backticks", "`a\\`b", "1:`a\\|1:b"},
		{"unterminated", "a \"b c\n", "1:a|1:b c\n"},
		{"unterminated and empty", `a "`, "1:a"},
		{"unterminated, backslash last", `a "b\`, "1:a|1:b"},
		{"unterminated, escaped", `a "b\"\\`, `1:a|1:b"\\`},
		{"braces", "{ } {} {a} {a \"{\" `}`", "1:{|1:}|1:{}|1:{a}|1:{a|1:\"{|1:`}"},
		{"heredoc", "a <<E\n\tx\n\t  y\n\tE 201\nb", "1:a|1:<x\n  y|4:201|5:b"},
		{"heredoc CR", "a <<E\r\n x\ry\r\n E\r\nb", "1:a|1:<xy|4:b"},
		{"heredoc blank lines", "<<E\n  a\n\n\r\n  b\n\n  E", "1:<a\n\n\nb\n"},
		{"heredoc ends in a word", "<<END\na\nWEEKEND", "!mismatched leading whitespace in heredoc <<END on line #2 [a], expected whitespace [WEEK]"},
		{"heredoc marker inside", "<<END\nxENDy\nEND", "!text before the closing marker of heredoc <<END on line #2 [x]"},
		{"heredoc empty", "<<E\nE x\ny", "1:<|2:x|3:y"},
		{"heredoc of a blank line", "<<E\n\nE x", "1:<|3:x"},
		{"heredoc after continuation", "a \\\n<<E\nx\nE b\nc", "1:a|1:<x|4:b|5:c"},
		{"heredoc no newline", "a <<EOF", "1:a|1:<<EOF"},
		{"heredoc with space", "a <<EOF foo\nb", "1:a|1:<<EOF|1:foo|2:b"},
		{"one less-than", "<EOF\nx", "1:<EOF|2:x"},
		{"not at the start", "a<<EOF\nx", "1:a<<EOF|2:x"},
		{"quote closed, then heredoc", "\"a\"<<E\nb\nE", "1:\"a|1:<b"},
		{"empty file", "", "!EOF"},
		{"no marker", "a\nb <<\n", "!missing opening heredoc marker on line #2; must contain only alphanumeric characters, dashes and underscores; got empty string"},
		{"three", "a <<<EOF\nx\nEOF\n", "!too many '<' for heredoc on line #1; only use two, for example <<END"},
		{"marker", "a <<E$F\nx\nE$F\n", "!heredoc marker on line #1 must contain only alphanumeric characters, dashes and underscores; got 'E$F'"},
		{"marker with tab", "a <<EOF\t\nx\nEOF\n", "!heredoc marker on line #1 must contain only alphanumeric characters, dashes and underscores; got 'EOF\t'"},
		{"incomplete", "a <<EOF\n\tx\n", "!incomplete heredoc <<EOF on line #3, expected ending marker EOF, at F:1"},
		{"incomplete and empty", "a <<EOF\n", "!incomplete heredoc <<EOF on line #2, expected ending marker EOF"},
		{"padding", ":80\nrespond <<EOF\n\ta\n  EOF", "!mismatched leading whitespace in heredoc <<EOF on line #3 [\ta], expected whitespace [  ] to match the closing marker"},
		{"padding of text", ":80\n\nhandle {\n    respond <<EOF\n    Hello\n# missing EOF marker\n}", "!mismatched leading whitespace in heredoc <<EOF on line #5 [    Hello], expected whitespace [# missing ] to match the closing marker"},
		{"too little padding", "<<E\n\ta\n \n\tE", "!mismatched leading whitespace in heredoc <<E on line #3 [ ], expected whitespace [\t] to match the closing marker"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tokens, err := Lex(c.in, &Origin{File: "F"})
			if want, ok := strings.CutPrefix(c.want, "!"); ok {
				if err == nil || !strings.HasPrefix(err.Error(), want) {
					t.Fatalf("got %v, %v\nwant error %s", show(tokens), err, want)
				}
				if !strings.Contains(err.Error(), ", at F:") {
					t.Errorf("no place in %q", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := show(tokens); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestSameLine(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"a b\nc", "a b/c"},
		{"\"a\nb\" c\nd", "a\nb c/d"},
		{"a <<E\nx\nE b\nc", "a x b/c"},
		{"a <<E\nE\nc", "a /c"},
		{"a \\\n b\nc", "a b/c"},
		{"a \\\n \"x\ny\" b\nc", "a x\ny b/c"},
	} {
		tokens, err := Lex(c.in, &Origin{})
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		for i, tok := range tokens {
			if i > 0 {
				if tokens[i-1].SameLine(tok) {
					out.WriteByte(' ')
				} else {
					out.WriteByte('/')
				}
			}
			out.WriteString(tok.Text)
		}
		if out.String() != c.want {
			t.Errorf("%q: got %q, want %q", c.in, out.String(), c.want)
		}
	}
}

func TestSubstitute(t *testing.T) {
	env := map[string]string{"A": "one two", "EMPTY": "", "SPAN": "{$A}"}
	lookup := func(n string) (string, bool) { v, ok := env[n]; return v, ok }
	for in, want := range map[string]string{
		"x{$A}y":                "xone twoy",
		"{$B:d:e \"f\"\n}":      "d:e \"f\"\n",
		"{$A:d}":                "one two",
		"{$EMPTY:d}|{$B}|":      "||",
		"{$B:{$A}}":             "{$A}",
		"{$}{$A}":               "{$}one two",
		"{$SPAN}":               "{$A}",
		"{$A":                   "{$A",
		"{$:x}":                 "x",
		"# {$A} \"{$A}\" plain": "# one two \"one two\" plain",
	} {
		if got := substitute(in, lookup); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	if got := substitute("{$A:d}", nil); got != "d" {
		t.Errorf("without an environment: %q", got)
	}
}

func TestTokenRawAndScalar(t *testing.T) {
	tokens, err := Lex("\"a\" `b` c 12 1.5 t 0x10 \"12\" 1e3 false", &Origin{})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{`"a"`, "`b`", "c"} {
		if got := tokens[i].Raw(); got != want {
			t.Errorf("Raw: got %s, want %s", got, want)
		}
	}
	for i, want := range []any{"a", "b", "c", 12, 1.5, true, "0x10", "12", 1000.0, false} {
		if got, err := tokens[i].Scalar(); got != want || err != nil {
			t.Errorf("Scalar %q: got %v, %v", tokens[i].Text, got, err)
		}
	}
	if _, err := (Token{Text: "NaN"}).Scalar(); err == nil {
		t.Error("NaN was accepted")
	}
}
