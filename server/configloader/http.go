package configloader

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/schema"
	"golang.org/x/net/http/httpguts"
)

// HTTP is the loader http: it asks a web server for the configuration.
type HTTP struct {
	// Method is the HTTP method of the request. Placeholders such as {env.NAME} and {file./PATH} are filled in for each
	// request, in the URL and the header as well. Default: GET.
	Method string `json:"method"`
	// URL is where the configuration is, http:// or https://. It is read like the body of POST /load: by its content type
	// it is JSON or a Caddyfile.
	URL string `json:"url" check:"required"`
	// Header is fields to send.
	Header map[string][]string `json:"header"`
	// Timeout bounds each try, answer included. There are at most ten tries, 500 ms apart; an answer of 4xx ends them.
	// Default: 0, which is 30s.
	Timeout module.Duration `json:"timeout" check:"min=0"`
	// Adapter is the language of the configuration, whatever content type the server names: json or caddyfile.
	Adapter string `json:"adapter" check:"enum=|json|caddyfile"`
	// TLS is how an https:// server is spoken to.
	TLS *TLS `json:"tls"`
}

// TLS is how the server of a configuration is spoken to. Its files are read anew for each request, so that they may be
// renewed.
type TLS struct {
	// UseServerIdentity shows the certificate of `admin.identity` to the server. Default: false.
	UseServerIdentity bool `json:"use_server_identity"`
	// ClientCertificateFile is a PEM file with the certificate to show to the server, and those between it and its
	// authority. Default: none.
	ClientCertificateFile string `json:"client_certificate_file"`
	// ClientCertificateKeyFile is a PEM file with the key of that.
	ClientCertificateKeyFile string `json:"client_certificate_key_file"`
	// RootCAPEMFiles is PEM files with the authorities that may have signed the certificate of the server. Default: those
	// whom the system trusts.
	RootCAPEMFiles []string `json:"root_ca_pem_files"`
}

// Specs describes the modules.
func Specs() []module.Spec {
	return []module.Spec{
		module.New(Namespace+".http", "Asks a web server for the configuration.", nil, compileHTTP,
			module.Examples(
				module.Example{Title: "Ask a server, with a token", JSON: `{"module":"http","url":"https://config.internal/edge-1.json","header":{"Authorization":["Bearer {env.CONFIG_TOKEN}"]},"timeout":"10s"}`},
				module.Example{Title: "A Caddyfile of a server that sends it as plain text", JSON: `{"module":"http","url":"https://git.internal/raw/Caddyfile","adapter":"caddyfile"}`},
			)),
	}
}

// defaultTimeout is that of a try if the document says nothing.
const defaultTimeout = 30 * time.Second

func compileHTTP(env *module.Env, c *HTTP) (Loader, error) {
	l := &httpLoader{
		globals: env.Globals(), method: vars.Parse(c.Method), url: vars.Parse(c.URL), source: plainURL(c.URL),
		timeout: time.Duration(c.Timeout), readFile: readFile,
	}
	if c.Adapter != "" {
		l.contentType = "text/" + c.Adapter
	}
	var problems schema.Problems
	switch {
	case l.timeout == 0:
		l.timeout = defaultTimeout
	case l.timeout < 0:
		problems = module.Problem("/timeout", fmt.Sprintf("the timeout is %s; it must not be negative", l.timeout))
	}
	if _, err := l.readMethod(); err != nil {
		problems = append(problems, module.Problem("/method", err.Error())...)
	}
	if _, err := l.readURL(); err != nil {
		problems = append(problems, module.Problem("/url", err.Error())...)
	}
	for name, values := range c.Header {
		f := field{name: vars.Parse(name)}
		for _, v := range values {
			f.values = append(f.values, vars.Parse(v))
		}
		if _, _, err := f.read(l.globals); err != nil {
			problems = append(problems, module.Problem("/header/"+escape(name), err.Error())...)
		}
		l.header = append(l.header, f)
	}
	slices.SortFunc(l.header, func(a, b field) int { return strings.Compare(a.name.String(), b.name.String()) })
	if c.TLS != nil {
		l.tls = *c.TLS
		problems = append(problems, c.TLS.check(env).Under("/tls")...)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return l, nil
}

// check reads the files once, so that a mistake is found while somebody looks.
func (c *TLS) check(env *module.Env) schema.Problems {
	var problems schema.Problems
	switch cert, key := c.ClientCertificateFile, c.ClientCertificateKeyFile; {
	case cert == "" && key == "":
	case cert == "":
		problems = append(problems, module.Problem("/client_certificate_key_file", "a key without a certificate; give client_certificate_file too")...)
	case key == "":
		problems = append(problems, module.Problem("/client_certificate_file", "a certificate without a key; give client_certificate_key_file too")...)
	case c.UseServerIdentity:
		problems = append(problems, module.Problem("/use_server_identity", "use_server_identity and client_certificate_file exclude each other: only one certificate can be shown")...)
	default:
		if _, err := c.keyPair(env.ReadFile); err != nil {
			problems = append(problems, module.Problem("/client_certificate_file", err.Error())...)
		}
	}
	for i, name := range c.RootCAPEMFiles {
		if _, err := authorities(env.ReadFile, name); err != nil {
			problems = append(problems, module.Problem(fmt.Sprintf("/root_ca_pem_files/%d", i), err.Error())...)
		}
	}
	return problems
}

// field is a field of the header, with placeholders.
type field struct {
	name   vars.Text
	values []vars.Text
}

func (f field) read(globals vars.Scope) (name string, values []string, err error) {
	name = f.name.Expand(globals, vars.All, "")
	if !httpguts.ValidHeaderFieldName(name) {
		return "", nil, fmt.Errorf("%q is not the name of a header field", f.name.String())
	}
	for _, t := range f.values {
		v := t.Expand(globals, vars.All, "")
		if !httpguts.ValidHeaderFieldValue(v) {
			return "", nil, fmt.Errorf("the value of the header field %s has a character, such as a line break, that none may have", name)
		}
		values = append(values, v)
	}
	return http.CanonicalHeaderKey(name), values, nil
}

func (l *httpLoader) readMethod() (string, error) {
	method := l.method.Expand(l.globals, vars.All, "")
	if method == "" {
		method = http.MethodGet
	}
	if !httpguts.ValidHeaderFieldName(method) { // both are tokens
		return "", fmt.Errorf("%q is not an HTTP method", l.method.String())
	}
	return method, nil
}

// readURL fills in the URL. No error shows what was filled in.
func (l *httpLoader) readURL() (*url.URL, error) {
	u, err := url.Parse(l.url.Expand(l.globals, vars.All, ""))
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("%s is no URL of a web server; want http:// or https:// and a host", l.source)
	}
	return u, nil
}

// plainURL is a URL, whose placeholders are not filled in, without what may be
// a secret: credentials, query and fragment.
func plainURL(text string) string {
	depth, authority, end := 0, -1, len(text)
	if i := strings.Index(text, "://"); i >= 0 {
		authority = i + len("://")
	}
	scheme := max(authority, 0)
	at, inPath := -1, false
scan:
	for i := scheme; i < len(text); i++ {
		switch c := text[i]; {
		case c == '{':
			depth++
		case c == '}':
			depth = max(depth-1, 0)
		case depth > 0:
		case c == '?' || c == '#':
			end = i
			break scan
		case c == '/':
			inPath = true
		case c == '@' && !inPath:
			at = i
		}
	}
	if at >= 0 {
		return text[:scheme] + text[at+1:end]
	}
	return text[:end]
}

// escape makes a segment of a JSON Pointer.
func escape(key string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
}
