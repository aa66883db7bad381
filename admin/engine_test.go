package admin

import (
	"testing"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/server"
)

// The real engine fits.
var _ = func(e *server.Engine) Engine { return FromEngine(e) }

type fakeGeneration struct{ doc *config.Doc }

func (g fakeGeneration) Doc() *config.Doc { return g.doc }
func (fakeGeneration) Revision() uint64   { return 7 }

type fakeApplier struct {
	*fakeEngine
	gen fakeGeneration
}

func (f fakeApplier) Current() fakeGeneration { return f.gen }

func TestFromEngine(t *testing.T) {
	f := newFakeEngine(t, `{"x":1}`)
	e := FromEngine(fakeApplier{f, fakeGeneration{f.doc}})
	if doc, n := e.Document(); doc != f.doc || n != 7 {
		t.Errorf("%v %d", doc, n)
	}
}
