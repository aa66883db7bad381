package endpoint

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/admin"
	"github.com/sluiceproxy/sluice/admin/pulled"
	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/server"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// pullHost is an API over an engine, as the puller of a process sees it.
type pullHost struct {
	*admin.API
	*engine
}

func (pullHost) Failed(server.Change, error) {}
func (pullHost) Up() bool                    { return true }
func (pullHost) Whole() bool                 { return true }
func (pullHost) Setting(*config.Node) (pulled.Setting, bool) {
	return pulled.Setting{}, false
}

// TestPulls follows the settings of admin objects that come into force one after
// the other, over real sockets.
func TestPulls(t *testing.T) {
	var asked, others atomic.Int64
	var body, kind atomic.Pointer[string]
	set := func(contentType, text string) { kind.Store(&contentType); body.Store(&text) }
	set("application/json", `{"a":1}`)
	source := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/other" {
			others.Add(1)
			return
		}
		asked.Add(1)
		w.Header().Set("Content-Type", *kind.Load())
		_, _ = w.Write([]byte(*body.Load()))
	}))
	defer source.Close()

	l := newLoader(t, "127.0.0.1:"+freePort(t))
	core, logs := observer.New(zapcore.DebugLevel)
	p := pulled.New(zap.New(core), nil)
	defer p.Close()
	l.sockets.options.Puller = p
	api := admin.New(admin.Deps{Engine: l.engine, Limits: admin.Limits{MaxBody: 1000}})
	p.Connect(pullHost{api, l.engine})

	document := func() string {
		doc, _ := l.engine.Document()
		return string(doc.Root().AppendJSON(nil))
	}
	object := func(path, delay string) string {
		return `{"config":{"load":{"module":"http","url":"` + source.URL + path + `"},"load_delay":"` + delay + `"}}`
	}
	l.must(object("/a", "100ms"))
	eventually(t, "the document is pulled", func() bool { return document() == `{"a":1}` })
	if got := l.engine.origin(); got != "pulled from "+source.URL+"/a" {
		t.Errorf("origin %q", got)
	}
	n := asked.Load()
	eventually(t, "it is pulled again", func() bool { return asked.Load() > n+1 })
	if _, revision := l.engine.Document(); revision != 1 {
		t.Errorf("an unchanged document made revision %d", revision)
	}

	logged := func(text string) bool {
		for _, e := range logs.All() {
			if strings.Contains(e.Message, "another try") {
				if err, _ := e.ContextMap()["error"].(string); strings.Contains(err, text) {
					return true
				}
			}
		}
		return false
	}
	for _, c := range []struct{ kind, text, want string }{
		{"application/json", `{"a":`, "decoding JSON: unexpected end of JSON input"},
		{"text/plain", `{}`, "unrecognized config adapter 'plain'"},
		{";", `{}`, "invalid Content-Type: mime: no media type"},
		{"json", `{}`, "malformed Content-Type"},
		{"application/json", `{"a":"` + strings.Repeat("x", 1000) + `"}`, "longer than the limit of 1000 bytes"},
	} {
		set(c.kind, c.text)
		eventually(t, c.want, func() bool { return logged(c.want) })
	}
	if document() != `{"a":1}` {
		t.Error(document())
	}
	set("", `{"a":2}`) // no content type is JSON
	eventually(t, "it goes on after failures", func() bool { return document() == `{"a":2}` })

	// Another field of the admin object is not about pulling.
	was := l.tree.Value().(*Endpoint).Pulling()
	l.must(strings.Replace(object("/a", "100ms"), `{"config"`, `{"enforce_origin":true,"config"`, 1))
	if now := l.tree.Value().(*Endpoint).Pulling(); now != was {
		t.Error("the loader was made anew")
	}
	if logs.FilterMessage("stopping dynamic config loading").Len() != 0 {
		t.Error("the loop was disturbed")
	}
	l.must(object("/other", "100ms"))
	n = asked.Load()
	eventually(t, "the new source is asked", func() bool { return others.Load() > 2 })
	if asked.Load() > n+1 { // one may have been under way
		t.Errorf("the old source was asked %d times more", asked.Load()-n)
	}
	l.must(`{"disabled":true}`)
	if logs.FilterMessage("stopping dynamic config loading").Len() != 2 {
		t.Error(logs.All())
	}
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !cond(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// origin is that of the last change.
func (e *engine) origin() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.origins) == 0 {
		return ""
	}
	return e.origins[len(e.origins)-1]
}

// TestReadIsBounded: what is pulled shares the room of what is sent.
func TestReadIsBounded(t *testing.T) {
	api := admin.New(admin.Deps{Engine: newEngine(t, "{}"), Limits: admin.Limits{MaxBody: 100, BufferedBodies: 120}})
	ctx := context.Background()
	if _, err := api.Read(ctx, "", make([]byte, 101)); err == nil || !strings.Contains(err.Error(), "limit of 100 bytes") {
		t.Error(err)
	}
	first, err := api.Read(ctx, "", []byte(`{"a":"`+strings.Repeat("x", 90)+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := api.Read(ctx, "", []byte(`{"a":"`+strings.Repeat("x", 90)+`"}`)); err == nil || !strings.Contains(err.Error(), "too much data") {
		t.Error(err)
	}
	first.Release()
	d, err := api.Read(ctx, "application/json", []byte(`{"b":1,"b":2}`))
	if err != nil || len(d.Warnings) != 1 || !d.Pure || d.Language != "json" || !config.Equal(d.Root.Get("b"), config.NewNumber(2)) {
		t.Fatalf("%+v %v", d, err)
	}
	d.Release()
	if _, err := api.Read(ctx, "application/json", []byte(`{`)); err == nil {
		t.Error("half a document is read")
	}
}
