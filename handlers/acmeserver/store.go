package acmeserver

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// lockPatience is how long opening a file waits for a process that is just ending.
const lockPatience = time.Second

// The buckets. They stand in a bucket of their own for each authority, so that a database of another program at this place, such as
// Caddy's, is left as it is. The sequence of a bucket counts what is in it.
var (
	bucketRoot         = []byte("sluice")
	bucketAccounts     = []byte("accounts")     // by ID
	bucketKeys         = []byte("keys")         // thumbprint -> ID of the account
	bucketOrders       = []byte("orders")       // by ID
	bucketByAccount    = []byte("byaccount")    // account, time of creation, ID of the order -> nothing
	bucketCertificates = []byte("certificates") // by serial number
)

// errGone says that something is not, or no longer, in the database.
var errGone = errors.New("there is no such record")

// store is the database of one authority.
type store struct {
	path string
	id   []byte // of the authority

	mu sync.RWMutex // held for writing while another process may have the file
	db *bbolt.DB    // nil if another one has it
}

// openStore opens a file, and makes it and its folder if they are not there.
func openStore(path, id string) (*store, error) {
	s := &store{path: path, id: []byte(id)}
	if err := s.open(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *store) open() error {
	err := os.MkdirAll(filepath.Dir(s.path), 0o700)
	if err == nil {
		err = guard(func() (err error) {
			s.db, err = bbolt.Open(s.path, 0o600, &bbolt.Options{Timeout: lockPatience, NoStatistics: true, FreelistType: bbolt.FreelistMapType})
			if err != nil {
				return err
			}
			return s.db.Update(func(t *bbolt.Tx) error { return makeBuckets(t, s.id) })
		})
	}
	if err == nil {
		return nil
	}
	if s.db != nil {
		_ = guard(s.db.Close)
		s.db = nil
	}
	if errors.Is(err, berrors.ErrTimeout) {
		err = errors.New("another process has it open, or the server of an authority whose ID differs only in capital letters or signs; an ACME server is for one process: give each its own data directory")
	} else if errors.Is(err, berrors.ErrInvalid) || errors.Is(err, berrors.ErrChecksum) || errors.Is(err, berrors.ErrVersionMismatch) {
		err = fmt.Errorf("%w: the file is damaged, or of something else; put a copy in its place, or move it away to start anew", err)
	}
	return fmt.Errorf("opening the database %s of the ACME server: %w", s.path, err)
}

func makeBuckets(t *bbolt.Tx, id []byte) error {
	root, err := t.CreateBucketIfNotExists(bucketRoot)
	if err != nil {
		return err
	}
	own, err := root.CreateBucketIfNotExists(id)
	if err != nil {
		return err
	}
	for _, name := range [][]byte{bucketAccounts, bucketKeys, bucketOrders, bucketByAccount, bucketCertificates} {
		if _, err := own.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	return nil
}

func (s *store) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shut()
}

func (s *store) shut() error {
	if s.db == nil {
		return nil
	}
	db := s.db
	s.db = nil
	return guard(db.Close)
}

// guard runs f and makes an error of a panic: bbolt panics, and reading the mapped file faults, when the file is damaged.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the database is damaged: %v", p)
		}
	}()
	return f()
}

// view reads.
func (s *store) view(f func(t tx) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.db == nil {
		return errElsewhere
	}
	return guard(func() error {
		return s.db.View(func(t *bbolt.Tx) error { return f(tx{t.Bucket(bucketRoot).Bucket(s.id)}) })
	})
}

// update writes, all of it or, if f fails, nothing.
func (s *store) update(f func(t tx) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.db == nil {
		return errElsewhere
	}
	return guard(func() error {
		return s.db.Update(func(t *bbolt.Tx) error { return f(tx{t.Bucket(bucketRoot).Bucket(s.id)}) })
	})
}

// tx is a transaction.
type tx struct{ own *bbolt.Bucket }

func load[T any](t tx, bucket, key []byte) (*T, error) {
	text := t.own.Bucket(bucket).Get(key)
	if text == nil {
		return nil, errGone
	}
	v := new(T)
	if err := json.Unmarshal(text, v); err != nil {
		return nil, fmt.Errorf("reading the record %s of %s: %w", key, bucket, err)
	}
	return v, nil
}

// put stores a record, and counts it if it is new.
func (t tx) put(bucket, key []byte, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	b := t.own.Bucket(bucket)
	if b.Get(key) == nil {
		if err := b.SetSequence(b.Sequence() + 1); err != nil {
			return err
		}
	}
	return b.Put(key, text)
}

