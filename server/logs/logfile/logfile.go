// Package logfile is the file that a log is written to: opened with the right
// permissions, rolled over by size and time, and followed by its name, so that
// a file that someone moves away is made anew.
package logfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/DeRuina/timberjack"
)

// Settings say which file it is and what becomes of it.
type Settings struct {
	// Path is the absolute name.
	Path string
	// Mode is the permissions, nil for those that the file has, or 0600 for a
	// new one.
	Mode *fs.FileMode
	// Dir is the permissions of directories that have to be made.
	Dir DirMode
	// Roll says that the file is rolled over; all that follows is about that.
	Roll bool
	// Size is how many bytes a file may have. An entry is never split.
	Size int64
	// Interval is the longest time from one rolling over to the next, 0 for any.
	Interval time.Duration
	// Marks are the times of the day for it, sorted.
	Marks []Mark
	// Local says that times are local and not UTC: those of Marks and those in
	// names.
	Local bool
	// Compression of rolled files: gzip, zstd or none.
	Compression string
	// Keep is how many rolled files are kept, KeepDays for how many days; 0 means
	// all and forever.
	Keep, KeepDays int
	// TimeFormat is the layout of the time in the names of rolled files.
	TimeFormat string
}

const (
	newFileMode = 0o600
	// lookEvery is how often the name is compared with the open file, while
	// entries come.
	lookEvery = time.Second
	// retryAfter is how long a rolling over that failed is not tried again.
	retryAfter = 10 * time.Second
	// unlimited, in MiB, keeps timberjack from rolling over by itself.
	unlimited = 1<<31 - 1
)

var errClosed = errors.New("the log file is closed")

// File is an open log file. It is safe for concurrent use.
type File struct {
	report func(error)

	mu      sync.Mutex
	s       Settings
	file    *os.File
	info    fs.FileInfo // of file, as it was opened
	size    int64
	looked  time.Time
	began   time.Time // when the file was opened or rolled over
	torn    bool      // the last write ended within an entry
	tidied  bool      // old files were looked after
	regular bool

	roller  *timberjack.Logger
	busy    <-chan struct{} // closed when no former roller works any more
	notYet  time.Time       // when rolling over may be tried again
	alarm   *time.Timer
	undo    []func()
	started bool
}

// Open opens or creates the file. Report is told, now and then from other
// goroutines, of what fails and does not lose entries. After, if not nil, is
// closed when a File that had the same name is done with it.
func Open(s Settings, report func(error), after <-chan struct{}) (*File, error) {
	f := &File{s: s, report: report, busy: after}
	if err := f.open(); err != nil {
		f.takeBack()
		return nil, err
	}
	f.began, f.looked = time.Now(), time.Now()
	return f, nil
}

// open opens the file, making it and its directories if need be. What it makes
// can be undone.
func (f *File) open() error {
	path := f.s.Path
	before, err := os.Stat(path)
	isNew := errors.Is(err, fs.ErrNotExist)
	mode := fs.FileMode(newFileMode)
	switch {
	case f.s.Mode != nil:
		mode = *f.s.Mode
	case f.info != nil: // it is gone, and this one takes its place
		mode = f.info.Mode().Perm()
	}
	if isNew {
		made, err := makeDirs(filepath.Dir(path), f.s.Dir, mode)
		for _, dir := range made {
			f.undo = append(f.undo, func() { _ = os.Remove(dir) })
		}
		if err != nil {
			return err
		}
	}
	// A named pipe without a reader is an error, not something to wait for.
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NONBLOCK, mode)
	if err != nil {
		return err
	}
	if isNew {
		f.undo = append(f.undo, func() { _ = os.Remove(path) })
	}
	info, err := file.Stat()
	if err == nil && (isNew || f.s.Mode != nil) && info.Mode().IsRegular() && info.Mode() != mode {
		if !isNew {
			f.undo = append(f.undo, func() { _ = os.Chmod(path, before.Mode()) })
		}
		err = file.Chmod(mode) // whatever the umask
	}
	if err != nil {
		_ = file.Close()
		return err
	}
	if f.file != nil {
		_ = f.file.Close()
	}
	f.file, f.info, f.size, f.regular, f.torn = file, info, info.Size(), info.Mode().IsRegular(), false
	return nil
}

