package firststeps

import (
	"bytes"
	"net"
	"strings"
	"testing"
)

func TestPrint(t *testing.T) {
	for _, c := range []struct {
		state     State
		has, lack []string
	}{
		{State{Admin: []string{"tcp/localhost:2019"}, Store: "/var/s.db"},
			[]string{"admin API   tcp/localhost:2019\n", "revisions   /var/s.db\n", "curl http://localhost:2019/load ", "curl http://127.0.0.1:80", "curl http://localhost:2019/id/hi/"}, []string{"not ready"}},
		{State{Admin: []string{"tcp/:2020", "tcp/[::1]:1"}, Serves: true},
			[]string{"admin API   tcp/:2020, tcp/[::1]:1\n", "none; nothing is kept", "served last", "curl http://localhost:2020/config/"}, []string{"/load"}},
		{State{Admin: []string{"unix//run/a.sock"}}, []string{"curl --unix-socket /run/a.sock http://127.0.0.1/load "}, nil},
		{State{Admin: []string{"unix/@a"}}, []string{"curl --abstract-unix-socket a http://127.0.0.1/load "}, nil},
		{State{Admin: []string{"fd/3"}}, []string{"admin API   fd/3\n"}, []string{"curl"}},
		{State{Store: "/s"}, []string{"revisions   /s\n"}, []string{"curl"}},
		{State{Admin: []string{"tcp/localhost:2019"}, Trouble: []string{"a", "b"}, Serves: true}, []string{"It is not ready: a\n  b\n"}, []string{"curl"}},
	} {
		var out bytes.Buffer
		Print(&out, c.state)
		for _, part := range c.has {
			if !strings.Contains(out.String(), part) {
				t.Errorf("%+v lacks %q:\n%s", c.state, part, out.String())
			}
		}
		for _, part := range c.lack {
			if strings.Contains(out.String(), part) {
				t.Errorf("%+v has %q:\n%s", c.state, part, out.String())
			}
		}
	}
}

func TestFreePort(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	taken := ln.Addr().(*net.TCPAddr).Port
	if got := freePort(taken, taken); got != taken {
		t.Errorf("where none is free: %d, want the first", got)
	}
	if got := freePort(taken, taken+20); got == taken {
		t.Errorf("port %d, which is taken", got)
	}
}
