package handshake

import (
	"fmt"
	"os"
	"sync"
)

// secretsLog is a key log file. It is written to by handshakes while the policy lives.
type secretsLog struct {
	name string

	mu   sync.Mutex
	file *os.File // nil before Prepare and after Close
}

// Prepare implements module.Resource.
func (l *secretsLog) Prepare() error {
	file, err := os.OpenFile(l.name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("opening the secrets log: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.file = file
	return nil
}

// Start implements module.Resource.
func (l *secretsLog) Start() {}

// Close implements module.Resource.
func (l *secretsLog) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		l.file.Close()
		l.file = nil
	}
}

// Write implements io.Writer, a line at a time. What a handshake writes that outlives the policy is dropped, so that it goes on.
func (l *secretsLog) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return len(line), nil
	}
	return l.file.Write(line)
}
