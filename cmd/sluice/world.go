package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/sluiceproxy/sluice/admin/endpoint"
	"github.com/sluiceproxy/sluice/admin/pulled"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers/authentication"
	"github.com/sluiceproxy/sluice/handlers/mirror"
	"github.com/sluiceproxy/sluice/handlers/ratelimit"
	"github.com/sluiceproxy/sluice/handlers/reverseproxy/dynamic"
	"github.com/sluiceproxy/sluice/handlers/standard"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"github.com/sluiceproxy/sluice/internal/metrics"
	"github.com/sluiceproxy/sluice/internal/telemetry"
	"github.com/sluiceproxy/sluice/server/logs"
	"github.com/sluiceproxy/sluice/upstream"
	"go.uber.org/zap"
)

// world is what the modules of this process are compiled against.
type world struct {
	table    *module.Table
	logs     *logs.Switch
	sockets  *endpoint.Sockets
	puller   *pulled.Puller
	pool     *upstream.Pool
	globals  vars.Scope
	services module.Services
	// metrics is what the process counts, telemetry where traces may be sent.
	metrics   *metrics.Registry
	telemetry *telemetry.Telemetry
	// certificates is where servers get theirs.
	certificates *certificates
}

// newTable lists the modules of this program.
func newTable() (*module.Table, error) {
	t, err := module.NewTable(append(standard.Specs(), endpoint.Spec()), standard.Refused())
	if err != nil {
		return nil, fmt.Errorf("making the table of modules: %w", err)
	}
	return t, nil
}

func (p *program) newWorld() (*world, error) {
	table, err := p.modules()
	if err != nil {
		return nil, err
	}
	w := &world{table: table, logs: logs.NewSwitch(p.logProcess()), pool: upstream.NewPool(nil), services: module.Services{}}
	globals := vars.NewGlobal()
	globals.OnError = func(placeholder string, err error) {
		w.logs.Core("").Error("placeholder: failed to read file", zap.String("placeholder", placeholder), zap.Error(err))
	}
	w.globals = globals
	if w.metrics, err = metrics.New(metrics.Config{Namespace: os.Getenv("SLUICE_METRICS_NAMESPACE")}); err != nil {
		return nil, err
	}
	upstream.RegisterMetrics(w.metrics, w.pool)
	w.telemetry = telemetry.New(telemetry.Config{Version: versionText(), OnError: func(err error) {
		w.logs.Core("telemetry").Error("sending traces or metrics", zap.Error(err))
	}})
	module.Provide(w.services, w.logs)
	module.Provide(w.services, w.pool)
	module.Provide(w.services, w.metrics)
	module.Provide(w.services, w.telemetry)
	module.Provide(w.services, authentication.NewGate(0))
	module.Provide(w.services, ratelimit.NewZones(w.metrics))
	module.Provide(w.services, mirror.NewCopies(w.metrics))
	module.Provide(w.services, dynamic.NewCache(w.pool, dynamic.Options{}))
	module.Provide(w.services, upstream.NewTransports(upstream.TransportsConfig{Proxy: http.ProxyFromEnvironment, Connections: w.pool.Connections()}))
	if w.certificates, err = w.newCertificates(); err != nil {
		return nil, err
	}
	w.puller = pulled.New(w.logs.Core("admin.config"), w.certificates.identity)
	w.sockets = endpoint.NewSockets(endpoint.SocketsOptions{Default: p.defaultAdmin, Log: w.logs.Core("admin"), Puller: w.puller})
	module.Provide(w.services, w.sockets)
	return w, nil
}

// builder compiles modules outside the engine.
func (w *world) builder() *module.Builder {
	return &module.Builder{Table: w.table, Sources: module.Sources{ReadFile: readFile, Globals: w.globals, Services: w.services}}
}

// maxFile bounds the files that a document can name, in bytes, so that one such
// as /dev/zero is an error.
const maxFile = 64 << 20

// readFile reads a file that a document names.
func readFile(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := readAll(f)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	return data, nil
}

// readAll reads at most maxFile bytes; more are an error.
func readAll(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = errors.New("it is larger than 64 MiB")
	}
	return data, err
}
