package main

import (
	"context"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// unlockTime is how long a process that ends at once may take to give up its
// locks on the storage of certificates, which may be far away.
const unlockTime = time.Second

// releaseLocks gives up all locks on storages, so that other processes need not
// wait until they are taken for abandoned.
func releaseLocks(log *zap.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), unlockTime)
	defer cancel()
	done := make(chan struct{})
	go func() {
		certmagic.CleanUpOwnLocks(ctx, log)
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		log.Warn("the locks on the storage of certificates could not be given up in time")
	}
}
