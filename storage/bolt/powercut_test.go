//go:build linux

package bolt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A traced operation on the store's file, or an acknowledgement.
type op struct {
	kind byte // 'w' write, 't' truncate, 's' sync, 'a' acknowledgement
	off  int64
	data []byte
	ack  uint64
}

// sysInfo is struct ptrace_syscall_info, the same on every architecture.
type sysInfo struct {
	Op   uint8
	_    [3]uint8
	Arch uint32
	IP   uint64
	SP   uint64
	Args [8]uint64 // entry: number, six arguments; exit: result, is it an error
}

const (
	getSyscallInfo = 0x420e // PTRACE_GET_SYSCALL_INFO
	wallNoThread   = unix.WALL | 0x20000000
	sysEntry       = 1
	sysExit        = 2
)

// tracer follows a process system call by system call, so that what is seen
// is what the kernel is asked to do and not what a wrapper is told.
type tracer struct {
	pid     int
	path    string
	mem     *os.File
	fds     map[uint64]bool   // descriptors of the store's file
	pending map[int][8]uint64 // entry of the call a thread is in
	data    map[int]op        // what it is about to do
	ops     []op
	status  syscall.WaitStatus
}

// trace runs a child under ptrace and returns what it did to its store.
func trace(t *testing.T, mode, path string) []op {
	t.Helper()
	runtime.LockOSThread() // a tracer is a thread
	defer runtime.UnlockOSThread()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	cmd := child(t, mode, path)
	pid, err := syscall.ForkExec(cmd.Path, cmd.Args, &syscall.ProcAttr{
		Env: cmd.Env, Files: []uintptr{null.Fd(), null.Fd(), 2}, Sys: &syscall.SysProcAttr{Ptrace: true},
	})
	if err != nil {
		if os.Getenv("CI") == "" {
			t.Skipf("ptrace isn't allowed here: %v", err)
		}
		t.Fatalf("ptrace isn't allowed here, and this test needs it (a container wants --cap-add=SYS_PTRACE): %v", err)
	}
	tr := &tracer{pid: pid, path: path, fds: map[uint64]bool{}, pending: map[int][8]uint64{}, data: map[int]op{}}
	err = tr.run()
	if err != nil || tr.status.ExitStatus() != 0 {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		t.Fatalf("tracing: %v, exit status %d", err, tr.status.ExitStatus())
	}
	return tr.ops
}

func (tr *tracer) run() error {
	var ws syscall.WaitStatus
	if _, err := syscall.Wait4(tr.pid, &ws, wallNoThread, nil); err != nil {
		return err
	}
	const options = syscall.PTRACE_O_TRACESYSGOOD | syscall.PTRACE_O_TRACECLONE | unix.PTRACE_O_EXITKILL
	if err := syscall.PtraceSetOptions(tr.pid, options); err != nil {
		return err
	}
	var err error
	if tr.mem, err = os.Open(fmt.Sprintf("/proc/%d/mem", tr.pid)); err != nil {
		return err
	}
	defer tr.mem.Close()
	for tid, sig := tr.pid, 0; ; {
		if err := syscall.PtraceSyscall(tid, sig); err != nil && err != syscall.ESRCH {
			return err
		}
		if tid, err = syscall.Wait4(-1, &ws, wallNoThread, nil); err != nil {
			return err
		}
		sig = 0
		switch {
		case ws.Exited() || ws.Signaled():
			if tid == tr.pid {
				tr.status = ws
				return nil
			}
			if tid, err = tr.nextStop(&ws); err != nil || tid == 0 {
				return err
			}
			fallthrough
		default:
			if sig, err = tr.stopped(tid, ws); err != nil {
				return err
			}
		}
	}
}

// nextStop waits until a thread stops, passing over those that end. It
// returns 0 when the process has ended.
func (tr *tracer) nextStop(ws *syscall.WaitStatus) (int, error) {
	for {
		tid, err := syscall.Wait4(-1, ws, wallNoThread, nil)
		if err != nil || ws.Stopped() {
			return tid, err
		}
		if tid == tr.pid {
			tr.status = *ws
			return 0, nil
		}
	}
}

