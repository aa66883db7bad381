package bolt

import (
	"bytes"
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
	m.valid = m.valid && m.pageSize >= pageHeader+metaLen
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
	if uint64(info.Size()/current.pageSize) < current.pages {
		return corrupt(fmt.Errorf("it has %d bytes, %d pages of %d are needed", info.Size(), current.pages, current.pageSize))
	}
	w := walker{f: f, meta: current, used: make([]bool, current.pages)}
	if err := w.page(current.root, nil, nil, 0); err != nil {
		return corrupt(err)
	}
	return nil
}

// walker checks that the pages in use make sense: that they are what they are
// referred to as, each but once, with keys in order. bbolt does so too when it
// looks for free pages, but in a goroutine whose panic can't be caught. Of
// values it reads only those of buckets.
type walker struct {
	f    io.ReaderAt
	meta meta
	used []bool // by page
}

const (
	pageBranch   = 1
	pageLeaf     = 2
	elementSize  = 16
	bucketHeader = 16
	maxDepth     = 64
	maxKey       = 32 << 10 // bbolt.MaxKeySize
)

// element is an entry of a page: a key with the page below it, or 0.
type element struct {
	key   []byte
	child uint64
}

// page checks the page id, whose keys must not be below least and must be
// below most (nil: no bound), and all pages below it.
func (w *walker) page(id uint64, least, most []byte, depth int) error {
	if id < 2 || id >= w.meta.pages || depth > maxDepth {
		return fmt.Errorf("page %d does not belong where it is referred to", id)
	}
	base := int64(id) * w.meta.pageSize
	head := make([]byte, w.meta.pageSize)
	if _, err := w.f.ReadAt(head, base); err != nil {
		return fmt.Errorf("reading page %d: %w", id, err)
	}
	end := id + uint64(binary.NativeEndian.Uint32(head[12:])) + 1
	if binary.NativeEndian.Uint64(head) != id || end > w.meta.pages {
		return fmt.Errorf("page %d has a damaged header", id)
	}
	for i := id; i < end; i++ {
		if w.used[i] {
			return fmt.Errorf("page %d is referred to twice", i)
		}
		w.used[i] = true
	}
	body := io.NewSectionReader(w.f, base, int64(end-id)*w.meta.pageSize)
	branch := binary.NativeEndian.Uint16(head[8:]) == pageBranch
	elements, err := w.elements(head, body, branch)
	if err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	for i, e := range elements {
		if i > 0 && bytes.Compare(elements[i-1].key, e.key) >= 0 || bytes.Compare(e.key, least) < 0 || most != nil && bytes.Compare(e.key, most) >= 0 {
			return fmt.Errorf("page %d: key %d is out of order", id, i)
		}
		from, to := []byte(nil), []byte(nil)
		if branch {
			if from, to = e.key, most; i+1 < len(elements) {
				to = elements[i+1].key
			}
		}
		if e.child == 0 && !branch {
			continue
		}
		if err := w.page(e.child, from, to, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// elements reads the entries of a page from its first page and its body.
func (w *walker) elements(head []byte, body *io.SectionReader, branch bool) ([]element, error) {
	count := int(binary.NativeEndian.Uint16(head[10:]))
	if !branch && binary.NativeEndian.Uint16(head[8:]) != pageLeaf || pageHeader+count*elementSize > len(head) || branch && count == 0 {
		return nil, errors.New("its header is damaged")
	}
	elements := make([]element, count)
	for i := range elements {
		at := int64(pageHeader + i*elementSize)
		e := head[at : at+elementSize]
		pos, keySize, valueSize := u32(e[4:]), u32(e[8:]), u32(e[12:])
		if branch {
			pos, keySize, valueSize = u32(e), u32(e[4:]), 0
			elements[i].child = binary.NativeEndian.Uint64(e[8:])
		}
		if keySize > maxKey || at+pos+keySize+valueSize > body.Size() {
			return nil, fmt.Errorf("entry %d is outside", i)
		}
		elements[i].key = make([]byte, keySize)
		if _, err := body.ReadAt(elements[i].key, at+pos); err != nil {
			return nil, err
		}
		if branch || u32(e)&1 == 0 {
			continue
		}
		if valueSize < bucketHeader || valueSize > w.meta.pageSize {
			return nil, fmt.Errorf("bucket %d is damaged", i)
		}
		bucket := make([]byte, valueSize)
		if _, err := body.ReadAt(bucket, at+pos+keySize); err != nil {
			return nil, err
		}
		child, err := w.bucket(bucket)
		if err != nil {
			return nil, fmt.Errorf("bucket %d: %w", i, err)
		}
		elements[i].child = child
	}
	return elements, nil
}

// bucket returns the root page of a bucket, or 0 if it has none: a small one
// is a page inside its own value.
func (w *walker) bucket(value []byte) (uint64, error) {
	if root := binary.NativeEndian.Uint64(value); root != 0 {
		return root, nil
	}
	page := value[bucketHeader:]
	if len(page) < pageHeader || binary.NativeEndian.Uint16(page[8:]) != pageLeaf {
		return 0, errors.New("its page is damaged")
	}
	_, err := w.elements(page, io.NewSectionReader(bytes.NewReader(page), 0, int64(len(page))), false)
	return 0, err
}

func u32(b []byte) int64 { return int64(binary.NativeEndian.Uint32(b)) }
