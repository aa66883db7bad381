package logs_test

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
	"github.com/sluiceproxy/sluice/server/logs"
	"go.uber.org/zap"
)

func readFile(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// readLogFile reads a log file, compressed or not.
func readLogFile(t *testing.T, path string) string {
	t.Helper()
	packed := strings.NewReader(readFile(t, path))
	var r io.Reader = packed
	var err error
	switch filepath.Ext(path) {
	case ".gz":
		r, err = gzip.NewReader(packed)
	case ".zst":
		r, err = zstd.NewReader(packed)
	}
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// openFiles counts the descriptors of this process that refer to files below a
// directory.
func openFiles(t *testing.T, dir string) int {
	t.Helper()
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil || len(links) == 0 {
		t.Skip("no list of open files")
	}
	n := 0
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil && strings.HasPrefix(to, dir) {
			n++
		}
	}
	return n
}

func TestFileWriter(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t)
	w.env["DIR"] = dir
	doc := func(more string) string {
		return `{"logs":{"default":{"writer":{"output":"file","filename":"{env.DIR}/x/a.log"` + more + `}},
			"b":{"writer":{"output":"file","filename":"` + dir + `/x/../x/a.log","mode":"0604"},"include":["b"]}}}`
	}
	set, closeFirst := w.load(doc(""))
	w.sw.Use(set)
	path := filepath.Join(dir, "x", "a.log")
	equal(t, "old log", strings.Contains(w.err(), `"to":"`+path+`"`), true)
	set.Logger("a").Info("1")
	equal(t, "at once, as JSON", readFile(t, path), `{"level":"info","ts":1785585600.25,"logger":"a","msg":"1"}`+"\n")
	set.Logger("b").Info("2")
	equal(t, "lines of both logs", messages(t, readFile(t, path)), "a:1 b:2 b:2")
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "the default log's mode rules", info.Mode().Perm(), 0o600)

	second, closeSecond := w.load(doc(`,"mode":"0640"`))
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Error("the new mode has an effect before the configuration has")
	}
	w.sw.Use(second)
	closeFirst()
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o640 {
		t.Errorf("the file is %o", info.Mode().Perm())
	}
	waitFor(t, "end of what rolled over by the old settings", func() bool { return openFiles(t, dir) == 1 })
	second.Logger("a").Info("3")
	w.use(`{}`)
	closeSecond()
	waitFor(t, "closing of a file of no configuration", func() bool { return openFiles(t, dir) == 0 })
	equal(t, "lines", messages(t, readFile(t, path)), "a:1 b:2 b:2 a:3 :redirected default logger")
	second.Logger("a").Info("late")
	equal(t, "stderr", messages(t, w.err()), "a:late")
}

func TestFileWriterRefused(t *testing.T) {
	cases := []struct{ config, pointer, message string }{
		{``, "/filename", ""},
		{`"filename":""`, "/filename", ""},
		{`"filename":"{env.NONE}"`, "/filename", "the name of the log file"},
		{`"filename":"x","mode":420`, "/mode", "string"},
		{`"filename":"x","mode":"rw"`, "/mode", `"rw" is not a file mode`},
		{`"filename":"x","mode":"06440"`, "/mode", "one to four octal digits"},
		{`"filename":"x","dir_mode":"all"`, "/dir_mode", `"all" is not a file mode`},
		{`"filename":"x","roll_size_mb":-1`, "/roll_size_mb", ""},
		{`"filename":"x","roll_interval":"-1h"`, "/roll_interval", "cannot be negative"},
		{`"filename":"x","roll_minutes":[0,60]`, "/roll_minutes/1", "no minute 60"},
		{`"filename":"x","roll_at":["12:30","24:00"]`, "/roll_at/1", `"24:00" is not a time of the day`},
		{`"filename":"x","roll_compression":"lz4"`, "/roll_compression", "lz4"},
		{`"filename":"x","roll_keep":-1`, "/roll_keep", ""},
		{`"filename":"x","roll_keep_days":-1`, "/roll_keep_days", ""},
		{`"filename":"x","backup_time_format":"15:04"`, "/backup_time_format", "cannot be read back"},
		{`"filename":"x","rol":true`, "/rol", "unknown field"},
	}
	for _, c := range cases {
		doc := `{"logs":{"a":{"writer":{"output":"file"` + strings.TrimSuffix(","+c.config, ",") + `}}}}`
		ps := newWorld(t).build(doc).Problems
		if len(ps) == 0 || !strings.HasPrefix(ps[0].Pointer, "/logs/a/writer") || !strings.HasSuffix(ps[0].Pointer, c.pointer) && c.message != "" || !strings.Contains(ps[0].Message, c.message) {
			t.Errorf("%s: %v\nwant %s: %s", c.config, ps, c.pointer, c.message)
		}
	}
}

