package certstore

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/certmagic"
)

// contents is all values of a storage by key.
func contents(t *testing.T, s certmagic.Storage) map[string]string {
	t.Helper()
	keys, err := s.List(bg, "", true)
	must(t, err)
	all := map[string]string{}
	for _, k := range keys {
		if v, err := s.Load(bg, k); err == nil {
			all[k] = string(v)
		}
	}
	return all
}

func TestTransfer(t *testing.T) {
	t.Parallel()
	kinds := map[string]func() certmagic.Storage{
		"file_system": func() certmagic.Storage { return newFileSystem(t) },
		"bolt":        func() certmagic.Storage { return newBolt(t, filepath.Join(t.TempDir(), "s.db")) },
		"switch":      func() certmagic.Storage { return NewSwitch(newBolt(t, filepath.Join(t.TempDir(), "s.db"))) },
	}
	for from, makeFrom := range kinds {
		a := makeFrom()
		for i := range importKeys + 4 { // more than are stored at once
			store(t, a, fmt.Sprintf("certificates/ca/n%d/n%d.key", i/3, i))
		}
		long := strings.Repeat("l", MaxKeySegment)
		store(t, a, "empty/gone", long+"/"+long+"/ü.json", "instance.uuid", "sluice.db", "sluice.dbx")
		must(t, errors.Join(a.Delete(bg, "empty/gone"), a.Store(bg, "nothing", nil), a.Store(bg, "large", bytes.Repeat([]byte{0, 1, 2, 255}, 1<<20))))
		must(t, a.Lock(bg, "l"))
		defer a.Unlock(bg, "l")
		want := contents(t, a)
		delete(want, "locks/l.lock")
		delete(want, "sluice.db")
		for to, makeTo := range kinds {
			t.Run(from+" to "+to, func(t *testing.T) {
				b := makeTo()
				store(t, b, "instance.uuid", "kept")
				var archive bytes.Buffer
				var exported, imported []string
				must(t, Export(bg, a, &archive, Transfer{
					Progress: func(key string, size int64) { exported = append(exported, fmt.Sprint(key, size)) },
					Warn:     func(key string, err error) { t.Errorf("%s: %v", key, err) },
					Leave:    []string{"sluice.db"},
				}))
				must(t, Import(bg, b, &archive, Transfer{Progress: func(key string, size int64) { imported = append(imported, fmt.Sprint(key, size)) }}))
				got := contents(t, b)
				if got["kept"] == "" {
					t.Error("import removed a value")
				}
				delete(got, "kept")
				if !reflect.DeepEqual(got, want) {
					t.Errorf("%d values came, want %d", len(got), len(want))
				}
				if len(exported) != len(want) || !slices.Equal(exported, imported) {
					t.Errorf("told of %d exported and %d imported, want %d", len(exported), len(imported), len(want))
				}
			})
		}
	}
}

// TestArchive: the archive is as section 12 of the reference's commands says.
func TestArchive(t *testing.T) {
	s := newFileSystem(t)
	store(t, s, "b/c", "a", "acme_server/local/db")
	must(t, os.Truncate(s.filename("a"), MaxValue+1))
	store(t, s, "z")
	vanishing := &vanishes{s, "z"}
	var archive bytes.Buffer
	var warned []string
	must(t, Export(bg, vanishing, &archive, Transfer{Warn: func(key string, err error) { warned = append(warned, key) }}))
	if !slices.Equal(warned, []string{"a", "acme_server/local/db", "z"}) {
		t.Errorf("warned of %q", warned)
	}
	info, err := s.Stat(bg, "b/c")
	must(t, err)
	r := tar.NewReader(&archive)
	h, err := r.Next()
	must(t, err)
	if h.Name != "b/c" || h.Mode != 0o600 || h.Typeflag != tar.TypeReg || h.ModTime.Unix() < info.Modified.Unix() || h.ModTime.Sub(info.Modified).Abs().Seconds() > 1 {
		t.Errorf("%+v", h)
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("a second entry: %v", err)
	}

	if err := Export(bg, s, &fullWriter{}, Transfer{}); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("writing fails: %v", err)
	}
	ctx, cancel := context.WithCancel(bg)
	cancel()
	if err := Export(ctx, s, io.Discard, Transfer{}); !errors.Is(err, context.Canceled) {
		t.Errorf("after the context: %v", err)
	}
	archive.Reset()
	must(t, Export(bg, newFileSystem(t), &archive, Transfer{}))
	must(t, Import(bg, newFileSystem(t), &archive, Transfer{}))
}

// vanishes is a storage one of whose keys is deleted after it was listed.
type vanishes struct {
	certmagic.Storage
	key string
}

func (v *vanishes) Load(ctx context.Context, key string) ([]byte, error) {
	if key == v.key {
		return nil, fs.ErrNotExist
	}
	return v.Storage.Load(ctx, key)
}

type fullWriter struct{}

func (fullWriter) Write([]byte) (int, error) { return 0, errors.New("no room") }

// TestImportRefuses: an archive cannot write outside the storage, or without bounds.
func TestImportRefuses(t *testing.T) {
	archive := func(headers ...tar.Header) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range headers {
			must(t, w.WriteHeader(&h))
			if _, err := w.Write(bytes.Repeat([]byte("SECRET"), int(h.Size)/6)); err != nil {
				t.Fatal(err)
			}
		}
		must(t, w.Flush())
		return b.Bytes()
	}
	file := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name, Size: 6} }
	cases := map[string]struct {
		archive []byte
		want    string // "" for no error
	}{
		"good":      {archive(tar.Header{Typeflag: tar.TypeDir, Name: "a/"}, file("./a/b"), file("locks/x.lock"), file("c")), ""},
		"parent":    {archive(file("a/b"), file("c"), file("../evil")), "must not have"},
		"hidden":    {archive(file("a/b"), file("c"), file("x/../../evil")), "must not have"},
		"absolute":  {archive(file("a/b"), file("c"), file("/evil")), "begin with a slash"},
		"link":      {archive(file("a/b"), file("c"), tar.Header{Typeflag: tar.TypeSymlink, Name: "evil", Linkname: "/etc"}), "no plain file"},
		"large":     {archive(file("a/b"), file("c"), tar.Header{Typeflag: tar.TypeReg, Name: "evil", Size: MaxValue + 2}), "more than"},
		"below":     {archive(file("a/b"), file("c"), file("c/evil")), "below"},
		"cut":       {archive(file("a/b"), file("c"), file("evil"))[:5*512+3], "evil"},
		"no tar":    {append(archive(file("a/b"), file("c")), bytes.Repeat([]byte("garbage"), 200)...), "tar file"},
		"gzip":      {[]byte("\x1f\x8b" + strings.Repeat("x", 2000)), "tar file"},
		"nothing":   {nil, "empty"},
		"half head": {archive(file("a/b"))[:100], "tar file"},
	}
	for name, c := range cases {
		for kind, s := range map[string]certmagic.Storage{"file_system": newFileSystem(t), "bolt": newBolt(t, filepath.Join(t.TempDir(), "s.db"))} {
			err := Import(bg, s, bytes.NewReader(c.archive), Transfer{})
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "SECRET")) {
				t.Errorf("%s into %s: %v, want %q", name, kind, err, c.want)
			}
			if s.Exists(bg, "evil") || s.Exists(bg, "locks") {
				t.Errorf("%s into %s: it was stored", name, kind)
			}
			if all := contents(t, s); name == "good" && !reflect.DeepEqual(all, map[string]string{"a/b": "SECRET", "c": "SECRET"}) {
				t.Errorf("into %s: %q", kind, all)
			}
		}
	}
}
