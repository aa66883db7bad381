package memory

import (
	"errors"
	"testing"

	"github.com/sluiceproxy/sluice/config"
)

func TestMemoryLimit(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{"nothing known", nil, 0},
		{"system memory", map[string]string{"/proc/meminfo": "MemTotal:       1000 kB\nMemFree: 1 kB\n"}, 921600},
		{"cgroup v2", map[string]string{"/proc/meminfo": "MemTotal: 1000 kB\n", "/proc/self/cgroup": "0::/a/b\n",
			"/sys/fs/cgroup/a/b/memory.max": "max\n", "/sys/fs/cgroup/a/memory.max": "100000\n"}, 90000},
		{"cgroup v2 in a container", map[string]string{"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/memory.max": "200000\n"}, 180000},
		{"cgroup v1", map[string]string{"/proc/self/cgroup": "5:cpu:/x\n4:memory:/docker/1\n", "/sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes": "50000\n"}, 45000},
		{"cgroup v1 without a limit", map[string]string{"/proc/meminfo": "MemTotal: 1000 kB\n", "/proc/self/cgroup": "4:memory:/\n", "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 921600},
	} {
		got := memoryLimit(func(file string) ([]byte, error) {
			if text, ok := c.files[file]; ok {
				return []byte(text), nil
			}
			return nil, errors.New("no such file")
		})
		if got/10*10 != c.want/10*10 {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestLargeDocuments(t *testing.T) {
	many := func(n int) *config.Node {
		list := make([]*config.Node, n)
		for i := range list {
			list[i] = config.NewNumber(float64(i))
		}
		return config.NewObject(map[string]*config.Node{"a": config.NewArray(list)})
	}
	for n, want := range map[int]bool{0: false, largeLoad - 2: false, largeLoad - 1: true, 100 * largeLoad: true} {
		if got := manyNodes(many(n)); got != want {
			t.Errorf("%d: %v", n, got)
		}
	}
	if manyNodes(nil) {
		t.Error("nothing is large")
	}
	for live, want := range map[uint64]int{0: leastPercent, 1 << 20: mostPercent, 24 << 20: 100, 48 << 20: 50, 1 << 40: leastPercent} {
		if got := growthPercent(live); got != want {
			t.Errorf("%d bytes live: %d %%, want %d", live, got, want)
		}
	}
}
