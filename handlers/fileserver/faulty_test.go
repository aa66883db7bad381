package fileserver

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/sluiceproxy/sluice/internal/fsys"
)

// faultyFS is a file system in which what is done to some names fails.
type faultyFS struct {
	fsys.FS
	fails map[string]error // by "stat NAME", "open NAME", "read NAME" or "info NAME"
}

func (f faultyFS) Stat(name string) (fs.FileInfo, error) {
	if err := f.fails["stat "+name]; err != nil {
		return nil, err
	}
	return f.FS.Stat(name)
}

func (f faultyFS) Open(name string) (fsys.File, error) {
	if err := f.fails["open "+name]; err != nil {
		return nil, err
	}
	file, err := f.FS.Open(name)
	if err != nil {
		return nil, err
	}
	return faultyDir{file, f, name}, nil
}

type faultyDir struct {
	fsys.File
	f    faultyFS
	name string
}

func (d faultyDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if err := d.f.fails["read "+d.name]; err != nil {
		return nil, err
	}
	list, err := d.File.ReadDir(n)
	for i, e := range list {
		if broken := d.f.fails["info "+d.name+"/"+e.Name()]; broken != nil {
			list[i] = brokenEntry{e, broken}
		}
	}
	return list, err
}

type brokenEntry struct {
	fs.DirEntry
	err error
}

func (e brokenEntry) Info() (fs.FileInfo, error) { return nil, e.err }

// TestFailing is what sections 5.2.1, 5.2.4 and 5.2.5 say about errors of the
// file system.
func TestFailing(t *testing.T) {
	other := errors.New("the disk is on fire")
	const missing, denied = "missing", "denied"
	files := fstest.MapFS{"r/a.txt": {Data: []byte("plain")}, "r/a.txt.gz": {Data: []byte("gz")}, "r/a.txt.br": {Data: []byte("br")}, "r/d/x": {}, "r/d/y": {}}
	kinds := map[string]error{missing: fs.ErrNotExist, denied: fs.ErrPermission, "other": other}
	for _, c := range []struct {
		name, fails    string
		accept, target string
		status         int
		body           string
	}{
		{"stat: it is gone", "stat /r/a.txt missing", "", "/a.txt", 404, ""},
		{"stat: not allowed", "stat /r/a.txt denied", "", "/a.txt", 403, ""},
		{"stat: anything else", "stat /r/a.txt other", "", "/a.txt", 500, ""},
		{"open: it is gone", "open /r/a.txt missing", "", "/a.txt", 404, ""},
		{"open: not allowed", "open /r/a.txt denied", "", "/a.txt", 403, ""},
		{"open: anything else", "open /r/a.txt other", "", "/a.txt", 503, ""},
		{"a sidecar that is gone", "open /r/a.txt.br missing", "gzip, br", "/a.txt", 200, "gz"},
		{"a sidecar that is not allowed", "open /r/a.txt.br denied", "gzip, br", "/a.txt", 200, "gz"},
		{"a sidecar that cannot be opened", "open /r/a.txt.br other", "gzip, br", "/a.txt", 503, ""},
		{"a directory that is gone", "open /r/d missing", "", "/d/", 404, ""},
		{"a directory that is not allowed", "open /r/d denied", "", "/d/", 403, ""},
		{"a directory that cannot be opened", "open /r/d other", "", "/d/", 500, ""},
		{"a listing that is not allowed", "read /r/d denied", "", "/d/", 403, ""},
		{"a listing that fails", "read /r/d other", "", "/d/", 500, ""},
		{"an item without info", "info /r/d/x other", "", "/d/", 200, "y"},
	} {
		t.Run(c.name, func(t *testing.T) {
			words := strings.Fields(c.fails)
			registered = fsys.Registry{"failing": faultyFS{fsys.From(files), map[string]error{words[0] + " " + words[1]: kinds[words[2]]}}}
			t.Cleanup(func() { registered = fsys.Registry{} })
			s := serve(t, obj{"handler": "registered"}, fileServer("/r", obj{"fs": "failing", "browse": obj{}, "precompressed": allFormats(), "precompressed_order": []string{"br"}}))
			a := s.get(c.target, "Accept-Encoding: "+c.accept, acceptJSON)
			if c.body == "y" {
				if got := names(t, a); a.StatusCode != 200 || got != "y" {
					t.Errorf("%d %s", a.StatusCode, got)
				}
				return
			}
			expect(t, a, c.status, c.body, nil)
			after := a.get("Retry-After")
			if (c.status == 503) != (after != "") || after != "" && (after < "2" || after > "4") {
				t.Errorf("Retry-After: %q", after)
			}
		})
	}
}
