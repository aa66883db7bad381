package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"testing"

	"golang.org/x/net/http2"

	_ "github.com/sluiceproxy/sluice/internal/http2connect"
)

// A WebSocket over HTTP/2 takes the route that one over HTTP/1.1 takes, and what is no WebSocket is no success to its client.
func TestWebSocketOverHTTP2IsRoutedAlike(t *testing.T) {
	source := newStreamSource(t)
	ports := freePorts(t, 2)
	h, site := newHome(t, ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[1])
	launch(t, h, h.command(filepath.Join(tools, "sluice"), "run"))
	sockets := object{
		"match":  []any{object{"header": object{"Connection": []string{"*Upgrade*"}, "Upgrade": []string{"websocket"}}, "method": []string{"GET"}, "path": []string{"/streams/*"}}},
		"handle": []any{object{"handler": "reverse_proxy", "upstreams": []any{object{"dial": source.dial()}}}}, "terminal": true,
	}
	rest := object{"handle": []any{object{"handler": "static_response", "body": "a page"}}}
	(&editor{t, "http://" + h.admin, &http.Client{Timeout: patience}}).do("POST", "/load", object{
		"admin": object{"listen": h.admin},
		"apps": object{"http": object{"servers": object{"s": object{"listen": []string{site}, "automatic_https": object{"disable": true},
			"protocols": []string{"h1", "h2c"}, "routes": []any{sockets, rest}}}}},
	})
	tr := &http2.Transport{AllowHTTP: true, DialTLSContext: func(ctx context.Context, network, address string, _ *tls.Config) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}}
	defer tr.CloseIdleConnections()
	open := func(path string) (*http.Response, *io.PipeWriter) {
		body, send := io.Pipe()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodConnect, "http://"+site+path, body)
		if err != nil {
			t.Fatal(err)
		}
		r.Header[":protocol"] = []string{"websocket"}
		r.Header["Sec-Websocket-Version"] = []string{"13"}
		res, err := tr.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { res.Body.Close(); send.Close() })
		return res, send
	}
	res, send := open("/streams/ws")
	frame := []byte("\x81\x85\x00\x00\x00\x00hello")
	if _, err := send.Write(frame); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(frame))
	if _, err := io.ReadFull(res.Body, got); err != nil || res.StatusCode != 200 || string(got) != string(frame) {
		t.Errorf("%s, %q, %v", res.Status, got, err)
	}
	if res, _ := open("/elsewhere"); res.StatusCode != http.StatusNotImplemented {
		t.Errorf("a page as an answer to a WebSocket: %s", res.Status)
	}
}
