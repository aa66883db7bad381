package acmeserver

import (
	"encoding/json"
	"errors"
	"time"

	"go.etcd.io/bbolt"
)

const (
	// orderLife is how long a client may take for an order.
	orderLife = 24 * time.Hour
	// orderKept is how long an order is kept after it was made, so that its certificate can be fetched.
	orderKept = 48 * time.Hour
	// invalidKept is how long one is kept that came to nothing, so that its client can read why.
	invalidKept = orderLife + time.Hour
	// accountKept is how long an account is kept that orders nothing. By then nothing that it got is valid.
	accountKept = maxLifetime + 30*24*time.Hour
	// idleKept is how long an account is kept that never ordered anything.
	idleKept = 30 * 24 * time.Hour
	// tightKept takes the place of invalidKept and idleKept when there is hardly room left.
	tightKept = time.Hour
)

// What a database may hold.
const (
	maxAccounts     = 100_000
	maxOrders       = 200_000
	maxCertificates = 1_000_000
	// maxOpen is how many orders of an account may be open.
	maxOpen = 300
	// maxHourly is how many orders an account may make within an hour.
	maxHourly = 5000
)

// clean deletes what is no longer needed. It lets others write in between.
func (s *state) clean() error {
	now := s.now()
	invalid, idle := invalidKept, idleKept
	err := s.store.view(func(t tx) error {
		if t.count(bucketOrders) > maxOrders*9/10 {
			invalid = tightKept
		}
		if t.count(bucketAccounts) > maxAccounts*9/10 {
			idle = tightKept
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = sweep(s, bucketOrders, func(t tx, o *order) (bool, error) {
		before := o.final()
		o.settle(now)
		switch age := now.Sub(o.Created); {
		case age > orderKept, o.Status == statusInvalid && age > invalid:
			return true, t.removeOrder(o)
		case o.final() && !before:
			return true, t.putOrder(o)
		}
		return false, nil
	})
	if err != nil {
		return err
	}
	err = sweepKeys(s, bucketCertificates, func(t tx, key, text []byte) (bool, error) {
		var c certificate
		if err := json.Unmarshal(text, &c); err != nil || !now.After(c.NotAfter) {
			return false, err
		}
		return true, t.remove(bucketCertificates, key)
	})
	if err != nil {
		return err
	}
	return sweep(s, bucketAccounts, func(t tx, a *account) (bool, error) {
		last, kept := a.Ordered, accountKept
		if last.IsZero() {
			last, kept = a.Created, idle
		}
		if a.Open > 0 || now.Sub(last) <= kept {
			return false, nil
		}
		return true, t.removeAccount(a)
	})
}

func sweep[T any](s *state, bucket []byte, f func(t tx, v *T) (changed bool, err error)) error {
	return sweepKeys(s, bucket, func(t tx, _, text []byte) (bool, error) {
		v := new(T)
		if err := json.Unmarshal(text, v); err != nil {
			return false, err
		}
		return f(t, v)
	})
}

// errUnchanged ends a transaction that has nothing to write.
var errUnchanged = errors.New("nothing has changed")

// sweepKeys calls f for every record of a bucket, in transactions of [cleanBatch] records.
func sweepKeys(s *state, bucket []byte, f func(t tx, key, text []byte) (changed bool, err error)) error {
	var next []byte
	for {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		var keys, texts [][]byte
		err := s.store.update(func(t tx) error {
			keys, texts, next = batch(t.own.Bucket(bucket), next)
			result := errUnchanged
			for i, key := range keys {
				if changed, err := f(t, key, texts[i]); err != nil {
					return err
				} else if changed {
					result = nil
				}
			}
			return result
		})
		if errors.Is(err, errUnchanged) {
			err = nil
		}
		if err != nil || next == nil {
			return err
		}
	}
}

// batch copies records, from a key on, and returns the key of the one after them, nil if there is none.
func batch(b *bbolt.Bucket, from []byte) (keys, texts [][]byte, next []byte) {
	c := b.Cursor()
	key, text := c.Seek(from)
	for ; key != nil && len(keys) < cleanBatch; key, text = c.Next() {
		keys, texts = append(keys, append([]byte(nil), key...)), append(texts, append([]byte(nil), text...))
	}
	if key != nil {
		next = append([]byte(nil), key...)
	}
	return keys, texts, next
}
