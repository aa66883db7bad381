package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/sluiceproxy/sluice/storage"
)

const (
	recordVersion = 1
	// inlineMax is the largest body and source that stay in the record. A leaf
	// page, which each commit writes again, then holds several records.
	inlineMax = 1 << 10
	// pieceSize makes two pieces with their keys fill 16 pages of 4 KB
	// exactly; two is what bbolt puts into a leaf at least.
	pieceSize = 32<<10 - 64
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is CRC-32C.
func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

var errRecord = errors.New("a record is damaged")

// record is a revision as stored. The payload is body and source; if pieces
// isn't 0 it is in the parts bucket, in so many pieces, with the checksum sum.
type record struct {
	rev          storage.Revision
	body, source int
	pieces       int
	sum          uint32
	inline       []byte
}

// key is the number as eight bytes, so that keys sort by it.
func key(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// pieceKey is the key of piece i of number n.
func pieceKey(n uint64, i int) []byte {
	return binary.BigEndian.AppendUint32(key(n), uint32(i))
}

// number reads the number that begins every key.
func number(k []byte) uint64 {
	if len(k) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(k)
}

// seal puts the checksum of b[4:] into its first four bytes.
func seal(b []byte) []byte {
	binary.LittleEndian.PutUint32(b, checksum(b[4:]))
	return b
}

// unseal checks what seal made and returns b[4:].
func unseal(b []byte) ([]byte, error) {
	if len(b) < 5 || binary.LittleEndian.Uint32(b) != checksum(b[4:]) {
		return nil, errRecord
	}
	return b[4:], nil
}

// encode returns the value of a record and, if the payload is to be stored in
// pieces, the payload.
func encode(rev storage.Revision) (value, payload []byte) {
	e := rev.Edit
	size := len(e.Body) + len(e.Source)
	pieces, sum := 0, uint32(0)
	if size > inlineMax {
		payload = e.Body
		if len(e.Source) > 0 {
			payload = slices.Concat(e.Body, e.Source)
		}
		pieces, sum = pieceCount(size), checksum(payload)
	}
	b := make([]byte, 4, 64+len(e.Path)+len(rev.Origin)+min(size, inlineMax))
	b = append(b, recordVersion)
	b = binary.AppendVarint(b, rev.Time.UnixNano())
	b = binary.LittleEndian.AppendUint64(b, rev.Digest)
	for _, s := range []string{e.Verb, e.Path, rev.Origin, e.SourceType} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	for _, n := range []int{len(e.Body), len(e.Source), pieces} {
		b = binary.AppendUvarint(b, uint64(n))
	}
	b = binary.AppendUvarint(b, uint64(sum))
	if pieces == 0 {
		b = append(append(b, e.Body...), e.Source...)
	}
	return seal(b), payload
}

// decode reads a record. Its inline payload is a part of value; everything
// else is copied.
func decode(k, value []byte) (record, error) {
	var r record
	b, err := unseal(value)
	if err != nil {
		return r, err
	}
	if b[0] != recordVersion {
		return r, fmt.Errorf("a record has version %d, this program knows %d", b[0], recordVersion)
	}
	d := decoder{b: b[1:]}
	r.rev.Number = number(k)
	r.rev.Time = time.Unix(0, d.varint()).UTC()
	if p := d.take(8); len(p) == 8 {
		r.rev.Digest = binary.LittleEndian.Uint64(p)
	}
	r.rev.Edit.Verb = d.str()
	r.rev.Edit.Path = d.str()
	r.rev.Origin = d.str()
	r.rev.Edit.SourceType = d.str()
	r.body, r.source, r.pieces, r.sum = d.size(), d.size(), d.size(), uint32(d.uvarint())
	r.rev.Bytes = int64(r.body) + int64(r.source)
	r.inline = d.b
	if d.bad || r.pieces == 0 && len(r.inline) != r.body+r.source {
		return r, errRecord
	}
	return r, nil
}

// setPayload splits a payload into the edit's body and source.
func (r *record) setPayload(p []byte) {
	if r.body > 0 {
		r.rev.Edit.Body = p[:r.body:r.body]
	}
	if r.source > 0 {
		r.rev.Edit.Source = p[r.body:]
	}
}

// decoder reads fields off the front of b, and remembers if one was missing.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n int) []byte {
	if n < 0 || n > len(d.b) {
		d.bad, d.b = true, nil
		return nil
	}
	p := d.b[:n]
	d.b = d.b[n:]
	return p
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		n = -1
	}
	d.take(n)
	return v
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		n = -1
	}
	d.take(n)
	return v
}

func (d *decoder) size() int {
	v := d.uvarint()
	if v > math.MaxInt32 { // far above any body that is accepted
		d.bad = true
		return 0
	}
	return int(v)
}

func (d *decoder) str() string { return string(d.take(d.size())) }

// snapshot is an entry of the snapshots bucket.
type snapshot struct {
	inEdit bool // the document is the body of the edit of that number
	size   int
	sum    uint32
}

func (s snapshot) encode() []byte {
	b := make([]byte, 4, 24)
	b = append(b, recordVersion, 0)
	if s.inEdit {
		b[5] = 1
	}
	b = binary.AppendUvarint(b, uint64(s.size))
	return seal(binary.AppendUvarint(b, uint64(s.sum)))
}

func decodeSnapshot(value []byte) (snapshot, error) {
	b, err := unseal(value)
	if err != nil || len(b) < 4 || b[0] != recordVersion {
		return snapshot{}, errRecord
	}
	d := decoder{b: b[2:]}
	s := snapshot{inEdit: b[1] == 1, size: d.size(), sum: uint32(d.uvarint())}
	if d.bad {
		return snapshot{}, errRecord
	}
	return s, nil
}

func pieceCount(size int) int { return (size + pieceSize - 1) / pieceSize }

// putPieces stores pieces from..to-1 of data under number n and returns how
// many bytes of keys and values that is.
func putPieces(b *bbolt.Bucket, n uint64, data []byte, from, to int) (int64, error) {
	b.FillPercent = 1
	var total int64
	for i := from; i < to; i++ {
		k, v := pieceKey(n, i), data[i*pieceSize:min(len(data), (i+1)*pieceSize)]
		if err := b.Put(k, v); err != nil {
			return total, err
		}
		total += int64(len(k) + len(v))
	}
	return total, nil
}

// getPieces puts together size bytes stored under number n.
func getPieces(b *bbolt.Bucket, n uint64, size int, sum uint32) ([]byte, error) {
	if size == 0 {
		return nil, nil
	}
	var data []byte
	c, want := b.Cursor(), 0
	for k, v := c.Seek(pieceKey(n, 0)); len(data) < size; k, v = c.Next() {
		if number(k) != n || len(k) != 12 || binary.BigEndian.Uint32(k[8:]) != uint32(want) {
			return nil, fmt.Errorf("piece %d of revision %d is missing", want, n)
		}
		if data == nil { // only now is it likely that size is what it says
			data = make([]byte, 0, size)
		}
		data = append(data, v...)
		want++
	}
	if len(data) != size || checksum(data) != sum {
		return nil, fmt.Errorf("the pieces of revision %d have a wrong checksum", n)
	}
	return data, nil
}
