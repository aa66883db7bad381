package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// meta is what is needed of a bbolt meta page.
type meta struct {
	offset   int64 // of its magic number in the file
	valid    bool
	pageSize int64
	root     uint64 // page of the root bucket
	pages    uint64 // high-water mark
	tx       uint64
}

// metaLen is the size of a meta behind the page header, checksum included.
const (
	pageHeader = 16
	metaLen    = 64
)

// readMeta reads the meta page at an offset; see bbolt's internal/common.
func readMeta(f io.ReaderAt, page int64) meta {
	m := meta{offset: page + pageHeader}
	var b [metaLen]byte
	if _, err := f.ReadAt(b[:], m.offset); err != nil {
		return m
	}
	sum := fnv.New64a()
	sum.Write(b[:metaLen-8])
	m.valid = binary.NativeEndian.Uint32(b[0:]) == 0xED0CDAED && binary.NativeEndian.Uint32(b[4:]) == 2 &&
		binary.NativeEndian.Uint64(b[56:]) == sum.Sum64()
	m.pageSize = int64(binary.NativeEndian.Uint32(b[8:]))
	m.root = binary.NativeEndian.Uint64(b[16:])
	m.pages = binary.NativeEndian.Uint64(b[40:])
	m.tx = binary.NativeEndian.Uint64(b[48:])
	return m
}

// readMetas reads both meta pages. The page size is in them; where the first
// is damaged, the second is looked for at the usual sizes.
func readMetas(f io.ReaderAt) [2]meta {
	m := [2]meta{readMeta(f, 0)}
	if m[0].valid {
		m[1] = readMeta(f, m[0].pageSize)
		return m
	}
	for size := int64(1 << 10); size <= 64<<10; size <<= 1 {
		if m[1] = readMeta(f, size); m[1].valid && m[1].pageSize == size {
			return m
		}
	}
	m[1].valid = false
	return m
}

// preflight refuses a file which bbolt would crash on: no valid meta page, or
// shorter than its pages.
func preflight(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("it is not a regular file")
	}
	var current meta
	for _, m := range readMetas(f) {
		if m.valid && (!current.valid || m.tx > current.tx) {
			current = m
		}
	}
	if !current.valid {
		return corrupt(errors.New("it is not a bbolt file, or its beginning is damaged"))
	}
	if need := int64(current.pages) * current.pageSize; info.Size() < need {
		return corrupt(fmt.Errorf("it has %d bytes, at least %d are needed", info.Size(), need))
	}
	w := walker{f: f, meta: current, buf: make([]byte, current.pageSize)}
	if err := w.page(current.root, 0); err != nil {
		return corrupt(err)
	}
	return nil
}

// walker checks that the headers of all pages in use make sense, because bbolt
// follows them unchecked, partly in a goroutine where a crash can't be caught.
// It reads the first page of each leaf, not the values behind it.
type walker struct {
	f    io.ReaderAt
	meta meta
	buf  []byte
	seen uint64
}

const (
	pageBranch   = 1
	pageLeaf     = 2
	elementSize  = 16
	bucketHeader = 16
	maxDepth     = 64
)

func (w *walker) page(id uint64, depth int) error {
	if w.seen++; id < 2 || id >= w.meta.pages || depth > maxDepth || w.seen > w.meta.pages {
		return fmt.Errorf("page %d does not belong where it is referred to", id)
	}
	if _, err := w.f.ReadAt(w.buf, int64(id)*w.meta.pageSize); err != nil {
		return fmt.Errorf("reading page %d: %w", id, err)
	}
	overflow := uint64(binary.NativeEndian.Uint32(w.buf[12:]))
	if binary.NativeEndian.Uint64(w.buf) != id || id+overflow >= w.meta.pages {
		return fmt.Errorf("page %d has a damaged header", id)
	}
	children, err := w.elements(w.buf, (overflow+1)*uint64(w.meta.pageSize))
	if err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	for _, child := range children {
		if err := w.page(child, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// elements checks a page of so many bytes, of which b is the beginning, and
// returns the pages it refers to.
func (w *walker) elements(b []byte, size uint64) ([]uint64, error) {
	flags, count := binary.NativeEndian.Uint16(b[8:]), int(binary.NativeEndian.Uint16(b[10:]))
	if flags != pageBranch && flags != pageLeaf || pageHeader+count*elementSize > len(b) || flags == pageBranch && count == 0 {
		return nil, errors.New("its header is damaged")
	}
	var children []uint64
	for i := range count {
		at := pageHeader + i*elementSize
		e := b[at : at+elementSize]
		if flags == pageBranch {
			if pos, n := u32(e), u32(e[4:]); uint64(at)+pos+n > size {
				return nil, fmt.Errorf("key %d is outside", i)
			}
			children = append(children, binary.NativeEndian.Uint64(e[8:]))
			continue
		}
		end := uint64(at) + u32(e[4:]) + u32(e[8:]) + u32(e[12:])
		if end > size {
			return nil, fmt.Errorf("value %d is outside", i)
		}
		if u32(e)&1 == 0 {
			continue
		}
		if end > uint64(len(b)) || u32(e[12:]) < bucketHeader {
			return nil, fmt.Errorf("bucket %d is damaged", i)
		}
		bucket := b[end-u32(e[12:]) : end]
		if root := binary.NativeEndian.Uint64(bucket); root != 0 {
			children = append(children, root)
		} else if len(bucket) < bucketHeader+pageHeader {
			return nil, fmt.Errorf("bucket %d is damaged", i)
		} else if _, err := w.elements(bucket[bucketHeader:], uint64(len(bucket)-bucketHeader)); err != nil {
			return nil, fmt.Errorf("bucket %d: %w", i, err)
		}
	}
	return children, nil
}

func u32(b []byte) uint64 { return uint64(binary.NativeEndian.Uint32(b)) }
