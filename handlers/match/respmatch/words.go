package respmatch

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/config/caddyfile"
)

// Words reads the criteria that follow d's current token, "match" or the name
// of a matcher, into c: one on the same line, or a block of them.
func (c *Config) Words(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return c.criterion(d)
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := c.criterion(d); err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) criterion(d *caddyfile.Dispenser) error {
	switch name := d.Val(); name {
	case "status":
		if err := c.statuses(d); err != nil {
			return err
		}
		return noBlock(d, name)
	case "header":
		return HeaderWords(d, &c.Headers)
	default:
		return d.Token().Errf("unrecognized response matcher %s", caddyfile.Shorten(name)).Suggest(name, []string{"status", "header"})
	}
}

func (c *Config) statuses(d *caddyfile.Dispenser) error {
	args := d.RemainingArgTokens()
	if len(args) == 0 && !d.OpensBlock() {
		return d.ArgErr()
	}
	for _, a := range args {
		n, err := ParseStatus(a.Text)
		if err != nil {
			return a.Wrap(err)
		}
		c.StatusCode = append(c.StatusCode, n)
	}
	return nil
}

func noBlock(d *caddyfile.Dispenser, matcher string) error {
	if d.OpensBlock() {
		return d.Errf("malformed %s matcher: blocks are not supported", matcher)
	}
	return nil
}

// ParseStatus reads a status or, as in "5xx", the first digit of a class.
func ParseStatus(text string) (int, error) {
	number := text
	if len(text) == 3 && strings.HasSuffix(text, "xx") {
		number = text[:1]
	}
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 {
		return 0, &badStatus{text}
	}
	return n, nil
}

type badStatus struct{ text string }

// Error names the value.
func (e *badStatus) Error() string {
	return "bad status value '" + caddyfile.Shorten(e.text) + "'; it is a number such as 404, or a class such as 5xx"
}

// HeaderWords reads the field and value that follow "header", d's current
// token: the syntax of the header matchers of requests and responses. Values of
// a field that is there already are added to it.
func HeaderWords(d *caddyfile.Dispenser, fields *map[string][]string) error {
	if *fields == nil {
		*fields = map[string][]string{}
	}
	if err := headerWords(d, *fields); err != nil {
		return err
	}
	return noBlock(d, "header")
}

const fieldAndValue = "malformed header matcher: expected both field and value"

func headerWords(d *caddyfile.Dispenser, fields map[string][]string) error {
	if !d.NextArg() {
		return incomplete(d)
	}
	if name, ok := strings.CutPrefix(d.Val(), "!"); ok {
		if name == "" {
			return d.Errf("malformed header matcher: must have field name following ! character")
		}
		fields[name] = nil
		if d.NextArg() {
			return d.Errf("malformed header matcher: null matching headers cannot have a field value")
		}
		return nil
	}
	field := http.CanonicalHeaderKey(d.Val())
	if !d.NextArg() {
		return incomplete(d)
	}
	fields[field] = append(fields[field], d.Val())
	if d.NextArg() {
		return d.Errf("%s; a line takes one value, and further ones are lines of their own", fieldAndValue)
	}
	return nil
}

func incomplete(d *caddyfile.Dispenser) error {
	if err := noBlock(d, "header"); err != nil {
		return err
	}
	return d.Errf("%s", fieldAndValue)
}
