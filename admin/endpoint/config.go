package endpoint

import (
	"fmt"
	"strings"

	"github.com/sluiceproxy/sluice/admin"
	"github.com/sluiceproxy/sluice/admin/identity"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/internal/netaddr"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server/configloader"
)

// Config is the `admin` object of a document: the endpoint through which the
// document is read and changed.
type Config struct {
	// Disabled turns the endpoint off, though not the one of remote. Without either
	// the configuration can change only by a restart or a signal.
	Disabled bool `json:"disabled"`
	// Listen is the one address to listen on, such as "localhost:2019",
	// "unix//run/sluice.sock|0660" or "fd/3". Placeholders {env.*}, {file.*} and
	// {system.*} are expanded. Default: what SLUICE_ADMIN, or else CADDY_ADMIN,
	// said when the process started, or else "localhost:2019". A unix socket is
	// made with mode 0200 if no other is given.
	Listen string `json:"listen"`
	// EnforceOrigin requires an allowed Origin header of every request.
	EnforceOrigin bool `json:"enforce_origin"`
	// Origins are the origins from which browsers may use the endpoint, and the
	// names by which it may be called in the Host header: host, host:port or
	// scheme://host:port. They replace the default, which is made of the
	// address; an empty list allows none.
	Origins []string `json:"origins"`
	// Tokens are bearer tokens. If there are any, each request needs one, other than
	// to the endpoint of remote, in the header "Authorization: Bearer ...", except GET /healthz and GET /readyz.
	Tokens *[]TokenConfig `json:"tokens"`
	// Config is about keeping and getting the configuration.
	Config ManagementConfig `json:"config"`
	// Identity is the certificate of this instance itself. Default: none.
	Identity *IdentityConfig `json:"identity"`
	// Remote is an endpoint for clients with certificates. It needs identity.
	// Default: none.
	Remote *RemoteConfig `json:"remote"`
}

// ManagementConfig is about keeping and getting the configuration.
type ManagementConfig struct {
	// Persist says whether the file autosave.json follows the configuration.
	// Every accepted change is kept as a revision in the store, whatever it
	// says. Default: true.
	Persist *bool `json:"persist"`
	// Load gets another configuration from elsewhere, which takes the place of
	// this one. Without load_delay that is done once, when this one is loaded,
	// and if nothing can be got, this one is refused. What is got must not ask
	// for the same again. Default: nothing is got.
	Load module.Ref[configloader.Loader] `json:"load" module:"caddy.config_loaders" inline:"module"`
	// LoadDelay is the time to wait before load gets a configuration, and before
	// it does so the next time. It goes on for as long as the configuration in
	// force has the same load and load_delay, whatever else is changed in it.
	// One that cannot be got, or does not load, leaves the one in force as it is.
	// The shortest time is 100ms. Default: 0, get it once.
	LoadDelay module.Duration `json:"load_delay" check:"min=0"`
}

// TokenConfig says where a bearer token is found. It never stands in the
// document itself.
type TokenConfig struct {
	// Name appears in the history of changes made with the token.
	Name string `json:"name"`
	// File holds the token; white space around it is dropped. Placeholders
	// {env.*} and {system.*} are expanded.
	File string `json:"file"`
	// Env is the name of an environment variable that holds the token.
	Env string `json:"env"`
}

// SpecID is the module ID of the admin object.
const SpecID = "sluice.admin"

// Lengths of tokens, in bytes: the longest that is read, and the shortest that
// does not cause a warning.
const (
	maxToken  = 4096
	goodToken = 16
)

// Spec describes the admin object. Its running value is an *Endpoint, and it
// needs the service *Sockets.
func Spec() module.Spec {
	return module.New(SpecID, "The endpoint through which the configuration is read and changed.", nil, compile,
		module.Examples(
			module.Example{Title: "Another port", JSON: `{"listen": "localhost:2020"}`},
			module.Example{Title: "A unix socket for a group", JSON: `{"listen": "unix//run/sluice/admin.sock|0660"}`},
			module.Example{Title: "Open to a network, with a token", JSON: `{"listen": ":2019", "tokens": [{"name": "ci", "env": "SLUICE_TOKEN"}]}`},
			module.Example{Title: "A configuration that a server has, looked at each minute", JSON: `{"config": {"load": {"module": "http", "url": "https://config.internal/edge-1.json"}, "load_delay": "1m"}}`},
			module.Example{Title: "No endpoint", JSON: `{"disabled": true}`},
			module.Example{Title: "A second endpoint that shows a certificate of the authority local, where one client may read the servers and change their routes", JSON: remoteExample},
		))
}

