//go:build linux

package endpoint

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/server/listen"
)

// TestHandOver: the endpoint goes from one process to the next, with connections that nobody has accepted.
func TestHandOver(t *testing.T) {
	dir, err := os.MkdirTemp("", "ho")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	port, path := freePort(t), filepath.Join(dir, "s")
	for _, c := range []struct{ network, address, listen string }{
		{"tcp", "127.0.0.1:" + port, "127.0.0.1:" + port},
		{"unix", path, "unix/" + path + "|0222"},
	} {
		object := `{"listen":"` + c.listen + `"}`
		first, second := newLoader(t, ""), newLoader(t, "")
		connect := func() *client {
			conn := dial(t, c.network, c.address)
			if c.network == "unix" {
				conn.host = "localhost"
			}
			return conn
		}
		answers := func(c *client) {
			t.Helper()
			if r := c.get("/config/"); r.StatusCode != http.StatusOK {
				t.Error(r.Status)
			}
		}
		first.must(object)
		old := connect()
		answers(old)
		take := func(l *loader) *listen.Inherited {
			t.Helper()
			list, err := first.sockets.Hand()
			if err != nil || len(list) != 1 {
				t.Fatalf("%v %v", list, err)
			}
			i := listen.NewInherited(list)
			l.sockets.Inherit(i)
			l.must(object)
			return i
		}
		failed := newLoader(t, "")
		gone := take(failed)
		short, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := failed.sockets.Shutdown(short); err != nil {
			t.Error(err)
		}
		gone.Begin()
		answers(old)
		answers(connect())

		i := take(second)
		late := connect() // accepted by the first or not, and silent
		left := make(chan error, 1)
		first.sockets.Leave()
		for _, r := range first.tree.Owned() {
			r.Close() // as when the document has no more requests
		}
		go func() { left <- first.sockets.Shutdown(short) }()
		if !old.closed() {
			t.Error("an idle connection stays open")
		}
		waiting := connect()
		if unused := i.Begin(); len(unused) > 0 {
			t.Errorf("unused: %v", unused)
		}
		answers(late)
		answers(waiting)
		answers(connect())
		if err := <-left; err != nil {
			t.Error(err)
		}
		answers(connect())
		if err := second.sockets.Shutdown(short); err != nil {
			t.Error(err)
		}
		if conn, err := net.Dial(c.network, c.address); err == nil {
			conn.Close()
			t.Error("somebody still listens")
		}
		if _, err := os.Lstat(path); c.network == "unix" && err == nil {
			t.Error("the file of the socket is left behind")
		}
	}
}
