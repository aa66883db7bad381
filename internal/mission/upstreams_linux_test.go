package mission

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

// three starts the backends of missions 03 and 04.
func three(t *testing.T) (list []*backend) {
	t.Helper()
	for i := range 3 {
		list = append(list, newBackend(t, fmt.Sprint("up", i), fmt.Sprint("localhost:300", i)))
	}
	return list
}

// checkBasic: every request goes to the backend, whole.
func checkBasic(t *testing.T, s *site) {
	newBackend(t, "only", "localhost:3000")
	s.up(t)
	for _, proto := range protocols {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
			for _, uri := range []string{"/", "/a/b?c=d&e=%2F", "/a%20b", "/.well-known/other"} {
				var body io.Reader
				want := ""
				if method[0] == 'P' {
					want = strings.Repeat("a body ", 10_000)
					body = strings.NewReader(want)
				}
				r := s.do(t, proto, s.request(t, method, uri, body, "X-Own: 1"))
				if method == "HEAD" {
					if r.StatusCode != 200 || r.text != "" || r.Header.Get("X-Kept") != "only" {
						t.Errorf("HEAD %s over %s: %s %q", uri, proto, r.Status, r.text)
					}
					continue
				}
				v := r.seen(t)
				if v.Name != "only" || v.Method != method || v.URI != uri || v.Host != host || v.Body != want || v.Header.Get("X-Own") != "1" {
					t.Errorf("%s %s over %s: %s %s for %s, %d bytes", method, uri, proto, v.Method, v.URI, v.Host, len(v.Body))
				}
				for name, want := range map[string]string{"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": host} {
					if got := v.Header.Values(name); len(got) != 1 || got[0] != want {
						t.Errorf("%s over %s: %q, want %s", name, proto, got, want)
					}
				}
			}
		}
	}
}

// checkSocket: the backend is behind a unix socket, also after it has been away.
func checkSocket(t *testing.T, s *site) {
	b := newBackend(t, "socket", "/run/app.sock")
	s.up(t)
	for _, proto := range protocols {
		if _, v := s.seen(t, proto, "/a?b=c"); v.Name != "socket" || v.URI != "/a?b=c" || v.Host != host {
			t.Errorf("%s: %+v", proto, v)
		}
	}
	if v := s.do(t, "HTTP/2.0", s.request(t, "POST", "/", strings.NewReader("body"))).seen(t); v.Body != "body" {
		t.Errorf("%+v", v)
	}
	b.stop()
	if got := s.status(t); got != http.StatusBadGateway {
		t.Errorf("without a socket: %d", got)
	}
	b.again(t, "/run/app.sock")
	if _, v := s.seen(t, "HTTP/2.0", "/"); v.Name != "socket" {
		t.Errorf("%+v", v)
	}
}

// rounds wants three backends in turn, whatever asks, and each as often as the others.
func (s *site) rounds(t *testing.T, ups []*backend) {
	t.Helper()
	if got := s.turns(t, 9); distinct(got[:3]) != 3 || !slices.Equal(got[:3], got[3:6]) || !slices.Equal(got[3:6], got[6:]) {
		t.Errorf("not in turn: %v", got)
	}
	var before [3]int64
	for i, b := range ups {
		before[i] = b.asked.Load()
	}
	var running sync.WaitGroup
	for i := range 90 {
		running.Go(func() {
			if r, err := s.try(protocols[i%3], s.request(t, "GET", "/", nil)); err != nil || r.StatusCode != 200 {
				t.Errorf("%v %v", r.Response, err)
			}
		})
	}
	running.Wait()
	for i, b := range ups {
		if n := b.asked.Load() - before[i]; n != 30 {
			t.Errorf("%s has got %d of 90 requests", b.name, n)
		}
	}
}

// checkInTurn: nothing is said about a policy, so they take turns.
func checkInTurn(t *testing.T, s *site) {
	ups := three(t)
	s.up(t)
	s.rounds(t, ups)
}

