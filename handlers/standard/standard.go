// Package standard is the table of everything that ships: one line for each
// module, written by hand. A reader of this page knows the house.
package standard

import (
	"slices"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/clientip"
	"github.com/sluiceproxy/sluice/handlers/copyresponse"
	"github.com/sluiceproxy/sluice/handlers/encode"
	"github.com/sluiceproxy/sluice/handlers/errorhandler"
	"github.com/sluiceproxy/sluice/handlers/headers"
	"github.com/sluiceproxy/sluice/handlers/intercept"
	"github.com/sluiceproxy/sluice/handlers/invoke"
	"github.com/sluiceproxy/sluice/handlers/match"
	"github.com/sluiceproxy/sluice/handlers/match/expression"
	"github.com/sluiceproxy/sluice/handlers/push"
	"github.com/sluiceproxy/sluice/handlers/requestbody"
	"github.com/sluiceproxy/sluice/handlers/reverseproxy"
	"github.com/sluiceproxy/sluice/handlers/rewrite"
	"github.com/sluiceproxy/sluice/handlers/route"
	"github.com/sluiceproxy/sluice/handlers/setvars"
	"github.com/sluiceproxy/sluice/handlers/staticresponse"
	"github.com/sluiceproxy/sluice/handlers/subroute"
	"github.com/sluiceproxy/sluice/handlers/timeouts"
	"github.com/sluiceproxy/sluice/server"
	"github.com/sluiceproxy/sluice/server/logs"
)

// Specs lists every module but that of the admin endpoint, which stands on a
// higher floor. Handlers stand in the order in which the Caddyfile runs their
// directives.
func Specs() []module.Spec {
	return slices.Concat(
		server.Specs(),
		logs.Specs(),
		route.Specs(),
		[]module.Spec{
			setvars.Spec(),
			headers.Spec(),
			requestbody.Spec(),
			timeouts.Spec(),
			rewrite.Spec(),
		},
		encode.Specs(),
		[]module.Spec{
			push.Spec(),
			intercept.Spec(),
			invoke.Spec(),
			subroute.Spec(),
			errorhandler.Spec(),
			staticresponse.Spec(),
		},
		copyresponse.Specs(),
		reverseproxy.Specs(),
		match.Specs(),
		[]module.Spec{expression.Spec()},
		clientip.Specs(),
	)
}

// Refused lists the modules that are known by name but not available yet, each
// with what its user should know.
func Refused() map[string]string {
	const http = "this version serves HTTP only through the modules that `sluice list-modules` shows"
	out := map[string]string{}
	for _, id := range []string{
		"tls", "pki", "events", "caddy.filesystems", "layer4",
	} {
		out[id] = "apps beside http come with a later version"
	}
	for _, name := range []string{
		"acme_server", "authentication", "file_server",
		"log_append", "map", "metrics", "templates", "tracing",
	} {
		out["http.handlers."+name] = http
	}
	for _, name := range []string{"file", "tls"} {
		out["http.matchers."+name] = http
	}
	for _, id := range []string{
		"caddy.logging.writers.file", "caddy.logging.writers.net",
		"caddy.logging.encoders.filter", "caddy.logging.encoders.append", "caddy.logging.encoders.journald", "caddy.logging.cores.mock",
	} {
		out[id] = "use the writers stdout, stderr or discard and the encoders json or console"
	}
	for _, name := range []string{"srv", "a", "multi"} {
		out["http.reverse_proxy.upstreams."+name] = "list the upstreams in the document, and PATCH it when they change"
	}
	for _, name := range []string{"proxy_protocol", "tls", "http_redirect"} {
		out["caddy.listeners."+name] = "listener wrappers come with a later version"
	}
	out["caddy.storage.file_system"] = "certificates come with a later version, and with them their storage"
	out["http.reverse_proxy.transport.fastcgi"] = "only the http transport is available"
	return out
}
