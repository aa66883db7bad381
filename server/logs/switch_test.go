package logs_test

import (
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/sluiceproxy/sluice/config/module"
	"go.uber.org/zap"
)

func TestSwitchFollows(t *testing.T) {
	w := newWorld(t)
	core, mod := w.sw.Core("admin").With(zap.Int("k", 1)), w.sw.Logger("http")
	core.Info("a")
	mod.Info("b")
	equal(t, "before", w.err(), `{"level":"info","ts":1785585600.25,"logger":"admin","msg":"a","k":1}`+"\n"+
		`{"level":"info","ts":1785585600.25,"logger":"http","msg":"b"}`+"\n")
	w.use(`{"logs":{"default":{"writer":{"output":"stdout"},"level":"DEBUG","exclude":["http"]}}}`)
	equal(t, "redirected", w.err(), `{"level":"info","ts":1785585600.25,"msg":"redirected default logger","from":"stderr","to":"stdout"}`+"\n")
	core.Debug("c")
	core.Named("api").Debug("d", zap.Int("l", 2))
	mod.Info("e")
	equal(t, "after", w.out(), `{"level":"debug","ts":1785585600.25,"logger":"admin","msg":"c","k":1}`+"\n"+
		`{"level":"debug","ts":1785585600.25,"logger":"admin.api","msg":"d","k":1,"l":2}`+"\n")
	equal(t, "old", w.err(), "")
	if w.sw.Core("admin") != w.sw.Core("admin") {
		t.Error("core loggers are not kept")
	}
}

func TestSwitchBuffers(t *testing.T) {
	w := newWorld(t)
	w.sw.Buffer()
	fields := []zap.Field{zap.Int("n", 1)}
	w.sw.Core("").Info("using config from file", fields...)
	fields[0] = zap.Int("n", 2)
	w.sw.Core("admin").Debug("details")
	w.sw.Logger("tls").Info("module")
	equal(t, "held back", w.stderr.take(), "")
	w.use(`{"logs":{"default":{"writer":{"output":"stdout"},"level":"DEBUG","with_caller":true,"exclude":["tls"],"encoder":{"format":"json","time_key":""}}}}`)
	got := w.out()
	if !strings.HasPrefix(got, `{"level":"info","caller":"logs/switch_test.go:`) || !strings.Contains(got, `"msg":"using config from file","n":1}`) {
		t.Errorf("flushed: %s", got)
	}
	equal(t, "flushed", messages(t, got), ":using config from file admin:details")
	equal(t, "old", messages(t, w.err()), ":redirected default logger")
	w.sw.Core("").Info("direct")
	equal(t, "then", messages(t, w.out()), ":direct")
}

func TestSwitchFlushWithoutConfig(t *testing.T) {
	w := newWorld(t)
	w.sw.Buffer()
	w.sw.Core("").Error("cannot start")
	w.sw.Core("").Debug("not for the fallback")
	w.sw.Flush()
	equal(t, "stderr", messages(t, w.err()), ":cannot start")

	w.sw.Buffer()
	for i := range 5000 { // more than is held back: nothing is lost
		w.sw.Core("").Info(strconv.Itoa(i))
	}
	equal(t, "lines", strings.Count(w.err(), "\n"), 5000)

	w.sw.Buffer()
	w.sw.Core("").Info("first")
	func() {
		defer func() { _ = recover() }()
		w.sw.Core("").Panic("last words")
	}()
	equal(t, "stderr", messages(t, w.stderr.take()), ":first :last words")
}

// Entries of many loggers are neither lost nor mixed while the logs are
// exchanged and the outputs of the old ones are closed.
func TestUseWhileLogging(t *testing.T) {
	var a, b counted
	w := newWorld(t)
	w.extra = []module.Spec{a.spec("a"), b.spec("b")}
	docs := []string{
		`{"logs":{"default":{"writer":{"output":"a"},"sampling":{"first":1000000}}}}`,
		`{"logs":{"default":{"writer":{"output":"b"}}}}`,
	}
	const writers, each = 8, 500
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			log := w.sw.Core("w" + strconv.Itoa(i))
			for n := range each {
				log.Info("entry", zap.Int("n", n))
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	closeOld := func() {}
	for i, running := 0, true; running; i++ {
		select {
		case <-done:
			running = false
		default:
		}
		s, closeNew := w.load(docs[i%2])
		w.sw.Use(s)
		closeOld()
		closeOld = closeNew
	}
	w.sync()
	all := a.take() + b.take() + w.stderr.take()
	equal(t, "entries", strings.Count(messages(t, all), ":entry"), writers*each)
}

// What an output could not take is named in the log once it works again.
func TestLostEntriesAreReported(t *testing.T) {
	var file counted
	w := newWorld(t)
	w.extra = []module.Spec{file.spec("f")}
	set := w.use(`{"logs":{"default":{"writer":{"output":"f"},"encoder":{"format":"json","time_key":""}}}}`)
	file.setBroken(true)
	set.Core("").Info("lost")
	if err := w.sw.Sync(); err == nil {
		t.Error("Sync does not tell of a failed write")
	}
	file.setBroken(false)
	set.Core("").Info("kept")
	w.sync()
	equal(t, "lines", file.take(), `{"level":"warn","msg":"log entries were lost because the output was blocked or failed","lost":1,"output":"f"}`+"\n"+
		`{"level":"info","msg":"kept"}`+"\n")
}

// A Set that was replaced still gets its late entries out.
func TestLateEntries(t *testing.T) {
	var file counted
	w := newWorld(t)
	w.extra = []module.Spec{file.spec("f")}
	old, closeOld := w.load(`{"logs":{"default":{"writer":{"output":"f"}}}}`)
	w.sw.Use(old)
	w.use(`{"logs":{"default":{"writer":{"output":"stdout"}}}}`)
	closeOld()
	w.err()
	old.Logger("http.log.access").Info("late")
	equal(t, "stdout", messages(t, w.out()), "http.log.access:late")
}

func TestStdLog(t *testing.T) {
	w := newWorld(t)
	std := w.sw.StdLog("http.stdlib")
	std.Print("http: TLS handshake error")
	std.Print("http: panic serving 1.2.3.4:5: boom\ngoroutine 1")
	w.use(`{"logs":{"default":{"level":"DEBUG","encoder":{"format":"json","time_key":""}}}}`)
	std.Print("http: TLS handshake error")
	lines := strings.SplitAfter(w.err(), "\n")
	equal(t, "panic", lines[0], `{"level":"error","ts":1785585600.25,"logger":"http.stdlib","msg":"http: panic serving 1.2.3.4:5: boom\ngoroutine 1"}`+"\n")
	equal(t, "debug", lines[1], `{"level":"debug","logger":"http.stdlib","msg":"http: TLS handshake error"}`+"\n")
}