// checkPolicies: round_robin as it is written, and each of the others in its place.
func checkPolicies(t *testing.T, s *site) {
	ups := three(t)
	s.up(t)
	s.rounds(t, ups)
	policy := func(name string, check func(t *testing.T)) {
		t.Run(name, func(t *testing.T) {
			s.edit(t, "round_robin", name)
			check(t)
		})
	}
	policy("first", func(t *testing.T) {
		if got := s.turns(t, 12); distinct(got) != 1 || got[0] != "up0" {
			t.Errorf("%v", got)
		}
	})
	policy("least_conn", func(t *testing.T) { checkLeast(t, s, ups) })
	policy("ip_hash", func(t *testing.T) {
		of := map[string]string{}
		for range 2 {
			for i := range 30 {
				ip := fmt.Sprint("127.0.1.", i+1)
				name := s.from(t, ip)
				if before, ok := of[ip]; ok && before != name {
					t.Errorf("%s is served by %s and %s", ip, before, name)
				}
				of[ip] = name
			}
		}
		spread(t, of)
	})
	policy("uri_hash", func(t *testing.T) {
		of := map[string]string{}
		for range 2 {
			for i := range 30 {
				uri := fmt.Sprint("/page/", i)
				_, v := s.seen(t, protocols[i%3], uri)
				if before, ok := of[uri]; ok && before != v.Name {
					t.Errorf("%s is served by %s and %s", uri, before, v.Name)
				}
				of[uri] = v.Name
			}
		}
		spread(t, of)
	})
	policy("header X-User", func(t *testing.T) {
		of := map[string]string{}
		for range 2 {
			for i := range 30 {
				user := fmt.Sprint("user", i)
				_, v := s.seen(t, "HTTP/2.0", "/", "X-User: "+user)
				if before, ok := of[user]; ok && before != v.Name {
					t.Errorf("%s is served by %s and %s", user, before, v.Name)
				}
				of[user] = v.Name
			}
		}
		spread(t, of)
		if got := s.turns(t, 60); distinct(got) != 3 {
			t.Errorf("without the field: %v", got)
		}
	})
	policy("cookie", func(t *testing.T) {
		of := map[string]string{}
		for i := range 60 {
			r, first := s.seen(t, protocols[i%3], "/")
			if len(r.Cookies()) != 1 {
				t.Fatalf("cookies %v", r.Cookies())
			}
			c := r.Cookies()[0]
			of[fmt.Sprint(i)] = first.Name
			if i%10 > 0 {
				continue
			}
			for range 5 {
				r, v := s.seen(t, protocols[i%3], "/", "Cookie: "+c.Name+"="+c.Value)
				if v.Name != first.Name || len(r.Cookies()) > 0 {
					t.Errorf("%s and %v, though the cookie is of %s", v.Name, r.Cookies(), first.Name)
				}
			}
		}
		spread(t, of)
	})
}

// spread wants everybody to have somebody.
func spread(t *testing.T, of map[string]string) {
	t.Helper()
	var names []string
	for _, name := range of {
		names = append(names, name)
	}
	if distinct(names) != 3 {
		t.Errorf("they are not spread: %v", of)
	}
}

// from asks from another address.
func (s *site) from(t *testing.T, ip string) string {
	t.Helper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	tr := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: s.secure.Clone(),
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, address)
		}}
	defer tr.CloseIdleConnections()
	res, err := (&http.Client{Transport: tr, Timeout: patience}).Get(origin + "/")
	must(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	must(t, err)
	v := reply{res, string(text)}.seen(t)
	if got := v.Header.Get("X-Forwarded-For"); got != ip {
		t.Errorf("a request from %s is said to be from %s", ip, got)
	}
	return v.Name
}

