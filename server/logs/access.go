package logs

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/schema"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// AccessConfig is the `logs` object of a server. If it is present, even empty,
// requests are logged.
type AccessConfig struct {
	// DefaultLoggerName is put behind "http.log.access." to name the logger for
	// hosts without an entry of their own. Default: "http.log.access" alone.
	DefaultLoggerName string `json:"default_logger_name"`
	// LoggerNames gives hosts a logger name of their own, or several; with
	// several, each gets an entry. Hosts are written without a port, and "*"
	// stands for one label from the left. The empty name is "http.log.access".
	LoggerNames map[string]LoggerNames `json:"logger_names"`
	// SkipHosts are hosts whose requests are not logged; "*" stands for one
	// label from the left. Placeholders such as {env.X} are replaced at load.
	SkipHosts []string `json:"skip_hosts"`
	// SkipUnmappedHosts logs only requests to hosts in logger_names.
	SkipUnmappedHosts bool `json:"skip_unmapped_hosts"`
	// ShouldLogCredentials shows the values of Cookie, Set-Cookie, Authorization
	// and Proxy-Authorization headers, which are REDACTED otherwise.
	ShouldLogCredentials bool `json:"should_log_credentials"`
	// Trace logs each handler that a request runs through, at level DEBUG.
	Trace bool `json:"trace"`
}

// LoggerNames is one logger name, or several: a string or an array of strings
// in JSON.
type LoggerNames []string

// JSONShape is a string or an array of strings.
func (LoggerNames) JSONShape() schema.Schema {
	return schema.Schema{"anyOf": []any{
		map[string]any{"type": "string"},
		map[string]any{"type": "array", "items": map[string]any{"type": "string"}},
	}}
}

// DecodeNode reads either form.
func (l *LoggerNames) DecodeNode(n *config.Node) (any, error) {
	bad := schema.Problems{{Message: "logger names must be a string or an array of strings", Expected: "a string or an array of strings"}}
	switch n.Kind() {
	case config.String:
		*l = LoggerNames{n.Str()}
	case config.Array:
		*l = make(LoggerNames, 0, n.Len())
		for i, e := range n.Elements() {
			if e.Kind() != config.String {
				bad[0].Pointer = "/" + strconv.Itoa(i)
				return nil, bad
			}
			*l = append(*l, e.Str())
		}
	default:
		return nil, bad
	}
	return n.ToGo(), nil
}

const (
	accessName = "http.log.access"
	errorName  = "http.log.error"
	traceName  = "http.log.trace"
)

// Access is the compiled access log of a server. A nil one is off. It is
// immutable and safe for concurrent use.
type Access struct {
	names        hosts[names] // case-sensitive
	mapped       hosts[bool]  // the same patterns in lower case
	skipped      hosts[bool]
	skipUnmapped bool
	credentials  bool
	trace        bool
	byDefault    names
}

// names are the loggers of a host.
type names struct{ access, errors []string }

func namesOf(suffixes []string) names {
	var n names
	for _, s := range suffixes {
		n.access = append(n.access, suffixed(accessName, s))
		n.errors = append(n.errors, suffixed(errorName, s))
	}
	return n
}

func suffixed(base, suffix string) string {
	if suffix == "" {
		return base
	}
	return base + "." + suffix
}

// NewAccess compiles the `logs` object of a server. Expand replaces load-time
// placeholders; nil leaves texts as they are. The error is a schema.Problems.
func NewAccess(c *AccessConfig, expand func(string) string) (*Access, error) {
	a := &Access{
		skipUnmapped: c.SkipUnmappedHosts,
		credentials:  c.ShouldLogCredentials,
		trace:        c.Trace,
		byDefault:    namesOf([]string{c.DefaultLoggerName}),
	}
	var ps schema.Problems
	for _, host := range slices.Sorted(maps.Keys(c.LoggerNames)) {
		if _, _, err := net.SplitHostPort(host); err == nil {
			ps = append(ps, schema.Problem{Pointer: config.JoinPointer("", "logger_names", host), Message: "logger name must not have a port: " + host, Found: host, Expected: withoutPort(host)})
			continue
		}
		name := withoutPort(host)
		a.names.add(name, namesOf(c.LoggerNames[host]))
		a.mapped.add(strings.ToLower(name), true)
	}
	for _, host := range c.SkipHosts {
		if expand != nil {
			host = expand(host)
		}
		if host != "" {
			a.skipped.add(strings.ToLower(host), true)
		}
	}
	if len(ps) > 0 {
		return nil, ps
	}
	return a, nil
}

// Enabled reports whether requests with this Host, with or without a port, are
// logged.
func (a *Access) Enabled(host string) bool {
	if a == nil {
		return false
	}
	host = strings.ToLower(withoutPort(host))
	if _, ok := a.mapped.find(host); ok {
		return true
	}
	if _, ok := a.skipped.find(host); ok {
		return false
	}
	return !a.skipUnmapped
}

// Credentials reports whether credentials may be logged.
func (a *Access) Credentials() bool { return a != nil && a.credentials }

// Trace reports whether each handler is to be logged, with LogTrace.
func (a *Access) Trace() bool { return a != nil && a.trace }

// Names returns the names of the access loggers for a request to host. The
// result must not be changed.
func (a *Access) Names(x *handlers.Exchange, host string) []string {
	if list, ok := chosen(x); ok {
		return suffixAll(accessName, list)
	}
	return a.of(host).access
}

// errorNames is Names for errors. An error always has a logger.
func (a *Access) errorNames(x *handlers.Exchange, host string) []string {
	list, ok := chosen(x)
	if !ok {
		list = a.of(host).errors
	} else {
		list = suffixAll(errorName, list)
	}
	if len(list) == 0 {
		return []string{errorName}
	}
	return list
}

func (a *Access) of(host string) names {
	if a == nil {
		return names{}
	}
	if n, ok := a.names.find(withoutPort(host)); ok {
		return n
	}
	return a.byDefault
}

// chosen is what the variable access_logger_names says.
func chosen(x *handlers.Exchange) ([]string, bool) {
	switch v := x.Var("access_logger_names").(type) {
	case []string:
		return v, true
	case []any:
		var list []string
		for _, e := range v {
			if s, ok := e.(string); ok {
				list = append(list, s)
			}
		}
		return list, true
	}
	return nil, false
}

func suffixAll(base string, suffixes []string) []string {
	out := make([]string, len(suffixes))
	for i, s := range suffixes {
		out[i] = suffixed(base, s)
	}
	return out
}

// LogTrace logs that a request came to a handler: its module name, and its
// config. Servers whose Access says Trace call it.
func LogTrace(set *Set, handler string, node *config.Node) {
	if ce := set.Logger(traceName).Check(zapcore.DebugLevel, handler); ce != nil {
		ce.Write(zap.Reflect("module", node))
	}
}

// HeaderName is the field for the name of a header in entries about one.
func HeaderName(name string) zap.Field { return zap.String("header", name) }

// describeStatus is the message of an error that has nothing but a status.
func describeStatus(status int) string { return fmt.Sprintf("HTTP %d", status) }
