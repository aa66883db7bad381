package endpoint

import (
	"fmt"
	"time"

	"github.com/sluiceproxy/sluice/admin/pulled"
	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/schema"
)

// Pulling is what the document says about pulling another one.
func (e *Endpoint) Pulling() pulled.Setting { return e.pulling }

// pull reads what a document says about pulling another one.
func (c *ManagementConfig) pull(env *module.Env, identity bool) (pulled.Setting, schema.Problems) {
	s := pulled.Setting{Loader: c.Load.Value(), Delay: time.Duration(c.LoadDelay)}
	switch {
	case s.Delay < 0:
		return s, module.Problem("/config/load_delay", fmt.Sprintf("the delay is %s; it must not be negative", s.Delay))
	case s.Loader == nil && s.Delay > 0:
		env.Warn("/config/load_delay", "there is no load that it could delay")
	case s.Loader != nil && s.Loader.NeedsIdentity() && !identity:
		return s, module.Problem("/config/load", "the loader shows the identity of this instance, and there is none; name it in admin.identity")
	}
	return s, nil
}
