package match

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
)

// ProtocolConfig is the name of a protocol: "http" (without TLS), "https",
// "grpc" (by Content-Type), "http/1.0", "http/1.1", "http/2" or "http/3"; a "+"
// behind a version means that version or a newer one. Any other value matches
// nothing.
type ProtocolConfig string

func protocolSpec() module.Spec {
	return module.New("http.matchers.protocol", "Matches the protocol of a request.", nil, compileProtocol, module.Words(protocolWords),
		module.Examples(
			module.Example{Title: "Requests over TLS", JSON: `"https"`},
			module.Example{Title: "HTTP/2 and newer", JSON: `"http/2+"`},
		))
}

type protocol func(r *http.Request) bool

// Match implements handlers.Matcher.
func (m protocol) Match(r *http.Request) (bool, error) { return m(r), nil }

func compileProtocol(env *module.Env, cfg *ProtocolConfig) (handlers.Matcher, error) {
	switch *cfg {
	case "http":
		return protocol(func(r *http.Request) bool { return r.TLS == nil }), nil
	case "https":
		return protocol(func(r *http.Request) bool { return r.TLS != nil }), nil
	case "grpc":
		return protocol(func(r *http.Request) bool {
			return strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc")
		}), nil
	case "http/1.0", "http/1.1":
		minor := int((*cfg)[len(*cfg)-1] - '0')
		return protocol(func(r *http.Request) bool { return r.ProtoMajor == 1 && r.ProtoMinor == minor }), nil
	case "http/2", "http/3":
		major := int((*cfg)[len(*cfg)-1] - '0')
		return protocol(func(r *http.Request) bool { return r.ProtoMajor == major }), nil
	case "http/1.0+":
		return protocol(func(r *http.Request) bool { return r.ProtoAtLeast(1, 0) }), nil
	case "http/1.1+":
		return protocol(func(r *http.Request) bool { return r.ProtoAtLeast(1, 1) }), nil
	case "http/2+":
		return protocol(func(r *http.Request) bool { return r.ProtoAtLeast(2, 0) }), nil
	case "http/3+":
		return protocol(func(r *http.Request) bool { return r.ProtoAtLeast(3, 0) }), nil
	}
	warn(env, "", "no request has the protocol "+strconv.Quote(string(*cfg))+"; known are http, https, grpc, http/1.0, http/1.1, http/2, http/3, and versions with a +")
	return protocol(func(*http.Request) bool { return false }), nil
}
