package fastcgi

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"

	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/internal/fsys"
)

// software is the name and the version of this program.
var software = sync.OnceValue(func() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return "sluice/" + info.Main.Version
	}
	return "sluice"
})

// variables returns what the application is told (section 13.3): what the request says, then its header, then the config.
// The config comes last, so that no client can take the place of an HTTP_ variable in it.
func (t *Transport) variables(r *http.Request, length int64) (map[string]string, error) {
	x := handlers.Of(r) // nil for a request that comes from no client
	scope := t.globals
	if x != nil {
		scope = x
	}
	root, err := t.documentRoot(scope)
	if err != nil {
		return nil, err
	}
	env := make(map[string]string, 40+len(r.Header)+len(t.env))
	env["AUTH_TYPE"] = ""
	env["GATEWAY_INTERFACE"] = "CGI/1.1"
	env["REMOTE_IDENT"] = ""
	env["REQUEST_METHOD"] = strings.ToUpper(r.Method)
	env["QUERY_STRING"] = r.URL.RawQuery
	env["SERVER_PROTOCOL"] = r.Proto
	env["SERVER_SOFTWARE"] = software()
	env["HTTP_HOST"] = r.Host
	env["CONTENT_LENGTH"] = strconv.FormatInt(length, 10)
	env["CONTENT_TYPE"] = contentType(r)
	env["REQUEST_URI"] = r.URL.RequestURI()
	env["REMOTE_USER"] = ""
	if x != nil {
		env["REQUEST_URI"] = x.Original.URL.RequestURI()
		env["REMOTE_USER"] = textOf(scope, "http.auth.user.id")
	}
	t.setScript(env, r, root, scope)
	setPeers(env, r)
	setHeader(env, r.Header)
	for _, v := range t.env {
		env[v.name] = v.value.Expand(scope, vars.All, "")
	}
	return env, nil
}

func (t *Transport) documentRoot(scope vars.Scope) (string, error) {
	root := t.root.Expand(scope, vars.All, "")
	if root == "" {
		root = "."
	}
	root, err := filepath.Abs(root)
	if err == nil && t.resolve {
		root, err = filepath.EvalSymlinks(root)
	}
	if err != nil {
		return "", fmt.Errorf("finding the root of the FastCGI application: %w", err)
	}
	return root, nil
}

func textOf(s vars.Scope, name string) string {
	v, _ := s.Lookup(name)
	return vars.ToString(v)
}

func contentType(r *http.Request) string {
	value := r.Header.Get("Content-Type")
	if value == "" && !bodiless(r.Method) && r.Method != http.MethodGet {
		return "application/x-www-form-urlencoded"
	}
	return value
}

// setScript says which script is meant.
func (t *Transport) setScript(env map[string]string, r *http.Request, root string, scope vars.Scope) {
	s := t.cut(r.URL.Path)
	if s.info == "" {
		s.info = textOf(scope, "http.matchers.file.remainder")
	}
	env["DOCUMENT_ROOT"] = root
	env["DOCUMENT_URI"] = s.uri
	env["SCRIPT_NAME"] = s.name
	env["SCRIPT_FILENAME"] = below(root, s.name)
	env["PATH_INFO"] = s.info
	if s.info != "" {
		env["PATH_TRANSLATED"] = below(root, s.info)
	}
}

// below returns where a path leads below root, never above it. A slash at the end stays.
func below(root, path string) string {
	name := fsys.Join(root, path)
	if strings.HasSuffix(path, "/") && !strings.HasSuffix(name, "/") {
		name += "/"
	}
	return name
}

// setPeers says who talks to whom.
func setPeers(env map[string]string, r *http.Request) {
	ip, port := splitHostPort(r.RemoteAddr)
	env["REMOTE_ADDR"], env["REMOTE_HOST"], env["REMOTE_PORT"] = ip, ip, port
	env["REQUEST_SCHEME"] = "http"
	standard := "80"
	if s := r.TLS; s != nil {
		env["REQUEST_SCHEME"], standard = "https", "443"
		env["HTTPS"] = "on"
		if name, ok := tlsNames[s.Version]; ok {
			env["SSL_PROTOCOL"] = name
		}
		env["SSL_CIPHER"] = tls.CipherSuiteName(s.CipherSuite)
	}
	host, port := splitHostPort(r.Host)
	if port == "" {
		port = standard
	}
	env["SERVER_NAME"], env["SERVER_PORT"] = host, port
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok {
		env["SERVER_ADDR"] = a.IP.String()
	}
}

// tlsNames is the versions of TLS as modules of other web servers write them.
var tlsNames = map[uint16]string{
	tls.VersionTLS10: "TLSv1",
	tls.VersionTLS11: "TLSv1.1",
	tls.VersionTLS12: "TLSv1.2",
	tls.VersionTLS13: "TLSv1.3",
}

// splitHostPort splits what may have no port. Brackets of IPv6 are dropped.
func splitHostPort(text string) (host, port string) {
	if host, port, err := net.SplitHostPort(text); err == nil {
		return host, port
	}
	return strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"), ""
}

// setHeader exports the header. Proxy is never exported (httpoxy). Where X-A and X_A both are there, which an application
// could not tell apart, the one with hyphens counts.
func setHeader(env map[string]string, h http.Header) {
	for name, values := range h {
		if values == nil {
			continue
		}
		key := "HTTP_" + strings.ReplaceAll(strings.ToUpper(name), "-", "_")
		if key == "HTTP_PROXY" {
			continue
		}
		if _, taken := env[key]; taken && strings.Contains(name, "_") {
			continue
		}
		env[key] = strings.Join(values, ", ")
	}
}
