package server_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/server"
)

// soakTime is how long the soak lasts: short in the ordinary run.
func soakTime(t *testing.T) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(os.Getenv("SLUICE_SOAK"))
	if err != nil {
		return 1500 * time.Millisecond
	}
	return d
}

// TestSoakRandomEditsUnderLoad edits at random while clients ask, and compares
// at the end with a slow model: the document loaded fresh.
func TestSoakRandomEditsUnderLoad(t *testing.T) {
	w := newWorld(t)
	fixed, other := freePort(t), freePort(t)
	ports := [][]int{{fixed}, {fixed, other}}
	load := func(n int) string {
		var listen []string
		for _, p := range ports[n] {
			listen = append(listen, fmt.Sprintf(`"127.0.0.1:%d"`, p))
		}
		return "[" + strings.Join(listen, ",") + "]"
	}
	w.mustLoad(site(fixed, `{"@id":"fix","match":[{"path":["/fix"]}],"handle":[{"handler":"say","body":"fix","owns":true}],"terminal":true}`))
	ctx, cancel := context.WithTimeout(context.Background(), soakTime(t))
	defer cancel()
	var asked atomic.Int64
	var wg sync.WaitGroup
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	defer client.CloseIdleConnections()
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				resp, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/fix", fixed))
				if err != nil {
					t.Errorf("a request failed: %v", err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err != nil || string(body) != "fix" {
					t.Errorf("a request got %q, %v", body, err)
				}
				asked.Add(1)
			}
		})
	}
	edits := 0
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	for ctx.Err() == nil {
		c := randomEdit(w, r, load)
		if _, err := w.Apply(context.Background(), c); err == nil {
			edits++
		}
	}
	wg.Wait()
	if edits < 10 || asked.Load() < 10 {
		t.Errorf("only %d edits and %d requests", edits, asked.Load())
	}
	t.Logf("%d edits, %d requests, %d modules", edits, asked.Load(), w.Current().Modules())
	compareWithFreshLoad(t, w, fixed)
}

func randomEdit(w *world, r *rand.Rand, listen func(int) string) server.Change {
	routes := w.Current().Doc().Root().Get("apps").Get("http").Get("servers").Get("s").Get("routes")
	n := routes.Len()
	at := func(i int) string { return fmt.Sprintf("/apps/http/servers/s/routes/%d", i) }
	route := func(i int) string {
		return fmt.Sprintf(`{"match":[{"path":["/r%d*"]}],"handle":[{"handler":"say","body":"%d","owns":%v}]}`, i, r.IntN(1000), r.IntN(2) == 0)
	}
	switch k := r.IntN(10); {
	case k < 3 && n < 60:
		return w.change(config.Put, at(1+r.IntN(n)), route(r.IntN(20)))
	case k < 5 && n > 2:
		return w.change(config.Delete, at(1+r.IntN(n-1)), "")
	case k < 8 && n > 2:
		return w.change(config.Patch, at(1+r.IntN(n-1)), route(r.IntN(20)))
	case k == 8:
		return w.change(config.Patch, "/apps/http/servers/s/listen", listen(r.IntN(2)))
	}
	return w.change(config.Patch, at(0), `{"@id":"fix","handle":[{"handler":"nope"}]}`)
}

func compareWithFreshLoad(t *testing.T, w *world, port int) {
	t.Helper()
	ask := func() (out []string) {
		for i := range 20 {
			_, body := get(t, fmt.Sprintf("http://127.0.0.1:%d/r%d", port, i))
			out = append(out, body)
		}
		return out
	}
	edited, modules := ask(), w.Current().Modules()
	text := string(w.Current().Doc().Root().AppendJSON(nil))
	w.mustApply(w.change(config.Delete, "/apps", ""))
	w.mustLoad(text)
	if fresh := ask(); strings.Join(fresh, ",") != strings.Join(edited, ",") {
		t.Errorf("the edited configuration answers\n%v\nbut loaded fresh\n%v", edited, fresh)
	}
	if now := w.Current().Modules(); now != modules {
		t.Errorf("the edited configuration has %d modules, loaded fresh %d", modules, now)
	}
	owners := int64(strings.Count(text, `"owns":true`))
	w.wait("resources to match the document", func() bool { return w.open.Load() == owners })
}
