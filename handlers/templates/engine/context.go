package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/handlers/vars"
	"go.uber.org/zap"
)

// Context is what a template sees of its request, as ".". It is for one
// execution and not safe for concurrent use.
type Context struct {
	// Req is the request as it is now.
	Req *http.Request
	// OriginalReq is method, URL, RequestURI and RemoteAddr as they came in.
	OriginalReq http.Request
	// RespHeader is the header of the response.
	RespHeader Header
	// Args are the arguments of include.
	Args []any

	ctx      context.Context
	exchange *handlers.Exchange
	root     string
	logger   string
	depth    int
	run      *run
}

// run is what an execution and all that it includes have in common.
type run struct{ includes, printed, steps int }

// NewContext returns the context of a request. Files are those below root; the
// name of the logger is what warnings are under.
func NewContext(w http.ResponseWriter, r *http.Request, root, logger string) *Context {
	x := handlers.Of(r)
	u := x.Original.URL
	return &Context{
		Req:         r,
		OriginalReq: http.Request{Method: x.Original.Method, URL: &u, RequestURI: x.Original.RequestURI, RemoteAddr: x.Original.RemoteAddr},
		RespHeader:  Header{w.Header()},
		ctx:         r.Context(), exchange: x, root: root, logger: logger, run: new(run),
	}
}

// Header is a response header whose changes print nothing.
type Header struct{ http.Header }

// Add adds a value to a field.
func (h Header) Add(field, value string) string {
	h.Header.Add(field, value)
	return ""
}

// Set sets a field to one value.
func (h Header) Set(field, value string) string {
	h.Header.Set(field, value)
	return ""
}

// Del removes a field.
func (h Header) Del(field string) string {
	h.Header.Del(field)
	return ""
}

// Cookie is the value of a cookie of the request, empty if there is none.
func (c *Context) Cookie(name string) string {
	cookie, err := c.Req.Cookie(name)
	if err != nil {
		return ""
	}
	return cookie.Value
}

// Host is the host of the request, without a port.
func (c *Context) Host() string { return c.placeholder("http.request.host") }

// RemoteIP is the address of the peer, without the port.
func (c *Context) RemoteIP() string {
	ip, _, err := net.SplitHostPort(c.Req.RemoteAddr)
	if err != nil {
		return c.Req.RemoteAddr
	}
	return ip
}

// ClientIP is the address of the client, which trusted proxies may have told.
func (c *Context) ClientIP() string { return c.placeholder("http.vars.client_ip") }

func (c *Context) placeholder(name string) string {
	if strings.HasPrefix(name, "file.") {
		return ""
	}
	text, _, _ := c.exchange.LookupString(name)
	return text
}

func (c *Context) env(name string) string {
	if c.exchange.Globals == nil {
		return ""
	}
	v, _ := c.exchange.Globals.Lookup("env." + name)
	return vars.ToString(v)
}

func (c *Context) warn(message string, fields ...zap.Field) {
	c.exchange.Server.Logger(c.logger).Warn(message, fields...)
}

// aboutBody is the fields that are about a body which will not be sent.
var aboutBody = []string{"Content-Length", "Content-Type", "Etag", "Last-Modified", "Accept-Ranges"}

// ForgetBody removes from the header what is about a body that will not be sent.
func ForgetBody(h http.Header) {
	for _, name := range aboutBody {
		h.Del(name)
	}
}

func (c *Context) httpError(status int) (string, error) {
	ForgetBody(c.RespHeader.Header)
	return "", handlers.NewError(status, nil)
}

// include returns the context of something that is included, or an error if
// there is too much of that.
func (c *Context) include(name string, args []any) (*Context, error) {
	if c.run.includes++; c.run.includes > maxIncludes {
		return nil, fmt.Errorf("including %s: there are more than %d includes", name, maxIncludes)
	}
	inner := *c
	inner.Args = args
	if inner.depth++; inner.depth > maxDepth {
		return nil, fmt.Errorf("including %s: includes are nested more than %d deep; does a file include itself?", name, maxDepth)
	}
	return &inner, nil
}

var errName = errors.New("the name has a character that names of files cannot have")

// path is the file that a name stands for: one below the root, whatever the
// name. Symbolic links are followed.
func (c *Context) path(name string) (string, error) {
	if strings.IndexByte(name, 0) >= 0 || (filepath.Separator != '/' && strings.ContainsAny(name, `\:`)) {
		return "", &fs.PathError{Op: "open", Path: name, Err: errName}
	}
	return filepath.Join(c.root, filepath.FromSlash(path.Clean("/"+name))), nil
}

var errNotRegular = errors.New("it is not a regular file")

func (c *Context) readFile(name string) (string, error) {
	file, err := c.path(name)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(file)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() { // opening a pipe would wait
		return "", &fs.PathError{Op: "read", Path: file, Err: errNotRegular}
	}
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var b strings.Builder
	b.Grow(int(min(info.Size(), MaxText)))
	n, err := io.Copy(&b, io.LimitReader(f, MaxText+1))
	if err == nil && n > MaxText {
		err = &fs.PathError{Op: "read", Path: file, Err: fmt.Errorf("it is larger than %d bytes", MaxText)}
	}
	if err != nil {
		return "", err
	}
	return b.String(), nil
}

func (c *Context) fileExists(name string) (bool, error) {
	_, err := c.fileStat(name)
	return err == nil, nil
}

func (c *Context) fileStat(name string) (fs.FileInfo, error) {
	file, err := c.path(name)
	if err != nil {
		return nil, err
	}
	return os.Stat(file)
}

// maxNames is how many names of a directory are listed.
const maxNames = 100_000

func (c *Context) listFiles(name string) ([]string, error) {
	dir, err := c.path(name)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("listing %s: it is not a directory", dir)
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(maxNames)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	slices.Sort(names)
	return names, nil
}