func compile(env *module.Env, c *Config) (*Endpoint, error) {
	e := &Endpoint{sockets: module.Service[*Sockets](env), disabled: c.Disabled}
	var problems schema.Problems
	fail := func(pointer string, err error) {
		problems = append(problems, schema.Problem{Pointer: pointer, Message: err.Error()})
	}
	var err error
	if e.options.Address, err = e.sockets.address(env, c.Listen); err != nil {
		fail("/listen", err)
	}
	e.options.EnforceOrigin, e.options.Origins = c.EnforceOrigin, c.Origins
	for i, text := range c.Origins {
		if err := admin.CheckOrigin(text); err != nil {
			fail(fmt.Sprintf("/origins/%d", i), err)
		}
	}
	problems = append(problems, e.readTokens(env, c.Tokens)...)
	problems = append(problems, e.readRemote(env, c)...)
	pulling, more := c.Config.pull(env, e.settings != nil && len(e.settings.Names) > 0)
	e.pulling, problems = pulling, append(problems, more...)
	if c.Config.Persist != nil && !*c.Config.Persist {
		env.Warn("/config/persist", "false stops autosave.json only: every accepted change is kept in the store all the same (--store none keeps nothing)")
	}
	if len(problems) > 0 {
		return nil, problems
	}
	env.Own(e)
	return e, nil
}

// readRemote reads the identity, and the remote endpoint, which needs one.
func (e *Endpoint) readRemote(env *module.Env, c *Config) schema.Problems {
	if c.Identity == nil && c.Remote == nil {
		return nil
	}
	e.identity = module.Service[*identity.Service](env)
	var problems, more schema.Problems
	e.settings, more = c.Identity.read(env)
	problems = append(problems, more.Under("/identity")...)
	if c.Remote == nil {
		return problems
	}
	if c.Identity == nil || len(c.Identity.Identifiers) == 0 {
		problems = append(problems, module.Problem("/remote", "cannot enable remote admin without a certificate cache; configure identity management: admin.identity with identifiers")...)
	}
	if e.remote, more = c.Remote.read(env, e.sockets, e.identity); e.remote != nil && !e.disabled && keyOf(e.remote.address) == keyOf(e.options.Address) {
		more = append(more, module.Problem("/listen", e.remote.address.String()+" is the address of the endpoint that is not remote; choose another")...)
	}
	return append(problems, more.Under("/remote")...)
}

// address expands and checks the listen field.
func (s *Sockets) address(env *module.Env, listen string) (netaddr.Addr, error) {
	if listen == "" {
		listen = s.options.Default
	}
	return parseAddress(env, listen, defaultPort)
}

// parseAddress expands and checks the address of an endpoint.
func parseAddress(env *module.Env, listen string, port uint) (netaddr.Addr, error) {
	text, err := env.ExpandStrict(listen)
	if err != nil {
		return netaddr.Addr{}, fmt.Errorf("expanding the admin address: %w", err)
	}
	a, err := netaddr.ParseDefault(text, "tcp", port)
	switch {
	case err != nil:
		return a, err
	case a.Count() != 1:
		return a, fmt.Errorf("must be exactly one listener address; cannot listen on: %s", a)
	case a.IsDatagram():
		return a, fmt.Errorf("%s is a datagram address; the admin endpoint needs a stream (tcp, unix or fd)", a)
	}
	return a, nil
}

// readTokens reads the tokens and keeps what is needed to compare them.
func (e *Endpoint) readTokens(env *module.Env, tokens *[]TokenConfig) schema.Problems {
	if tokens == nil {
		return nil
	}
	if len(*tokens) == 0 {
		return module.Problem("/tokens", "tokens is empty, so nobody could use the endpoint; name a token, or leave tokens out")
	}
	var problems schema.Problems
	e.options.Tokens = make([]admin.Token, 0, len(*tokens))
	for i, t := range *tokens {
		pointer := fmt.Sprintf("/tokens/%d", i)
		secret, err := t.read(env)
		if err != nil {
			problems = append(problems, schema.Problem{Pointer: pointer, Message: err.Error()})
			continue
		}
		if len(secret) < goodToken {
			env.Warn(pointer, fmt.Sprintf("the token has less than %d characters and may be guessed", goodToken))
		}
		e.options.Tokens = append(e.options.Tokens, admin.NewToken(t.Name, secret))
	}
	return problems
}

// read returns the token. No error contains any of it.
func (t TokenConfig) read(env *module.Env) (string, error) {
	var secret string
	switch {
	case (t.File == "") == (t.Env == ""):
		return "", fmt.Errorf("a token needs either file or env")
	case t.File != "":
		name, err := env.ExpandStrict(t.File)
		if err != nil {
			return "", fmt.Errorf("expanding the file name of a token: %w", err)
		}
		text, err := env.ReadFile(name)
		if err != nil {
			return "", fmt.Errorf("reading a token: %w", err)
		}
		secret = string(text)
	default:
		if strings.ContainsAny(t.Env, "{}\\=\x00") {
			return "", fmt.Errorf("env must be the name of an environment variable")
		}
		var err error
		if secret, err = env.ExpandStrict("{env." + t.Env + "}"); err != nil {
			return "", fmt.Errorf("reading a token: %w", err)
		}
	}
	secret = strings.TrimSpace(secret)
	switch {
	case secret == "":
		return "", fmt.Errorf("the token is empty")
	case len(secret) > maxToken:
		return "", fmt.Errorf("the token is longer than %d bytes", maxToken)
	case strings.ContainsFunc(secret, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", fmt.Errorf("the token must be one word of printable ASCII characters")
	}
	return secret, nil
}
