package handshake_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server/certstore"
	"github.com/sluiceproxy/sluice/server/tls/handshake"
	"github.com/sluiceproxy/sluice/server/trust"
	"github.com/sluiceproxy/sluice/server/trust/trusttest"
)

// holder is a server and the app tls, as far as they are about handshakes.
type holder struct {
	Policies module.Ref[*handshake.Policies] `json:"policies" module:"=tls.connection_policies"`
	Tickets  *handshake.SessionTickets       `json:"session_tickets"`
}

// site is a process with one document after another.
type site struct {
	t       testing.TB
	builder *module.Builder
	root    *module.Built
	tickets *handshake.Tickets
	storage *certstore.Switch
	source  *source
	ca      *trusttest.Authority
	vars    vars.Map
	bound   *handshake.Bound
	warned  schema.Problems
	// certificate is that of the site.
	certificate tls.Certificate
}

// source has all certificates in one cache. It is a handshake.Source.
type source struct {
	config *certmagic.Config
	record bool // what is asked for
	asked  []string
}

func (s *source) Config(name string) *certmagic.Config {
	if s.record {
		s.asked = append(s.asked, name)
	}
	return s.config
}

func newSource(t testing.TB) *source {
	t.Helper()
	s := &source{}
	cache := certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return s.config, nil }, Logger: zap.NewNop(),
	})
	t.Cleanup(cache.Stop)
	s.config = certmagic.New(cache, certmagic.Config{Logger: zap.NewNop(), Storage: &certmagic.FileStorage{Path: t.TempDir()}, OCSP: certmagic.OCSPConfig{DisableStapling: true}})
	return s
}

func (s *source) add(t testing.TB, c tls.Certificate, tags ...string) {
	t.Helper()
	if _, err := s.config.CacheUnmanagedTLSCertificate(context.Background(), c, tags); err != nil {
		t.Fatal(err)
	}
}

func newSite(t testing.TB) *site {
	t.Helper()
	s := bareSite(t)
	s.ca = trusttest.New(t)
	s.source = newSource(t)
	s.certificate = s.ca.Issue("a.test", "b.test", "*.c.test")
	s.source.add(t, s.certificate)
	return s
}

