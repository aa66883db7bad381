package match

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/schema"
)

// maxRequestPattern is the longest pattern that values of a request may make.
const maxRequestPattern = 1 << 10

// Setup is what a function that makes a matcher may need.
type Setup struct {
	// Env is that of the module being compiled. It is nil while a request is
	// served: then the function is set up with values of the request.
	Env *module.Env
	// Name is the default name for regular expressions.
	Name string
}

// Function is a matcher as expressions call it. Its arguments are texts:
// literals, placeholders, and sums of both.
type Function struct {
	// Min and Max say how many texts it takes; a negative Max is any number.
	Min, Max int
	// Object says that it takes one object of texts or lists of texts. If Max is
	// not 0 it takes either.
	Object bool
	// Expands says that the matcher expands placeholders in its texts, and
	// ExpandsKeys that it does in the keys of its object. There values of
	// placeholders must be escaped, so that they are not expanded once more.
	Expands, ExpandsKeys bool
	// Deferred leaves placeholders to the matcher: it gets them as {name}, once,
	// when the expression is compiled.
	Deferred bool
	// Make makes the matcher.
	Make func(s Setup, c Call) (handlers.Matcher, error)
}

// Call is the arguments of a Function.
type Call struct {
	// Texts are the arguments of a call with texts.
	Texts []string
	// Object is the argument of a call with an object, else nil.
	Object map[string][]string
}

// Functions are the matchers that expressions may call, by name.
func Functions() map[string]Function { return functions }

var functions = map[string]Function{
	"path": {Min: 1, Max: -1, Expands: true, Make: func(_ Setup, c Call) (handlers.Matcher, error) {
		return compilePath(nil, (*PathConfig)(&c.Texts))
	}},
	"host": {Min: 1, Max: -1, Expands: true, Make: hostFunction},
	"method": {Min: 1, Max: -1, Make: func(_ Setup, c Call) (handlers.Matcher, error) {
		return method(c.Texts), nil
	}},
	"protocol": {Min: 1, Max: 1, Make: func(_ Setup, c Call) (handlers.Matcher, error) {
		cfg := ProtocolConfig(strings.ToLower(c.Texts[0]))
		return compileProtocol(nil, &cfg)
	}},
	"remote_ip": {Min: 1, Max: -1, Make: func(s Setup, c Call) (handlers.Matcher, error) {
		if slices.Contains(c.Texts, "forwarded") {
			return nil, fmt.Errorf("'forwarded' is no longer supported; use client_ip instead")
		}
		set, err := IPRanges{c.Texts}.compile(s.Env)
		return &remoteIP{set}, err
	}},
	"client_ip": {Min: 1, Max: -1, Make: func(s Setup, c Call) (handlers.Matcher, error) {
		set, err := IPRanges{c.Texts}.compile(s.Env)
		return &clientIP{set}, err
	}},
	"header": {Object: true, Expands: true, Make: func(_ Setup, c Call) (handlers.Matcher, error) {
		return compileHeader(nil, (*HeaderConfig)(&c.Object))
	}},
	"query": {Object: true, Expands: true, ExpandsKeys: true, Make: func(_ Setup, c Call) (handlers.Matcher, error) {
		return compileQuery(nil, (*QueryConfig)(&c.Object))
	}},
	"vars": {Object: true, Expands: true, Make: func(_ Setup, c Call) (handlers.Matcher, error) {
		return compileVars(nil, (*VarsConfig)(&c.Object))
	}},
	"path_regexp": {Min: 1, Max: 2, Make: func(s Setup, c Call) (handlers.Matcher, error) {
		p, err := regexpOf(s, c.Texts)
		return pathRegexp{p}, err
	}},
	"header_regexp": {Min: 2, Max: 3, Make: func(s Setup, c Call) (handlers.Matcher, error) {
		k, err := keyedRegexpOf(s, c.Texts, http.CanonicalHeaderKey)
		return headerRegexp(k), err
	}},
	"vars_regexp": {Min: 2, Max: 3, Make: func(s Setup, c Call) (handlers.Matcher, error) {
		k, err := keyedRegexpOf(s, c.Texts, variable)
		return varsRegexp(k), err
	}},
	"url_pattern": {Min: 1, Max: 2, Make: urlPatternFunction},
	"file":        {Min: 0, Max: -1, Object: true, Deferred: true, Make: fileFunction},
}

