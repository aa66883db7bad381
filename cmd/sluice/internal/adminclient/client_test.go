package adminclient

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config"
)

func TestAddress(t *testing.T) {
	env := func(pairs ...string) func(string) (string, bool) {
		return func(key string) (string, bool) {
			for i := 0; i < len(pairs); i += 2 {
				if pairs[i] == key {
					return pairs[i+1], true
				}
			}
			return "", false
		}
	}
	for _, c := range []struct {
		flag, doc string
		env       []string
		want      string
	}{
		{"", "null", nil, "tcp/localhost:2019"},
		{"", "null", []string{"CADDY_ADMIN", "localhost:1"}, "tcp/localhost:1"},
		{"", "null", []string{"CADDY_ADMIN", "localhost:1", "SLUICE_ADMIN", "localhost:2"}, "tcp/localhost:2"},
		{"", "null", []string{"CADDY_ADMIN", "localhost:1", "SLUICE_ADMIN", ""}, "tcp/localhost:2019"},
		{"", `{"admin":{"listen":"localhost:3"}}`, []string{"SLUICE_ADMIN", "localhost:2"}, "tcp/localhost:3"},
		{"", `{"admin":{}}`, []string{"SLUICE_ADMIN", "localhost:2"}, "tcp/localhost:2"},
		{"", `{"admin":[]}`, nil, "tcp/localhost:2019"},
		{"localhost:4", `{"admin":{"listen":"localhost:3"}}`, nil, "tcp/localhost:4"},
		{"example.com", "null", nil, "tcp/example.com:2019"},
		{"[::1]:5", "null", nil, "tcp/[::1]:5"},
		{"unix//run/a.sock|0220", "null", nil, "unix//run/a.sock|0220"},
		{"", `{"admin":{"listen":"{env.X}:3"}}`, nil, "tcp/{env.X}:3"}, // as written
		{"localhost:1-2", "null", nil, "!range"},
		{"fd/3", "null", nil, "!--address"},
		{"localhost:x", "null", nil, "!admin address"},
	} {
		root, _, err := config.Parse([]byte(c.doc), config.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		byDefault := DefaultAddress(env(c.env...))
		a, err := Address(c.flag, root, byDefault)
		if part, fails := strings.CutPrefix(c.want, "!"); fails {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%+v: %v %v", c, a, err)
			}
			continue
		}
		if err != nil || a.String() != c.want {
			t.Errorf("%+v: %v %v", c, a, err)
		}
		if a.IsUnix() && New(a).Address.JoinHostPort(0) != "/run/a.sock" {
			t.Error("the mode is part of the path")
		}
	}
}

// instance answers a request with what it saw of it.
func instance(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if r.URL.Path == "/no" {
		http.Error(w, "no way", http.StatusTeapot)
		return
	}
	if r.URL.Path == "/elsewhere" {
		http.Redirect(w, r, "/", http.StatusTemporaryRedirect)
		return
	}
	w.Header().Set("Sluice-Revision", "7")
	fmt.Fprintf(w, "%s %s %s origin=%s type=%s token=%s cache=%s body=%s", r.Method, r.URL, r.Host,
		r.Header.Get("Origin"), r.Header.Get("Content-Type"), r.Header.Get("Authorization"), r.Header.Get("Cache-Control"), body)
}

func TestDo(t *testing.T) {
	t.Setenv("SLUICE_TOKEN", "")
	tcp := httptest.NewServer(http.HandlerFunc(instance))
	defer tcp.Close()
	dir, err := os.MkdirTemp("", "ac") // a unix socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ln, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	unix := httptest.NewUnstartedServer(http.HandlerFunc(instance))
	unix.Listener.Close()
	unix.Listener = ln
	unix.Start()
	defer unix.Close()
	host := strings.TrimPrefix(tcp.URL, "http://")
	for _, c := range []struct {
		address, token, path string
		header               http.Header
		body                 string
		want                 string
	}{
		{host, "", "/a?b=c", nil, "", "POST /a?b=c " + host + " origin=http://" + host + " type= token= cache= body="},
		{host, "t", "/", http.Header{"Cache-Control": {"x"}}, "{}", "POST / " + host + " origin=http://" + host + " type=application/json token=Bearer t cache=x body={}"},
		{host, "", "/", http.Header{"Content-Type": {"text/caddyfile"}}, ":80", "POST / " + host + " origin=http://" + host + " type=text/caddyfile token= cache= body=:80"},
		{"unix/" + dir + "/s|0220", "", "/", nil, "{}", "POST / 127.0.0.1 origin= type=application/json token= cache= body={}"},
		{host, "", "/no", nil, "", "!sluice responded with error: HTTP 418: no way"},
	} {
		t.Setenv("SLUICE_TOKEN", c.token)
		a, err := Address(c.address, nil, "")
		if err != nil {
			t.Fatal(err)
		}
		text, header, err := New(a).Do("POST", c.path, c.header, []byte(c.body))
		got := string(text)
		if err != nil {
			got = "!" + err.Error()
		} else if header.Get("Sluice-Revision") != "7" {
			t.Errorf("%+v: the answer's header is missing", c)
		}
		if got != c.want {
			t.Errorf("%+v:\n%s\nwant\n%s", c, got, c.want)
		}
	}
	a, _ := Address(host, nil, "")
	var status *StatusError
	if _, _, err := New(a).Do("GET", "/no", nil, nil); !errors.As(err, &status) || status.Status != 418 {
		t.Errorf("%v", err)
	}
	if _, header, err := New(a).Do("GET", "/elsewhere", nil, nil); err != nil || header.Get("Location") != "/" {
		t.Errorf("a redirection was followed: %v %v", header, err)
	}
}

func TestNobodyThere(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	ln.Close()
	for _, text := range []string{address, "unix/" + filepath.Join(t.TempDir(), "none")} {
		a, err := Address(text, nil, "")
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := New(a).Do("GET", "/", nil, nil); !NobodyThere(err) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if NobodyThere(&StatusError{404, ""}) {
		t.Error("an answer is taken for none")
	}
}
