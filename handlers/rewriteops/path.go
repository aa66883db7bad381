package rewriteops

import (
	"net/url"
	"regexp"
	"strings"

	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/internal/urlpath"
)

type substring struct {
	find, replace vars.Text
	merge         bool
	limit         int
}

func newSubstring(cfg Substring) substring {
	s := substring{vars.Parse(cfg.Find), vars.Parse(cfg.Replace), !strings.Contains(cfg.Find, "//"), cfg.Limit}
	if s.limit <= 0 {
		s.limit = -1
	}
	return s
}

type pathRegexp struct {
	find    *regexp.Regexp
	replace vars.Text
}

// changePath applies what changes a path, and the query where that is done
// alike.
func (c *Compiled) changePath(u *url.URL, s vars.Scope) {
	if c.prefix != nil {
		if prefix := c.prefix.Expand(s, vars.All, ""); prefix != "" {
			if prefix[0] != '/' {
				prefix = "/" + prefix
			}
			merge := !strings.Contains(prefix, "//")
			modify(u, func(p string) string { return stripPrefix(urlpath.Clean(p, merge), prefix) })
		}
	}
	if c.suffix != nil {
		if suffix := c.suffix.Expand(s, vars.All, ""); suffix != "" {
			merge := !strings.Contains(suffix, "//")
			modify(u, func(p string) string { return stripSuffix(urlpath.Clean(p, merge), suffix) })
		}
	}
	for i := range c.substrings {
		c.substrings[i].apply(u, s)
	}
	for i := range c.regexps {
		re := &c.regexps[i]
		with := re.replace.Expand(s, vars.All, "")
		modify(u, func(p string) string { return re.find.ReplaceAllString(p, with) })
	}
}

func (t *substring) apply(u *url.URL, s vars.Scope) {
	find := t.find.Expand(s, vars.All, "")
	if find == "" {
		return
	}
	with := t.replace.Expand(s, vars.All, "")
	modify(u, func(p string) string {
		return strings.Replace(urlpath.Clean(p, t.merge), find, with, t.limit)
	})
	u.RawQuery = strings.Replace(u.RawQuery, find, with, t.limit)
}

// modify changes the escaped path, or, where that gives no path, the decoded
// one. The escaped form is kept only if it cannot be derived.
func modify(u *url.URL, change func(string) string) {
	before := u.EscapedPath()
	raw := change(before)
	if raw == before {
		return
	}
	decoded, err := url.PathUnescape(raw)
	if err != nil || decoded == "" {
		u.Path, u.RawPath = change(u.Path), ""
		return
	}
	u.Path, u.RawPath = decoded, ""
	if u.EscapedPath() != raw {
		u.RawPath = raw
	}
}

// stripPrefix compares without regard to case. An escape in the path counts as
// its character, unless the prefix has an escape there.
func stripPrefix(path, prefix string) string {
	i := 0
	for j := range len(prefix) {
		if i >= len(path) {
			return path
		}
		c := path[i]
		i++
		if c == '%' && prefix[j] != '%' {
			if i+2 > len(path) {
				return path
			}
			one, err := url.PathUnescape(path[i-1 : i+2])
			if err != nil {
				return path
			}
			c = one[0]
			i += 2
		}
		if lower(c) != lower(prefix[j]) {
			return path
		}
	}
	return path[i:]
}

func stripSuffix(path, suffix string) string {
	if at := len(path) - len(suffix); at >= 0 && strings.EqualFold(path[at:], suffix) {
		return path[:at]
	}
	return path
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
