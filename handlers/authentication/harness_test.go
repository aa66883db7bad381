package authentication

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/internal/handlertest"
)

// cheap is hashes of "hunter2" that cost little.
const (
	cheapBcrypt = "$2a$04$D8XPDEPwb05aGkIW3K0EwevND7vaHEjhzXoa8ZGtsHlYfNbRnmQIq"
	cheapArgon2 = "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0$RImIjsyxaIflNWFI1IH5rOtwoBK9E4w1E8aTF6j+8ew"
)

// providerFunc is a provider for tests.
type providerFunc func(w http.ResponseWriter, r *http.Request) (User, bool, error)

func (f providerFunc) Authenticate(w http.ResponseWriter, r *http.Request) (User, bool, error) {
	return f(w, r)
}

func providerSpec(name string, f providerFunc) module.Spec {
	return module.New("http.authentication.providers."+name, "For tests.", nil, func(*module.Env, *struct{}) (Provider, error) { return f, nil })
}

// build builds a module.
func build(t testing.TB, gate *Gate, id, text string, more ...module.Spec) module.Result {
	t.Helper()
	return newBuilder(t, gate, more...).Build(nil, id, parse(t, text), module.Options{})
}

func parse(t testing.TB, text string) *config.Node {
	t.Helper()
	node, _, err := config.Parse([]byte(text), config.Limits{})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return node
}

func newBuilder(t testing.TB, gate *Gate, more ...module.Spec) *module.Builder {
	t.Helper()
	table, err := module.NewTable(append(Specs(), more...), nil)
	if err != nil {
		t.Fatal(err)
	}
	services := module.Services{}
	module.Provide(services, gate)
	return &module.Builder{Table: table, Sources: module.Sources{
		ReadFile: os.ReadFile, Services: services,
		Globals: vars.Map{"env.NAME": "ann", "env.HASH": cheapBcrypt, "env.NONE": ""},
	}}
}

// site is the handler with what follows it: that says whom it sees.
func site(t testing.TB, gate *Gate, text string, more ...module.Spec) *handlertest.Site {
	t.Helper()
	res := build(t, gate, "http.handlers.authentication", text, more...)
	if len(res.Problems) > 0 {
		t.Fatalf("%s: %v", text, res.Problems)
	}
	return serve(t, res.Root.Value().(handlers.Handler))
}

func serve(t testing.TB, h handlers.Handler) *handlertest.Site {
	t.Helper()
	show := func(w http.ResponseWriter, r *http.Request, _ handlers.Next) error {
		const text = "user={http.auth.user.id} mail={http.auth.user.mail} candidate={http.auth.candidate.id} mail={http.auth.candidate.mail} error={http.auth.http_basic.error}"
		_, err := io.WriteString(w, vars.Parse(text).Expand(handlers.Of(r), vars.All, ""))
		return err
	}
	return handlertest.New(t, `{"routes": [{"handle": [{"handler": "auth"}, {"handler": "show"}]}], "errors": {"routes": [{"handle": [{"handler": "failed"}]}]}}`,
		handlertest.FuncSpec("auth", h.ServeHTTP), handlertest.FuncSpec("show", show),
		handlertest.FuncSpec("failed", func(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
			var own *handlers.Error
			if !errors.As(handlers.Of(r).Err(), &own) {
				t.Errorf("the error has no status: %v", handlers.Of(r).Err())
				return nil
			}
			w.WriteHeader(own.Status)
			_, _ = io.WriteString(w, own.Message()+" ")
			return show(w, r, next)
		}))
}

func basicConfig(hash, accounts, more string) string {
	if hash != "" {
		hash = `"hash": {"algorithm": "` + hash + `"}, `
	}
	return `{"providers": {"http_basic": {` + hash + `"accounts": [` + accounts + `]` + more + `}}}`
}

func account(name, hash string) string {
	return `{"username": "` + name + `", "password": "` + hash + `"}`
}

func ask(s http.Handler, name, password string) (int, http.Header, string) {
	r, rec := newRequest(name, password)
	s.ServeHTTP(rec, r)
	return rec.Code, rec.Header(), strings.TrimSpace(rec.Body.String())
}
