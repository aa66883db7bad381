// Package fastcgi is the transport fastcgi of the handler reverse_proxy: it hands requests to a FastCGI application, such
// as php-fpm, in the role of a responder. The protocol is that of the FastCGI specification 1.0, one request for each
// connection; the variables are those of CGI (RFC 3875) and the ones that web servers have added to them.
//
// The rules cited as FC-n are those of the reverse proxy compatibility reference.
package fastcgi

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/upstream"
)

// Config is the transport fastcgi.
type Config struct {
	// Root is the folder that the paths of scripts begin at, as the application sees it. Default: {http.vars.root}, which the
	// directive root sets; without that the working directory.
	Root string `json:"root"`
	// SplitPath is where the name of a script ends and the path info begins: the first of these texts that is found in the
	// path, whatever its case, counts. They have to be ASCII. Default: none, and all of the path is path info.
	SplitPath []string `json:"split_path"`
	// ResolveRootSymlink replaces the root by what it is a symbolic link to, at each request. Default: false.
	ResolveRootSymlink bool `json:"resolve_root_symlink"`
	// Env is more variables for the application. They win over all others of their name. Values may have placeholders.
	Env map[string]string `json:"env"`
	// DialTimeout bounds the making of a connection. Default: 3s.
	DialTimeout module.Duration `json:"dial_timeout" check:"min=0"`
	// ReadTimeout bounds the whole response, from the connection on. Default: 0, none.
	ReadTimeout module.Duration `json:"read_timeout" check:"min=0"`
	// WriteTimeout bounds the sending of the whole request, from the connection on. Default: 0, none.
	WriteTimeout module.Duration `json:"write_timeout" check:"min=0"`
	// BodySpoolSize is how many bytes a request body may have whose length the client does not say. The application has to know
	// it in advance, so what is longer than request_buffers is kept in a temporary file until its end has come. A longer one is
	// refused with 413. The file is in the folder for temporary files, which TMPDIR names. Default: 0, 64 MiB; -1 is no
	// file, and such requests are refused with 411.
	BodySpoolSize int64 `json:"body_spool_size" check:"min=-1"`
	// CaptureStderr logs what the application writes to its error stream: as an error if the status is 400 or more, else as a
	// warning. Default: false, it is dropped.
	CaptureStderr bool `json:"capture_stderr"`
}

// Namespace is where the module is.
const Namespace = "http.reverse_proxy.transport"

const (
	defaultDialTimeout = 3 * time.Second
	defaultSpoolSize   = 64 << 20
)

// Spec describes the transport.
func Spec() module.Spec {
	return module.New(Namespace+".fastcgi", "Hands requests to a FastCGI application, such as php-fpm.", nil, compile,
		module.Examples(
			module.Example{Title: "Run PHP scripts.", JSON: `{"protocol":"fastcgi","root":"/srv/app","split_path":[".php"]}`},
			module.Example{Title: "Take uploads of up to 1 GB from clients that do not say how long they are.",
				JSON: `{"protocol":"fastcgi","split_path":[".php"],"body_spool_size":1000000000}`},
			module.Example{Title: "Tell the application where it runs, and log its complaints.",
				JSON: `{"protocol":"fastcgi","split_path":[".php"],"env":{"APP_ENV":"production"},"read_timeout":"1m","capture_stderr":true}`},
		),
		module.Words(words))
}

// Transport is the compiled transport. It is immutable.
type Transport struct {
	root    vars.Text
	split   []string // in lower case
	resolve bool
	env     []variable
	globals vars.Scope // for requests that come from no client

	dial, read, write time.Duration
	stderr            bool
	spool             int64

	meaning string
}

// variable is one of the config.
type variable struct {
	name  string
	value vars.Text
}

func compile(env *module.Env, c *Config) (upstream.Transport, error) {
	t := &Transport{
		root: vars.Parse(c.Root), resolve: c.ResolveRootSymlink, globals: env.Globals(),
		dial: time.Duration(c.DialTimeout), read: time.Duration(c.ReadTimeout), write: time.Duration(c.WriteTimeout), stderr: c.CaptureStderr,
	}
	if c.Root == "" {
		t.root = vars.Parse("{http.vars.root}")
	}
	if t.dial == 0 {
		t.dial = defaultDialTimeout
	}
	if t.spool = max(c.BodySpoolSize, 0); c.BodySpoolSize == 0 {
		t.spool = defaultSpoolSize
	}
	var problems schema.Problems
	for i, text := range c.SplitPath {
		if bad := checkSplit(text); bad != "" {
			problems = append(problems, schema.Problem{Pointer: "/split_path/" + strconv.Itoa(i), Message: bad, Found: text})
		}
		t.split = append(t.split, strings.ToLower(text))
	}
	for name, value := range c.Env {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			problems = append(problems, schema.Problem{Pointer: "/env/" + name, Message: fmt.Sprintf("%q cannot be the name of a variable", name)})
		}
		t.env = append(t.env, variable{name, vars.Parse(value)})
	}
	if len(problems) > 0 {
		return nil, problems
	}
	t.meaning = fmt.Sprintf("%+v", *c) // maps are printed in order
	return t, nil
}

func checkSplit(text string) string {
	if text == "" {
		return "an empty text would split each path at its beginning; leave it out"
	}
	for i := range len(text) {
		if text[i] >= 0x80 {
			return fmt.Sprintf("%q has characters beyond ASCII, which are never compared without regard to case; use ASCII", text)
		}
	}
	return ""
}

// Traits implements the optional method of [upstream.Transport].
func (t *Transport) Traits() upstream.Traits {
	return upstream.Traits{RequestBuffers: 4096, SpoolBody: t.spool, NeedsLength: true, FlushesLate: true}
}

// identity is the meaning of a transport.
type identity struct{ text string }

// Identity implements [upstream.Identified].
func (t *Transport) Identity() any { return identity{t.meaning} }