// hostFunction takes equal values of placeholders for one.
func hostFunction(s Setup, c Call) (handlers.Matcher, error) {
	names := HostConfig(c.Texts)
	if s.Env == nil {
		slices.Sort(names)
		names = slices.Compact(names)
	}
	return compileHost(nil, &names)
}

// regexpOf reads "[<name>,] <pattern>".
func regexpOf(s Setup, texts []string) (*pattern, error) {
	last := len(texts) - 1
	cfg := Regexp{Name: s.Name, Pattern: texts[last]}
	if last > 0 && texts[0] != "" {
		cfg.Name = texts[0]
	}
	if s.Env == nil && len(cfg.Pattern) > maxRequestPattern {
		return nil, fmt.Errorf("the pattern has %d bytes, more than %d", len(cfg.Pattern), maxRequestPattern)
	}
	p, problem := cfg.compile("")
	if problem != nil {
		return nil, schema.Problems{*problem}
	}
	return p, nil
}

// keyedRegexpOf reads "[<name>,] <key>, <pattern>".
func keyedRegexpOf(s Setup, texts []string, rename func(string) string) ([]keyed, error) {
	last := len(texts) - 1
	p, err := regexpOf(s, append(texts[:last-1:last-1], texts[last]))
	return []keyed{{rename(texts[last-1]), p}}, err
}

func urlPatternFunction(s Setup, c Call) (handlers.Matcher, error) {
	if s.Env == nil && len(strings.Join(c.Texts, "")) > maxRequestPattern {
		return nil, fmt.Errorf("the pattern has more than %d bytes", maxRequestPattern)
	}
	cfg := URLPatternConfig{Pattern: c.Texts[0]}
	if len(c.Texts) > 1 {
		cfg.BaseURL = c.Texts[1]
	}
	return compileURLPattern(nil, &cfg)
}

// fileFunction makes a module of its own, since this package does not know the
// matcher.
func fileFunction(s Setup, c Call) (handlers.Matcher, error) {
	cfg := map[string]any{}
	if len(c.Texts) > 0 {
		cfg["try_files"] = anys(c.Texts)
	}
	for key, values := range c.Object {
		switch key {
		case "root", "try_policy":
			if len(values) != 1 {
				return nil, fmt.Errorf("%s must be one text", key)
			}
			cfg[key] = values[0]
		case "try_files", "split_path":
			cfg[key] = anys(values)
		default:
			return nil, fmt.Errorf("unknown key %q; the keys are root, try_files, try_policy and split_path", key)
		}
		if key == "split_path" && slices.ContainsFunc(values, func(v string) bool { return strings.Contains(v, "{") }) {
			return nil, fmt.Errorf("split_path cannot hold placeholders")
		}
	}
	node, err := config.FromGo(cfg)
	if err != nil {
		return nil, err
	}
	v, err := s.Env.Make("http.matchers.file", node)
	if err != nil {
		return nil, err
	}
	m, ok := v.(handlers.Matcher)
	if !ok {
		return nil, fmt.Errorf("http.matchers.file is not a matcher")
	}
	return m, nil
}

func anys(texts []string) []any {
	out := make([]any, len(texts))
	for i, t := range texts {
		out[i] = t
	}
	return out
}

// warn tells of what is likely not meant, if there is somebody to tell.
func warn(env *module.Env, pointer, message string) {
	if env != nil {
		env.Warn(pointer, message)
	}
}