// stopped handles one stop of a thread and returns the signal it is to get.
func (tr *tracer) stopped(tid int, ws syscall.WaitStatus) (int, error) {
	switch sig := ws.StopSignal(); {
	case sig == syscall.SIGTRAP|0x80:
	case sig == syscall.SIGTRAP, sig == syscall.SIGSTOP: // a new thread
		return 0, nil
	default:
		return int(sig), nil
	}
	var info sysInfo
	if _, _, e := syscall.Syscall6(syscall.SYS_PTRACE, getSyscallInfo, uintptr(tid), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0); e != 0 {
		if e == syscall.ESRCH {
			return 0, nil
		}
		return 0, e
	}
	switch info.Op {
	case sysEntry:
		tr.pending[tid] = info.Args
		return 0, tr.enter(tid, info.Args)
	case sysExit:
		args := tr.pending[tid]
		delete(tr.pending, tid)
		tr.exit(tid, args, int64(info.Args[0]))
	}
	return 0, nil
}

func (tr *tracer) read(addr, n uint64) ([]byte, error) {
	b := make([]byte, n)
	_, err := tr.mem.ReadAt(b, int64(addr))
	return b, err
}

// enter notes what a call is about to do.
func (tr *tracer) enter(tid int, a [8]uint64) error {
	delete(tr.data, tid)
	switch nr, fd := a[0], a[1]; nr {
	case unix.SYS_OPENAT:
		name := make([]byte, len(tr.path)+1)
		_, _ = tr.mem.ReadAt(name, int64(a[2])) // shorter names may end at the end of a page
		if string(name) == tr.path+"\x00" {
			tr.data[tid] = op{kind: 'o'}
		}
	case unix.SYS_PWRITE64:
		if tr.fds[fd] {
			data, err := tr.read(a[2], a[3])
			tr.data[tid] = op{kind: 'w', off: int64(a[4]), data: data}
			return err
		}
	case unix.SYS_FTRUNCATE:
		if tr.fds[fd] {
			tr.data[tid] = op{kind: 't', off: int64(a[2])}
		}
	case unix.SYS_FSYNC, unix.SYS_FDATASYNC:
		if tr.fds[fd] {
			tr.data[tid] = op{kind: 's'}
		}
	case unix.SYS_WRITE:
		if tr.fds[fd] {
			return fmt.Errorf("write(2) to the store, which isn't expected")
		}
		if fd == 1 { // from now on the world knows
			line, err := tr.read(a[2], a[3])
			if err != nil {
				return err
			}
			n, err := strconv.ParseUint(strings.TrimSpace(string(line)), 10, 64)
			tr.ops = append(tr.ops, op{kind: 'a', ack: n})
			return err
		}
	}
	return nil
}

// exit notes what a call has done.
func (tr *tracer) exit(tid int, a [8]uint64, result int64) {
	if a[0] == unix.SYS_CLOSE && result == 0 {
		delete(tr.fds, a[1])
	}
	o, ok := tr.data[tid]
	if !ok || result < 0 {
		return
	}
	switch o.kind {
	case 'o':
		tr.fds[uint64(result)] = true
		return
	case 'w':
		o.data = o.data[:result]
	}
	tr.ops = append(tr.ops, o)
}

// TestPowerCut follows a committing process system call by system call. First
// every acknowledgement must come after a sync that came after every write.
// Then the file is built as a power cut may leave it, at every moment: all up
// to the last sync, and of the writes since then any subset, some of them in
// part. Each such file must open and have every acknowledged revision.
func TestPowerCut(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sluice.db")
	acked := prepare(t, path, 60)
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	ops := trace(t, "trace", path)
	checkSyncs(t, ops)

	r := rand.New(rand.NewPCG(3, 4))
	var unsynced []op
	images := 0
	cut := filepath.Join(dir, "cut.db")
	for i, o := range ops {
		switch o.kind {
		case 'a':
			acked = o.ack
		case 's':
			for _, u := range unsynced {
				image = apply(image, u, -1)
			}
			unsynced = nil
		default:
			unsynced = append(unsynced, o)
		}
		if len(unsynced) == 0 && r.IntN(8) != 0 {
			continue // much the same as before
		}
		torn := bytes.Clone(image)
		for _, u := range unsynced {
			switch r.IntN(4) {
			case 0: // lost
			case 1:
				torn = apply(torn, u, r.Int64N(int64(len(u.data))/512+1)*512)
			default:
				torn = apply(torn, u, -1)
			}
		}
		checkCut(t, cut, torn, acked, fmt.Sprintf("after operation %d of %d", i, len(ops)))
		images++
	}
	t.Logf("%d operations, %d images", len(ops), images)
	if images < 50 {
		t.Errorf("only %d images were tried", images)
	}
}

