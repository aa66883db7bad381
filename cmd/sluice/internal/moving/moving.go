package moving

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/sluiceproxy/sluice/server/certstore"
)

// TransferError says that copying has failed, after everything was opened.
type TransferError struct {
	// Err is what went wrong.
	Err error
}

// Error implements error.
func (e *TransferError) Error() string { return e.Err.Error() }

// Unwrap is what went wrong.
func (e *TransferError) Unwrap() error { return e.Err }

// StandardStream is the name of standard input or output in place of a file.
const StandardStream = "-"

// Reporter tells people how it goes.
type Reporter struct {
	// Out is where to.
	Out io.Writer
	// Verb is what happens to values, such as "exported".
	Verb string
	// Now is the clock.
	Now func() time.Time

	values int
	bytes  int64
	last   time.Time
}

// interval is the time between two lines of progress.
const interval = time.Second

// transfer is what the storage tells.
func (r *Reporter) transfer(s *Storage) certstore.Transfer {
	r.last = r.Now()
	return certstore.Transfer{Leave: s.leave,
		Progress: func(_ string, size int64) {
			r.values, r.bytes = r.values+1, r.bytes+size
			if now := r.Now(); now.Sub(r.last) >= interval {
				r.last = now
				r.say("... ")
			}
		},
		Warn: func(key string, err error) { fmt.Fprintf(r.Out, "%q is left out: %v\n", key, err) },
	}
}

func (r *Reporter) say(before string) {
	fmt.Fprintf(r.Out, "%s%s %d values of %d bytes\n", before, r.Verb, r.values, r.bytes)
}

// Export writes what the storage holds into a file, for its owner alone, or to
// stdout. A file appears, or takes the place of another, once it is complete.
func Export(ctx context.Context, s *Storage, file string, stdout io.Writer, r *Reporter) error {
	to := func(w io.Writer) error {
		if err := certstore.Export(ctx, s, writer{ctx, w}, r.transfer(s)); err != nil {
			return &TransferError{err}
		}
		return nil
	}
	var err error
	if file == StandardStream {
		err = to(stdout)
	} else {
		err = complete(file, to)
	}
	if err == nil {
		r.say("")
	}
	return err
}

// complete writes a file under another name, or, if it is no plain file, into it.
func complete(file string, write func(io.Writer) error) error {
	if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(file, os.O_WRONLY, 0)
		if err != nil {
			return fmt.Errorf("opening the file for the archive: %w", err)
		}
		return errors.Join(write(f), f.Close())
	}
	if target, err := filepath.EvalSymlinks(file); err == nil {
		file = target
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".sluice-export-*") // for the owner alone
	if err != nil {
		return fmt.Errorf("making the file for the archive: %w", err)
	}
	if err = write(f); err == nil {
		if err = f.Sync(); err != nil {
			err = &TransferError{fmt.Errorf("writing the archive: %w", err)}
		}
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// Import stores what an archive holds, which is in a file or comes from stdin.
func Import(ctx context.Context, s *Storage, file string, stdin io.Reader, r *Reporter) error {
	from := stdin
	if file != StandardStream {
		f, err := os.Open(file)
		if err != nil {
			return fmt.Errorf("opening the archive: %w", err)
		}
		defer f.Close()
		from = f
	}
	if err := certstore.Import(ctx, s, reader{ctx, from}, r.transfer(s)); err != nil {
		return &TransferError{err}
	}
	r.say("")
	return nil
}

// writer and reader fail once nobody wants the result any more.
type writer struct {
	ctx context.Context
	w   io.Writer
}

func (w writer) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.w.Write(p)
}

type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
