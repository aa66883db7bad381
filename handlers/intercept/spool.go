package intercept

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

// inMemory is how much of a body is kept in memory; the rest goes to a file.
const inMemory = 1 << 20

// spool keeps a body until it is known whether it is needed. The zero value is
// empty.
type spool struct {
	memory bytes.Buffer
	file   *os.File
}

// Write keeps p.
func (s *spool) Write(p []byte) (int, error) {
	if s.file == nil && s.memory.Len()+len(p) <= inMemory {
		return s.memory.Write(p)
	}
	if s.file == nil {
		f, err := os.CreateTemp("", "sluice-response-*")
		if err != nil {
			return 0, fmt.Errorf("keeping a response that is being intercepted: %w", err)
		}
		s.file = f
		// Without a name it is gone when the process is, however that ends.
		if err := os.Remove(f.Name()); err != nil {
			return 0, fmt.Errorf("keeping a response that is being intercepted: %w", err)
		}
	}
	return s.file.Write(p)
}

// copyTo writes what was kept.
func (s *spool) copyTo(w io.Writer) error {
	if _, err := w.Write(s.memory.Bytes()); err != nil || s.file == nil {
		return err
	}
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err := io.Copy(w, s.file)
	return err
}

func (s *spool) close() {
	if s.file != nil {
		_ = s.file.Close()
	}
}
