package trust

import (
	"github.com/caddyserver/certmagic"

	"github.com/sluiceproxy/sluice/config/caddyfile"
	"github.com/sluiceproxy/sluice/config/module"
)

// reading is a source while it is read: lists, and sources in it.
type reading struct {
	u       *module.Use
	list    []string
	sources []module.Ref[*Pool]
	tls     *HTTPClientTLS
	storage module.Ref[certmagic.Storage]
}

// words returns the syntax of a source whose arguments, if it may have any, go to the same list as a line of its block.
func words(arguments bool, lines *caddyfile.Options[reading], missing string, finish func(r *reading) any) module.Syntax {
	return func(u *module.Use, d *caddyfile.Dispenser) (any, error) {
		d.Next()
		r := &reading{u: u}
		r.list = d.RemainingArgs()
		if !arguments && len(r.list) > 0 {
			return nil, d.ArgErr()
		}
		if err := lines.Parse(d, r); err != nil {
			return nil, err
		}
		if missing != "" && len(r.list) == 0 && len(r.sources) == 0 {
			return nil, u.Token.Errf("%s", missing)
		}
		return finish(r), nil
	}
}

// listLine is a line whose arguments are appended to the list.
func listLine(name string) caddyfile.Option[reading] {
	return caddyfile.Option[reading]{Name: name, Args: caddyfile.AtLeast(1), Set: caddyfile.Strings(func(r *reading) *[]string { return &r.list })}
}

func lines(options ...caddyfile.Option[reading]) *caddyfile.Options[reading] {
	return &caddyfile.Options[reading]{Lines: options}
}

var (
	inlineWords = words(false, lines(listLine("trust_der")), "no certificates specified; write trust_der and a certificate in base64",
		func(r *reading) any { return &Inline{TrustedCACerts: r.list} })
	fileWords = words(true, lines(listLine("pem_file")), "no certificates specified; write the names of PEM files",
		func(r *reading) any { return &File{PEMFiles: r.list} })
	systemWords   = words(false, lines(), "", func(*reading) any { return &System{} })
	combinedWords = words(false, lines(caddyfile.Option[reading]{Name: "source", Args: caddyfile.AtLeast(1), Block: true, Set: readSource}),
		"no sources specified; write source and a trust pool", func(r *reading) any { return &Combined{Sources: r.sources} })
	httpWords = words(true, lines(listLine("endpoints"), caddyfile.Option[reading]{Name: "tls", Block: true, Once: "tls block already defined", Set: readTLS}),
		"no endpoints specified; write the URLs of certificates", func(r *reading) any { return &HTTP{Endpoints: r.list, TLS: r.tls} })
)

func readSource(r *reading, d *caddyfile.Dispenser, args []caddyfile.Token) error {
	source, err := ReadPool(r.u, d, args)
	if err != nil {
		return err
	}
	r.sources = append(r.sources, source)
	return nil
}

// ReadPool reads the trust pool that the first of the arguments names. d is at the last of them.
func ReadPool(u *module.Use, d *caddyfile.Dispenser, args []caddyfile.Token) (module.Ref[*Pool], error) {
	for range len(args) - 1 {
		d.Prev()
	}
	n, err := u.Module(d, Namespace, InlineKey)
	return module.RefTo[*Pool](n), err
}

// tlsReading is the block tls of the source http.
type tlsReading struct {
	u *module.Use
	HTTPClientTLS
}

var one = caddyfile.Exactly(1)

var tlsLines = caddyfile.Options[tlsReading]{Lines: []caddyfile.Option[tlsReading]{
	{Name: "ca", Args: caddyfile.AtLeast(1), Block: true, Once: "certificate authority already specified",
		Set: func(t *tlsReading, d *caddyfile.Dispenser, args []caddyfile.Token) (err error) {
			t.CA, err = ReadPool(t.u, d, args)
			return err
		}},
	{Name: "insecure_skip_verify", Set: caddyfile.Flag(func(t *tlsReading) *bool { return &t.InsecureSkipVerify })},
	{Name: "handshake_timeout", Args: one, Set: caddyfile.Duration(func(t *tlsReading) *module.Duration { return &t.HandshakeTimeout })},
	{Name: "server_name", Args: one, Set: caddyfile.String(func(t *tlsReading) *string { return &t.ServerName })},
	{Name: "renegotiation", Args: one, Set: func(t *tlsReading, _ *caddyfile.Dispenser, args []caddyfile.Token) error {
		if _, err := ParseRenegotiation(args[0].Text); err != nil {
			return err
		}
		t.Renegotiation = args[0].Text
		return nil
	}},
}}

func readTLS(r *reading, d *caddyfile.Dispenser, _ []caddyfile.Token) error {
	t := &tlsReading{u: r.u}
	if err := tlsLines.Parse(d, t); err != nil {
		return err
	}
	r.tls = &t.HTTPClientTLS
	return nil
}
