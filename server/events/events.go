// Package events is the app events: which modules are told of what happens. The
// events themselves come over the bus of internal/events.
package events

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sluiceproxy/sluice/config/module"
	bus "github.com/sluiceproxy/sluice/internal/events"
	"github.com/sluiceproxy/sluice/schema"
)

const (
	// ID is the module ID of the app.
	ID = "events"
	// Namespace is where the modules are that handle events. Their value is a
	// Handler of internal/events. None comes with sluice.
	Namespace = "events.handlers"
	// InlineKey names the module in a handler's object.
	InlineKey = "handler"
)

// Config is the app events.
type Config struct {
	// Subscriptions are who is told of which events. They take effect when the document does.
	Subscriptions []Subscription `json:"subscriptions"`
}

// Subscription is handlers and what they are told of.
type Subscription struct {
	// Events are the names of the events, such as "cert_obtained". Default: every event.
	Events []string `json:"events"`
	// Modules are the IDs of the modules whose events are meant. One stands for all whose ID continues it after a dot: "http.handlers" is every handler. Default: every module, and the process itself.
	Modules []string `json:"modules"`
	// Handlers are told, one after the other; what emitted the event waits for them. At least one is needed.
	Handlers []module.Ref[bus.Handler] `json:"handlers" module:"events.handlers" inline:"handler"`
}

// App is the compiled app.
type App struct{ subscriptions *bus.Subscriptions }

// Subscriptions is what the app subscribes.
func (a *App) Subscriptions() *bus.Subscriptions { return a.subscriptions }

// Specs describes the app. It needs the service *events.Bus of internal/events.
func Specs() []module.Spec {
	return []module.Spec{module.New(ID, "Tells modules of what happens in the process.", nil, compile,
		module.Examples(module.Example{Title: "Nobody is told.", JSON: `{"subscriptions":[]}`}))}
}

func compile(env *module.Env, c *Config) (*App, error) {
	var problems schema.Problems
	list := make([]bus.Subscription, len(c.Subscriptions))
	for i, s := range c.Subscriptions {
		at := fmt.Sprintf("/subscriptions/%d", i)
		list[i] = bus.Subscription{Events: s.Events, Modules: s.Modules}
		for _, h := range s.Handlers {
			if h.Set() {
				list[i].Handlers = append(list[i].Handlers, h.Value())
			}
		}
		if len(list[i].Handlers) == 0 {
			problems = append(problems, module.Problem(at+"/handlers", "no handlers defined")...)
		}
		warn(env, at, s)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	app := &App{bus.NewSubscriptions(list)}
	env.Own(&active{module.Service[*bus.Bus](env), app.subscriptions})
	return app, nil
}

// warn tells of names that no event and no module can have.
func warn(env *module.Env, at string, s Subscription) {
	for i, name := range s.Events {
		if name == "*" {
			env.Warn(fmt.Sprintf("%s/events/%d", at, i), `no event is named "*"; for every event leave events out`)
		}
	}
	for i, id := range s.Modules {
		if id != "" && slices.Contains(strings.Split(id, "."), "") {
			env.Warn(fmt.Sprintf("%s/modules/%d", at, i), fmt.Sprintf("no module has the ID %q, so nothing comes from it; write one such as http.handlers.reverse_proxy, or the beginning of one up to a dot, without it", id))
		}
	}
}

// active is subscriptions while their document is the current one. What follows
// them is started before they are closed.
type active struct {
	bus           *bus.Bus
	subscriptions *bus.Subscriptions
}

// Prepare implements module.Resource.
func (a *active) Prepare() error { return nil }

// Start implements module.Resource.
func (a *active) Start() { a.bus.Use(a.subscriptions) }

// Leave ends the subscriptions at the swap to a document without them.
func (a *active) Leave() { a.bus.Leave(a.subscriptions) }

// Close implements module.Resource.
func (a *active) Close() { a.bus.Leave(a.subscriptions) }
