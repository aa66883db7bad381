package standard

import (
	"slices"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/forwardauth"
	"github.com/sluiceproxy/sluice/handlers/phpfastcgi"
)

// Directives are the words of a Caddyfile that stand for several modules.
func Directives() []module.Directive {
	return slices.Concat(forwardauth.Directives(), phpfastcgi.Directives())
}

// DirectiveOrder is the order in which handlers run, whatever the order of their
// directives in the text.
func DirectiveOrder() []string {
	return []string{
		"tracing", "map", "vars", "fs", "root", "log_append", "skip_log", "log_skip", "log_name",
		"header", "copy_response_headers", "request_body", "timeouts",
		"redir",
		"method", "rewrite", "uri", "try_files",
		"rate_limit", "basicauth", "basic_auth", "forward_auth", "request_header", "encode", "push", "intercept", "templates",
		"invoke", "handle", "handle_path", "route",
		"abort", "error", "copy_response", "respond", "metrics", "mirror", "reverse_proxy", "php_fastcgi", "file_server", "acme_server",
	}
}

// RefusedDirectives are known, but not available yet; the text is for their
// user.
func RefusedDirectives() map[string]string {
	return nil
}
