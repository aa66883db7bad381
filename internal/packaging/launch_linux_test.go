package packaging

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// job is a process as a service manager or a container engine starts it: what it may see and do.
type job struct {
	Root     string // becomes its /
	Dir      string
	Args     []string
	Env      []string
	User     int // 0 keeps the user
	Caps     []int
	ReadOnly []string // mounts that are; nil for none
	Writable []string // what is not in them
	Umask    int
	Files    uint64 // LimitNOFILE
	NoNew    bool   // NoNewPrivileges
	NoExec   bool   // MemoryDenyWriteExecute
	Calls    []int  // the system calls allowed, nil for all; others fail with EPERM
	Families []int  // the address families allowed, nil for all
}

// jobName is the variable that makes the test binary start a job in its own place.
const jobName = "SLUICE_PACKAGING_JOB"

// become makes this process be the job. It returns only if it cannot.
func become(text string) error {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return err
	}
	runtime.LockOSThread() // what follows is done to one thread, which is the only one left afterwards
	for _, step := range []func() error{j.mounts, j.confine, j.rights, j.filter} {
		if err := step(); err != nil {
			return err
		}
	}
	return fmt.Errorf("starting %q: %w", j.Args, syscall.Exec(j.Args[0], j.Args, j.Env))
}

func (j *job) mounts() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	if j.ReadOnly == nil {
		return nil
	}
	if err := unix.Mount(j.Root, j.Root, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("binding %s: %w", j.Root, err)
	}
	for _, dir := range j.Writable {
		dir = filepath.Join(j.Root, dir)
		if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("binding %s: %w", dir, err)
		}
	}
	if err := unix.Mount("tmpfs", filepath.Join(j.Root, "tmp"), "tmpfs", 0, "mode=1777"); err != nil {
		return fmt.Errorf("private /tmp: %w", err)
	}
	for _, dir := range j.ReadOnly {
		dir = filepath.Join(j.Root, dir)
		if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
			return fmt.Errorf("making %s read only: %w", dir, err)
		}
	}
	return nil
}

func (j *job) confine() error {
	if err := unix.Chroot(j.Root); err != nil {
		return fmt.Errorf("entering %s: %w", j.Root, err)
	}
	if err := unix.Chdir(j.Dir); err != nil {
		return fmt.Errorf("changing to %s: %w", j.Dir, err)
	}
	unix.Umask(j.Umask)
	if j.Files > 0 {
		limit := unix.Rlimit{Cur: j.Files, Max: j.Files}
		var have unix.Rlimit
		if unix.Getrlimit(unix.RLIMIT_NOFILE, &have) == nil && have.Max < limit.Max && os.Getuid() != 0 {
			limit = have
		}
		_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	}
	return nil
}

// rights changes the user, and leaves of what root may do only what is listed.
func (j *job) rights() error {
	set := uint32(0)
	for _, c := range j.Caps {
		set |= 1 << c
	}
	for c := range 64 {
		if c < 32 && set&(1<<c) != 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); err != nil && err != unix.EINVAL {
			return fmt.Errorf("dropping capability %d: %w", c, err)
		}
	}
	if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("keeping capabilities: %w", err)
	}
	if j.User != 0 {
		id := uintptr(j.User)
		for _, call := range [][4]uintptr{{unix.SYS_SETGROUPS}, {unix.SYS_SETRESGID, id, id, id}, {unix.SYS_SETRESUID, id, id, id}} {
			if _, _, e := unix.RawSyscall(call[0], call[1], call[2], call[3]); e != 0 {
				return fmt.Errorf("becoming user %d: %w", j.User, e)
			}
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{{Effective: set, Permitted: set, Inheritable: set}}
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fmt.Errorf("setting capabilities: %w", err)
	}
	for _, c := range j.Caps {
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(c), 0, 0); err != nil {
			return fmt.Errorf("raising capability %d: %w", c, err)
		}
	}
	return nil
}

// filter installs what cannot be undone. Nothing but exec may follow.
func (j *job) filter() error {
	if j.NoNew || j.Calls != nil {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("no new privileges: %w", err)
		}
	}
	if j.NoExec {
		const setMDWE, refuseExecGain = 65, 1 // since Linux 6.3
		if err := unix.Prctl(setMDWE, refuseExecGain, 0, 0, 0); err != nil && err != unix.EINVAL {
			return fmt.Errorf("no writable and executable memory: %w", err)
		}
	}
	if j.Calls == nil {
		return nil
	}
	const refuse, allow = unix.SECCOMP_RET_ERRNO, unix.SECCOMP_RET_ALLOW
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	equal := func(k uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: k, Jt: yes, Jf: no}
	}
	ret := func(what uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: what} }
	program := []unix.SockFilter{load(0)}
	if j.Families != nil {
		program = append(program, equal(unix.SYS_SOCKET, 0, uint8(len(j.Families))*2+2), load(16))
		for _, f := range j.Families {
			program = append(program, equal(uint32(f), 0, 1), ret(allow))
		}
		program = append(program, ret(refuse|uint32(unix.EAFNOSUPPORT)))
	}
	for _, call := range j.Calls {
		program = append(program, equal(uint32(call), 0, 1), ret(allow))
	}
	program = append(program, ret(refuse|uint32(unix.EPERM)))
	f := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if _, _, e := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&f))); e != 0 {
		return fmt.Errorf("filtering system calls: %w", e)
	}
	return nil
}
