package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
)

// operated is a server with two routes to two upstreams, as who operates it sees it.
type operated struct {
	t     *testing.T
	admin string
	site  string
	a, b  *streamSource
}

func newOperated(t *testing.T) *operated {
	ports := freePorts(t, 2)
	h := newHome(t, ports[0])
	o := &operated{t: t, admin: "http://" + h.admin, site: fmt.Sprintf("127.0.0.1:%d", ports[1]), a: newStreamSource(t), b: newStreamSource(t)}
	launch(t, h, h.command(filepath.Join(tools, "sluice"), "run"))
	e := &editor{t, o.admin, &http.Client{Timeout: patience}}
	proxy := func(id string, dials ...string) object {
		r := ownRoute("gen", dials...)
		r["@id"] = id
		r["match"] = []any{object{"path": []string{"/streams/*"}, "host": []string{id}}}
		handle := r["handle"].([]any)
		delete(handle[0].(object), "@id")
		delete(handle[1].(object), "@id")
		return r
	}
	e.do("POST", "/load", object{
		"admin": object{"listen": h.admin},
		"apps": object{"http": object{"servers": object{"s": object{"listen": []string{o.site}, "automatic_https": object{"disable": true},
			"routes": []any{proxy("first", o.a.dial(), o.b.dial()), proxy("second", o.b.dial())}}}}},
	})
	return o
}

