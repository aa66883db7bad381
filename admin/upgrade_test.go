package admin

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/internal/netaddr"
)

func TestUpgrade(t *testing.T) {
	var asked []Upgrade
	var fails error
	a := New(Deps{Engine: newFakeEngine(t, "{}"), Upgrade: func(ctx context.Context, u Upgrade) (Upgraded, error) {
		asked = append(asked, u)
		if ctx.Done() != nil {
			t.Error("an upgrade ends when its client does not wait")
		}
		return Upgraded{Program: "/bin/x", OldPID: 1, NewPID: 2}, fails
	}})
	address, err := netaddr.ParseDefault("localhost:2019", "tcp", 2019)
	if err != nil {
		t.Fatal(err)
	}
	guard, err := NewGuard(GuardOptions{Address: address})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(method, query string, header ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "http://localhost:2019/upgrade"+query, nil)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		a.Handler(guard).ServeHTTP(w, r)
		return w
	}
	for _, c := range []struct {
		query string
		want  Upgrade
	}{
		{"", Upgrade{Drain: -1}},
		{"?drain=1d&timeout=5s", Upgrade{Drain: 24 * time.Hour, Timeout: 5 * time.Second}},
		{"?drain=0&dry_run=true", Upgrade{DryRun: true}},
	} {
		asked = nil
		w := ask("POST", c.query)
		if w.Code != 200 || len(asked) != 1 || asked[0] != c.want || !strings.Contains(w.Body.String(), `"new_pid":2`) {
			t.Errorf("%s: %d %s, asked for %+v", c.query, w.Code, w.Body, asked)
		}
		if closes := w.Header().Get("Connection") == "close"; closes == c.want.DryRun {
			t.Errorf("%s: %v", c.query, w.Header())
		}
	}
	asked = nil
	for _, query := range []string{"?drain=soon", "?drain=-1s", "?timeout=x", "?dry_run=perhaps"} {
		if w := ask("POST", query); w.Code != 400 {
			t.Errorf("%s: %d %s", query, w.Code, w.Body)
		}
	}
	if w := ask("GET", ""); w.Code != 405 {
		t.Errorf("GET: %d", w.Code)
	}
	if w := ask("POST", "", "Origin", "http://evil.example"); w.Code != 403 {
		t.Errorf("another origin: %d", w.Code)
	}
	if len(asked) > 0 {
		t.Errorf("asked for %+v", asked)
	}
	for _, c := range []struct {
		err  error
		code int
	}{{errors.New("it broke"), 500}, {&Error{Status: http.StatusConflict, Msg: "it broke"}, 409}} {
		fails = c.err
		if w := ask("POST", ""); w.Code != c.code || !strings.Contains(w.Body.String(), "it broke") {
			t.Errorf("%v: %d %s", c.err, w.Code, w.Body)
		}
	}
	if w := httptest.NewRecorder(); true {
		New(Deps{Engine: newFakeEngine(t, "{}")}).Handler(guard).ServeHTTP(w, httptest.NewRequest("POST", "http://localhost:2019/upgrade", nil))
		if w.Code != 404 {
			t.Errorf("without the means: %d", w.Code)
		}
	}
}
