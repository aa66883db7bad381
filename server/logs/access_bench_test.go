package logs_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/admin/endpoint"
	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/standard"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/server"
	"github.com/sluiceproxy/sluice/server/listen"
	"github.com/sluiceproxy/sluice/server/logs"
	"github.com/sluiceproxy/sluice/server/logs/filtermod"
	"github.com/sluiceproxy/sluice/upstream"
	"go.uber.org/zap"
)

// engine is a server on loopback whose document has the given logging object,
// and the given logs object of the server.
func engine(b *testing.B, logging, access string) (addr string) {
	b.Helper()
	own := slices.Concat(logs.Specs(), filtermod.Specs())
	specs, refused := append(standard.Specs(), endpoint.Spec()), standard.Refused()
	for _, s := range own {
		specs = slices.DeleteFunc(specs, func(o module.Spec) bool { return o.ID == s.ID })
		delete(refused, s.ID)
	}
	table, err := module.NewTable(append(specs, own...), refused)
	if err != nil {
		b.Fatal(err)
	}
	sw := logs.NewSwitch(logs.Process{})
	services := module.Services{}
	module.Provide(services, sw)
	module.Provide(services, endpoint.NewSockets(endpoint.SocketsOptions{Log: zap.NewNop()}))
	module.Provide(services, upstream.NewPool(nil))
	module.Provide(services, upstream.NewTransports(upstream.TransportsConfig{}))
	e, err := server.New(server.Options{Table: table, Services: services, ReadFile: os.ReadFile, Globals: vars.NewGlobal(), Sockets: listen.NewManager(listen.Options{}), Logs: sw})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := e.Shutdown(context.Background()); err != nil {
			b.Error(err)
		}
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	addr = l.Addr().String()
	_ = l.Close()
	doc := fmt.Sprintf(`{"admin":{"disabled":true},"logging":%s,"apps":{"http":{"servers":{"s":{"listen":["tcp/%s"],"automatic_https":{"disable":true}%s,
		"routes":[{"handle":[{"handler":"static_response","headers":{"Content-Type":["text/plain; charset=utf-8"]},"body":"hello"}]}]}}}}}`, logging, addr, access)
	node, _, err := config.Parse([]byte(doc), config.Limits{})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := e.Apply(context.Background(), server.Change{Verb: "load", Edit: config.Edit{Whole: true, Value: node}}); err != nil {
		b.Fatal(err)
	}
	return addr
}

// cpu is the processor time that this process has used.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkServed is a request over a connection that stays open, with and
// without an access log in a file. The client costs as little as it can; what it
// costs is in both figures.
func BenchmarkServed(b *testing.B) {
	for _, c := range []struct{ name, writer, access string }{
		{"unlogged", `{"output":"discard"}`, ``},
		{"file", `{"output":"file","filename":"%s"}`, `,"logs":{}`},
		{"file-unrolled", `{"output":"file","filename":"%s","roll":false}`, `,"logs":{}`},
		{"discard", `{"output":"discard"}`, `,"logs":{}`},
	} {
		b.Run(c.name, func(b *testing.B) {
			writer := strings.Replace(c.writer, "%s", filepath.Join(b.TempDir(), "access.log"), 1)
			addr := engine(b, `{"logs":{"default":{"writer":`+writer+`,"encoder":{"format":"json"}}}}`, c.access)
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()
			request := []byte("GET /some/path?and=query HTTP/1.1\r\nHost: a.test\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) Chrome/130.0\r\nAccept: text/html,*/*\r\nAccept-Language: en\r\nAccept-Encoding: gzip, br\r\n\r\n")
			r := bufio.NewReader(conn)
			res, err := ask(conn, r, request)
			if err != nil || res.StatusCode != http.StatusOK {
				b.Fatal(res, err)
			}
			answer := make([]byte, 4096)
			b.ReportAllocs()
			before := cpu(b)
			for b.Loop() {
				if _, err := conn.Write(request); err != nil {
					b.Fatal(err)
				}
				if _, err := conn.Read(answer); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

func ask(conn net.Conn, r *bufio.Reader, request []byte) (*http.Response, error) {
	if _, err := conn.Write(request); err != nil {
		return nil, err
	}
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, res.Body)
	return res, err
}

// BenchmarkAccessFile is an access entry from the snapshot to the file.
func BenchmarkAccessFile(b *testing.B) {
	for name, encoder := range map[string]string{
		"json":   `{"format":"json"}`,
		"filter": `{"format":"filter","wrap":{"format":"json"},"fields":{"request>remote_ip":{"filter":"ip_mask","ipv4_cidr":16,"ipv6_cidr":32},"request>headers>Cookie":{"filter":"delete"}}}`,
		"append": `{"format":"append","wrap":{"format":"json"},"fields":{"host":"a"}}`,
	} {
		b.Run(name, func(b *testing.B) {
			w := newWorld(nil)
			w.t = &testing.T{}
			set := w.use(`{"logs":{"default":{"writer":{"output":"file","filename":"` + filepath.Join(b.TempDir(), "a.log") + `"},"encoder":` + encoder + `}}}`)
			a := mustAccess(b, `{}`)
			call := begin(a, get("/x", "User-Agent", "curl/8.0.0", "Accept", "*/*", "Cookie", "c", "Accept-Encoding", "gzip, br", "X-Forwarded-For", "1.2.3.4"))
			call.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			call.w.WriteHeader(200)
			b.ReportAllocs()
			for b.Loop() {
				a.Log(set, logs.AccessEntry{Snapshot: logs.Snap(a, call.request), Exchange: call.x, Duration: 160 * time.Microsecond})
			}
			w.use(`{}`)
		})
	}
}
