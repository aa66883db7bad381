package certstore

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/caddyserver/certmagic"
)

const (
	// MaxArchiveKeys is how many keys an archive may have that is imported.
	MaxArchiveKeys = 1 << 20
	// MaxArchiveBytes is how long their values together may be.
	MaxArchiveBytes = 4 << 30
)

// How many values are stored at once where a storage can do so.
const (
	importKeys  = 256
	importBytes = 4 << 20
)

// Transfer says what is told of an export or import.
type Transfer struct {
	// Progress is told of each key that was copied, and the length of its value. It may be nil.
	Progress func(key string, size int64)
	// Warn is told of each key that was left out, and why. It may be nil.
	Warn func(key string, err error)
	// Leave are keys that are left out silently, with all below them: files that are in the folder of a storage, but not of it.
	Leave []string
}

func (o *Transfer) progress(key string, size int64) {
	if o.Progress != nil {
		o.Progress(key, size)
	}
}

func (o *Transfer) warn(key string, err error) {
	if o.Warn != nil {
		o.Warn(key, err)
	}
}

// leaves reports whether a key is left out silently. Locks are no state.
func (o *Transfer) leaves(key string) bool {
	in := func(folder string) bool { return key == folder || strings.HasPrefix(key, folder+"/") }
	return in(lockFolder) || slices.ContainsFunc(o.Leave, in)
}

// Export writes every value of a storage into a tar archive: one entry of mode
// 0600 for each, whose name is the key. The archive has private keys in it. What
// is deleted meanwhile, is too large for a value, or is the database of an ACME
// server is left out with a warning.
func Export(ctx context.Context, from certmagic.Storage, w io.Writer, o Transfer) error {
	from = current(from)
	keys, err := from.List(ctx, "", true)
	if err != nil {
		return fmt.Errorf("exporting: %w", err)
	}
	archive := tar.NewWriter(w)
	for _, key := range keys {
		if o.leaves(key) {
			continue
		}
		if err := exportKey(ctx, from, archive, key, &o); err != nil {
			return fmt.Errorf("exporting: %w", err)
		}
	}
	if err := archive.Close(); err != nil {
		return fmt.Errorf("exporting: writing the archive: %w", err)
	}
	return nil
}

// exportKey writes one key, if it has a value.
func exportKey(ctx context.Context, from certmagic.Storage, archive *tar.Writer, key string, o *Transfer) error {
	info, err := from.Stat(ctx, key)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		o.warn(key, err)
		return nil
	case err != nil:
		return err
	case !info.IsTerminal:
		return nil
	}
	if why := unfit(key, info.Size); why != nil {
		o.warn(key, why)
		return nil
	}
	value, err := from.Load(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		o.warn(key, err)
		return nil
	}
	if err != nil {
		return err
	}
	header := &tar.Header{Typeflag: tar.TypeReg, Name: key, Mode: 0o600, Size: int64(len(value)), ModTime: info.Modified}
	if err := archive.WriteHeader(header); err != nil {
		return fmt.Errorf("writing %q into the archive: %w", key, err)
	}
	if _, err := archive.Write(value); err != nil {
		return fmt.Errorf("writing %q into the archive: %w", key, err)
	}
	o.progress(key, int64(len(value)))
	return nil
}

// unfit says why something is no value.
func unfit(key string, size int64) error {
	if database, _ := path.Match("acme_server/*/db", key); database {
		return errors.New("the database of an ACME server is no value of the storage, and cannot be copied while it is in use")
	}
	return checkValue(size)
}

// current is the storage itself, so that all is copied from or to the same one.
func current(s certmagic.Storage) certmagic.Storage {
	if sw, ok := s.(*Switch); ok {
		return sw.Current()
	}
	return s
}

// Import stores every file of a tar archive, under its name, in place of what is
// there. Other values stay. If it fails, what was read before is stored.
func Import(ctx context.Context, to certmagic.Storage, r io.Reader, o Transfer) error {
	in := importing{ctx: ctx, to: current(to), o: &o}
	counted := &counter{r: r}
	archive := tar.NewReader(counted)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = in.entry(header, archive)
		} else {
			err = fmt.Errorf("reading the archive, which must be a tar file as the export writes it: %w", err)
		}
		if err != nil {
			return fmt.Errorf("importing: %w", errors.Join(err, in.flush()))
		}
	}
	if counted.n == 0 {
		return errors.New("importing: the archive is empty; a tar file is needed, as the export writes it")
	}
	if err := in.flush(); err != nil {
		return fmt.Errorf("importing: %w", err)
	}
	return nil
}

// importing is an import under way.
type importing struct {
	ctx context.Context
	to  certmagic.Storage
	o   *Transfer

	keys    int
	bytes   int64
	pending []pair
	size    int // of pending
}

// entry takes one entry of the archive.
func (in *importing) entry(h *tar.Header, content io.Reader) error {
	switch h.Typeflag {
	case tar.TypeReg:
	case tar.TypeDir, tar.TypeXGlobalHeader:
		return nil
	default:
		return fmt.Errorf("%q in the archive is no plain file", h.Name)
	}
	key, err := valueKey(strings.TrimPrefix(h.Name, "./"))
	if err == nil && strings.HasPrefix(h.Name, "/") {
		err = fmt.Errorf("malformed storage key %q: it must not begin with a slash", h.Name)
	}
	if err == nil {
		err = checkValue(h.Size)
	}
	if err != nil {
		return fmt.Errorf("%q in the archive: %w", h.Name, err)
	}
	if in.o.leaves(key) {
		return nil
	}
	if why := unfit(key, h.Size); why != nil {
		in.o.warn(key, why)
		return nil
	}
	in.keys, in.bytes = in.keys+1, in.bytes+h.Size
	if in.keys > MaxArchiveKeys || in.bytes > MaxArchiveBytes {
		return fmt.Errorf("the archive has more than %d keys or %d bytes", MaxArchiveKeys, int64(MaxArchiveBytes))
	}
	value, err := io.ReadAll(content)
	if err != nil {
		return fmt.Errorf("reading %q from the archive: %w", h.Name, err)
	}
	in.pending, in.size = append(in.pending, pair{key, value}), in.size+len(value)
	if _, ok := in.to.(bulk); !ok || len(in.pending) >= importKeys || in.size >= importBytes {
		return in.flush()
	}
	return nil
}

// bulk is a storage to which many values at once are cheaper.
type bulk interface {
	storeAll(ctx context.Context, pairs []pair) error
}

// flush stores what is pending.
func (in *importing) flush() error {
	pairs := in.pending
	in.pending, in.size = nil, 0
	if b, ok := in.to.(bulk); ok && len(pairs) > 0 {
		if err := b.storeAll(in.ctx, pairs); err != nil {
			return err
		}
	}
	for _, p := range pairs {
		if _, ok := in.to.(bulk); !ok {
			if err := in.to.Store(in.ctx, p.key, p.value); err != nil {
				return err
			}
		}
		in.o.progress(p.key, int64(len(p.value)))
	}
	return nil
}

// counter counts what is read.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
