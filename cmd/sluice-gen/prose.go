package main

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// lineWidth is where the text of pages is wrapped.
const lineWidth = 100

// codeParts finds what must stand in code quotes, because Markdown would take
// some of its characters for markup: what is quoted already, texts in double
// quotes, placeholders, and words with special characters.
var codeParts = regexp.MustCompile("`[^`]*`|\"[^\"]{1,60}\"|\\{[^{}\\s]*\\}|[^\\s\"{}`]*[*_<>^$|\\\\%][^\\s\"`]*")

// markdown makes a comment safe to show in Markdown.
func markdown(text string) string {
	return codeParts.ReplaceAllStringFunc(text, func(part string) string {
		if part[0] == '`' || part == "%" {
			return part
		}
		// Punctuation around a word is not part of it.
		word := part
		if !strings.HasPrefix(part, "(?") {
			word = strings.TrimLeft(part, "(")
		}
		lead := part[:len(part)-len(word)]
		end := len(strings.TrimRight(word, ".,;:"))
		if strings.HasSuffix(word[:end], ")") && !strings.Contains(word, "(") {
			end = len(strings.TrimRight(word, ".,;:)"))
		}
		if end == 0 {
			return part
		}
		return lead + "`" + word[:end] + "`" + word[end:]
	})
}

// sentence turns a Go comment, which begins with the name of what it is about,
// into prose about a field that is called name in JSON.
func sentence(comment, goName, name string) string {
	rest, ok := strings.CutPrefix(comment, goName)
	if !ok || rest == "" || (rest[0] != ' ' && rest[0] != ',') {
		return comment
	}
	verb, after, _ := strings.Cut(strings.TrimPrefix(rest, " "), " ")
	switch {
	case verb == "is" || verb == "are":
		return capital(after)
	case verb == "of" || verb == "after":
		return "The " + lower(comment) // what it is says the name itself: "Method of the request"
	case rest[0] == ' ' && strings.HasSuffix(verb, "s") && !strings.HasSuffix(verb, "ss"):
		return capital(verb + " " + after)
	}
	return "`" + name + "`" + rest
}

func lower(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToLower(r)) + s[n:]
}

func capital(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + s[n:]
}

// defaultPart finds "Default: X." or "Default: X; more".
var defaultPart = regexp.MustCompile(`Default: (.+?)(\.(?:\s|$)|;\s)`)

// longestDefault is what still fits beside the type of a field.
const longestDefault = 40

// cutDefault takes a short default out of a text.
func cutDefault(text string) (rest, def string) {
	at := defaultPart.FindStringSubmatchIndex(text)
	if at == nil || at[3]-at[2] > longestDefault {
		return text, ""
	}
	def = text[at[2]:at[3]]
	rest = text[at[1]:]
	if text[at[4]] == ';' {
		rest = capital(rest)
	}
	return strings.TrimSpace(text[:at[0]] + rest), def
}

// withoutSubject drops the first sentence of a type's comment if it is so short
// that it only says which type it is.
func withoutSubject(comment string) string {
	first, rest, _ := strings.Cut(comment, ". ")
	if len(first) < 40 && !strings.Contains(first, ":") {
		return rest
	}
	return comment
}

// wrap breaks text into lines that begin with indent. Code in back quotes is
// not broken.
func wrap(text, indent string) string {
	var b strings.Builder
	width := 0
	for _, word := range words(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case width == 0:
			b.WriteString(indent)
			width = len(indent)
		case width+1+n > lineWidth:
			b.WriteString("\n" + indent)
			width = len(indent)
		default:
			b.WriteByte(' ')
			width++
		}
		b.WriteString(word)
		width += n
	}
	b.WriteByte('\n')
	return b.String()
}

// words splits at spaces outside of code and links.
func words(text string) []string {
	var list []string
	code, link, start := false, 0, 0
	for i := range len(text) {
		switch text[i] {
		case '`':
			code = !code
		case '[':
			if !code {
				link++
			}
		case ']':
			if !code && link > 0 {
				link--
			}
		case ' ':
			if !code && link == 0 {
				if i > start {
					list = append(list, text[start:i])
				}
				start = i + 1
			}
		}
	}
	if start < len(text) {
		list = append(list, text[start:])
	}
	return list
}