func TestNetWriterRefused(t *testing.T) {
	for config, want := range map[string][2]string{
		`"address":"tcp/a.test:1-2"`:                  {"/address", "multiple ports not supported"},
		`"address":"a.test"`:                          {"/address", "needs a port"},
		`"address":"fd/3"`:                            {"/address", "inherited descriptor"},
		`"address":"{env.NONE}:1"`:                    {"/address", "env.NONE"},
		`"address":"a.test:x"`:                        {"/address", "a.test:x"},
		`"address":"a.test:1","dial_timeout":"-1s"`:   {"/dial_timeout", "negative"},
		`"address":"a.test:1","dial_timeout":"never"`: {"/dial_timeout", "invalid duration"},
	} {
		ps := newWorld(t).build(`{"logs":{"a":{"writer":{"output":"net",` + config + `}}}}`).Problems
		if len(ps) == 0 || ps[0].Pointer != "/logs/a/writer"+want[0] || !strings.Contains(ps[0].Message, want[1]) {
			t.Errorf("%s: %v\nwant %s: %s", config, ps, want[0], want[1])
		}
	}
}

// TestCannotOpen: the reason has its place in the document, and what was opened
// before is closed and gone.
func TestCannotOpen(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t)
	for writer, want := range map[string]string{
		`{"output":"file","filename":"` + dir + `"}`:                                               "is a directory",
		`{"output":"net","address":"unix/` + dir + `/none.sock"}`:                                  "connecting to log server unix/",
		`{"output":"net","address":"tcp/127.0.0.1:1","dial_timeout":"5s"}`:                         "refused",
		`{"output":"file","filename":"` + filepath.Join(dir, "a.log", "below") + `","mode":"600"}`: "not a directory",
	} {
		if err := os.WriteFile(filepath.Join(dir, "a.log"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		res := w.build(`{"logs":{"a":{"writer":{"output":"file","filename":"` + dir + `/new/good.log"}},"b/b":{"writer":` + writer + `}}}`)
		if len(res.Problems) > 0 {
			t.Fatal(res.Problems)
		}
		for _, b := range res.New {
			for _, r := range b.Owned() {
				var ps schema.Problems
				if err := r.Prepare(); !errors.As(err, &ps) || len(ps) != 1 || ps[0].Pointer != "/logging/logs/b~1b/writer" ||
					!strings.Contains(ps[0].Message, want) || !strings.Contains(ps[0].Message, `log "b/b"`) {
					t.Errorf("%s: %v", writer, err)
				}
			}
		}
		if _, err := os.Stat(filepath.Join(dir, "new")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the file of the other log is still there: %v", writer, err)
		}
		equal(t, "open files", openFiles(t, dir), 0)
	}
}

// TestThousandEdits: entries of many goroutines are neither lost nor written
// twice while the logs are exchanged, whatever is changed about the file.
func TestThousandEdits(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.log")
	w := newWorld(t)
	docs := []string{
		`"roll":false`, `"roll_size_mb":1,"roll_compression":"none","roll_keep":1000`, `"mode":"0640","roll_at":["03:00"]`, `"roll_size_mb":1,"roll_compression":"zstd","roll_keep":900`,
	}
	const writers, edits, each = 4, 1000, 5 // entries of a writer at each edit
	var edit atomic.Int64
	var wg sync.WaitGroup
	pad := zap.String("pad", strings.Repeat("x", 100))
	for i := range writers {
		wg.Go(func() {
			log := w.sw.Logger("w" + strconv.Itoa(i))
			for n := range edits * each {
				for int64(n/each) > edit.Load() {
					runtime.Gosched()
				}
				log.Info("entry", pad, zap.Int("n", n))
			}
		})
	}
	closeOld := func() {}
	for i := range edits {
		edit.Store(int64(i))
		level := []string{"INFO", "DEBUG"}[i/4%2]
		s, closeNew := w.load(fmt.Sprintf(`{"logs":{"default":{"level":%q,"sampling":{"first":1000000000},"writer":{"output":"file","filename":%q,%s}}}}`, level, path, docs[i%4]))
		w.sw.Use(s)
		closeOld()
		closeOld = closeNew
	}
	wg.Wait()
	w.sync()
	w.use(`{}`)
	closeOld()
	waitFor(t, "end of compressing", func() bool {
		unfinished, _ := filepath.Glob(filepath.Join(dir, "*.tmp"))
		return len(unfinished) == 0 && w.sw.Quiet()
	})
	stderr := w.stderr.take()
	equal(t, "complaints", strings.Count(stderr, "does not work"), 0)
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	note := func(text string) {
		for line := range strings.Lines(text) {
			if strings.Contains(line, `"entry"`) {
				seen[line[strings.Index(line, `"w`)+1:][:2]+line[strings.LastIndex(line, ":"):]]++
			}
		}
	}
	note(stderr) // from before the first edit
	for _, f := range files {
		note(readLogFile(t, f))
	}
	for i := range writers {
		for k := range edits * each {
			if got := seen[fmt.Sprintf("w%d:%d}\n", i, k)]; got != 1 {
				t.Fatalf("entry %d of writer %d is there %d times; files are %v", k, i, got, files)
			}
		}
	}
	equal(t, "entries", len(seen), writers*edits*each)
	equal(t, "lost", w.sw.Lost(), 0)
	if len(files) < 2 {
		t.Errorf("never rolled over: %v", files)
	}
}

// waitFor polls for what another goroutine does.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("no %s", what)
		}
		runtime.Gosched()
	}
}

