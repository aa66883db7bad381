package main

import (
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
)

// collectPercent is how much the heap may grow, in percent of what is live,
// before garbage is collected. A proxy lives on a small heap that requests
// hardly add to, so that a low value costs little time; the document of ten
// thousand routes, of which an edit copies a path only, stays small with it.
const collectPercent = 50

// tuneMemory sets the limits of the runtime where the environment does not.
func tuneMemory(log *zap.Logger) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectPercent)
	}
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	if limit := memoryLimit(os.ReadFile); limit > 0 {
		debug.SetMemoryLimit(limit)
		log.Debug("set memory limit", zap.Int64("bytes", limit))
	}
}

// memoryLimit is 90 % of what the control group allows, or of the memory of the
// system; 0 if neither is known. It reads the files of Linux.
func memoryLimit(readFile func(string) ([]byte, error)) int64 {
	limit := int64(math.MaxInt64)
	least := func(file, field string) {
		text, err := readFile(file)
		if err != nil {
			return
		}
		if n := numberIn(string(text), field); n > 0 && n < limit {
			limit = n
		}
	}
	groups, _ := readFile("/proc/self/cgroup")
	for line := range strings.Lines(string(groups)) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) != 3 {
			continue
		}
		root, file := "/sys/fs/cgroup", "memory.max"
		switch {
		case part[1] == "memory":
			root, file = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
		case part[1] != "":
			continue
		}
		for dir := path.Clean("/" + part[2]); ; dir = path.Dir(dir) {
			least(path.Join(root, dir, file), "")
			if dir == "/" {
				break
			}
		}
	}
	least("/proc/meminfo", "MemTotal:")
	if limit == math.MaxInt64 {
		return 0
	}
	return limit / 10 * 9
}

// numberIn reads a number of bytes, of a field of /proc/meminfo (in kB) if one
// is named.
func numberIn(text, field string) int64 {
	scale := int64(1)
	if field != "" {
		_, rest, ok := strings.Cut(text, field)
		if !ok {
			return 0
		}
		text, scale = rest, 1024
	}
	words := strings.Fields(text)
	if len(words) == 0 {
		return 0
	}
	n, err := strconv.ParseInt(words[0], 10, 64)
	if err != nil || n > math.MaxInt64/scale {
		return 0
	}
	return n * scale
}

// Memory that a large load needed only for a moment goes back to the system a
// little later, off the path of changes.
const (
	largeLoad = 2000 // modules
	giveAfter = 300 * time.Millisecond
)

func giveBack(built int) {
	if built > largeLoad {
		time.AfterFunc(giveAfter, debug.FreeOSMemory)
	}
}
