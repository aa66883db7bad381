package vars

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// MaxFileSize is how many bytes of a file a {file.PATH} placeholder reads.
const MaxFileSize = 1 << 20

// Global is the Scope of the names that need no request (section 8.2): env.,
// file., system. and time.now. Its functions are where they come from. Where
// one is nil its names are unknown; so a scope without files is a Global with
// ReadFile set to nil. It is safe for concurrent use if the functions are.
type Global struct {
	Getenv   func(name string) string                       // env.NAME
	ReadFile func(path string, limit int64) ([]byte, error) // file.PATH; returns at most limit bytes
	Hostname func() (string, error)                         // system.hostname
	Getwd    func() (string, error)                         // system.wd
	Now      func() time.Time                               // time.now
	OnError  func(name string, err error)                   // called with the placeholder of a file that can't be read; may be nil
}

// NewGlobal returns the scope of the real process.
func NewGlobal() *Global {
	return &Global{
		Getenv:   os.Getenv,
		ReadFile: readFile,
		Hostname: os.Hostname,
		Getwd:    os.Getwd,
		Now:      time.Now,
	}
}

func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return data, nil
}

// IsGlobal reports whether a name is of the kind that [Global] answers, in a
// process where all its functions are set.
func IsGlobal(name string) bool {
	switch family, _, _ := strings.Cut(name, "."); family {
	case "env", "file":
		return len(name) > len(family)
	case "system":
		switch name {
		case "system.hostname", "system.slash", "system.os", "system.arch", "system.wd":
			return true
		}
	case "time":
		switch name {
		case "time.now", "time.now.http", "time.now.common_log", "time.now.year", "time.now.unix", "time.now.unix_ms":
			return true
		}
	}
	return false
}

// Lookup implements [Scope].
func (g *Global) Lookup(name string) (any, bool) {
	family, rest, dotted := strings.Cut(name, ".")
	if !dotted {
		return nil, false
	}
	switch family {
	case "env":
		if g.Getenv != nil {
			return g.Getenv(rest), true
		}
	case "file":
		if g.ReadFile != nil {
			return g.file(name, rest), true
		}
	case "system":
		return g.system(rest)
	case "time":
		return g.time(rest)
	}
	return nil, false
}

// file returns a string, or nil if there is no such file.
func (g *Global) file(name, path string) any {
	data, err := g.ReadFile(path, MaxFileSize)
	if err != nil {
		if g.OnError != nil {
			g.OnError(name, err)
		}
		return nil
	}
	if len(data) > MaxFileSize {
		data = data[:MaxFileSize]
	}
	text := strings.TrimSuffix(string(data), "\n")
	return strings.TrimSuffix(text, "\r")
}

func (g *Global) system(name string) (any, bool) {
	ask := g.Hostname
	switch name {
	case "slash":
		return string(filepath.Separator), true
	case "os":
		return runtime.GOOS, true
	case "arch":
		return runtime.GOARCH, true
	case "wd":
		ask = g.Getwd
	case "hostname":
	default:
		return nil, false
	}
	if ask == nil {
		return nil, false
	}
	text, err := ask()
	if err != nil {
		return "", true // rule 8.2: empty
	}
	return text, true
}

func (g *Global) time(name string) (any, bool) {
	if g.Now == nil {
		return nil, false
	}
	switch name {
	case "now":
		return g.Now(), true
	case "now.http":
		return g.Now().UTC().Format(http.TimeFormat), true
	case "now.common_log":
		return g.Now().Format("02/Jan/2006:15:04:05 -0700"), true
	case "now.year":
		return g.Now().Format("2006"), true
	case "now.unix":
		return strconv.FormatInt(g.Now().Unix(), 10), true
	case "now.unix_ms":
		return strconv.FormatInt(g.Now().UnixMilli(), 10), true
	}
	return nil, false
}
