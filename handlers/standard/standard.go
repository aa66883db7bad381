// Package standard is the table of everything that ships: one line for each
// module, written by hand. A reader of this page knows the house.
package standard

import (
	"slices"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/acmeserver"
	"github.com/sluiceproxy/sluice/handlers/authentication"
	"github.com/sluiceproxy/sluice/handlers/clientip"
	"github.com/sluiceproxy/sluice/handlers/copyresponse"
	"github.com/sluiceproxy/sluice/handlers/encode"
	"github.com/sluiceproxy/sluice/handlers/errorhandler"
	"github.com/sluiceproxy/sluice/handlers/filematch"
	"github.com/sluiceproxy/sluice/handlers/fileserver"
	"github.com/sluiceproxy/sluice/handlers/headers"
	"github.com/sluiceproxy/sluice/handlers/intercept"
	"github.com/sluiceproxy/sluice/handlers/invoke"
	"github.com/sluiceproxy/sluice/handlers/logappend"
	"github.com/sluiceproxy/sluice/handlers/maphandler"
	"github.com/sluiceproxy/sluice/handlers/match"
	"github.com/sluiceproxy/sluice/handlers/match/expression"
	"github.com/sluiceproxy/sluice/handlers/metricshandler"
	"github.com/sluiceproxy/sluice/handlers/mirror"
	"github.com/sluiceproxy/sluice/handlers/push"
	"github.com/sluiceproxy/sluice/handlers/ratelimit"
	"github.com/sluiceproxy/sluice/handlers/requestbody"
	"github.com/sluiceproxy/sluice/handlers/reverseproxy"
	"github.com/sluiceproxy/sluice/handlers/reverseproxy/fastcgi"
	"github.com/sluiceproxy/sluice/handlers/rewrite"
	"github.com/sluiceproxy/sluice/handlers/route"
	"github.com/sluiceproxy/sluice/handlers/setvars"
	"github.com/sluiceproxy/sluice/handlers/staticresponse"
	"github.com/sluiceproxy/sluice/handlers/subroute"
	"github.com/sluiceproxy/sluice/handlers/templates"
	"github.com/sluiceproxy/sluice/handlers/timeouts"
	"github.com/sluiceproxy/sluice/handlers/tracing"
	"github.com/sluiceproxy/sluice/server"
	"github.com/sluiceproxy/sluice/server/certstore"
	"github.com/sluiceproxy/sluice/server/configloader"
	"github.com/sluiceproxy/sluice/server/events"
	"github.com/sluiceproxy/sluice/server/logs"
	"github.com/sluiceproxy/sluice/server/logs/filtermod"
	"github.com/sluiceproxy/sluice/server/pki"
	"github.com/sluiceproxy/sluice/server/pki/pools"
	"github.com/sluiceproxy/sluice/server/proxyprotocol"
	"github.com/sluiceproxy/sluice/server/tls/automation"
	"github.com/sluiceproxy/sluice/server/tls/automation/loaders"
	"github.com/sluiceproxy/sluice/server/tls/automation/managers"
	"github.com/sluiceproxy/sluice/server/tls/automation/permission"
	"github.com/sluiceproxy/sluice/server/tls/automation/publishers"
	"github.com/sluiceproxy/sluice/server/tls/dnsproviders"
	"github.com/sluiceproxy/sluice/server/tls/handshake"
	"github.com/sluiceproxy/sluice/server/tls/issuance"
	"github.com/sluiceproxy/sluice/server/trust"
)

// Specs lists every module but that of the admin endpoint, which stands on a
// higher floor. Handlers stand in the order in which the Caddyfile runs their
// directives.
func Specs() []module.Spec {
	return slices.Concat(
		server.Specs(),
		logs.Specs(),
		filtermod.Specs(),
		route.Specs(),
		[]module.Spec{
			proxyprotocol.Spec(),
			tracing.Spec(),
			maphandler.Spec(),
			setvars.Spec(),
			logappend.Spec(),
			headers.Spec(),
			requestbody.Spec(),
			timeouts.Spec(),
			rewrite.Spec(),
			ratelimit.Spec(),
		},
		authentication.Specs(),
		[]module.Spec{},
		encode.Specs(),
		[]module.Spec{
			push.Spec(),
			intercept.Spec(),
			templates.Spec(),
			invoke.Spec(),
			subroute.Spec(),
			errorhandler.Spec(),
			staticresponse.Spec(),
		},
		copyresponse.Specs(),
		[]module.Spec{metricshandler.Spec()},
		[]module.Spec{mirror.Spec()},
		reverseproxy.Specs(),
		[]module.Spec{fastcgi.Spec()},
		trust.Specs(),
		certstore.Specs(),
		configloader.Specs(),
		events.Specs(),
		pki.Specs(),
		pools.Specs(),
		handshake.Specs(),
		dnsproviders.Specs(),
		issuance.Specs(),
		automation.Specs(),
		managers.Specs(),
		loaders.Specs(),
		[]module.Spec{permission.Spec()},
		publishers.Specs(),
		fileserver.Specs(),
		[]module.Spec{acmeserver.Spec()},
		match.Specs(),
		[]module.Spec{expression.Spec(), filematch.Spec()},
		clientip.Specs(),
	)
}

// Refused lists the modules that are known by name but not available yet, each
// with what its user should know.
func Refused() map[string]string {
	out := map[string]string{}
	out["layer4"] = "it proxies TCP and UDP, which comes with a later version"
	out["caddy.logging.cores.mock"] = "it is a core for tests only"
	return out
}