// bareSite is a site without certificates.
func bareSite(t testing.TB) *site {
	t.Helper()
	tickets, err := handshake.NewTickets(handshake.TicketsOptions{OnError: func(err error) { t.Errorf("tickets: %v", err) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tickets.Close)
	stores := certstore.NewStores(t.TempDir())
	s := &site{t: t, tickets: tickets, storage: certstore.NewSwitch(stores.Default()), vars: vars.Map{}}
	specs := slices.Concat(handshake.Specs(), trust.Specs(), certstore.Specs(), []module.Spec{
		module.New("holder", "Holds policies.", nil, func(env *module.Env, c *holder) (*handshake.Policies, error) {
			c.Tickets.Own(env)
			return c.Policies.Value(), nil
		}),
	})
	table, err := module.NewTable(specs, nil)
	if err != nil {
		t.Fatal(err)
	}
	services := module.Services{}
	module.Provide(services, tickets)
	module.Provide(services, stores)
	module.Provide(services, s.storage)
	s.builder = &module.Builder{Table: table, Sources: module.Sources{ReadFile: os.ReadFile, Globals: s.vars, Services: services}}
	t.Cleanup(func() {
		if s.root != nil {
			closeAll(s.root.All())
		}
	})
	return s
}

func closeAll(list []*module.Built) {
	for _, b := range list {
		for _, r := range b.Owned() {
			r.Close()
		}
	}
}

// try builds a document after the current one.
func (s *site) try(doc string, o module.Options) module.Result {
	s.t.Helper()
	node, _, err := config.Parse([]byte(doc), config.Limits{})
	if err != nil {
		s.t.Fatalf("%s: %v", doc, err)
	}
	if s.root != nil {
		node = config.Reuse(s.root.Node(), node)
	}
	return s.builder.Build(s.root, "holder", node, o)
}

// load puts a document to use.
func (s *site) load(doc string) { s.t.Helper(); s.reload(doc, module.Options{}) }

func (s *site) reload(doc string, o module.Options) module.Result {
	s.t.Helper()
	res := s.try(doc, o)
	if len(res.Problems) > 0 {
		s.t.Fatalf("%s: %v", doc, res.Problems)
	}
	for _, b := range res.New {
		for _, r := range b.Owned() {
			if err := r.Prepare(); err != nil {
				s.t.Fatalf("%s: %v", doc, err)
			}
		}
	}
	for _, b := range res.New {
		for _, r := range b.Owned() {
			r.Start()
		}
	}
	closeAll(res.Gone)
	s.root, s.warned = res.Root, res.Warnings
	s.bind("h2", "http/1.1")
	return res
}

func (s *site) policies() *handshake.Policies { return s.root.Value().(*handshake.Policies) }

func (s *site) bind(protocols ...string) {
	if s.source != nil {
		s.bound = s.policies().Bind(s.source, protocols)
	} else {
		s.bound = s.policies().Bind(nil, protocols)
	}
}

// policy loads one policy.
func (s *site) policy(doc string) { s.t.Helper(); s.load(`{"policies":[` + doc + `]}`) }

// problems are those of one policy, with their pointers relative to it.
func (s *site) problems(policy string) (list []string) {
	s.t.Helper()
	for _, p := range s.try(`{"policies":[`+policy+`]}`, module.Options{}).Problems {
		list = append(list, strings.TrimPrefix(p.Pointer, "/policies/0")+" "+p.Message)
	}
	return list
}

// outcome is one handshake.
type outcome struct {
	server, client       tls.ConnectionState
	serverErr, clientErr error
}

func (o outcome) ok() bool { return o.serverErr == nil && o.clientErr == nil }

// client is a client that trusts the site.
func (s *site) client(name string, certificates ...tls.Certificate) *tls.Config {
	c := &tls.Config{ServerName: name, RootCAs: s.ca.Pool(), Certificates: certificates}
	if name == "" {
		c.InsecureSkipVerify = true
	}
	return c
}

// shake makes a handshake with the document of now.
func (s *site) shake(client *tls.Config) outcome {
	s.t.Helper()
	near, far := connection(s.t)
	return shake(s.t, near, far, &tls.Config{GetConfigForClient: s.bound.ConfigForClient}, client)
}

// connection is the two ends of one. A pipe would not do: both ends write when a handshake fails.
func connection(t testing.TB) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if near, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return near, far
}

// shake makes a handshake, sends "ok" from the server to the client, and closes.
func shake(t testing.TB, near, far net.Conn, server, client *tls.Config) (o outcome) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	near.SetDeadline(deadline)
	far.SetDeadline(deadline)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer far.Close()
		c := tls.Server(far, server)
		if o.serverErr = c.Handshake(); o.serverErr == nil {
			o.server = c.ConnectionState()
			_, o.serverErr = c.Write([]byte("ok"))
		}
	}()
	c := tls.Client(near, client)
	if o.clientErr = c.Handshake(); o.clientErr == nil {
		o.client = c.ConnectionState()
		_, o.clientErr = io.ReadFull(c, make([]byte, 2))
	}
	near.Close()
	<-done
	return o
}

// hello is the first message of a client, from and to the addresses if they are given.
func hello(name string, addresses ...net.Addr) *tls.ClientHelloInfo {
	h := &tls.ClientHelloInfo{ServerName: name}
	if len(addresses) > 0 {
		h.Conn = addressed{addresses[0], addresses[1]}
	}
	return h
}

// addressed is a connection of which only the addresses are known.
type addressed struct{ local, remote net.Addr }

func (a addressed) LocalAddr() net.Addr            { return a.local }
func (a addressed) RemoteAddr() net.Addr           { return a.remote }
func (addressed) Read([]byte) (int, error)         { return 0, io.EOF }
func (addressed) Write([]byte) (int, error)        { return 0, io.EOF }
func (addressed) Close() error                     { return nil }
func (addressed) SetDeadline(time.Time) error      { return nil }
func (addressed) SetReadDeadline(time.Time) error  { return nil }
func (addressed) SetWriteDeadline(time.Time) error { return nil }

// textAddr is an address of another kind than those of package net.
type textAddr string

func (textAddr) Network() string  { return "test" }
func (a textAddr) String() string { return string(a) }

// quote writes a value as JSON.
func quote(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func leafOf(o outcome) *x509.Certificate { return o.client.PeerCertificates[0] }
