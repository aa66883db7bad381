package fileserver

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluiceproxy/sluice/handlers"
	"github.com/sluiceproxy/sluice/internal/fsys"
)

// Values of header fields that are the same for many responses. Appending to
// them copies them.
var (
	varyEncoding  = []string{"Accept-Encoding"}
	acceptsRanges = []string{"bytes"}
)

// serveFile answers with the file that was found, or with one beside it.
func (s *serving) serveFile() error {
	header := s.w.Header()
	if vary := header["Vary"]; len(vary) == 0 {
		header["Vary"] = varyEncoding
	} else if !slices.Contains(vary, "Accept-Encoding") { // it may be there for the file that this error route is about
		header.Add("Vary", "Accept-Encoding")
	}
	file, info, side, err := s.openBest()
	if errors.Is(err, fs.ErrNotExist) {
		return s.notFound()
	} else if err != nil {
		return err
	}
	defer file.Close()
	if m := s.r.Method; m != http.MethodGet && m != http.MethodHead && s.x.Err() == nil {
		header["Allow"] = []string{"GET, HEAD"}
		return handlers.NewError(http.StatusMethodNotAllowed, errMethod)
	}
	status, err := s.h.status.of(s.x)
	if err != nil {
		return err
	}
	modified := s.info.ModTime()
	name := s.name
	if side == nil {
		modified = info.ModTime()
	} else {
		name += side.Suffix
	}
	if len(header["Etag"]) == 0 {
		tag, err := s.tag(name, info)
		if err != nil {
			return err
		}
		if tag != "" {
			header["Etag"] = []string{tag}
		}
	}
	if side != nil {
		header["Content-Encoding"] = []string{side.Encoding}
	}
	c := content{w: s.w, r: s.r, file: file, size: info.Size(), status: status}
	if known(modified) {
		c.modified = modified
		header["Last-Modified"] = []string{modified.UTC().Format(http.TimeFormat)}
	}
	if len(header["Content-Type"]) == 0 {
		header["Content-Type"] = nil // none is better than a guess
		if t := mime.TypeByExtension(filepath.Ext(s.name)); t != "" {
			header["Content-Type"] = []string{t}
		}
	}
	if err := c.serve(); err != nil {
		// The length that was promised cannot be kept, which the client must notice.
		s.log().Error("a file ended before its end: " + s.name + ": " + err.Error())
		panic(http.ErrAbortHandler)
	}
	return nil
}

// openBest opens the file, or what lies beside it in an encoding that the client
// likes best. Its error is the answer, or fs.ErrNotExist.
func (s *serving) openBest() (fsys.File, fs.FileInfo, *sidecar, error) {
	if len(s.h.sidecars) > 0 {
		var space [3]accepted
		for _, a := range s.h.negotiate(space[:0], s.r.Header) {
			name := s.name + a.Suffix
			if info, err := s.fs.Stat(name); err != nil || !info.Mode().IsRegular() {
				continue
			}
			file, info, err := s.open(name)
			if err == nil {
				return file, info, a.sidecar, nil
			}
			if handlers.StatusOf(err) == http.StatusServiceUnavailable {
				return nil, nil, nil, err
			}
		}
	}
	file, info, err := s.open(s.name)
	return file, info, nil, err
}

// known reports whether a file system knows the time of a file: those that do
// not say the begin of 1970, or close to it.
func known(t time.Time) bool {
	return !t.IsZero() && !t.Equal(time.Unix(0, 0)) && !t.Equal(time.Unix(1, 0))
}

const maxTag = 1024

// tag returns the ETag of a file with the name, "" if it has none.
func (s *serving) tag(name string, info fs.FileInfo) (string, error) {
	for _, suffix := range s.h.etagSuffix {
		tag, err := s.readTag(name + suffix)
		if !errors.Is(err, fs.ErrNotExist) {
			return tag, err
		}
	}
	if !known(info.ModTime()) {
		return "", nil
	}
	var space [32]byte
	b := append(space[:0], '"')
	b = strconv.AppendInt(b, info.ModTime().UnixNano(), 36)
	b = append(b, '-')
	b = strconv.AppendInt(b, info.Size(), 36)
	return string(append(b, '"')), nil
}

func (s *serving) readTag(name string) (string, error) {
	f, err := s.fs.Open(name)
	if err != nil {
		return "", fmt.Errorf("reading the ETag of a file: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxTag+1))
	if err != nil {
		return "", fmt.Errorf("reading the ETag of a file: %w", err)
	}
	tag := strings.NewReplacer("\n", "", "\r", "").Replace(string(data))
	if len(data) > maxTag || strings.ContainsFunc(tag, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", fmt.Errorf("reading the ETag of a file: %s: %w", name, errTag)
	}
	return tag, nil
}