func (t tx) remove(bucket, key []byte) error {
	b := t.own.Bucket(bucket)
	if b.Get(key) == nil {
		return nil
	}
	if err := b.SetSequence(b.Sequence() - 1); err != nil {
		return err
	}
	return b.Delete(key)
}

// count is how many records are in a bucket.
func (t tx) count(bucket []byte) int { return int(t.own.Bucket(bucket).Sequence()) }

func (t tx) account(id string) (*account, error) { return load[account](t, bucketAccounts, []byte(id)) }

// accountOf returns the account with a key.
func (t tx) accountOf(thumb string) (*account, error) {
	id := t.own.Bucket(bucketKeys).Get([]byte(thumb))
	if id == nil {
		return nil, errGone
	}
	return t.account(string(id))
}

// putAccount stores an account; before is the thumbprint of the key that it had, "" for a new one.
func (t tx) putAccount(a *account, before string) error {
	keys := t.own.Bucket(bucketKeys)
	if before != a.Thumb {
		if before != "" {
			if err := keys.Delete([]byte(before)); err != nil {
				return err
			}
		}
		if err := keys.Put([]byte(a.Thumb), []byte(a.ID)); err != nil {
			return err
		}
	}
	return t.put(bucketAccounts, []byte(a.ID), a)
}

func (t tx) removeAccount(a *account) error {
	if err := t.own.Bucket(bucketKeys).Delete([]byte(a.Thumb)); err != nil {
		return err
	}
	return t.remove(bucketAccounts, []byte(a.ID))
}

func (t tx) order(id string) (*order, error) { return load[order](t, bucketOrders, []byte(id)) }

// indexKey is where an order stands in the list of its account.
func (o *order) indexKey() []byte {
	key := append([]byte(o.Account), 0)
	key = binary.BigEndian.AppendUint64(key, uint64(o.Created.UnixNano()))
	return append(key, o.ID...)
}

// addOrder stores a new order.
func (t tx) addOrder(o *order, now time.Time) error {
	a, err := t.account(o.Account)
	if err != nil {
		return err
	}
	if a.InHour = a.hourly(now); a.InHour == 0 {
		a.Hour = now
	}
	a.InHour++
	a.Open++
	a.Ordered = now
	if err := t.putAccount(a, a.Thumb); err != nil {
		return err
	}
	o.Counted = true
	if err := t.own.Bucket(bucketByAccount).Put(o.indexKey(), nil); err != nil {
		return err
	}
	return t.put(bucketOrders, []byte(o.ID), o)
}

// putOrder stores an order again.
func (t tx) putOrder(o *order) error {
	if o.final() {
		if err := t.uncount(o); err != nil {
			return err
		}
	}
	return t.put(bucketOrders, []byte(o.ID), o)
}

// uncount says that an order is no longer open.
func (t tx) uncount(o *order) error {
	if !o.Counted {
		return nil
	}
	o.Counted = false
	a, err := t.account(o.Account)
	if errors.Is(err, errGone) {
		return nil
	}
	if err != nil {
		return err
	}
	a.Open = max(0, a.Open-1)
	return t.putAccount(a, a.Thumb)
}

func (t tx) removeOrder(o *order) error {
	if err := t.uncount(o); err != nil {
		return err
	}
	if err := t.own.Bucket(bucketByAccount).Delete(o.indexKey()); err != nil {
		return err
	}
	return t.remove(bucketOrders, []byte(o.ID))
}

// orders calls f for the orders of an account, oldest first, from one on if that is not nil, until f returns false.
func (t tx) orders(account string, from *order, f func(o *order) (bool, error)) error {
	prefix := append([]byte(account), 0)
	start := prefix
	if from != nil {
		start = from.indexKey()
	}
	c := t.own.Bucket(bucketByAccount).Cursor()
	for key, _ := c.Seek(start); bytes.HasPrefix(key, prefix); key, _ = c.Next() {
		if len(key) < len(prefix)+8 {
			continue
		}
		o, err := t.order(string(key[len(prefix)+8:]))
		if errors.Is(err, errGone) {
			continue
		}
		if err != nil {
			return err
		}
		if more, err := f(o); err != nil || !more {
			return err
		}
	}
	return nil
}

func (t tx) certificate(serial string) (*certificate, error) {
	return load[certificate](t, bucketCertificates, []byte(serial))
}

func (t tx) putCertificate(serial string, c *certificate) error {
	return t.put(bucketCertificates, []byte(serial), c)
}
