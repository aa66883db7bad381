package mission

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Variables of a process that runs one mission.
const (
	rootName  = "SLUICE_MISSION_ROOT"  // the folder that becomes the root of its files
	toolsName = "SLUICE_MISSION_TOOLS" // the folder with the program
)

// tools is the folder with the program.
var tools string

func TestMain(m *testing.M) { os.Exit(withTools(m)) }

func withTools(m *testing.M) int {
	if tools = os.Getenv(toolsName); tools != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "sluice-mission-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	tools = dir
	out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "sluice"), "../../cmd/sluice").CombinedOutput()
	if err != nil {
		fmt.Fprintf(os.Stderr, "building the program: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// missions is what each Caddyfile must do. Those that wait as long as their files say stand first, so that the others run
// meanwhile.
var missions = []struct {
	number string
	check  func(t *testing.T, s *site)
}{
	{"13", checkTransport}, {"16", checkSRV}, {"17", checkErrors}, {"05", checkHealth}, {"18", checkFallback}, {"15", checkFlushPeriodic},
	{"01", checkBasic}, {"02", checkSocket}, {"03", checkInTurn}, {"04", checkPolicies}, {"06", checkHeaderUp}, {"07", checkHeaderDown},
	{"08", checkPaths}, {"09", checkStripped}, {"10", checkWebSocket}, {"11", checkWebSocketExplicit}, {"12", checkGRPC}, {"14", checkFlushNow},
	{"19", checkBackends}, {"20", checkSorted}, {"21", checkWritten}, {"22", checkSPA},
}

// atOnce is how many missions run at the same time.
const atOnce = 4

// TestMissions runs each Caddyfile, unedited, on a machine of its own: a process in namespaces, in which ports 80 and 443 are
// free, names are those of a DNS server of the test, and a certificate authority checks at the real ports. There the file is
// given to the program as a user would give it, and used by real clients with real upstreams.
//
// Where the system makes no such namespaces it cannot run, neither for root nor for others. What the files do is tested there
// all the same, with other addresses and without TLS, by TestMission of internal/e2e, mission 16 apart.
func TestMissions(t *testing.T) {
	results := map[string]chan outcome{}
	for _, m := range missions {
		results[m.number] = make(chan outcome, 1)
	}
	next := make(chan string)
	for range atOnce {
		go func() {
			for number := range next {
				began := time.Now()
				o := inside(t.Context(), number, t.TempDir())
				o.took = time.Since(began)
				results[number] <- o
			}
		}()
	}
	go func() {
		defer close(next)
		for _, m := range missions {
			next <- m.number
		}
	}()
	for _, number := range Cases() {
		t.Run(number, func(t *testing.T) {
			done, ok := results[number]
			if !ok {
				t.Fatal("nobody checks it")
			}
			switch o := <-done; {
			case o.err != nil:
				t.Errorf("after %v: %v\n%s", o.took.Round(time.Second), o.err, o.text)
			case o.skip != "":
				t.Skip(o.skip)
			default:
				t.Logf("%v\n%s", o.took.Round(time.Second), o.text)
			}
		})
	}
}

// outcome is what has become of a mission.
type outcome struct {
	err        error
	skip, text string
	took       time.Duration
}

// inside runs a mission in a process with namespaces of its own, whose root is a folder.
func inside(ctx context.Context, number, root string) (o outcome) {
	self, err := os.Executable()
	if err != nil {
		return outcome{err: err}
	}
	for _, user := range []bool{false, true} { // as root, or else as root of a namespace
		cmd := exec.CommandContext(ctx, self, "-test.run=^TestInside$/^"+number+"$", "-test.v", "-test.timeout=4m")
		for _, v := range os.Environ() {
			name, _, _ := strings.Cut(v, "=")
			if !strings.HasSuffix(strings.ToLower(name), "_proxy") && name != "TMPDIR" { // of the real machine
				cmd.Env = append(cmd.Env, v)
			}
		}
		cmd.Env = append(cmd.Env, rootName+"="+root, toolsName+"="+tools)
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
		if user {
			cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
			cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
		}
		text, err := cmd.CombinedOutput()
		var ended *exec.ExitError
		switch {
		case err == nil && strings.Contains(string(text), "--- SKIP: TestInside"):
			return outcome{skip: string(text)}
		case err == nil && !strings.Contains(string(text), "--- PASS: TestInside/"+number):
			return outcome{err: errors.New("the process has not run the mission"), text: string(text)}
		case err == nil, errors.As(err, &ended):
			return outcome{err: err, text: string(text)}
		}
		o.err = err
	}
	if errors.Is(o.err, fs.ErrPermission) || errors.Is(o.err, syscall.EINVAL) || errors.Is(o.err, syscall.ENOSPC) {
		return outcome{skip: fmt.Sprintf("no namespaces are to be had: %v", o.err)}
	}
	return o
}

// TestInside runs one mission, which TestMissions names, on the machine that this process makes for itself.
func TestInside(t *testing.T) {
	root := os.Getenv(rootName)
	if root == "" {
		t.Skip("this is the part of TestMissions that runs in a process of its own")
	}
	for _, m := range missions {
		t.Run(m.number, func(t *testing.T) {
			c := Read(t, m.number) // while the files of the project can be seen
			loopback(t)
			enter(t, root)
			m.check(t, newSite(t, c))
		})
	}
}

// TestAll: there is a test for each Caddyfile of the collection.
func TestAll(t *testing.T) {
	var checked, given []string
	for _, m := range missions {
		checked = append(checked, m.number)
	}
	slices.Sort(checked)
	if !slices.Equal(checked, Cases()) || len(checked) != 22 {
		t.Errorf("%v are checked, %v are there", checked, Cases())
	}
	files, err := filepath.Glob("../../../shared/mission/*.caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skip("the collection is not beside the project")
	}
	for _, f := range files {
		given = append(given, filepath.Base(f)[:2])
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if c := Read(t, filepath.Base(f)[:2]); c.Text != string(text) || c.Name != filepath.Base(f) {
			t.Errorf("%s is not read as it is", f)
		}
	}
	if !slices.Equal(given, Cases()) {
		t.Errorf("%v are given, %v are there", given, Cases())
	}
}
