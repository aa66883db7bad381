// Package memory tunes the garbage collector to a proxy whose documents may be
// large or small. The collector belongs to the process, and so does what this
// package remembers of it.
package memory

import (
	"math"
	"os"
	"path"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sluiceproxy/sluice/config"
	"go.uber.org/zap"
)

// The garbage collector runs when the heap has grown by a share of what is
// live. Requests make garbage whatever the size of the document, so a fixed
// share would collect every few megabytes where the document is small, and let
// a large one grow to a multiple. So the share is set after each collection
// such that the heap may grow by about growth bytes, but never by less than
// leastPercent nor more than mostPercent.
const (
	growth       = 24 << 20
	leastPercent = 50
	mostPercent  = 1200
)

// Tune sets the limits of the runtime where the environment does not.
func Tune(log *zap.Logger) {
	if os.Getenv("GOGC") == "" {
		setPercent(leastPercent)
		watchCollections()
	}
	// What the environment said when the process began is in force already; a file
	// with variables that was read since says nothing to the runtime.
	if os.Getenv("GOMEMLIMIT") == "off" || debug.SetMemoryLimit(-1) != math.MaxInt64 {
		return
	}
	if limit := memoryLimit(os.ReadFile); limit > 0 {
		debug.SetMemoryLimit(limit)
		log.Debug("set memory limit", zap.Int64("bytes", limit))
	}
}

// percent is the share in force.
var percent atomic.Int32

func setPercent(p int) {
	if percent.Swap(int32(p)) != int32(p) {
		debug.SetGCPercent(p)
	}
}

// watchCollections adapts the share after each collection, which it notices by
// an object that nothing refers to.
func watchCollections() {
	type mark struct{ _ [16]byte }
	var again func(struct{})
	again = func(struct{}) {
		if building.Load() == 0 {
			setPercent(growthPercent(liveBytes()))
		}
		runtime.AddCleanup(&mark{}, again, struct{}{})
	}
	again(struct{}{})
}

// building counts the large documents that are being built. What that leaves
// lies between what stays, so that the heap keeps the size which it has by the
// end; it is collected often meanwhile.
var building atomic.Int32

// BuildLarge notes that a document is about to be built, if it is large, and
// returns what is to be called when it is done.
func BuildLarge(root *config.Node) (done func()) {
	if os.Getenv("GOGC") != "" || !manyNodes(root) {
		return func() {}
	}
	building.Add(1)
	setPercent(leastPercent)
	return func() { building.Add(-1) }
}

// manyNodes reports whether a value has more parts than largeLoad.
func manyNodes(n *config.Node) bool {
	left := largeLoad
	var count func(n *config.Node)
	count = func(n *config.Node) {
		left--
		for _, kid := range n.Elements() {
			if count(kid); left < 0 {
				return
			}
		}
		for _, kid := range n.Members() {
			if count(kid); left < 0 {
				return
			}
		}
	}
	count(n)
	return left < 0
}

func growthPercent(live uint64) int {
	if live == 0 {
		return leastPercent
	}
	p := min(max(growth*100/live, leastPercent), mostPercent)
	return int(p / 10 * 10) // small changes are not worth a call
}

// liveBytes is what the last collection found live.
func liveBytes() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return sample[0].Value.Uint64()
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

const (
	largeLoad = 2000 // modules
	giveAfter = 300 * time.Millisecond
)

// GiveBack returns memory that a large load needed only for a moment to the
// system, a little later, off the path of changes. It is told how many modules
// were built.
func GiveBack(built int) {
	if built > largeLoad {
		time.AfterFunc(giveAfter, debug.FreeOSMemory)
	}
}