// checkLeast: while two backends are busy, the third gets what comes.
func checkLeast(t *testing.T, s *site, ups []*backend) {
	release, busy := make(chan struct{}), make(chan string, 10)
	for _, b := range ups {
		b.does(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/long" {
				busy <- b.name
				<-release
			}
			b.usual(w, r)
		})
		defer b.does(nil)
	}
	var running sync.WaitGroup
	var taken []string
	for range 2 {
		running.Go(func() {
			if r, err := s.try("HTTP/2.0", s.request(t, "GET", "/long", nil)); err != nil || r.StatusCode != 200 {
				t.Errorf("%v %v", r.Response, err)
			}
		})
		taken = append(taken, <-busy)
	}
	if taken[0] == taken[1] {
		t.Errorf("both long requests are at %s", taken[0])
	}
	for _, name := range s.turns(t, 10) {
		if slices.Contains(taken, name) {
			t.Errorf("%s is busy, and gets another request", name)
		}
	}
	close(release)
	running.Wait()
}

// checkHeaderUp: what the file says about the request header, whatever the client says.
func checkHeaderUp(t *testing.T, s *site) {
	newBackend(t, "up", "localhost:3000")
	s.up(t)
	for _, proto := range protocols {
		_, v := s.seen(t, proto, "/", "X-Real-IP: 192.0.2.1", "X-Forwarded-For: 192.0.2.2", "X-Forwarded-Proto: ftp", "X-Own: kept")
		if v.Host != "localhost:3000" {
			t.Errorf("%s: the host is %s", proto, v.Host)
		}
		for name, want := range map[string]string{"X-Real-Ip": "127.0.0.1", "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "https", "X-Own": "kept"} {
			if got := v.Header.Values(name); len(got) != 1 || got[0] != want {
				t.Errorf("%s over %s: %q, want %s", name, proto, got, want)
			}
		}
	}
}

// checkHeaderDown: what the file says about the response header, and the rest of it stays.
func checkHeaderDown(t *testing.T, s *site) {
	b := newBackend(t, "up", "localhost:3000")
	s.up(t)
	for _, code := range []int{200, 404, 500} {
		b.does(func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Server"] = []string{"up", "of all"}
			w.Header()["X-Powered-By"] = []string{"one", "two"}
			w.Header().Set("X-Server", "kept")
			w.Header().Set("X-Powered-By-Not", "kept")
			w.WriteHeader(code)
		})
		for _, proto := range protocols {
			r := s.do(t, proto, s.request(t, "GET", "/", nil))
			if v := r.Header.Values("X-Powered-By"); v != nil {
				t.Errorf("%s: X-Powered-By: %q", proto, v)
			}
			if v := strings.Join(r.Header.Values("Server"), ","); strings.Contains(v, "up") || strings.Contains(v, "of all") {
				t.Errorf("%s: Server: %q", proto, v)
			}
			if r.StatusCode != code || r.Header.Get("X-Server") != "kept" || r.Header.Get("X-Powered-By-Not") != "kept" {
				t.Errorf("%s: %s %v", proto, r.Status, r.Header)
			}
		}
	}
}

// checkStripped: the prefix does not reach the backend.
func checkStripped(t *testing.T, s *site) {
	b := newBackend(t, "up", "localhost:3000")
	s.up(t)
	for _, proto := range protocols {
		for uri, want := range map[string]string{
			"/api/users": "/users", "/api/users?x=1": "/users?x=1", "/api/": "/", "/api/a%20b/%2F": "/a%20b/%2F", "/api/api/x": "/api/x",
		} {
			if _, v := s.seen(t, proto, uri); v.URI != want || v.Host != host {
				t.Errorf("%s over %s: the backend gets %s for %s, want %s", uri, proto, v.URI, v.Host, want)
			}
		}
	}
	before := b.asked.Load()
	s.pages(t, [][3]string{{"/", "200", ""}, {"/api", "200", ""}, {"/users", "200", ""}}) // nobody is asked there
	if n := b.asked.Load() - before; n > 0 {
		t.Errorf("%d requests outside of /api/ have reached the backend", n)
	}
}

// alpn is the configuration of a client for one protocol over TCP.
func (s *site) alpn(proto string) *tls.Config {
	c := s.secure.Clone()
	c.NextProtos = []string{proto}
	return c
}
