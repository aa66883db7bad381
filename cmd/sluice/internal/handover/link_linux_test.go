package handover

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluiceproxy/sluice/server/listen"
)

func links(t *testing.T) (a, b link) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	var both [2]link
	for i, fd := range pair {
		if both[i], err = newLink(os.NewFile(uintptr(fd), "")); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { both[i].Close() })
	}
	return both[0], both[1]
}

// TestEstate: many sockets, a long document, and all else arrive as they were, and no descriptor stays open.
func TestEstate(t *testing.T) {
	a, b := links(t)
	file := func(text string) *os.File {
		f, err := os.Create(filepath.Join(t.TempDir(), "f"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		return f
	}
	e := &Estate{Revision: 7, Document: bytes.Repeat([]byte("long "), 1<<17), Source: "Caddyfile", Adapter: "caddyfile", Trouble: true,
		Drained: make([]string, 5000), Tickets: []byte(`{"a":1}`)}
	for i := range e.Drained {
		e.Drained[i] = strings.Repeat("d", 40) + fmt.Sprint(i)
	}
	f := file("socket")
	elder := file("elder")
	for i := range 450 {
		h := listen.Handed{Key: listen.Key(fmt.Sprintf("unix/%s/%d", strings.Repeat("x", 200), i)), File: f}
		if i%3 == 0 {
			h.Elders = []listen.Elder{{Tag: byte(i), File: elder}, {Tag: 255, File: elder}}
		}
		e.Sockets = append(e.Sockets, h)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if e.Sockets[1].File, err = ln.(*net.TCPListener).File(); err != nil {
		t.Fatal(err)
	}
	sent := make(chan error, 1)
	go func() { sent <- a.sendEstate(e) }()
	got, err := b.receiveEstate()
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got.Revision != 7 || !bytes.Equal(got.Document, e.Document) || got.Source != "Caddyfile" || got.Adapter != "caddyfile" || !got.Trouble || got.Stored ||
		fmt.Sprint(got.Drained) != fmt.Sprint(e.Drained) || string(got.Tickets) != `{"a":1}` || len(got.Sockets) != len(e.Sockets) {
		t.Errorf("got %+v", got)
	}
	same := func(a, b *os.File) bool {
		one, err := a.Stat()
		two, err2 := b.Stat()
		return err == nil && err2 == nil && os.SameFile(one, two)
	}
	for i, h := range got.Sockets {
		want := e.Sockets[i]
		if h.Key != want.Key || !same(h.File, want.File) || len(h.Elders) != len(want.Elders) {
			t.Fatalf("socket %d: %+v", i, h)
		}
		for k, o := range h.Elders {
			if o.Tag != want.Elders[k].Tag || !same(o.File, elder) {
				t.Fatalf("socket %d: %+v", i, h)
			}
		}
	}
	// To send a socket does not change it: both processes wait for it in the same way.
	if flags, err := unix.FcntlInt(got.Sockets[1].File.Fd(), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
		t.Errorf("the listener blocks: %x %v", flags, err)
	}
	e.Sockets[1].File.Close()
	got.Close()
	if open, _ := os.ReadDir("/proc/self/fd"); len(open) > 60 {
		t.Errorf("%d descriptors are open", len(open))
	}
}

func TestMalformedEstate(t *testing.T) {
	for name, say := range map[string]func(l link) error{
		"no JSON":       func(l link) error { _, err := l.Write([]byte("nonsense")); return err },
		"another turn":  func(l link) error { return l.send(message{Kind: kindReady}, nil) },
		"no descriptor": func(l link) error { return l.send(message{Kind: kindSockets, Sockets: []socket{{Key: "a"}}}, nil) },
		"no estate":     func(l link) error { return l.send(message{Kind: kindGo}, nil) },
		"nobody":        func(l link) error { return l.Close() },
	} {
		a, b := links(t)
		if err := say(a); err != nil {
			t.Fatal(err)
		}
		if e, err := b.receiveEstate(); err == nil {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

func TestProgram(t *testing.T) {
	running, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	link := filepath.Join(dir, "current")
	if err := os.Symlink(running, link); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	for args, want := range map[string]string{
		link:             link, // not where it leads to: that may be another file tomorrow
		"current":        link,
		"something else": running,
		"/bin/sh":        running,
		"":               running,
	} {
		if got := Program([]string{args}); got != want {
			t.Errorf("%q: %q, want %q", args, got, want)
		}
	}
	if got := Program(nil); got != running {
		t.Error(got)
	}
}

func TestSuccessorOfNobody(t *testing.T) {
	if s, err := New(); s != nil || err != nil {
		t.Errorf("%v %v", s, err)
	}
	for _, text := range []string{"", "x", "1", "4000"} {
		t.Setenv(Env, text)
		if s, err := New(); err == nil {
			t.Errorf("%q: %v", text, s)
		}
		if _, there := os.LookupEnv(Env); there {
			t.Error("the variable is left for others")
		}
	}
	(*Successor)(nil).Failed(os.ErrInvalid)
}
