package mem

import (
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/storage"
	"github.com/sluiceproxy/sluice/storage/storagetest"
)

func TestStore(t *testing.T) {
	storagetest.Store(t, storagetest.Maker{
		Open: func(_ *testing.T, l storage.Limits, now func() time.Time) storage.Store {
			return New(Options{Replay: storagetest.Replay, Digest: storagetest.Digest, Limits: l, Now: now})
		},
	})
}