// TestCommitCost: a commit without work in the background is two syncs, and
// writes a few pages beside its edits.
func TestCommitCost(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sluice.db")
	s := mustOpen(t, path, options(t))
	s.Close()
	syncs, grown, written := 0, 0, 0
	ops := trace(t, "trace-plain", path)
	checkSyncs(t, ops)
	for ops[len(ops)-1].kind != 'a' { // what Close does
		ops = ops[:len(ops)-1]
	}
	for _, o := range ops {
		switch o.kind {
		case 's':
			syncs++
		case 't':
			grown++
		case 'w':
			written += len(o.data)
		}
	}
	edits := 0
	for n := uint64(1); n <= 25*groupSize; n++ {
		edits += len(scripted(n).Body)
	}
	if syncs > 2*25+grown || grown > 1 {
		t.Errorf("25 commits took %d syncs and %d truncations", syncs, grown)
	}
	if most := 3*edits + 25*10*os.Getpagesize(); written > most {
		t.Errorf("25 commits with edits of %d bytes wrote %d bytes, at most %d were expected", edits, written, most)
	}
	t.Logf("25 commits with edits of %d bytes: %d syncs, %d truncations, %d bytes written", edits, syncs, grown, written)
}

// checkSyncs requires, for each acknowledgement, that the revision's record was
// written and synced, and after that the meta page that leads to it. Background
// steps may write at any time between.
func checkSyncs(t *testing.T, ops []op) {
	t.Helper()
	acks, syncs, began := 0, 0, 0
	for i, o := range ops {
		switch o.kind {
		case 's':
			syncs++
		case 'a':
			acks++
			if !durable(ops[began:i], o.ack) {
				t.Errorf("revision %d was acknowledged with its writes unsynced", o.ack)
			}
			began = i
		}
	}
	if acks != 25 {
		t.Errorf("%d commits were seen, want 25", acks)
	}
	t.Logf("%d commits and the snapshots and pruning beside them took %d syncs", acks, syncs)
}

// durable reports whether the operations write a page with the key of revision
// n, sync it, write a meta page, and sync that, in this order.
func durable(ops []op, n uint64) bool {
	const record, synced, meta = 1, 2, 3
	done := 0
	for _, o := range ops {
		isMeta := o.kind == 'w' && o.off < 2*int64(os.Getpagesize()) && binary.NativeEndian.Uint16(o.data[8:]) == 4
		switch {
		case done == 0 && o.kind == 'w' && !isMeta && bytes.Contains(o.data, key(n)):
			done = record
		case done == record && o.kind == 's':
			done = synced
		case done == synced && isMeta:
			done = meta
		case done == meta && o.kind == 's':
			return true
		}
	}
	return false
}

// apply does an operation to an image; of a write, if most isn't negative, at
// most so many bytes.
func apply(image []byte, o op, most int64) []byte {
	grow := func(n int64) {
		if int64(len(image)) < n {
			image = append(image, make([]byte, n-int64(len(image)))...)
		}
	}
	if o.kind == 't' {
		grow(o.off)
		return image[:o.off]
	}
	data := o.data
	if most >= 0 && most < int64(len(data)) {
		data = data[:most]
	}
	grow(o.off + int64(len(data)))
	copy(image[o.off:], data)
	return image
}

// checkCut opens an image and requires what was acknowledged.
func checkCut(t *testing.T, path string, image []byte, acked uint64, when string) {
	t.Helper()
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	s, last, _, err := loadScripted(path, scriptedOptions())
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	defer s.Close()
	if last < acked || last > acked+groupSize {
		t.Fatalf("%s: the latest revision is %d, acknowledged was %d", when, last, acked)
	}
	revs, err := s.History(bg, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []int{0, len(revs) / 2, len(revs) - 1} {
		snap, err := s.Revision(bg, revs[r].Number)
		if err != nil || string(snap.Document) != string(scriptedDocument(revs[r].Number)) {
			t.Fatalf("%s: revision %d: %.100q, %v", when, revs[r].Number, snap.Document, err)
		}
	}
}
