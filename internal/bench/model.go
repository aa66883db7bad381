package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// model is a running server with Caddy's configuration model: sluice, or Caddy.
type model struct {
	*process
	name  string
	admin *adminClient
	data  string // where its site listens
	bin   string
	home  string
}

// models are the servers of that kind to measure: sluice first.
func (b *bench) models() []*model {
	list := []*model{{name: "sluice", bin: b.bin}}
	if caddy := b.path["caddy"]; caddy != "" {
		list = append(list, &model{name: "caddy", bin: caddy})
	}
	return list
}

// place gives a server addresses and an empty home.
func (b *bench) place(m *model, tag string) error {
	admin, err := b.port.take()
	if err != nil {
		return err
	}
	if m.data, err = b.port.take(); err != nil {
		return err
	}
	m.admin = newAdminClient(admin)
	m.home = filepath.Join(b.dir, m.name+"-"+tag)
	return os.Mkdir(m.home, 0o755)
}

// boot starts a placed server with a document and waits for its admin endpoint.
func (b *bench) boot(m *model, document object) error {
	file := filepath.Join(m.home, "config.json")
	if err := os.WriteFile(file, encode(document), 0o600); err != nil {
		return err
	}
	return b.launch(m, "run", "--config", file)
}

func (b *bench) launch(m *model, args ...string) error {
	env := []string{
		"SLUICE_NO_TRUST_INSTALL=1", "HOME=" + m.home, "XDG_CONFIG_HOME=" + m.home + "/config", "XDG_DATA_HOME=" + m.home + "/data",
		"SLUICE_ADMIN=" + m.admin.addr, "CADDY_ADMIN=" + m.admin.addr,
	}
	p, err := start(b.ctx, m.home, m.name, env, append([]string{m.bin}, args...)...)
	if err != nil {
		return err
	}
	m.process = p
	if err := p.waitPort(b.ctx, m.admin.addr); err != nil {
		p.stop()
		return err
	}
	return nil
}

// end stops the server, if it runs.
func (m *model) end() {
	m.admin.close()
	if m.process != nil {
		m.stop()
	}
}

// goroutines counts those of the server; -1 if it does not say.
func (m *model) goroutines(b *bench) int {
	text, err := m.admin.call(b, "GET", "/debug/pprof/goroutine?debug=1", nil)
	if err != nil {
		return -1
	}
	first, _, _ := strings.Cut(string(text), "\n")
	n, err := strconv.Atoi(first[strings.LastIndexByte(first, ' ')+1:])
	if err != nil {
		return -1
	}
	return n
}

// liveMB is the server's heap after a collection in MB.
func (m *model) liveMB(b *bench) (float64, error) {
	text, err := m.admin.call(b, "GET", "/debug/pprof/heap?gc=1&debug=1", nil)
	if err != nil {
		return 0, err
	}
	kb, err := memStat(text, "HeapAlloc")
	return kb / 1024, err
}

// storedMB is the size of all that the server keeps on disk, in MB.
func (m *model) storedMB() float64 {
	var sum int64
	for _, dir := range []string{"config", "data"} {
		// A file may vanish while it is looked at; what is left counts.
		_ = filepath.WalkDir(filepath.Join(m.home, dir), func(_ string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				if info, err := d.Info(); err == nil {
					sum += info.Size()
				}
			}
			return nil
		})
	}
	return float64(sum) / (1 << 20)
}
