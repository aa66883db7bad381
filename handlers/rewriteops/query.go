package rewriteops

import (
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/schema"
)

type query struct {
	rename, set, add []keyValue
	replace          []queryReplacement
	remove           []vars.Text
}

type keyValue struct{ key, val vars.Text }

type queryReplacement struct {
	key, search, with vars.Text
	regexp            *regexp.Regexp
}

func compileQuery(cfg *Query) (*query, schema.Problems) {
	if cfg == nil {
		return nil, nil
	}
	q := &query{rename: keyValues(cfg.Rename), set: keyValues(cfg.Set), add: keyValues(cfg.Add)}
	var problems schema.Problems
	for i, r := range cfg.Replace {
		c := queryReplacement{key: vars.Parse(r.Key), search: vars.Parse(r.Search), with: vars.Parse(r.Replace)}
		if r.SearchRegexp != "" {
			re, err := regexp.Compile(r.SearchRegexp)
			if err != nil {
				problems = append(problems, invalidRegexp("/query/replace/"+strconv.Itoa(i)+"/search_regexp", r.SearchRegexp, err))
			}
			c.regexp = re
		}
		q.replace = append(q.replace, c)
	}
	for _, key := range cfg.Delete {
		q.remove = append(q.remove, vars.Parse(key))
	}
	return q, problems
}

func keyValues(cfg []KeyValue) []keyValue {
	list := make([]keyValue, len(cfg))
	for i, kv := range cfg {
		list[i] = keyValue{vars.Parse(kv.Key), vars.Parse(kv.Val)}
	}
	return list
}

func (kv *keyValue) expand(s vars.Scope) (key, val string) {
	return kv.key.Expand(s, vars.All, ""), kv.val.Expand(s, vars.All, "")
}

func (q *query) apply(u *url.URL, s vars.Scope) {
	values := u.Query()
	for i := range q.rename {
		from, to := q.rename[i].expand(s)
		if old, ok := values[from]; ok && from != "" && to != "" && from != to {
			values[to] = old
			delete(values, from)
		}
	}
	for i := range q.set {
		key, val := q.set[i].expand(s)
		values[key] = []string{val}
	}
	for i := range q.add {
		key, val := q.add[i].expand(s)
		values[key] = append(values[key], val)
	}
	for i := range q.replace {
		q.replace[i].apply(values, s)
	}
	for _, key := range q.remove {
		delete(values, key.Expand(s, vars.All, ""))
	}
	u.RawQuery, u.ForceQuery = values.Encode(), false
}

func (r *queryReplacement) apply(values url.Values, s vars.Scope) {
	key := r.key.Expand(s, vars.All, "")
	search := r.search.Expand(s, vars.Known, "")
	with := r.with.Expand(s, vars.Known, "")
	in := func(list []string) {
		for i, v := range list {
			if r.regexp != nil {
				list[i] = r.regexp.ReplaceAllString(v, with)
			} else {
				list[i] = strings.ReplaceAll(v, search, with)
			}
		}
	}
	if key != "*" {
		in(values[key])
		return
	}
	for _, list := range values {
		in(list)
	}
}
