package automation

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/internal/acmetest"
	"github.com/sluiceproxy/sluice/server/networkproxy"
	"github.com/sluiceproxy/sluice/server/pki"
	"github.com/sluiceproxy/sluice/server/tls/dnsproviders"
	"github.com/sluiceproxy/sluice/server/tls/issuance"
)

// obtainEnv makes this test program another instance: storage, issuer and name are in variables.
const obtainEnv = "SLUICE_TEST_OBTAIN"

func TestMain(m *testing.M) {
	if name := os.Getenv(obtainEnv); name != "" {
		if err := obtainInProcess(name, os.Getenv(obtainEnv+"_STORAGE"), os.Getenv(obtainEnv+"_ISSUER")); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// obtainInProcess is a process that obtains a certificate and ends.
func obtainInProcess(name, folder, text string) error {
	issuer, err := realIssuer(text)
	if err != nil {
		return err
	}
	log, err := zap.NewDevelopment()
	if err != nil {
		return err
	}
	m := New(Options{Storage: &certmagic.FileStorage{Path: folder}, Log: log, Public: []Issuer{issuer}, Internal: issuer})
	defer m.Close()
	m.Manage([]string{name}, nil)
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-time.After(20 * time.Millisecond) {
		for _, c := range m.Certificates() {
			if c.NotAfter != nil {
				return nil
			}
			if c.LastError != "" {
				return fmt.Errorf("%s", c.LastError)
			}
		}
	}
	return fmt.Errorf("no certificate in time")
}

// realIssuer compiles a module of tls.issuance.
func realIssuer(text string) (Issuer, error) {
	specs := append(issuance.Specs(), dnsproviders.Specs()...)
	specs = append(append(specs, networkproxy.Specs()...), pki.Specs()...)
	specs = append(specs, module.New("holder", "Holds an issuer.", nil, func(_ *module.Env, c *struct {
		Issuer module.Ref[Issuer] `json:"issuer" module:"tls.issuance" inline:"module"`
	}) (Issuer, error) {
		return c.Issuer.Value(), nil
	}))
	table, err := module.NewTable(specs, nil)
	if err != nil {
		return nil, err
	}
	node, _, err := config.Parse([]byte(`{"issuer":`+text+`}`), config.Limits{})
	if err != nil {
		return nil, err
	}
	b := &module.Builder{Table: table, Sources: module.Sources{ReadFile: os.ReadFile, Globals: vars.NewGlobal(), Services: module.Services{}}}
	res := b.Build(nil, "holder", node, module.Options{})
	if len(res.Problems) > 0 {
		return nil, res.Problems
	}
	for _, b := range res.New {
		for _, o := range b.Owned() {
			if err := o.Prepare(); err != nil {
				return nil, err
			}
			o.Start()
		}
	}
	return res.Root.Value().(Issuer), nil
}

func acmeIssuer(ca *acmetest.CA, challenges string) string {
	return fmt.Sprintf(`{"module":"acme","ca":%q,"email":"ops@example.test","trusted_roots_pem_files":[%q],"challenges":{%s,"bind_host":"127.0.0.1"}}`, ca.Directory, ca.RootsFile, challenges)
}

// TestAnotherInstanceBegan: the authority asks this process for what another one on the same storage has begun.
func TestAnotherInstanceBegan(t *testing.T) {
	ca := acmetest.Start(t, acmetest.Options{})
	folder := t.TempDir()
	var asked, answered, shaken atomic.Int32
	for _, tt := range []struct {
		name, challenges string
		count            *atomic.Int32
	}{
		{"http.shared.test", fmt.Sprintf(`"tls-alpn":{"disabled":true},"http":{"alternate_port":%d}`, ca.HTTPPort), &answered},
		{"alpn.shared.test", fmt.Sprintf(`"http":{"disabled":true},"tls-alpn":{"alternate_port":%d}`, ca.TLSPort), &shaken},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := acmeIssuer(ca, tt.challenges)
			issuer, err := realIssuer(text)
			if err != nil {
				t.Fatal(err)
			}
			challenges := issuance.NewChallenges(nil)
			r := newRig(t, &certmagic.FileStorage{Path: folder}, func(o *Options) { o.Public, o.Challenges = []Issuer{issuer}, challenges })
			r.m.Config("") // as any handshake would
			serveAt(t, ca.HTTPPort, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				asked.Add(1)
				if challenges.HandleHTTP(w, req) {
					answered.Add(1)
					return
				}
				http.NotFound(w, req)
			}), nil)
			serveAt(t, ca.TLSPort, http.NotFoundHandler(), &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
				shaken.Add(1)
				return r.m.Config(h.ServerName).TLSConfig(), nil
			}})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, os.Args[0])
			cmd.Env = append(os.Environ(), obtainEnv+"="+tt.name, obtainEnv+"_STORAGE="+folder, obtainEnv+"_ISSUER="+text)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("the other instance: %v\n%s", err, out)
			}
			if tt.count.Load() == 0 {
				t.Error("this process was not asked")
			}
			r.m.Manage([]string{tt.name}, nil) // and now it is here as well
			until(t, "the certificate is served", func() bool {
				c, err := r.hello(tt.name)
				return err == nil && len(c.DNSNames) == 1 && c.DNSNames[0] == tt.name
			})
		})
	}
}

// serveAt serves at a port until the test ends.
func serveAt(t *testing.T, port int, h http.Handler, config *tls.Config) {
	t.Helper()
	var l net.Listener
	until(t, "the port is free", func() (ok bool) {
		var err error
		l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		return err == nil
	})
	if config != nil {
		l = tls.NewListener(l, config)
	}
	s := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close(); <-done })
}
