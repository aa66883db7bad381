package logfile

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/DeRuina/timberjack"
)

// Mark is a time of the day.
type Mark struct{ Hour, Minute int }

// next is the first time after now that the mark stands for.
func (m Mark) next(now time.Time) time.Time {
	t := time.Date(now.Year(), now.Month(), now.Day(), m.Hour, m.Minute, 0, 0, now.Location())
	if !t.After(now) {
		t = time.Date(now.Year(), now.Month(), now.Day()+1, m.Hour, m.Minute, 0, 0, now.Location())
	}
	return t
}

// CheckTimeFormat reports whether rolled files can be named by the layout and
// found again.
func CheckTimeFormat(layout string) error {
	if strings.ContainsAny(layout, `/\`) {
		return errors.New("a file name cannot have a separator of directories in it")
	}
	l := timberjack.Logger{BackupTimeFormat: layout}
	if err := l.ValidateBackupTimeFormat(); err != nil {
		return fmt.Errorf("times in this format cannot be read back: %w", err)
	}
	return nil
}

func (f *File) rolls() bool { return f.s.Roll && f.regular }

// arm sets the alarm for the next mark. Files are rolled over on time even if
// no entries come.
func (f *File) arm(now time.Time) {
	if f.alarm != nil {
		f.alarm.Stop()
		f.alarm = nil
	}
	if !f.rolls() || len(f.s.Marks) == 0 || f.file == nil {
		return
	}
	now = now.In(f.zone())
	next := f.s.Marks[0].next(now)
	for _, m := range f.s.Marks[1:] {
		if t := m.next(now); t.Before(next) {
			next = t
		}
	}
	f.alarm = time.AfterFunc(next.Sub(now), func() { f.ring(next) })
}

func (f *File) ring(mark time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		return
	}
	now := time.Now()
	if now.Before(mark) { // the clock was set back
		now = mark
	}
	f.roll("time", now)
	f.arm(now)
}

func (f *File) zone() *time.Location {
	if f.s.Local {
		return time.Local
	}
	return time.UTC
}

// roll moves the file away under a name that tells when and why, and opens a
// new one. If it cannot, entries go on into the old one.
func (f *File) roll(reason string, now time.Time) bool {
	f.look(now)
	if f.size == 0 {
		f.began = now
		return false
	}
	if now.Before(f.notYet) || !f.ready() {
		return false
	}
	if err := f.makeRoller().RotateWithReason(reason); err != nil {
		f.notYet = now.Add(retryAfter)
		f.report(fmt.Errorf("rolling over log file %s: %w", f.s.Path, err))
		return false
	}
	if err := f.open(); err != nil {
		f.looked = time.Time{} // the next entry tries again
		f.report(fmt.Errorf("opening log file %s after rolling over: %w", f.s.Path, err))
		return false
	}
	f.undo = nil
	f.began, f.looked = now, now
	return true
}

// ready reports whether no former roller works on the files.
func (f *File) ready() bool {
	if f.busy == nil {
		return true
	}
	select {
	case <-f.busy:
		f.busy = nil
		return true
	default:
		return false
	}
}

// makeRoller returns what renames, compresses and removes files. It never
// writes entries, and rolls over only when told to.
func (f *File) makeRoller() *timberjack.Logger {
	if f.roller == nil {
		mode := f.info.Mode().Perm()
		if f.s.Mode != nil {
			mode = *f.s.Mode
		}
		f.roller = &timberjack.Logger{
			Filename: f.s.Path, FileMode: mode, MaxSize: unlimited,
			MaxBackups: f.s.Keep, MaxAge: f.s.KeepDays, Compression: f.s.Compression,
			LocalTime: f.s.Local, BackupTimeFormat: f.s.TimeFormat,
		}
	}
	return f.roller
}

// tidy removes and compresses, in the background, what an earlier process or
// other settings have left.
func (f *File) tidy() {
	if f.tidied || !f.ready() {
		return
	}
	f.tidied = true
	if _, err := f.makeRoller().Write(nil); err != nil {
		f.report(fmt.Errorf("looking after old files of log %s: %w", f.s.Path, err))
	}
}

// dropRoller lets the roller finish what it does.
func (f *File) dropRoller() {
	r, before := f.roller, f.busy
	if r == nil {
		return
	}
	done := make(chan struct{})
	f.roller, f.busy = nil, done
	go func() {
		defer close(done)
		if before != nil {
			<-before
		}
		_ = r.Close()
	}()
}
