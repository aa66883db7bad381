package torture

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"
)

// TestKillDuringEdits kills the process at random moments of continuous edits:
// every acknowledged edit is there at the next start, and none is half there.
func TestKillDuringEdits(t *testing.T) {
	kills, err := strconv.Atoi(os.Getenv("SLUICE_KILLS"))
	if err != nil {
		kills = 12
	}
	in := newInstance(t)
	in.start()
	in.must("POST", "/load", routes(freePort(t), 50))
	acknowledged := make([]int, 4)
	for k := range kills {
		var wg sync.WaitGroup
		stop := make(chan struct{})
		for c := range acknowledged {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					n := acknowledged[c] + 1
					// One edit changes two values that must stay equal.
					body := fmt.Sprintf(`{"@id":"h%d","handler":"headers","response":{"set":{"A":["%d"],"B":["%d"]}}}`, c, n, n)
					a, err := in.try("PATCH", fmt.Sprintf("/config/apps/http/servers/s/routes/%d/handle/0", c+1), body)
					if err != nil {
						return
					}
					if a.status != 200 {
						t.Errorf("edit: %d %s", a.status, a.body)
						return
					}
					acknowledged[c] = n
				}
			})
		}
		time.Sleep(time.Duration(rand.IntN(120)) * time.Millisecond) // the random moment
		in.kill()
		close(stop)
		wg.Wait()
		in.start()
		for c, n := range acknowledged {
			if n == 0 {
				continue
			}
			got := in.must("GET", fmt.Sprintf("/config/apps/http/servers/s/routes/%d/handle/0/response/set", c+1), "").body
			same := func(v int) bool { return got == fmt.Sprintf(`{"A":["%d"],"B":["%d"]}`+"\n", v, v) }
			switch {
			case same(n + 1): // was stored, its answer was lost
				acknowledged[c] = n + 1
			case !same(n):
				t.Fatalf("kill %d: client %d was told %d, found %s", k, c, n, got)
			}
		}
	}
	total := 0
	for _, n := range acknowledged {
		total += n
	}
	t.Logf("%d kills, %d acknowledged edits, all there", kills, total)
	if total < kills {
		t.Errorf("only %d edits in %d rounds", total, kills)
	}
}
