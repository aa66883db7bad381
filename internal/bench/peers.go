package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/sluiceproxy/sluice/internal/bench/machine"
)

// startCandidates starts sluice and each peer that is installed, all as proxies
// to the upstream. On an error those that run are returned too.
func (b *bench) startCandidates(upstream string) ([]*candidate, error) {
	var out []*candidate
	for _, m := range b.models() {
		c, err := b.startModel(m, upstream)
		if c != nil {
			out = append(out, c)
		}
		if err != nil {
			return out, err
		}
	}
	if b.path["nginx"] != "" {
		addr, err := b.port.take()
		if err != nil {
			return out, err
		}
		p, err := b.startNginx("nginx", nginxProxy(addr, upstream), addr)
		if err != nil {
			return out, err
		}
		out = append(out, &candidate{process: p, name: "nginx", addr: addr})
	}
	if path := b.path["haproxy"]; path != "" {
		addr, err := b.port.take()
		if err != nil {
			return out, err
		}
		p, err := b.startHAProxy(path, addr, upstream)
		if err != nil {
			return out, err
		}
		out = append(out, &candidate{process: p, name: "haproxy", addr: addr})
	}
	return out, nil
}

func (b *bench) startModel(m *model, upstream string) (*candidate, error) {
	if err := b.place(m, "proxy"); err != nil {
		return nil, err
	}
	many, err := b.port.take()
	if err != nil {
		return nil, err
	}
	if err := b.boot(m, proxySite(m.admin.addr, m.data, many, upstream)); err != nil {
		return nil, err
	}
	m.admin.close()
	c := &candidate{process: m.process, name: m.name, addr: m.data, many: many}
	for _, addr := range []string{m.data, many} {
		if err := m.waitPort(b.ctx, addr); err != nil {
			return c, err
		}
	}
	return c, nil
}

// startNginx starts nginx with a configuration of its http block.
func (b *bench) startNginx(name, http, addr string) (*process, error) {
	dir := filepath.Join(b.dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	text := fmt.Sprintf(`worker_processes 1; worker_rlimit_nofile %[3]d; daemon off; pid %[1]s/pid; error_log %[1]s/errors;
events { worker_connections %[3]d; }
http {
 access_log off; keepalive_requests 1000000000; keepalive_timeout 300s; client_max_body_size 20m;
 client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
%[2]s}
`, dir, http, max(4096, machine.OpenFiles()))
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return b.startPeer(dir, name, addr, b.path["nginx"], "-e", filepath.Join(dir, "errors"), "-c", file)
}

func (b *bench) startPeer(dir, name, addr string, argv ...string) (*process, error) {
	p, err := start(b.ctx, dir, name, nil, argv...)
	if err != nil {
		return nil, err
	}
	if err := p.waitPort(b.ctx, addr); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

func nginxUpstream(addr, www string) string {
	return fmt.Sprintf(` server {
  listen %s;
  location / { default_type text/plain; return 200 %q; }
  location = /big { root %s; sendfile on; }
 }
`, addr, greeting, www)
}

func nginxProxy(addr, upstream string) string {
	return fmt.Sprintf(` upstream u { server %s; keepalive 256; keepalive_requests 1000000000; }
 server {
  listen %s;
  location = /static { return 200 "hello"; }
  location / {
   proxy_pass http://u; proxy_http_version 1.1;
   proxy_set_header Connection ""; proxy_set_header Host $host;
   proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $host;
  }
 }
`, upstream, addr)
}

// nginxStreams has a server for HTTP/1.1 and one for gRPC.
func nginxStreams(plain, rpc, plainUpstream, rpcUpstream string) string {
	return fmt.Sprintf(` upstream p { server %[3]s; keepalive 16; keepalive_requests 1000000000; }
 upstream g { server %[4]s; keepalive 16; keepalive_requests 1000000000; }
 server {
  listen %[1]s;
  proxy_http_version 1.1; proxy_buffering off; proxy_read_timeout 1h;
  location / {
   proxy_pass http://p; proxy_set_header Connection "";
   proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;
  }
  location = /ws {
   proxy_pass http://p; proxy_set_header Connection "upgrade"; proxy_set_header Upgrade $http_upgrade;
   proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;
  }
 }
 server {
  listen %[2]s http2;
  location / { grpc_pass grpc://g; grpc_set_header X-Forwarded-For $remote_addr; }
 }
`, plain, rpc, plainUpstream, rpcUpstream)
}

func (b *bench) startHAProxy(path, addr, upstream string) (*process, error) {
	dir := filepath.Join(b.dir, "haproxy")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	text := fmt.Sprintf(`global
  nbthread 1
  maxconn 4000
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option forwardfor
frontend f
  bind %s
  http-request return status 200 content-type text/plain string hello if { path /static }
  default_backend b
backend b
  http-reuse always
  server s %s
`, addr, upstream)
	file := filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return b.startPeer(dir, "haproxy", addr, path, "-f", file)
}
