package staticresponse

import (
	"html"
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
)

// readRedir: redir [<matcher>] <to> [<code>]
func readRedir(u *module.Use, d *caddyfile.Dispenser) ([]any, error) {
	m, err := u.Match(d)
	if err != nil {
		return nil, err
	}
	args := d.RemainingArgTokens()
	switch {
	case len(args) == 0:
		return nil, d.ArgErr()
	case d.OpensBlock():
		d.Next()
		return nil, d.ArgErr()
	case len(args) > 2:
		d.Warnf("'%s' is ignored: redir takes at most 2 arguments", caddyfile.Shorten(args[2].Text))
	}
	to, code := args[0].Text, caddyfile.Token{Text: "temporary"}
	if len(args) > 1 {
		code = args[1]
	}
	if code.Text == "html" {
		return u.One(m, "static_response", &Config{
			StatusCode: "200",
			Headers:    map[string][]string{contentType: {"text/html; charset=utf-8"}},
			Body:       redirectPage(to),
		})
	}
	status, err := redirectStatus(code)
	if err != nil {
		return nil, err
	}
	return u.One(m, "static_response", &Config{StatusCode: status, Headers: map[string][]string{"Location": {to}}})
}

func redirectStatus(code caddyfile.Token) (module.WeakString, error) {
	switch {
	case code.Text == "temporary":
		return "302", nil
	case code.Text == "permanent":
		return "301", nil
	case strings.HasPrefix(code.Text, "{"):
		return module.WeakString(code.Text), nil
	}
	n, err := strconv.Atoi(code.Text)
	if err != nil {
		return "", code.Errf("Not a supported redir code type or not valid integer: '%s'", caddyfile.Shorten(code.Text)).
			Suggest(code.Text, []string{"temporary", "permanent", "html"})
	}
	if (n < 300 || n > 399) && n != 401 {
		return "", code.Errf("Redir code not in the 3xx range or 401: '%d'", n)
	}
	return module.WeakString(code.Text), nil
}

// redirectPage has no braces of its own, since the body of a response may hold
// placeholders. The script takes the target from the link, where it is escaped.
func redirectPage(to string) string {
	return strings.ReplaceAll(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Redirecting</title>
<meta http-equiv="refresh" content="0; url=TARGET">
</head>
<body>
<p>This page is at <a id="to" href="TARGET">TARGET</a>.</p>
<script>window.location.replace(document.getElementById("to").href)</script>
</body>
</html>
`, "TARGET", html.EscapeString(to))
}