// takeBack undoes what open did to the file system.
func (f *File) takeBack() {
	for i := len(f.undo) - 1; i >= 0; i-- {
		f.undo[i]()
	}
	f.undo = nil
}

// Direct reports whether it is a file on disk, and not a pipe or a terminal,
// which others may forget to read.
func (f *File) Direct() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.regular
}

// Start says that the settings take effect, which may be others than those that
// the file was opened with. Until then, Close leaves no trace.
func (f *File) Start(s Settings) {
	f.mu.Lock()
	defer f.mu.Unlock()
	first := !f.started
	f.started, f.undo = true, nil
	f.s = s
	if !first {
		f.dropRoller()
		f.tidied, f.notYet = false, time.Time{}
	}
	if s.Mode != nil && f.regular && f.info.Mode() != *s.Mode {
		if err := f.file.Chmod(*s.Mode); err != nil {
			f.report(fmt.Errorf("setting the permissions of log file %s: %w", s.Path, err))
		}
	}
	f.arm(time.Now())
}

// Write appends one entry.
func (f *File) Write(p []byte) (int, error) { return f.WriteEntries(p, []int{len(p)}) }

// WriteEntries appends entries of which the i-th ends at ends[i], rolling over
// between them as the settings say.
func (f *File) WriteEntries(p []byte, ends []int) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		return 0, errClosed
	}
	now := time.Now()
	if now.Sub(f.looked) >= lookEvery {
		f.look(now)
	}
	if !f.rolls() {
		return f.append(p)
	}
	f.tidy()
	if f.s.Interval > 0 && now.Sub(f.began) >= f.s.Interval {
		f.roll("time", now)
	}
	start := 0
	for f.size+int64(len(p)-start) > f.s.Size {
		next := start
		for len(ends) > 0 && f.size+int64(ends[0]-start) <= f.s.Size {
			next, ends = ends[0], ends[1:]
		}
		if next == start && f.size == 0 { // an entry that is larger than a file may be
			next, ends = ends[0], ends[1:]
		}
		n, err := f.append(p[start:next])
		start += n
		if err != nil || start == len(p) {
			return start, err
		}
		if !f.roll("size", now) {
			break
		}
	}
	n, err := f.append(p[start:])
	return start + n, err
}

// append writes to the open file. An entry that could be written in part only
// gets a line of its own.
func (f *File) append(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if f.torn {
		if _, err := f.file.Write([]byte{'\n'}); err != nil {
			return 0, err
		}
		f.size++
		f.torn = false
	}
	n, err := f.file.Write(p)
	f.size += int64(n)
	f.torn = n > 0 && err != nil && p[n-1] != '\n'
	return n, err
}

// look compares the name with the open file. Who moved or removed the file
// wants a new one; who cut it off keeps it.
func (f *File) look(now time.Time) {
	f.looked = now
	if !f.regular {
		return
	}
	info, err := os.Stat(f.s.Path)
	switch {
	case err == nil && os.SameFile(info, f.info):
		f.info, f.size = info, info.Size()
	case err == nil || errors.Is(err, fs.ErrNotExist):
		f.dropRoller() // it may hold the file that is gone
		if err := f.open(); err != nil {
			f.report(fmt.Errorf("opening log file %s again, which was moved or removed: %w", f.s.Path, err))
		} else {
			f.began = now
		}
		f.undo = nil
	}
}

// Close closes the file. Compressing what was rolled over may go on; Done tells
// when it has ended.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		return errClosed
	}
	if f.alarm != nil {
		f.alarm.Stop()
	}
	f.dropRoller()
	err := f.file.Close()
	f.file = nil
	f.takeBack()
	return err
}

// Done is closed, after Close, when nothing is done to rolled files any more. It
// is nil if nothing was.
func (f *File) Done() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.busy
}