// TestFailingOutput: standard error is told once, entries are counted, and who
// logs goes on.
func TestFailingOutput(t *testing.T) {
	var file counted
	w := newWorld(t)
	w.extra = append(w.extra, file.spec("f"))
	set := w.use(`{"logs":{"default":{"writer":{"output":"f"}}}}`)
	w.err()
	file.setBroken(true)
	for range 5 {
		set.Core("").Error("lost")
		_ = w.sw.Sync()
	}
	var text string
	waitFor(t, "word on standard error", func() bool { text += w.stderr.take(); return strings.HasSuffix(text, "\n") })
	equal(t, "stderr", text, `{"level":"error","ts":1785585600.25,"logger":"logs","msg":"a log output does not work","output":"f","error":"disk full","lost":1}`+"\n")
	equal(t, "lost", w.sw.Lost() >= 5, true)
}

// frozen is an output that does not come back from a write until it thaws. What
// others want of it has to wait; a channel is its lock, for the bubble's clock.
type frozen struct{ lock, thaw chan struct{} }

func (f *frozen) Write(p []byte) (int, error) {
	f.lock <- struct{}{}
	<-f.thaw
	<-f.lock
	return len(p), nil
}

func (f *frozen) Close() error {
	f.lock <- struct{}{}
	<-f.lock
	return nil
}

func (f *frozen) Direct() bool { return true }

// TestFrozenOutput: who edits the logs waits for it, but not forever, and others
// that log do not.
func TestFrozenOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &frozen{make(chan struct{}, 1), make(chan struct{})}
		w := newWorld(t)
		w.extra = append(w.extra, module.New("caddy.logging.writers.f", "For tests.", nil, func(_ *module.Env, c *observeConfig) (*logs.Writer, error) {
			return &logs.Writer{Key: "f", Settings: c.Text, Open: func(logs.Opening) (io.WriteCloser, error) { return f, nil },
				Start: func(io.WriteCloser) { _ = f.Close() }}, nil
		}))
		set, closeSet := w.load(`{"logs":{"default":{"writer":{"output":"f"}}}}`)
		w.sw.Use(set)
		go set.Logger("a").Info("the one that writes")
		synctest.Wait()
		start := time.Now()
		for range 1000 {
			w.sw.Logger("b").Info("others")
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("others waited %v", d)
		}
		next, closeNext := w.load(`{"logs":{"default":{"writer":{"output":"f","text":"new"}}}}`)
		w.sw.Use(next)
		closeSet()
		w.use(`{}`)
		closeNext()
		if d := time.Since(start); d > 10*time.Second {
			t.Errorf("the edits took %v", d)
		}
		close(f.thaw)
		synctest.Wait()
	})
}

func TestCore(t *testing.T) {
	w := newWorld(t)
	core, seen := observe()
	w.extra = append(w.extra, core)
	set := w.use(`{"logs":{"default":{"level":"WARN","core":{"module":"observe"},"sampling":{"first":2,"thereafter":1000}}}}`)
	log := set.Logger("a").With(zap.Int("n", 1))
	log.Info("no")
	for range 5 {
		log.Warn("yes")
	}
	equal(t, "stderr", messages(t, w.err()), "a:yes a:yes")
	if all := seen.TakeAll(); len(all) != 2 || all[0].Message != "yes" || all[0].LoggerName != "a" || all[0].ContextMap()["n"] != int64(1) {
		t.Errorf("the core has %v", all)
	}
	w.sw.Buffer()
	w.sw.Logger("a").Warn("kept")
	w.sw.Logger("a").Debug("kept")
	w.sw.Flush()
	equal(t, "entries of a core that were held back", seen.Len(), 1)
}