// ask calls the API and decodes the answer, if it is the expected one.
func (o *operated) ask(method, path string, status int, into any) string {
	o.t.Helper()
	req, err := http.NewRequestWithContext(o.t.Context(), method, o.admin+path, nil)
	if err != nil {
		o.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		o.t.Fatal(err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	if res.StatusCode != status {
		o.t.Fatalf("%s %s: %s %s", method, path, res.Status, text)
	}
	if into != nil {
		if err := json.Unmarshal(text, into); err != nil {
			o.t.Fatalf("%s %s: %v in %s", method, path, err, text)
		}
	}
	return string(text)
}

type upstreamLine struct {
	Address     string
	NumRequests int64 `json:"num_requests"`
	Draining    bool
	Connections int64
	Streams     int64
	Latency     *struct{ P50, P99 float64 }
}

func (o *operated) upstream(address string) upstreamLine {
	o.t.Helper()
	var list []upstreamLine
	o.ask("GET", "/reverse_proxy/upstreams", 200, &list)
	for _, u := range list {
		if u.Address == address {
			return u
		}
	}
	o.t.Fatalf("%s is not in %+v", address, list)
	return upstreamLine{}
}

type streamLine struct {
	ID                                    uint64
	Kind, Upstream, Route, Client, Target string
	Up                                    int64 `json:"bytes_up"`
	Down                                  int64 `json:"bytes_down"`
}

func (o *operated) streams(query string) (list []streamLine) {
	o.t.Helper()
	o.ask("GET", "/reverse_proxy/streams"+query, 200, &list)
	return list
}

// open opens a WebSocket, or events, through a route.
func (o *operated) open(host, kind string) *stream {
	o.t.Helper()
	request, status := "GET /streams/sse HTTP/1.1\r\nHost: "+host+"\r\n\r\n", 200
	if kind == "ws" {
		request = "GET /streams/ws HTTP/1.1\r\nHost: " + host + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
		status = 101
	}
	s, err := openStream(o.site, request, status)
	if err == nil {
		o.t.Cleanup(func() { s.Close() })
		if kind == "ws" {
			err = s.echo("hello")
		} else {
			err = s.event("welcome")
		}
	}
	if err != nil {
		o.t.Fatal(err)
	}
	return s
}

// ended waits for the end of a stream, and returns what came before it.
func (s *stream) ended(t *testing.T) string {
	t.Helper()
	rest, err := io.ReadAll(s.r)
	if err != nil && strings.Contains(err.Error(), "timeout") {
		t.Fatalf("still open: %v", err)
	}
	return string(rest)
}

// A drained upstream gets no request, the running ones go on, and their number is seen going to zero.
func TestDrain(t *testing.T) {
	o := newOperated(t)
	ws := o.open("second", "ws")
	o.open("second", "sse")
	if u := o.upstream(o.b.dial()); u.NumRequests != 2 || u.Connections < 2 || u.Draining || u.Latency == nil || u.Latency.P50 <= 0 {
		t.Errorf("before: %+v", u)
	}
	address := url.PathEscape(o.b.dial())
	o.ask("POST", "/reverse_proxy/upstreams/"+address+"/drain", 200, nil)
	client := &http.Client{Timeout: patience}
	get := func(host string) int {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://"+o.site+"/streams/x", nil)
		req.Host = host
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return res.StatusCode
	}
	before := o.upstream(o.a.dial())
	for range 10 {
		if status := get("first"); status != 200 {
			t.Fatalf("the other upstream answers %d", status)
		}
	}
	if status := get("second"); status != 503 {
		t.Errorf("a route with nothing but a drained upstream answers %d, want 503", status)
	}
	(&editor{t, o.admin, client}).do("PATCH", "/id/second/handle/1/transport/dial_timeout", "4s")
	if u := o.upstream(o.b.dial()); !u.Draining || u.NumRequests != 2 {
		t.Errorf("after an edit: %+v (the other: %+v)", u, before)
	}
	if err := ws.echo("still here"); err != nil {
		t.Error(err)
	}
	o.ask("POST", "/reverse_proxy/upstreams/"+address+"/drain?close_after=10ms", 200, nil)
	if rest := ws.ended(t); rest != "\x88\x02\x03\xe9" {
		t.Errorf("a WebSocket ended with %q, want a close frame of code 1001", rest)
	}
	poll(t, "the upstream to be idle", func() error {
		if u := o.upstream(o.b.dial()); u.NumRequests != 0 || u.Streams != 0 {
			return fmt.Errorf("%+v", u)
		}
		return nil
	})
	o.ask("DELETE", "/reverse_proxy/upstreams/"+address+"/drain", 200, nil)
	if status := get("second"); status != 200 || o.upstream(o.b.dial()).Draining {
		t.Errorf("back in service: %d", status)
	}
	for path, status := range map[string]int{
		"/reverse_proxy/upstreams/10.9.9.9:1/drain": 404, "/reverse_proxy/upstreams/" + address + "/drain?close_after=-1s": 400,
		"/reverse_proxy/upstreams/" + address + "/drain?close_after=soon": 400,
	} {
		o.ask("POST", path, status, nil)
	}
}

// Streams are listed with the route that they go through, wherever it stands now, and ended by route and by upstream.
func TestStreamsAreListedAndClosed(t *testing.T) {
	o := newOperated(t)
	ws, sse := o.open("second", "ws"), o.open("second", "sse")
	o.b.publish("again")
	if err := sse.event("again"); err != nil {
		t.Fatal(err)
	}
	var list []streamLine
	want := streamLine{
		Kind: "websocket", Upstream: o.b.dial(), Route: "/config/apps/http/servers/s/routes/1/handle/1",
		Client: ws.LocalAddr().String(), Target: "second/streams/ws", Up: 11, Down: 11,
	}
	// A byte is counted once its write has returned, which its reader may notice first.
	poll(t, "the list to be right", func() error {
		list = o.streams("?upstream=" + o.b.dial())
		if len(list) != 2 || list[0].Kind != "websocket" || list[1].Kind != "response" {
			return fmt.Errorf("listed: %+v", list)
		}
		if want.ID = list[0].ID; list[0] != want {
			return fmt.Errorf("got  %+v\nwant %+v", list[0], want)
		}
		return nil
	})
	e := &editor{t, o.admin, &http.Client{Timeout: patience}}
	e.do("PUT", streamRoutes+"/0", otherRoute(7, o.a.dial()))
	e.do("PATCH", "/id/second/handle/1/transport/dial_timeout", "4s")
	if s := o.streams("?route=/id/second"); len(s) != 2 || s[0].Route != "/config/apps/http/servers/s/routes/2/handle/1" {
		t.Errorf("after the route has moved and its handler was changed: %+v", s)
	}
	if s := o.streams("?route=/config/apps/http/servers/s/routes/1"); len(s) != 0 {
		t.Errorf("of another route: %+v", s)
	}
	if s := o.streams(fmt.Sprintf("?limit=1&after=%d", list[0].ID)); len(s) != 1 || s[0].ID != list[1].ID {
		t.Errorf("the next one: %+v", s)
	}
	if text := o.ask("DELETE", "/reverse_proxy/streams", 400, nil); !strings.Contains(text, "upstream=") {
		t.Errorf("what is meant was not asked for: %s", text)
	}
	o.ask("DELETE", "/reverse_proxy/streams/99999", 404, nil)
	o.ask("GET", "/reverse_proxy/streams?route=/id/nobody", 404, nil)
	o.ask("GET", "/reverse_proxy/streams?route=second", 400, nil)
	if text := o.ask("DELETE", fmt.Sprint("/reverse_proxy/streams/", list[0].ID), 200, nil); text != `{"closed":1}`+"\n" {
		t.Errorf("ended one: %s", text)
	}
	ws.ended(t)
	if err := func() error { o.b.publish("last"); return sse.event("last") }(); err != nil {
		t.Errorf("the other stream: %v", err)
	}
	if text := o.ask("DELETE", "/reverse_proxy/streams?route=/id/second", 200, nil); text != `{"closed":1}`+"\n" {
		t.Errorf("ended by route: %s", text)
	}
	sse.ended(t)
	poll(t, "the list to be empty", func() error {
		if s := o.streams(""); len(s) != 0 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
}
